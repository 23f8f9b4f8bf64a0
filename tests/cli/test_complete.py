"""Claims about completion in the shell: commands, flags, the names that the server knows."""

import os
import subprocess
import sys

import pytest

from tests.cli.played import Site

PROGRAM = "from inferpool.cli.app import main; main()"


def completed(words: str, server: str = "http://127.0.0.1:9") -> list[str]:
    """What bash would offer for the last word."""
    environment = {
        **os.environ,
        "_INFERPOOL_COMPLETE": "complete_bash",
        "COMP_WORDS": f"inferpool {words}",
        "COMP_CWORD": str(len(words.split(" "))),
        "INFERPOOL_SERVER": server,
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_commands_and_flags_are_offered() -> None:
    assert "sessions" in completed("get ")
    assert completed("get tasks --sta") == ["--status"]


@pytest.mark.parametrize("words", ["get llms ", "chat ", "cancel "])
def test_a_server_that_is_not_there_offers_nothing_without_a_word(words: str) -> None:
    assert completed(words) == []


def test_names_come_from_the_server(site: Site) -> None:
    assert completed("get llms ti", site.url) == ["tiny@desk"]
    assert completed("chat t", site.url) == ["tiny", "tiny@desk"]
    assert completed("describe pool ", site.url) == ["tiny"]
    assert completed("get session ", site.url) == [site.session_id]
    assert set(completed("tail ", site.url)) == set(site.tasks.values())
    assert completed("get llms other", site.url) == []
