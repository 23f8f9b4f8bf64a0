"""Claims about `inferpool replay`."""

from tests.cli.played import Site
from tests.cli.typed import Typed


def test_what_failed_or_was_cancelled_is_queued_again(own_site: Site, typed: Typed) -> None:
    ids = [own_site.tasks[state] for state in ("error", "cancelled")]
    told = typed("replay", *ids, "--server", own_site.url)
    assert told == (0, "".join(f"task {one} is queued again\n" for one in ids), "")
    listed = typed("get", "tasks", "--status", "pending", "--server", own_site.url, "-o", "name").output.split()
    assert set(ids) <= set(listed)


def test_what_has_an_answer_is_refused(site: Site, typed: Typed) -> None:
    told = typed("replay", site.tasks["streamed"], "--server", site.url, "-o", "json")
    assert (told.code, told.output) == (1, "")
    assert told.errors.startswith(f"error: task {site.tasks['streamed']}: ")
    assert told.errors.count("\n") == 1


def test_several_are_told_as_a_list(own_site: Site, typed: Typed) -> None:
    ids = [own_site.tasks[state] for state in ("error", "cancelled")]
    told = typed("replay", *ids, "--server", own_site.url, "-o", "yaml")
    assert told.output.startswith("data:\n")
    assert told.output.count("status: pending") == 2
