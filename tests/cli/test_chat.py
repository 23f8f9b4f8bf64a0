"""Claims about `inferpool chat`: it streams, remembers, cancels."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferpool.cli.chat import Answer, Talk
from inferpool.client.transport import TransportError
from inferpool.settings import load
from tests.cli.answering import STUCK, Answering, answering
from tests.cli.played import WORDS, running_server

SAID = "".join(WORDS)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    """A server whose worker answers."""
    with answering(tmp_path_factory.mktemp("chat")) as made:
        yield made


def piped(played: Answering, words: str, *flags: str, model: str = "tiny") -> "subprocess.CompletedProcess[str]":
    """A chat whose lines come through a pipe."""
    command = [sys.executable, "-m", "inferpool", "chat", model, "--server", played.url, *flags]
    return subprocess.run(command, input=words, capture_output=True, text=True, timeout=60, check=False)


class Terminal:
    """A chat that a person holds."""

    def __init__(self, played: Answering) -> None:
        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "inferpool", "chat", "tiny", "--server", played.url]
        environment = {**os.environ, "TERM": "dumb"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self._seen = ""

    def until(self, text: str) -> str:
        """What came until this text did."""
        while text not in self._seen:
            self._seen += os.read(self._master, 4096).decode()
        before, _, self._seen = self._seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def press_ctrl_c(self) -> None:
        """What a terminal makes of it."""
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(played: Answering) -> Iterator[Terminal]:
    made = Terminal(played)
    yield made
    made.close()


def test_lines_from_a_pipe_are_answered_one_after_the_other_with_what_was_said(played: Answering) -> None:
    played.asked.clear()
    done = piped(played, "What is grey?\n\nWhy?\n/new\nAgain\n/bye\nnever\n", "--system", "Be short.")
    assert (done.returncode, done.stdout) == (0, f"{SAID}\n" * 3)
    first, second, third = played.asked
    system = {"role": "system", "content": "Be short."}
    assert first == [system, {"role": "user", "content": "What is grey?"}]
    assert second == [*first, {"role": "assistant", "content": SAID}, {"role": "user", "content": "Why?"}]
    assert third == [system, {"role": "user", "content": "Again"}]


def test_a_model_that_nobody_publishes_is_told_before_anything_is_typed(played: Answering) -> None:
    done = piped(played, "", model="other")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: nobody publishes 'other'; there are: tiny\n"


def test_a_server_without_any_model_says_so(tmp_path: Path) -> None:
    with running_server(tmp_path) as (_, url):
        command = [sys.executable, "-m", "inferpool", "chat", "tiny", "--server", url]
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "error: no model is published on that server; `inferpool doctor` tells why\n",
    )


def test_an_error_ends_the_answer_alone_where_a_person_types(capfd: pytest.CaptureFixture[str]) -> None:
    talk = Talk(load({"server": ["http://127.0.0.1:9"]}, {}).shared, "tiny", None)
    talk.say("What is grey?", patient=True)
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: no answer from http://127.0.0.1:9/")
    with pytest.raises(TransportError):
        talk.say("What is grey?", patient=False)


def test_a_place_in_line_is_told_apart_from_the_answer(capfd: pytest.CaptureFixture[str]) -> None:
    Answer().queued("3")
    assert capfd.readouterr() == ("", "-- place 3 in the queue --\n")


def test_ctrl_c_cancels_the_answer_alone_ctrl_d_ends_the_chat(played: Answering, terminal: Terminal) -> None:
    played.cancelled.clear()
    terminal.until("> ")
    terminal.type(f"{STUCK}\n")
    terminal.until(WORDS[0].strip())
    terminal.press_ctrl_c()
    terminal.until("-- cancelled --")
    terminal.until("> ")
    terminal.type("What is grey?\n")
    terminal.until(SAID)
    terminal.until("> ")
    terminal.type("\x04")
    assert terminal.process.wait(60) == 0
    assert len(played.cancelled) == 1
    assert played.asked[-1][1] == {"role": "assistant", "content": WORDS[0]}


def test_ctrl_c_at_the_prompt_ends_the_chat(terminal: Terminal) -> None:
    terminal.until("> ")
    # Between its prompt and its wait for a key Python's `input` misses a signal, as no person is quick enough to see.
    while terminal.process.poll() is None:
        terminal.press_ctrl_c()
        with contextlib.suppress(subprocess.TimeoutExpired):
            terminal.process.wait(1)
    assert terminal.process.returncode == 130
