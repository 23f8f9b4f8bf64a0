"""Claims about the arithmetic of the numbers that docs/deployment.md shows."""

from tests.deploy.sizing import Counters, row

BEFORE = Counters(wal=1000, images=0, commits=10, inserted=5, updated=8, in_place=4, deleted=1)
AFTER = Counters(wal=11_000, images=4, commits=30, inserted=25, updated=28, in_place=19, deleted=1)


def test_what_a_call_costs_is_what_came_meanwhile_shared_by_the_calls() -> None:
    found = AFTER.since(BEFORE).shared(10)
    assert (found.wal, found.images, found.commits, found.inserted) == (1000, 0.4, 2, 2)
    assert (found.updated, found.in_place, found.dead) == (2, 1.5, 2)


def test_a_line_tells_the_share_of_updates_that_touched_no_index() -> None:
    assert row("a call", AFTER.since(BEFORE).shared(10)) == "| a call | 1,000 | 0.40 | 2.00 | 2.00 | 2.00 | 75% |"
    resting = Counters(wal=10, images=0, commits=1, inserted=0, updated=0, in_place=0, deleted=0)
    assert row("nothing", resting).endswith("| 0.00 | 0.00 | 100% |")
