"""Claims about `inferpool get`: what it lists, in which form."""

import json

import pytest

from tests.cli.played import Site
from tests.cli.typed import Typed


def test_tasks_are_listed_with_their_states_the_newest_first(site: Site, typed: Typed) -> None:
    told = typed("get", "tasks", "--server", site.url)
    assert (told.code, told.errors) == (0, "")
    head, *rows = told.lines
    assert head == ["ID", "STATUS", "MODEL", "TRY", "AGE"]
    assert [row[0] for row in rows] == [
        site.tasks[one] for one in ("pending", "running", "cancelled", "error", "streamed")
    ]
    assert [row[1] for row in rows] == ["pending", "running", "cancelled", "error", "completed"]
    assert rows[3][2] == "(engine_error)"


def test_the_wide_form_has_more_columns_on_the_same_lines(site: Site, typed: Typed) -> None:
    head, *rows = typed("get", "tasks", "--server", site.url, "-o", "wide").lines
    assert {"LANE", "ENDPOINT", "PRIORITY", "OWNER", "SESSION", "ENDED"} < set(head)
    assert site.session_id in rows[1]
    assert rows[1][5:8] == ["pool:tiny", "chat/completions", "(stream)"]


def test_filters_are_joined(site: Site, typed: Typed) -> None:
    told = typed(
        "get", "tasks", "--server", site.url, "--status", "error", "--status", "pending", "--pool", "tiny", "-o", "name"
    )
    assert told.output.split() == [site.tasks["pending"], site.tasks["error"]]
    nothing = typed("get", "tasks", "--server", site.url, "--pool", "other")
    assert (nothing.code, nothing.output, nothing.errors) == (0, "", "no tasks found\n")


def test_a_limit_cuts_the_list(site: Site, typed: Typed) -> None:
    assert typed("get", "tasks", "--server", site.url, "--limit", "2", "-o", "name").output.split() == [
        site.tasks["pending"],
        site.tasks["running"],
    ]


def test_json_is_what_the_api_says(site: Site, typed: Typed) -> None:
    listed = json.loads(typed("get", "tasks", "--server", site.url, "-o", "json").output)
    assert len(listed["data"]) == 5
    one = json.loads(typed("get", "task", site.tasks["streamed"], "--server", site.url, "-o", "json").output)
    assert one["request"]["messages"][0]["content"] == "What is grey?"
    assert one["metadata"] == {"book": "seven"}


def test_yaml_is_the_same_in_the_form_that_people_read(site: Site, typed: Typed) -> None:
    lines = typed("get", "session", site.session_id, "--server", site.url, "-o", "yaml").output.splitlines()
    assert f'id: "{site.session_id}"' in lines
    assert "  labels:" in lines
    assert "    gpu: none" in lines


def test_one_task_is_a_line_of_the_list(site: Site, typed: Typed) -> None:
    told = typed("get", "tasks", site.tasks["error"], "--server", site.url)
    assert [row[0] for row in told.lines] == ["ID", site.tasks["error"]]


def test_llms_are_listed_by_name(site: Site, typed: Typed) -> None:
    assert [row[:4] for row in typed("get", "llms", "--server", site.url).lines] == [
        ["NAME", "STATUS", "POOL", "SLOTS"],
        ["tiny@desk", "active", "tiny", "1"],
    ]
    assert typed("get", "llm", "tiny@desk", "--server", site.url, "-o", "name").output == "tiny@desk\n"


def test_sessions_are_listed_with_their_workers(site: Site, typed: Typed) -> None:
    assert [row[:4] for row in typed("get", "sessions", "--server", site.url).lines] == [
        ["ID", "WORKER", "STATUS", "EPOCH"],
        [site.session_id, "desk", "active", "1"],
    ]


@pytest.mark.parametrize("kind", ["task", "llm", "session"])
def test_what_is_not_there_is_a_failure_in_one_line(site: Site, typed: Typed, kind: str) -> None:
    told = typed("get", kind, "nothing-like-this", "--server", site.url)
    assert (told.code, told.output) == (1, "")
    assert told.errors.startswith("error: ")
    assert told.errors.count("\n") == 1


def test_the_server_may_stand_in_the_environment(site: Site, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERPOOL_SERVER", site.url)
    assert typed("get", "llms", "-o", "name").output == "tiny@desk\n"


def test_pools_are_listed_with_what_runs_with_what_waits(site: Site, typed: Typed) -> None:
    head, row = typed("get", "pools", "--server", site.url).lines
    assert head == ["NAME", "ACTIVE", "SLOTS", "RUNNING", "PENDING", "OLDEST"]
    assert row[:1] == ["tiny"]
    assert row[4] == "1"
    wide = typed("get", "pool", "tiny", "--server", site.url, "-o", "wide").lines
    assert wide[1][-1] == "tiny@desk"
    assert typed("get", "pools", "--server", site.url, "-o", "name").output == "tiny\n"
    assert json.loads(typed("get", "pool", "tiny", "--server", site.url, "-o", "json").output)["pending"] == 1
