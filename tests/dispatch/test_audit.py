"""Claims about the trail on its way into the store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inferpool.core.access import AuditEntry
from inferpool.core.clock import SECOND
from inferpool.core.errors import StoreUnavailable
from inferpool.core.ids import TokenId
from inferpool.dispatch.audit import LINES_MOST, Deed, Trail
from inferpool.store.access_protocol import AuditFilter
from inferpool.store.sqlite import SqlitePair
from tests.store.builders import new_id
from tests.store.stores import START, SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio
DEED = Deed("ann", TokenId("t"), "POST /v1/chat/completions", "", "10.0.0.4", "done")


class Walk:
    """A trail with its store."""

    def __init__(self, pair: SqlitePair, clock: SettableClock) -> None:
        self.pair = pair
        self.clock = clock
        self.trail = Trail(pair.store, clock, new_id)

    async def kept(self) -> list[AuditEntry]:
        return await self.pair.reader.audit(AuditFilter(), None, 10)


@pytest.fixture
async def walk(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Walk]:
    clock = SettableClock()
    async with opened_sqlite(tmp_path / "store.db", clock) as pair:
        yield Walk(pair, clock)


async def test_a_deed_is_kept_as_it_was_noted(walk: Walk) -> None:
    walk.trail.note(DEED)
    await walk.trail.flush()
    [line] = await walk.kept()
    assert (line.subject, line.token_id, line.action) == ("ann", "t", "POST /v1/chat/completions")
    assert (line.resource, line.address, line.outcome, line.at, line.count) == ("", "10.0.0.4", "done", START, 1)


async def test_like_deeds_are_one_line_with_the_time_of_the_first(walk: Walk) -> None:
    for _ in range(3):
        walk.trail.note(DEED)
        walk.clock.advance(SECOND)
    walk.trail.note(DEED._replace(outcome="forbidden"))
    await walk.trail.flush()
    assert {(one.outcome, one.count, one.at) for one in await walk.kept()} == {
        ("done", 3, START),
        ("forbidden", 1, START + 3 * SECOND),
    }
    await walk.trail.flush()
    assert len(await walk.kept()) == 2


async def test_a_flood_of_different_refusals_is_counted(walk: Walk) -> None:
    for number in range(LINES_MOST + 50):
        walk.trail.note(DEED._replace(action=f"GET /{number}", outcome="unauthenticated"))
    await walk.trail.flush()
    newest = (await walk.kept())[0]
    assert (newest.action, newest.outcome, newest.count) == ("", "unauthenticated", 50)


async def test_what_the_store_refused_is_written_the_next_time(walk: Walk) -> None:
    walk.trail.note(DEED)
    walk.pair._writer._closing = True
    with pytest.raises(StoreUnavailable):
        await walk.trail.flush()
    walk.pair._writer._closing = False
    walk.clock.advance(SECOND)
    walk.trail.note(DEED)
    await walk.trail.flush()
    [line] = await walk.kept()
    assert (line.count, line.at) == (2, START)
