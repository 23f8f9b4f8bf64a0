"""Finds the programs of Debian's packages that the tests of `deploy/` run."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
INFERPOOL: Final = Path(sys.executable).with_name("inferpool")
"""The program as it is installed for the tests."""
PACKAGES: Final = {"nginx": "nginx", "haproxy": "haproxy", "systemd-analyze": "systemd"}
"""Each program with its package."""
_FOLDERS: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Where an ordinary user's shell does not look, Debian has its servers."""


def program(name: str) -> str:
    """Where the program is. Fails the test where it is missing: what is shipped untested is not shipped."""
    found = shutil.which(name, path=_FOLDERS)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {' '.join(PACKAGES.values())}", pytrace=False)
    return found
