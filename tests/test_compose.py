"""Claims about the composition: every setting arrives, signals, failpoints, logs do what they say."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from inferpool.client.server import Patience
from inferpool.compose import (
    StopAt,
    WallClock,
    arm_failpoint,
    dispatch_options,
    make_log,
    make_worker_log,
    new_id,
    new_secret,
    server_connections,
    server_options,
    until_signalled,
    warn_of_little_room,
    worker_options,
)
from inferpool.core import failpoints
from inferpool.dispatch.options import DispatchOptions
from inferpool.server.options import ServerOptions
from inferpool.settings import ServeSettings, SettingError, SharedSettings, WorkerSettings, load
from inferpool.worker.options import OutboxOptions, WorkerOptions

ELSEWHERE = {"database_url", "dead_s", "processes", "state_folder", "failpoint", "log_format", "log_level"}
"""Settings that are no part's options: the composition itself obeys them."""
TEXTS = {"server": "http://b:1", "engine": "http://c:1", "host": "::1", "name": "other", "model": "m", "pool": "p"}
TEXTS["local_engines"] = "http://d:1"
TEXTS["insecure"] = "true"


def options_with(**flags: object) -> list[msgspec.Struct]:
    """The options of every part under these settings."""
    settings = load({"engine": ["http://a:1"], "name": "a", **flags}, {}, Path("/"))
    return [server_options(settings.serve), dispatch_options(settings.serve), worker_options(settings)]


def names_of(*kinds: type[msgspec.Struct]) -> list[str]:
    """Every setting of these sections."""
    return [field.name for kind in kinds for field in msgspec.structs.fields(kind) if field.name not in ELSEWHERE]


@pytest.mark.parametrize("name", names_of(SharedSettings, ServeSettings, WorkerSettings))
def test_every_setting_arrives_at_its_part(name: str) -> None:
    text = TEXTS.get(name, "7")
    value: object = [text] if name in {"server", "engine", "local_engines", "model"} else text
    before, after = options_with(), options_with(**{name: value})
    assert before != after


def test_the_defaults_are_those_of_the_parts() -> None:
    server, dispatch, worker = options_with()
    assert (server, dispatch) == (ServerOptions(), DispatchOptions())
    assert isinstance(worker, WorkerOptions)
    plain = WorkerOptions(name="a", version=worker.version, server_urls=worker.server_urls, engine_urls=["http://a:1"])
    assert worker == msgspec.structs.replace(plain, local_engines=worker.local_engines)
    assert (worker.outbox, worker.patience) == (OutboxOptions(), Patience())


def test_a_worker_without_a_name_takes_the_hosts() -> None:
    assert worker_options(load({"engine": ["http://a:1"]}, {}, Path("/"))).name == os.uname().nodename


def test_a_worker_without_an_engine_looks_where_engines_usually_are() -> None:
    options = worker_options(load({}, {}, Path("/")))
    assert options.engine_urls == []
    assert [url.rpartition(":")[2] for url in options.local_engines] == ["11434", "8080", "8000", "30000", "1234"]


def test_the_key_of_the_engines_comes_from_the_environment() -> None:
    settings = load({"engine": ["http://a:1"]}, {"INFERPOOL_ENGINE_API_KEY": "sk-1"}, Path("/"))
    assert worker_options(settings).engine_key == "sk-1"


def test_ids_rise_secrets_differ_the_clock_goes() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert len({new_secret() for _ in range(10)}) == 10
    assert len(new_secret()) >= 43  # 256 bits, six a character
    clock = WallClock()
    assert clock.now_us() <= clock.now_us()


@pytest.mark.parametrize("setting", ["nowhere", "enqueue.before_commit:x", "enqueue.before_commit:"])
def test_a_failpoint_that_does_not_exist_is_told(setting: str) -> None:
    with pytest.raises(SettingError, match="NAME or NAME:N"):
        arm_failpoint(setting)


def test_no_failpoint_arms_nothing() -> None:
    arm_failpoint(None)
    failpoints.reach("enqueue.before_commit")


def test_a_process_stops_itself_the_nth_time_it_reaches_its_failpoint() -> None:
    program = (
        "from inferpool.compose import arm_failpoint; from inferpool.core.failpoints import reach\n"
        "arm_failpoint('enqueue.before_commit:2')\n"
        "for count in range(3): print(count, flush=True); reach('enqueue.before_commit')"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert [process.stdout.readline(), process.stdout.readline()] == ["0\n", "1\n"]
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "2\n"
    assert process.returncode == 0


def test_a_thread_that_reaches_its_failpoint_does_not_take_one_step_more() -> None:
    program = (
        "import sys, threading; from inferpool.compose import StopAt\n"
        "def reach(): StopAt(1)(); sys.stdout.write('went on'); sys.stdout.flush()\n"
        "thread = threading.Thread(target=reach); thread.start(); thread.join()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.kill()
        assert process.stdout.read() == ""


def test_of_several_servers_one_that_is_off_is_left_soon() -> None:
    assert server_connections(["http://a", "http://b"]).connect_s < server_connections(["http://a"]).connect_s


def test_a_count_that_is_over_stops_nothing_more() -> None:
    stop = StopAt(0)
    stop()
    stop()


def test_a_log_line_is_json_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    settings = SharedSettings(log_format="json", log_level="warning")
    make_log(settings).info("not shown")
    make_worker_log(settings, "desk").warning("shown", count=3)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "shown", "level": "warning", "count": 3, "worker": "desk"}


def test_little_room_is_told_before_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(SharedSettings())
    warn_of_little_room(tmp_path, log)
    warn_of_little_room("postgresql://somewhere", log)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("inferpool.compose.LITTLE", 2**80)
    warn_of_little_room(tmp_path, log)
    assert "little room on the disk" in capsys.readouterr().err


def test_a_log_for_people_is_plain_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    make_log(SharedSettings()).info("shown", count=3)
    assert "shown" in capsys.readouterr().err


class Leaving:
    """A duty that leaves as soon as it is told to, or only when it is cancelled."""

    def __init__(self, *, stubborn: bool) -> None:
        self._stubborn = stubborn
        self._told = asyncio.Event()
        self.left = False

    async def run(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await self._told.wait()
        if self._stubborn:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        self.left = True

    def leave(self) -> None:
        self._told.set()


@pytest.mark.anyio
@pytest.mark.parametrize("stubborn", [False, True])
async def test_the_first_signal_asks_to_leave_the_second_insists(stubborn: bool) -> None:
    duty = Leaving(stubborn=stubborn)
    await until_signalled(duty)
    assert duty.left is not stubborn
