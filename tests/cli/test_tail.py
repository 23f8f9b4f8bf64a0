"""Claims about `inferpool tail`: what it prints of an answer, how it ends."""

import signal
import subprocess
import sys

import pytest

from inferpool.cli.tail import Printer
from inferpool.client.native import Chunk, Reset
from tests.cli.played import WORDS, Site, chunk_of
from tests.cli.typed import Typed


def test_a_streamed_answer_is_printed_as_its_words(site: Site, typed: Typed) -> None:
    assert typed("tail", site.tasks["streamed"], "--server", site.url) == (0, "Grey is the sea.\n", "")


def test_raw_chunks_are_printed_as_the_engine_sent_them(site: Site, typed: Typed) -> None:
    told = typed("tail", "--raw", site.tasks["streamed"], "--server", site.url)
    assert told.output.splitlines() == [chunk_of(words) for words in WORDS]


def test_a_task_without_an_answer_is_a_failure_that_says_why(site: Site, typed: Typed) -> None:
    told = typed("tail", site.tasks["error"], "--server", site.url)
    assert (told.code, told.output) == (1, "")
    assert told.errors.startswith(f"error: task {site.tasks['error']} has no answer (engine_error: ")
    assert typed("tail", site.tasks["cancelled"], "--server", site.url).errors.endswith("has no answer (cancelled)\n")


def test_an_answer_under_way_is_printed_until_ctrl_c(site: Site) -> None:
    command = [sys.executable, "-m", "inferpool", "tail", site.tasks["running"], "--server", site.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read(len(WORDS[0])) == WORDS[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")


def test_an_answer_that_begins_again_is_said_on_the_error_output(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(raw=False)
    for event in (Chunk("1-1", chunk_of("Gre")), Reset("2-0"), Chunk("2-1", chunk_of("Grey"))):
        printer.show(event)
    output, errors = capsys.readouterr()
    assert output == "GreGrey"
    assert errors == "\n-- attempt 2 begins the answer again --\n"


def test_a_chunk_of_an_unknown_kind_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(raw=False).show(Chunk("1-1", "not json"))
    assert capsys.readouterr().out == "not json\n"
