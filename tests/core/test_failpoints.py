"""Claims about the places where a test stops the program."""

from collections.abc import Iterator

import pytest

from inferpool.core import failpoints


@pytest.fixture(autouse=True)
def _nothing_armed() -> Iterator[None]:
    failpoints.disarm()
    yield
    failpoints.disarm()


def test_an_armed_failpoint_acts_each_time_it_is_reached() -> None:
    seen: list[str] = []
    failpoints.arm("enqueue.before_commit", lambda: seen.append("here"))
    failpoints.reach("enqueue.before_commit")
    failpoints.reach("enqueue.after_commit")
    failpoints.reach("enqueue.before_commit")
    assert seen == ["here", "here"]


@pytest.mark.parametrize("name", sorted(failpoints.NAMES))
def test_reaching_a_failpoint_that_nobody_armed_does_nothing(name: str) -> None:
    failpoints.reach(name)


def test_an_undeclared_name_cannot_be_armed() -> None:
    with pytest.raises(ValueError, match=r"known: .*worker\.after_chunk"):
        failpoints.arm("nowhere", lambda: None)


def test_disarming_forgets_every_failpoint() -> None:
    seen: list[str] = []
    failpoints.arm("stream.after_chunk", lambda: seen.append("here"))
    failpoints.disarm()
    failpoints.reach("stream.after_chunk")
    assert seen == []
