"""Claims about `inferpool tail`: what it prints of an answer, how it ends."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import msgspec
import pytest

from inferpool.cli.tail import Printer, response_body
from inferpool.client.native import Chunk, Reset
from inferpool.wire.tasks import TaskResponse
from tests.cli.played import WORDS, Site, body_of, chunk_of
from tests.cli.typed import Typed
from tests.client.test_native import task


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


def test_an_answer_without_chunks_is_printed_in_the_end(own_site: Site, typed: Typed) -> None:
    with closing(sqlite3.connect(own_site.database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM chunks")  # as the sweep does after an hour
    task_id = own_site.tasks["streamed"]
    assert typed("tail", task_id, "--server", own_site.url).output == "Grey is the sea.\n"
    assert typed("tail", "--raw", task_id, "--server", own_site.url).output == body_of("Grey is the sea.") + "\n"


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (msgspec.UNSET, ""),
        (None, ""),
        (TaskResponse(status=200, content_type="audio/wav", body_base64="UklGRg=="), "UklGRg=="),
        (TaskResponse(status=200, content_type="text/plain"), ""),
    ],
)
def test_a_body_that_is_no_json_is_printed_as_base64(
    response: TaskResponse | msgspec.UnsetType | None, text: str
) -> None:
    assert response_body(msgspec.structs.replace(task("t"), response=response)) == text


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


@pytest.mark.anyio
async def test_a_connection_that_breaks_is_said_once_until_something_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferpool.cli.tail.PAUSE_S", 0.0)
    printer = Printer(raw=True)
    for _ in range(3):
        await printer.pause()
    assert capsys.readouterr().err.count("the connection broke; trying again") == 1
    printer.show(Chunk("1-1", "words"))
    await printer.pause()
    assert capsys.readouterr().err.count("the connection broke; trying again") == 1
