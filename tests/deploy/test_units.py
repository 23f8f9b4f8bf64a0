"""Claims about the systemd units that `deploy/` ships, as systemd's own programs judge them."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from inferpool.server.options import ServerOptions
from inferpool.settings import WorkerSettings, load
from tests.deploy.programs import DEPLOY, INFERPOOL, program

UNITS: Final = {"server": "serve", "worker": "worker"}
"""Each unit with the command that it runs."""
INSTALLED: Final = "/usr/local/lib/inferpool/bin/inferpool"
EXPOSURE: Final = 15
"""The most that `systemd-analyze security` may find, where 100 is everything that a unit may leave open."""


def text(name: str) -> str:
    """The unit's text."""
    return (DEPLOY / "systemd" / f"inferpool-{name}.service").read_text()


def judged(verdict: str, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `systemd-analyze` says of the unit, which here runs the program that the tests run."""
    unit = folder / f"inferpool-{name}.service"
    assert f"ExecStart={INSTALLED} {UNITS[name]}\n" in text(name)
    unit.write_text(text(name).replace(INSTALLED, str(INFERPOOL)))
    command = [program("systemd-analyze"), *verdict.split(), str(unit)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def service(name: str) -> dict[str, str]:
    """What the unit says under each name; the last word where there are several."""
    return dict(re.findall(r"(?m)^(\w+)=(.*)$", text(name)))


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    verdict = judged("verify", name, tmp_path)
    assert (verdict.returncode, verdict.stdout + verdict.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_leaves_little_open(name: str, tmp_path: Path) -> None:
    verdict = judged(f"security --offline=true --threshold={EXPOSURE}", name, tmp_path)
    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize("name", UNITS)
def test_every_setting_that_a_unit_gives_is_one(name: str, tmp_path: Path) -> None:
    given = re.findall(r"(?m)^Environment=(\w+)=(.*)$", text(name))
    load({}, dict(given), tmp_path)


def test_each_unit_is_told_to_end_politely_with_the_time_that_it_takes() -> None:
    server, worker = ServerOptions(), WorkerSettings()
    needed = {"server": server.drain_s + server.farewell_s, "worker": worker.leave_s + worker.flush_s}
    for name in UNITS:
        told = service(name)
        assert (told["KillSignal"], told["Restart"], told["DynamicUser"]) == ("SIGTERM", "always", "yes")
        assert int(told["TimeoutStopSec"]) > needed[name]


def test_the_servers_database_lies_in_the_folder_that_systemd_makes_for_it(tmp_path: Path) -> None:
    [url] = re.findall(r"(?m)^Environment=INFERPOOL_DATABASE_URL=(.*)$", text("server"))
    assert url == f"sqlite:///var/lib/{service('server')['StateDirectory']}/inferpool.db"
