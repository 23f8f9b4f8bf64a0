"""Claims about `inferpool demo`: it keeps its word with a real engine, it says what it lacks."""

import os
from pathlib import Path

import pytest

from tests.cli.typed import Typed
from tests.house.project import ROOT

ENGINE_PYTHON = os.environ.get("INFERPOOL_TEST_ENGINE_PYTHON", str(ROOT / ".engine" / "bin" / "python"))


@pytest.mark.engine
@pytest.mark.journey
def test_the_demo_loses_nothing(typed: Typed) -> None:
    told = typed("demo", "--engine-python", ENGINE_PYTHON)
    assert (told.code, told.errors) == (0, "")
    assert told.output.count(">>> kill -9") == 2
    assert "Printed in the end: the whole answer" in told.output
    assert "All 12 are completed; none was lost." in told.output
    assert "no breach of the law" in told.output
    assert "Every process of the demo has ended." in told.output


def test_without_its_engine_the_demo_says_how_to_get_it(typed: Typed, tmp_path: Path) -> None:
    told = typed("demo", "--engine-python", str(tmp_path / "python"))
    assert told.code == 1
    assert "`make demo` builds it" in told.errors


@pytest.mark.engine
def test_an_engine_that_cannot_start_ends_the_demo(typed: Typed, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no model here\nexit 4\n")
    python.chmod(0o700)
    told = typed("demo", "--engine-python", str(python))
    assert told.code == 1
    assert told.errors == "error: the engine ended by itself (exit code 4): no model here\n"
