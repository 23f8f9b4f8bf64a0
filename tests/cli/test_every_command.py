"""Claims about every command in every kind of trouble: one line that says what to do, the documented exit code."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from inferpool.cli.app import app
from tests.cli.played import Site, running_server
from tests.cli.typed import Typed

NOBODY = "01a20df5-0000-7000-8000-000000000000"
KINDS = ("tasks", "llms", "pools", "sessions", "tokens")
ASKING: dict[tuple[str, ...], tuple[str, ...]] = {
    **{("get", kind): () for kind in KINDS},
    **{("describe", kind): () for kind in KINDS},
    ("cancel",): (NOBODY,),
    ("replay",): (NOBODY,),
    ("delete", "task"): (NOBODY,),
    ("tail",): (NOBODY,),
    ("chat",): ("nobody",),
    ("token", "create"): ("--role", "caller", "--subject", "me"),
    ("token", "list"): (),
    ("token", "revoke"): (NOBODY,),
}
"""Commands that ask a server, with what they need beside it."""
OPENING: dict[tuple[str, ...], tuple[str, ...]] = {
    ("database", "status"): (),
    ("database", "migrate"): (),
    ("database", "backup"): ("backup.db",),
    ("database", "copy"): ("--to", "postgresql:///nowhere"),
}
"""Commands that open a store themselves, with what they need beside it."""
OTHERS = {("up",), ("serve",), ("worker",), ("doctor",), ("demo",)}
ALONE = {("token", "create"), ("token", "list"), ("token", "revoke")}
"""Commands that open this machine's own store where no server runs."""
STRANGERS = {
    "a web page": b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
    "a web server without such a page": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n",
    "other JSON": b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"data": [1]}',
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
}


