"""What the benchmark reads of the machine."""

import os
from pathlib import Path

import pytest

from bench import machine
from bench.machine import NotADisk, check_disk, cpu_s, cpu_s_with_ended, filesystem, on_cpu_s

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/sdb1 /run/big\\040disk xfs rw 0 0
overlay / overlay rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/run/lock", "tmpfs"), ("/run/big disk/bench", "xfs"), ("/running", "overlay"), ("/", "overlay")],
)
def test_the_nearest_mount_holds_a_folder_the_last_one_of_two(folder: str, kind: str) -> None:
    assert filesystem(Path(folder), MOUNTS) == kind


def test_a_folder_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "IN_MEMORY", {filesystem(tmp_path.resolve())})
    with pytest.raises(NotADisk, match="--folder"):
        check_disk(tmp_path)


def test_cpu_time_is_the_user_time_with_the_system_time_whatever_the_program_is_called() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = ["S", *("0" for _ in range(10)), str(2 * ticks), str(ticks), "999"]
    assert cpu_s(1, "1 (a ) b) " + " ".join(fields)) == 3.0


def test_the_time_of_children_that_ended_is_added_to_a_process_own() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = ["S", *("0" for _ in range(10)), *(str(part * ticks) for part in (1, 2, 4, 8)), "999"]
    assert cpu_s_with_ended(1, "1 (postgres) " + " ".join(fields)) == 15.0


def test_this_process_has_spent_time() -> None:
    assert cpu_s(os.getpid()) > 0
    assert on_cpu_s(os.getpid()) > 0
