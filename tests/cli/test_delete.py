"""Claims about `inferpool delete`."""

import json

from tests.cli.played import Site
from tests.cli.typed import Typed


def test_a_task_that_has_ended_is_gone_afterwards(own_site: Site, typed: Typed) -> None:
    task_id = own_site.tasks["error"]
    assert typed("delete", "task", task_id, "--server", own_site.url) == (0, f"task {task_id} deleted\n", "")
    again = typed("delete", "tasks", task_id, "--server", own_site.url)
    assert again.code == 1
    assert again.errors.startswith(f"error: task {task_id}: ")


def test_a_task_that_lives_is_refused(site: Site, typed: Typed) -> None:
    told = typed("delete", "task", site.tasks["pending"], "--server", site.url)
    assert (told.code, told.output) == (1, "")
    assert told.errors.count("\n") == 1


def test_what_it_was_is_told_once_more(own_site: Site, typed: Typed) -> None:
    told = typed("delete", "task", own_site.tasks["cancelled"], "--server", own_site.url, "-o", "json")
    assert json.loads(told.output)["status"] == "cancelled"
