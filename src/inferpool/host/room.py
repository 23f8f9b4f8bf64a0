"""Tells how much room a disk still has."""

import shutil
from pathlib import Path
from typing import Final

LITTLE: Final = 2**30
"""Bytes below which one should make room before the disk is full."""


def room_for(path: Path) -> int | None:
    """Free bytes on the disk of a file that is there; None where the system does not tell."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def spelled(size: int) -> str:
    """So many bytes, for a person to read."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
