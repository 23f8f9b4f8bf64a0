"""Claims about tables: they fit a terminal, they cut nothing in a pipe."""

import os
import pty
import subprocess
import sys
import termios

from tests.cli.played import Site


def on_a_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines that a terminal of so many columns shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    # Handed over, because readline may have set another size behind Python's back.
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    subprocess.run([sys.executable, "-m", "inferpool", *arguments], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    lines = os.read(ours, 100_000).decode().splitlines()
    os.close(ours)
    return lines


def test_a_table_fits_its_terminal_by_cutting_what_may_be_cut(site: Site) -> None:
    lines = on_a_terminal(74, "get", "tasks", "--server", site.url)
    assert all(site.tasks[one] in "".join(lines) for one in site.tasks)
    assert len(lines) == 1 + len(site.tasks)


def test_where_no_table_fits_each_thing_is_a_block_of_lines(site: Site) -> None:
    lines = on_a_terminal(40, "get", "tasks", "--server", site.url)
    assert [line for line in lines if len(line) > 40] == []
    place = lines.index(site.tasks["pending"])
    assert [line.split()[0] for line in lines[place + 1 : place + 5]] == ["STATUS", "MODEL", "TRY", "AGE"]


def test_a_long_command_shows_on_a_terminal_how_far_it_is_a_pipe_gets_the_result_alone(site: Site) -> None:
    command = [sys.executable, "-m", "inferpool", "doctor", "--database-url", str(site.database)]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert piped.stderr == ""
    ours, theirs = pty.openpty()
    seen = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert seen.stdout == piped.stdout
    assert "checking" in shown
    assert shown.endswith("\x1b[2K")  # what it drew is gone
