"""Claims about held files: one process at a time, whatever the system offers for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferpool.host.locks import FileHeld, HeldFile

HOLD = "import sys; from pathlib import Path; from inferpool.host.locks import HeldFile; HeldFile(Path(sys.argv[1]))"
WITHOUT_FCNTL = "import sys; sys.modules['fcntl'] = None; "


def test_a_second_holder_is_refused_until_the_first_releases(tmp_path: Path) -> None:
    first = HeldFile(tmp_path / "lock")
    with pytest.raises(FileHeld, match="lock"):
        HeldFile(tmp_path / "lock")
    first.release()
    HeldFile(tmp_path / "lock").release()


def test_who_is_refused_hears_who_holds_it(tmp_path: Path) -> None:
    first = HeldFile(tmp_path / "lock")
    with pytest.raises(FileHeld) as refused:
        HeldFile(tmp_path / "lock")
    assert (refused.value.holder, refused.value.by) == (os.getpid(), f" (process {os.getpid()})")
    first.release()


def test_a_holder_of_an_older_release_has_no_name(tmp_path: Path) -> None:
    first = HeldFile(tmp_path / "lock")
    (tmp_path / "lock").write_bytes(b"")
    with pytest.raises(FileHeld) as refused:
        HeldFile(tmp_path / "lock")
    assert (refused.value.holder, refused.value.by) == (None, "")
    first.release()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    HeldFile(tmp_path / "lock").release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("before", ["", WITHOUT_FCNTL], ids=["flock", "record lock"])
def test_the_end_of_a_process_gives_its_lock_back(tmp_path: Path, before: str) -> None:
    for _ in range(2):
        command = [sys.executable, "-c", before + HOLD, str(tmp_path / "lock")]
        subprocess.run(command, check=True, timeout=60)


def test_a_record_lock_keeps_another_process_out(tmp_path: Path) -> None:
    waits = f"{WITHOUT_FCNTL}{HOLD}; print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", waits, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        second = subprocess.run(
            [sys.executable, "-c", WITHOUT_FCNTL + HOLD, str(tmp_path / "lock")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        holder.communicate("")
    assert "FileHeld" in second.stderr
