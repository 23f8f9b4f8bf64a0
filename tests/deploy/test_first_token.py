"""Claims about the commands inside the manifests, each run by a shell as its container runs it."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.deploy.manifests import every, kubernetes, services, table
from tests.deploy.programs import INFERPOOL
from tests.store.side_desk import ask, new_database

PATIENCE_S = 60


@pytest.fixture(scope="module")
def database_url() -> str:
    """An empty database."""
    return new_database("first_token", own=False)


def run(command: list[str], folder: Path, database_url: str) -> None:
    """Run a container's command where `inferpool` is this checkout's."""
    environment = os.environ | {
        "PATH": f"{INFERPOOL.parent}{os.pathsep}{os.environ['PATH']}",
        "INFERPOOL_DATABASE_URL": database_url,
    }
    subprocess.run(command, check=True, cwd=folder, env=environment, timeout=PATIENCE_S)


def composed(name: str) -> list[str]:
    """What the service runs; compose writes `$$` for a dollar sign."""
    service = table(services()[name])
    command = msgspec.convert([*_list(service["entrypoint"]), *_list(service["command"])], list[str])
    return [part.replace("$$", "$") for part in command]


def _list(node: object) -> list[object]:
    return msgspec.convert(node, list[object])


def test_compose_makes_one_admins_token_however_often_it_starts(tmp_path: Path, database_url: str) -> None:
    for _ in range(2):
        run(composed("first-token"), tmp_path, database_url)
    kept = tmp_path / "admin-token"
    assert kept.read_text().startswith("ip_")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert ask(database_url, "SELECT role, subject FROM tokens") == [("admin", "admin")]
    [initial] = [table(one) for one in _list(next(every(kubernetes("Deployment"), "initContainers")))]
    command = msgspec.convert([*_list(initial["command"]), *_list(initial["args"])], list[str])
    run(command, tmp_path, database_url)  # it ends, because there is a token
