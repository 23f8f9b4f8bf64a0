"""What tests of the command line share: one server for all of them, which none may change for the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.played import Site, running_site
from tests.cli.typed import Typed, Typist


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the store, the state of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a task in every state."""
    with running_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """The same for one test alone, which may change it."""
    with running_site(tmp_path) as made:
        yield made


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str]) -> Typed:
    """Types a command, as a person would; gives what came of it."""
    return Typist(capfd)
