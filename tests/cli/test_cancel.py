"""Claims about `inferpool cancel`."""

import json

from tests.cli.played import Site
from tests.cli.typed import Typed


def test_a_waiting_task_is_cancelled_as_is_a_running_one(own_site: Site, typed: Typed) -> None:
    for state in ("pending", "running"):
        task_id = own_site.tasks[state]
        assert typed("cancel", task_id, "--server", own_site.url) == (0, f"task {task_id} cancelled\n", "")
        assert typed("get", "task", task_id, "--server", own_site.url).lines[1][1] == "cancelled"


def test_a_task_that_had_ended_is_a_failure(site: Site, typed: Typed) -> None:
    told = typed("cancel", site.tasks["streamed"], "--server", site.url)
    assert (told.code, told.output) == (1, "")
    assert told.errors == f"error: task {site.tasks['streamed']}: it had ended before: completed\n"


def test_several_are_cancelled_those_that_refuse_are_told(own_site: Site, typed: Typed) -> None:
    pending, ended, running = (own_site.tasks[state] for state in ("pending", "streamed", "running"))
    told = typed("cancel", pending, ended, running, "--server", own_site.url, "-o", "name")
    assert (told.code, told.output.split()) == (1, [pending, running])
    assert told.errors == f"error: task {ended}: it had ended before: completed\n"


def test_the_cancelled_task_is_told_as_the_api_tells_it(own_site: Site, typed: Typed) -> None:
    told = typed("cancel", own_site.tasks["pending"], "--server", own_site.url, "-o", "json")
    assert json.loads(told.output)["status"] == "cancelled"
