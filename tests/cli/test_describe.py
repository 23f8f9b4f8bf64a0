"""Claims about `inferpool describe`: all about one thing."""

import json

from tests.cli.played import Site
from tests.cli.typed import Typed


def facts(output: str) -> dict[str, str]:
    """The facts that stand in one line each."""
    lines = [line for line in output.splitlines() if not line.startswith(" ")]
    return {name: said.strip() for name, _, said in (line.partition(":") for line in lines)}


def test_a_task_is_told_with_its_bodies_with_its_attempts(site: Site, typed: Typed) -> None:
    told = typed("describe", "task", site.tasks["streamed"], "--server", site.url)
    assert told.code == 0
    known = facts(told.output)
    assert (known["Task"], known["Status"]) == (site.tasks["streamed"], "completed")
    assert known["Attempt"] == "1 (tries used: 0 of 3)"
    assert known["Created"].endswith(" ago)")
    assert "What is grey?" in told.output
    assert "Grey is the sea." in told.output
    assert f"on tiny@desk (session {site.session_id})" in told.output
    assert "  book: seven" in told.output
    assert "Held by" not in told.output


def test_the_wide_form_names_empty_fields_too(site: Site, typed: Typed) -> None:
    known = facts(typed("describe", "task", site.tasks["pending"], "--server", site.url, "-o", "wide").output)
    assert known["Held by"] == "-"
    assert known["Position"] == "1 in its lane"
    assert known["Expires"].count("(in ") == 1


def test_a_failed_task_tells_why(site: Site, typed: Typed) -> None:
    told = typed("describe", "task", site.tasks["error"], "--server", site.url)
    assert facts(told.output)["Status"] == "error (engine_error)"
    assert "too many words" in told.output
    assert "1  failed after" in told.output


def test_json_holds_the_task_with_its_history(site: Site, typed: Typed) -> None:
    told = json.loads(typed("describe", "task", site.tasks["error"], "--server", site.url, "-o", "json").output)
    assert told["task"]["id"] == site.tasks["error"]
    assert [one["ending"] for one in told["attempts"]] == ["failed"]


def test_without_a_name_the_newest_are_told(site: Site, typed: Typed) -> None:
    assert typed("describe", "tasks", "--server", site.url, "--limit", "2", "-o", "name").output.split() == [
        site.tasks["pending"],
        site.tasks["running"],
    ]
    listed = json.loads(typed("describe", "tasks", "--server", site.url, "--limit", "3", "-o", "json").output)
    assert len(listed["data"]) == 3
    assert typed("describe", "tasks", "--server", site.url, "--limit", "2").output.count("\nStatus:") == 2


def test_an_llm_is_told(site: Site, typed: Typed) -> None:
    known = facts(typed("describe", "llm", "tiny@desk", "--server", site.url).output)
    assert (known["Pool"], known["Session"], known["Endpoints"]) == ("tiny", site.session_id, "any")
    listed = json.loads(typed("describe", "llms", "--server", site.url, "-o", "json").output)
    assert [one["name"] for one in listed["data"]] == ["tiny@desk"]


def test_a_session_is_told(site: Site, typed: Typed) -> None:
    told = typed("describe", "session", site.session_id, "--server", site.url)
    assert (facts(told.output)["Worker"], facts(told.output)["Version"]) == ("desk", "9.9")
    assert "  gpu: none" in told.output
    assert (
        "worker:\n  name: desk"
        in typed("describe", "session", site.session_id, "--server", site.url, "-o", "yaml").output
    )
    assert "desk" in typed("describe", "sessions", "--server", site.url).output


def test_a_pool_is_told_with_its_llms(site: Site, typed: Typed) -> None:
    told = typed("describe", "pool", "tiny", "--server", site.url)
    known = facts(told.output)
    assert (known["Pool"], known["Pending"]) == ("tiny", "1")
    assert "  tiny@desk: " in told.output
    assert typed("describe", "pools", "--server", site.url, "-o", "name").output == "tiny\n"
