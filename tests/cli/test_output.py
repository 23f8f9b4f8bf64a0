"""Claims about tables: they fit a terminal, they cut nothing in a pipe."""

import os
import pty
import subprocess
import sys
import termios

from tests.cli.played import Site


def test_a_table_fits_its_terminal_by_cutting_what_may_be_cut(site: Site) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 74))
    command = [sys.executable, "-m", "inferpool", "get", "tasks", "--server", site.url]
    subprocess.run(command, stdout=theirs, check=True)
    os.close(theirs)
    lines = os.read(ours, 100_000).decode().splitlines()
    os.close(ours)
    assert all(site.tasks[one] in "".join(lines) for one in site.tasks)
    assert len(lines) == 1 + len(site.tasks)
