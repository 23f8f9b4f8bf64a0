"""Claims about `inferpool up`: one command, what it prints works as printed, Ctrl-C ends all of it."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from inferpool.cli.together import run_together
from inferpool.cli.up import calls_told, models_told
from inferpool.core.llm import Kind, LlmStatus
from inferpool.settings import load
from inferpool.wire.registry import LlmJson
from tests.house.project import ROOT

STAMP = "2026-08-01T12:00:00.000Z"


def llm(pool: str, endpoints: list[str] | None = None) -> LlmJson:
    """A published llm."""
    return LlmJson(
        name=f"{pool}@desk",
        kind=Kind.VIRTUAL,
        status=LlmStatus.ACTIVE,
        pool=pool,
        pool_name=pool,
        tier=None,
        model=pool,
        type="chat",
        engine="http://127.0.0.1:11434",
        slots=4,
        endpoints=endpoints,
        extra={},
        session_id="s",
        created_at=STAMP,
        updated_at=STAMP,
    )


@contextmanager
def engine(model: str = "tiny") -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A scripted engine as a process of its own, with its address."""
    command = [sys.executable, "-m", "tests.engines.scripted", "--model", model, "--slots", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@contextmanager
def up(folder: Path, *flags: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in a folder of its own."""
    (folder / "inferpool.toml").write_text(
        'state_folder = "state"\ndatabase_url = "store.db"\nport = 0\nprobe_s = 0.1\n'
    )
    command = [sys.executable, "-m", "inferpool", "up", *flags]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def inferpool(folder: Path, *arguments: str, given: str = "") -> str:
    """What another command prints in that folder."""
    command = [sys.executable, "-m", "inferpool", *arguments]
    return subprocess.run(
        command, cwd=folder, input=given, stdout=subprocess.PIPE, text=True, timeout=60, check=True
    ).stdout


def error_of(process: "subprocess.Popen[str]") -> str:
    """The first error that it tells."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("error: "):
            return line
    raise AssertionError("it told no error")


def until(process: "subprocess.Popen[str]", mark: str) -> list[str]:
    """The lines up to the one with this mark; the process is ended when it does not come in time."""
    assert process.stdout is not None
    patience = threading.Timer(60, process.kill)
    patience.start()
    lines = [process.stdout.readline()]
    while mark not in lines[-1]:
        assert lines[-1], lines
        lines.append(process.stdout.readline())
    patience.cancel()
    return lines


def test_what_it_prints_works_as_printed_ctrl_c_ends_both(tmp_path: Path) -> None:
    with engine() as (_, url), up(tmp_path, "--engine", url) as process:
        lines = until(process, "inferpool chat")
        assert any(line.split()[:1] == ["tiny"] for line in lines)
        [curl] = [line for line in lines if line.startswith("  curl ")]
        [sdk] = [line for line in lines if line.startswith("  python -c ")]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path}
        answer = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60, check=True).stdout
        assert json.loads(answer)["choices"][0]["message"]["content"]
        said = subprocess.run(
            ["bash", "-c", sdk], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert said.stdout.strip() == json.loads(answer)["choices"][0]["message"]["content"]
        chat = [sys.executable, "-m", *lines[-1].split()]
        talked = subprocess.run(chat, input="Hello\n", capture_output=True, text=True, timeout=60, check=True)
        assert talked.stdout.strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_without_an_engine_it_says_so_then_takes_up_the_one_that_comes(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with up(tmp_path, "--engine", f"http://127.0.0.1:{port}") as process:
        until(process, f"No engine answers yet at http://127.0.0.1:{port}")
        command = [sys.executable, "-m", "tests.engines.scripted", "--model", "tiny", "--port", str(port)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as late:
            until(process, "inferpool chat tiny")
            late.terminate()
        until(process, "No model is there any more")


def test_a_first_token_made_meanwhile_does_not_lock_its_own_worker_out(tmp_path: Path) -> None:
    with engine() as (_, one), up(tmp_path, "--engine", one) as process:
        url = until(process, "inferpool is up")[-1].split()[4]
        until(process, "inferpool chat tiny")
        token = inferpool(tmp_path, "token", "create", "--role", "admin", "--subject", "me", "--server", url).strip()
        until(process, "There are tokens, so whoever calls needs one: INFERPOOL_TOKEN or --token.")
        answer = inferpool(tmp_path, "chat", "tiny", "--server", url, "--token", token, given="Hello")
        assert answer.strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_beside_tokens_it_needs_none_for_itself_a_wrong_one_is_told(tmp_path: Path) -> None:
    made = ("token", "create", "--role", "caller", "--subject", "me", "--database-url", "store.db")
    token = inferpool(tmp_path, *made).strip()
    with engine() as (_, url):
        with up(tmp_path, "--engine", url) as process:
            lines = until(process, "inferpool chat tiny")
            assert any("INFERPOOL_TOKEN" in line for line in lines if line.startswith("  curl"))
            address = lines[-1].split()[-1]
            assert inferpool(tmp_path, "chat", "tiny", "--server", address, "--token", token, given="Hello").strip()
        with up(tmp_path, "--engine", url, "--token", "ip_wrong") as process:
            assert process.stderr is not None
            assert "INFERPOOL_TOKEN" in error_of(process)


def test_the_models_of_two_engines_are_told_each_can_be_asked(tmp_path: Path) -> None:
    with (
        engine() as (_, one),
        engine("small") as (_, other),
        up(tmp_path, "--engine", one, "--engine", other) as process,
    ):
        address = until(process, "inferpool is up")[-1].split()[4]
        seen: list[str] = []
        while not {"tiny", "small"} <= {line.split()[0] for line in seen if line.startswith("  ")}:
            seen += until(process, "  ")
        for model in ("tiny", "small"):
            assert inferpool(tmp_path, "chat", model, "--server", address, given="Hello").strip()


def test_a_port_that_is_taken_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with up(tmp_path, "--port", port) as process:
            assert process.wait(60) == 1
            assert process.stderr is not None
            told = process.stderr.read()
    assert told.startswith("error: ")
    assert port in told
    assert "take another port by --port" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_end_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    with engine() as (_, url), up(tmp_path, "--engine", url) as process:
        address = until(process, "inferpool is up")[-1].split()[4]
        until(process, "inferpool chat tiny")
        assert inferpool(tmp_path, "chat", "tiny", "--server", address, given="Hello").strip()
        process.send_signal(number)
        assert process.stdout is not None
        assert [line for line in process.stdout if line.strip()] == [
            "Leaving: what runs may finish for a moment (Ctrl-C again: at once).\n"
        ]
        assert process.wait(60) == 0
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        pass  # the port is free
    with closing(sqlite3.connect(tmp_path / "store.db")) as store:
        assert store.execute("SELECT DISTINCT active FROM sessions").fetchall() == [(0,)]
        assert store.execute("SELECT DISTINCT status FROM llms").fetchall() == [("inactive",)]
    assert inferpool(tmp_path, "doctor", "--database-url", "store.db").endswith("no breach of the law\n")
    [state] = (tmp_path / "state").iterdir()
    assert sorted(path.name for path in state.iterdir()) == ["lock", "state.json"]


def test_a_second_one_on_the_same_store_is_one_line(tmp_path: Path) -> None:
    with up(tmp_path, "--engine", "http://127.0.0.1:9") as process:
        until(process, "inferpool is up")
        command = [sys.executable, "-m", "inferpool", "up"]
        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("error: another inferpool server is using ")
    assert f"(process {process.pid}): stop it first" in second.stderr
    assert second.stderr.count("\n") == 1


class Waiting:
    """Hears that it is up."""

    def __init__(self, ready: asyncio.Event) -> None:
        self._ready = ready

    def begin(self, url: str) -> None:
        self._ready.set()

    def leave(self) -> None:
        """No news here."""


@pytest.mark.anyio
async def test_a_second_signal_waits_for_nobody(tmp_path: Path) -> None:
    flags = {
        "port": 0,
        "database_url": str(tmp_path / "store.db"),
        "state_folder": str(tmp_path),
        "engine": ["http://127.0.0.1:9"],
    }
    ready = asyncio.Event()
    running = asyncio.ensure_future(run_together(load({**flags, "log_level": "error"}, {}), Waiting(ready), "ip_own"))
    async with asyncio.timeout(60):
        await ready.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await running


def test_it_ends_although_nobody_reads_it_any_more(tmp_path: Path) -> None:
    with up(tmp_path, "--engine", "http://127.0.0.1:9") as process:
        until(process, "inferpool is up")
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in {0, 1}  # 1: something was left unwritten


def test_a_model_for_embeddings_alone_is_shown_with_a_call_that_it_serves() -> None:
    embedder = llm("nomic", ["embeddings"])
    assert models_told([embedder]).endswith("  (embeddings only)")
    told = calls_told("http://127.0.0.1:8010", [embedder], token=False)
    assert "/v1/embeddings" in told
    assert "inferpool chat" not in told
    assert '"model":"llama"' in calls_told("http://127.0.0.1:8010", [embedder, llm("llama")], token=False)


def test_with_a_token_the_calls_show_it_from_the_environment() -> None:
    told = calls_told("http://127.0.0.1:8010", [llm("llama")], token=True)
    assert '"authorization: Bearer $INFERPOOL_TOKEN"' in told
    assert 'os.environ["INFERPOOL_TOKEN"]' in told
