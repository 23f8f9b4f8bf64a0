"""Claims about `inferpool cancel`."""

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
    assert told.errors == f"error: task {site.tasks['streamed']} had ended before: completed\n"