def typed_as(words: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """The command with what it needs."""
    return (*words, *ASKING[words], *more)


def every() -> list[tuple[str, ...]]:
    """The commands of the program, those apart that are a second word for another."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    return sorted(leaves(root))


def leaves(group: TyperGroup, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, inner in group.commands.items():
        if isinstance(inner, TyperGroup):
            yield from leaves(inner, (*before, name))
        elif not inner.hidden:
            yield (*before, name)


@contextmanager
def stranger(answer: bytes | None) -> Iterator[tuple[str, threading.Event]]:
    """Somebody else at an address of this machine, who says the same to everybody; None: keeps silent until the end.

    The event is set by the first one who has asked.
    """
    asked, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_all, args=(listener, answer, asked, over))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            over.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join(30)


def _answer_all(listener: socket.socket, answer: bytes | None, asked: threading.Event, over: threading.Event) -> None:
    kept = []
    while not over.is_set():
        peer, _ = listener.accept()
        if peer.recv(65536):
            asked.set()
        if answer is None:
            kept.append(peer)
            continue
        if answer:
            peer.sendall(answer)
        peer.close()
    for peer in kept:
        peer.close()


def one_line(errors: str, *, whatever: str = "") -> str:
    """The one line of an error; anything more is a failure."""
    assert "Traceback" not in errors, whatever
    assert errors.startswith("error: "), (whatever, errors)
    assert errors.count("\n") == 1, (whatever, errors)
    return errors


def test_every_command_stands_in_this_walk() -> None:
    assert set(every()) == set(ASKING) | set(OPENING) | OTHERS


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_a_server_that_is_away(typed: Typed, words: tuple[str, ...], tmp_path: Path) -> None:
    told = typed(*typed_as(words, "--server", "http://127.0.0.1:9"))
    if words in ALONE - {("token", "revoke")}:
        assert told.code == 0
    elif words == ("token", "revoke"):
        assert "there is no token" in one_line(told.errors)
    else:
        assert (told.code, told.output) == (1, "")
        assert "onnection refused; is `inferpool serve` running there?" in one_line(told.errors)


@pytest.mark.parametrize("who", STRANGERS, ids=str)
def test_somebody_else_at_that_address(typed: Typed, who: str) -> None:
    with stranger(STRANGERS[who]) as (url, _):
        for words in ASKING:
            told = typed(*typed_as(words, "--server", url))
            assert (told.code, told.output) == (1, ""), words
            assert "--server" in one_line(told.errors, whatever=" ".join(words)) or "its address" in told.errors
        told = typed("doctor", "--server", url, "--engine", "http://127.0.0.1:9")
        assert told.code == 1
        assert told.output.startswith("FAIL  server ")


@pytest.mark.parametrize("flags", [("--server", "nonsense"), ("--server", "ftp://a"), ("--prt", "1")], ids=" ".join)
def test_wrong_usage(typed: Typed, flags: tuple[str, ...]) -> None:
    for words in [*ASKING, ("worker",), ("doctor",)]:
        told = typed(*words, *ASKING.get(words, ()), *flags)
        assert (told.code, told.output) == (2, ""), words
        assert "give an address that" in one_line(told.errors) or f"inferpool {' '.join(words)} --help" in told.errors


def test_an_unknown_form_of_output_is_told_with_those_that_there_are(typed: Typed) -> None:
    for words in every():
        if words in {("tail",), ("chat",), ("token", "revoke"), *OTHERS} - {("doctor",)}:
            continue
        told = typed(*words, *{**ASKING, **OPENING}.get(words, ()), "-o", "xml")
        assert (told.code, told.output) == (2, "")
        assert "'json', 'yaml', 'wide', 'name'" in one_line(told.errors)


def test_every_list_every_single_thing_has_every_form(site: Site, typed: Typed) -> None:
    names = {"tasks": site.tasks["streamed"], "llms": "tiny@desk", "pools": "tiny", "sessions": site.session_id}
    for verb in ("get", "describe"):
        for kind, name in names.items():
            for form in ("json", "yaml", "wide", "name"):
                for which in ((), (name,)):
                    told = typed(verb, kind, *which, "-o", form, "--server", site.url)
                    assert (told.code, told.errors) == (0, ""), (verb, kind, form)
                    assert name in told.output


def test_a_setting_that_cannot_be_read(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inferpool.toml").mkdir()
    monkeypatch.chdir(tmp_path)
    for words in [*ASKING, *OPENING, *sorted(OTHERS - {("demo",)})]:
        told = typed(*words, *{**ASKING, **OPENING}.get(words, ()))
        assert (told.code, told.output) == (2, ""), words
        assert "inferpool.toml: cannot be read" in one_line(told.errors)
    (tmp_path / "inferpool.toml").rmdir()
    (tmp_path / "inferpool.toml").write_text("token = ")
    assert typed("get", "tasks").code == 2


def test_without_the_right_token(typed: Typed, tmp_path: Path) -> None:
    with running_server(tmp_path) as (_, url):
        assert typed("token", "create", "--role", "admin", "--subject", "me", "--server", url).code == 0
        for words in ASKING:
            told = typed(*typed_as(words, "--server", url))
            assert (told.code, told.output) == (1, ""), words
            assert "INFERPOOL_TOKEN or --token" in one_line(told.errors, whatever=" ".join(words))
        wrong = typed("get", "tasks", "--server", url, "--token", "ip_wrong")
        assert (wrong.code, wrong.output) == (1, "")
        assert "ask an admin for another" in one_line(wrong.errors)
        told = typed("doctor", "--server", url, "--engine", "http://127.0.0.1:9")
        assert "give yours by INFERPOOL_TOKEN or --token" in told.output


def test_a_thing_that_is_not_there(site: Site, typed: Typed) -> None:
    for words, named in ASKING.items():
        if words in {("token", "create"), ("token", "list")}:
            continue
        told = typed(*words, *(named or (NOBODY,)), "--server", site.url)
        assert (told.code, told.output) == (1, ""), words
        one_line(told.errors, whatever=" ".join(words))


def test_a_folder_that_cannot_be_written(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = ("--database-url", str(tmp_path / "file" / "store.db"))
    opening = [(*words, *needed) for words, needed in OPENING.items()]
    for words in (("serve", "--port", "0"), ("up", "--port", "0"), ("token", "list"), ("doctor",), *opening):
        told = typed(*words, *database)
        assert told.code == 1, words
        assert str(tmp_path / "file") in one_line(told.errors.splitlines(keepends=True)[-1])


@pytest.mark.parametrize("words", [*ASKING, ("doctor",)], ids=" ".join)
def test_ctrl_c_while_a_server_keeps_silent(typed: Typed, words: tuple[str, ...]) -> None:
    with stranger(None) as (url, asked):
        pressing = threading.Thread(target=press_when, args=(asked,))
        pressing.start()
        told = typed(*words, *ASKING.get(words, ()), "--server", url)
        pressing.join(30)
    assert (told.code, told.output, told.errors) == (130, "", "")


def press_when(asked: threading.Event) -> None:
    """Ctrl-C in this process, once somebody has asked."""
    if asked.wait(60):
        os.kill(os.getpid(), signal.SIGINT)


LEFT = """
import os, sys
from inferpool.cli.app import run
reading, writing = os.pipe()
os.close(reading)
kept = os.dup(2)
for line in sys.stdin.read().splitlines():
    for fd in (1, 2) if line.startswith("both ") else (1,):
        os.dup2(writing, fd)
    code = run(line.removeprefix("both ").split())
    os.dup2(kept, 2)
    sys.stderr.write(f"{code} {line}\\n")
    sys.stderr.flush()
"""


def test_a_reader_that_leaves(site: Site) -> None:
    shown = [f"{verb} {kind} --server {site.url}" for verb in ("get", "describe") for kind in KINDS[:4]]
    shown += [f"tail {site.tasks['streamed']} --server {site.url}", "get --help", "--version"]
    silent = ["get tasks --server http://127.0.0.1:9", "jump"]
    lines = [*shown, *(f"both {one}" for one in (*shown[:2], *silent))]
    done = subprocess.run(
        [sys.executable, "-c", LEFT], input="\n".join(lines), capture_output=True, text=True, timeout=120, check=True
    )
    codes = {line: code for code, _, line in (told.partition(" ") for told in done.stderr.splitlines())}
    assert list(codes) == lines, done.stderr
    assert {codes[line] for line in lines if "help" not in line and "jump" not in line} == {"1"}
    assert codes["both jump"] == "2"
