"""Claims about tables: they fit a terminal, they cut nothing in a pipe."""

import os
import pty
import signal
import subprocess
import sys
import termios

from inferpool.cli.acted import FEW
from tests.cli.played import Site
from tests.cli.test_every_command import stranger


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


def test_who_waits_for_a_server_sees_for_which_one() -> None:
    ours, theirs = pty.openpty()
    with stranger(None) as (url, _):
        command = [sys.executable, "-m", "inferpool", "get", "tasks", "--server", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
            os.close(theirs)
            shown = ""
            while f"waiting for {url}" not in shown:
                shown += os.read(ours, 4096).decode()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60)[0] == ""
    os.close(ours)
    assert process.returncode == 130


def test_many_tasks_are_told_one_by_one_above_a_bar(own_site: Site) -> None:
    ids = [own_site.tasks["pending"], *(f"01a20df5-0000-7000-8000-00000000000{number:x}" for number in range(FEW))]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 200))
    command = [sys.executable, "-m", "inferpool", "cancel", *ids, "--server", own_site.url]
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = "".join(iter(lambda: piece(ours), ""))
    os.close(ours)
    assert process.returncode == 1
    assert f"task {ids[0]} cancelled" in shown
    assert shown.count("error: task ") == FEW
    assert f"of {FEW + 1} tasks" in shown


def piece(terminal: int) -> str:
    """What comes next to it; empty once nobody writes there any more."""
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # how Linux says so
        return ""
