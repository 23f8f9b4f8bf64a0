"""The worker's folder: durable, private, locked; a disk that refuses costs nothing."""

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inferpool.core.errors import Conflict
from inferpool.worker.disk import PatientDisk, StateFolder
from tests.worker.parts import MemoryDisk, QuietLog


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    opened = StateFolder(tmp_path / "worker-box")
    yield opened
    opened.close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The closest that a test gets to a full disk: a write over the limit fails in the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_replaced_as_a_whole_and_read_back(folder: StateFolder) -> None:
    folder.replace("state.json", b"old")
    folder.replace("state.json", b"new")
    assert folder.read("state.json") == b"new"
    assert folder.names() == ["state.json"]


def test_files_and_folder_belong_to_their_owner_alone(folder: StateFolder, tmp_path: Path) -> None:
    folder.replace("state.json", b"secret")
    folder.append("t1.1.chunks", b"text")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "worker-box").iterdir()}
    assert modes == {"state.json": 0o600, "t1.1.chunks": 0o600, "lock": 0o600}
    assert stat.S_IMODE((tmp_path / "worker-box").stat().st_mode) == 0o700


def test_appending_adds_to_the_end(folder: StateFolder) -> None:
    folder.append("log", b"one")
    folder.append("log", b"two")
    assert folder.read("log") == b"onetwo"


def test_removing_what_is_not_there_is_no_error(folder: StateFolder) -> None:
    folder.append("log", b"one")
    folder.remove("log")
    folder.remove("log")
    assert folder.names() == []


def test_a_missing_file_is_said(folder: StateFolder) -> None:
    with pytest.raises(FileNotFoundError):
        folder.read("nothing")


def test_a_second_process_on_the_folder_is_refused(folder: StateFolder, tmp_path: Path) -> None:
    code = "import sys, pathlib; from inferpool.worker.disk import StateFolder; StateFolder(pathlib.Path(sys.argv[1]))"
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "worker-box")], capture_output=True, text=True, check=False
    )
    assert second.returncode != 0
    assert "another worker runs on" in second.stderr


def test_the_lock_is_free_once_the_folder_is_closed(tmp_path: Path) -> None:
    first = StateFolder(tmp_path)
    with pytest.raises(Conflict, match="--name"):
        StateFolder(tmp_path)
    first.close()
    StateFolder(tmp_path).close()


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(folder: StateFolder, tmp_path: Path) -> None:
    folder.replace("state.json", b"old")
    folder.append("log", b"old")
    with file_size_limit(100):
        with pytest.raises(OSError, match="large"):
            folder.replace("state.json", b"x" * 1000)
        with pytest.raises(OSError, match="large"):
            folder.append("log", b"x" * 1000)
    assert folder.read("state.json") == b"old"
    assert folder.read("log") == b"old"
    assert sorted(os.listdir(tmp_path / "worker-box")) == ["lock", "log", "state.json"]


def test_what_a_crash_left_half_written_is_not_among_the_files(folder: StateFolder, tmp_path: Path) -> None:
    (tmp_path / "worker-box" / ".state.json").write_bytes(b"half")
    assert folder.names() == []


def test_what_a_crash_left_half_written_is_gone_after_the_next_start(tmp_path: Path) -> None:
    rest = tmp_path / ".0000.1.result"
    rest.write_bytes(b"half")
    (tmp_path / "state.json").write_bytes(b"whole")
    again = StateFolder(tmp_path)
    assert (rest.exists(), again.names()) == (False, ["state.json"])
    again.close()


def test_a_disk_that_refuses_is_said_once_and_so_is_its_recovery() -> None:
    disk, log = MemoryDisk(), QuietLog()
    patient = PatientDisk(disk, log)
    disk.full = True
    assert [patient.replace("a", b""), patient.append("b", b"")] == [False, False]
    disk.full = False
    assert [patient.replace("a", b""), patient.append("b", b"")] == [True, True]
    assert len(log.said) == 2


def test_a_disk_that_cannot_be_read_holds_nothing() -> None:
    disk, log = MemoryDisk(), QuietLog()
    patient = PatientDisk(disk, log)
    patient.replace("a", b"text")
    disk.broken = True
    assert (patient.names(), patient.read("a")) == ([], None)
    patient.remove("a")
    assert len(log.said) == 1
