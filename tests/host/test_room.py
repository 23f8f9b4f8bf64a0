"""Claims about the room that a disk has."""

from pathlib import Path

from inferpool.host.room import room_for, spelled


def test_a_file_that_is_there_lies_on_a_disk_with_room(tmp_path: Path) -> None:
    assert (room_for(tmp_path) or 0) > 0


def test_of_what_is_not_there_nothing_is_told(tmp_path: Path) -> None:
    assert room_for(tmp_path / "none") is None


def test_sizes_are_told_as_people_read_them() -> None:
    assert [spelled(size) for size in (0, 250_000_000, 77_430_000_000)] == ["0 MB", "250 MB", "77.4 GB"]
