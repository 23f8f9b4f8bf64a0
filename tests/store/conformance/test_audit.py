"""Claims about the audit: what is kept, how it is listed, how long."""

import msgspec
import pytest

from inferpool.core.access import AuditEntry
from inferpool.core.clock import DAY, HOUR
from inferpool.core.ids import TokenId
from inferpool.store.access_protocol import AuditFilter
from tests.store.builders import Rig, new_id

pytestmark = pytest.mark.anyio
ALL = AuditFilter()


def line(rig: Rig, **changes: object) -> AuditEntry:
    plain = AuditEntry(
        id=new_id(),
        at=rig.now(),
        subject="ann",
        token_id=TokenId("t"),
        action="POST /api/v1/tokens",
        resource="x",
        address="10.0.0.4",
        outcome="done",
        count=3,
    )
    return msgspec.structs.replace(plain, **changes)


async def kept(rig: Rig, **changes: object) -> AuditEntry:
    one = line(rig, **changes)
    await rig.store.write_audit([one])
    return one


async def test_a_line_is_kept_as_it_was_written(rig: Rig) -> None:
    known, unknown = await kept(rig), await kept(rig, subject="", token_id=None, outcome="unauthenticated", count=1)
    assert await rig.reader.audit(ALL, None, 10) == [unknown, known]


async def test_a_repeat_is_not_written_twice(rig: Rig) -> None:
    one = await kept(rig)
    await rig.store.write_audit([one, line(rig, subject="bob")])
    assert [entry.subject for entry in await rig.reader.audit(ALL, None, 10)] == ["bob", "ann"]
    await rig.store.write_audit([])


async def test_lines_are_listed_newest_first_a_page_at_a_time(rig: Rig) -> None:
    lines = [await kept(rig) for _ in range(3)][::-1]
    assert await rig.reader.audit(ALL, None, 2) == lines[:2]
    assert await rig.reader.audit(ALL, lines[0].id, 1) == lines[1:2]


async def test_filters_are_joined_by_and(rig: Rig) -> None:
    early = await kept(rig)
    rig.later(HOUR)
    late, denied = await kept(rig), await kept(rig, outcome="forbidden")
    await kept(rig, subject="bob")
    assert await rig.reader.audit(AuditFilter(subject="ann"), None, 10) == [denied, late, early]
    assert await rig.reader.audit(AuditFilter(subject="ann", outcome="done"), None, 10) == [late, early]
    assert await rig.reader.audit(AuditFilter(to_us=late.at), None, 10) == [early]
    assert await rig.reader.audit(AuditFilter(from_us=late.at, subject="ann"), None, 10) == [denied, late]


async def test_lines_are_deleted_with_age_no_more_than_the_limit_at_once(rig: Rig) -> None:
    for _ in range(5):
        await kept(rig)
    rig.later(DAY)
    young = await kept(rig)
    assert [await rig.store.delete_audit(DAY, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert await rig.reader.audit(ALL, None, 10) == [young]
