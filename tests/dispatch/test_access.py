"""Claims about tokens as a server knows them: whom they let in, how fast that ends."""

import hashlib
import itertools
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from inferpool.core.access import Caller, Limits, Role
from inferpool.core.clock import DAY, HOUR, SECOND
from inferpool.core.errors import NotFound, StoreUnavailable
from inferpool.core.ids import TokenId
from inferpool.dispatch.access import Access, MadeToken, Makers, Wish
from inferpool.store.sqlite import SqlitePair
from tests.store.builders import new_id
from tests.store.stores import SettableClock, opened_sqlite

pytestmark = pytest.mark.anyio


class Place:
    """One store with any number of servers on it."""

    def __init__(self, pair: SqlitePair, clock: SettableClock) -> None:
        self.pair = pair
        self.clock = clock
        self._secrets = map(str, itertools.count())

    def server(self) -> Access:
        return Access(self.pair.store, self.pair.reader, Makers(self.clock, new_id, self._secrets.__next__))


@pytest.fixture
async def place(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Place]:
    clock = SettableClock()
    async with opened_sqlite(tmp_path / "store.db", clock) as pair:
        yield Place(pair, clock)


async def made(access: Access, **changes: Role | Limits | int) -> MadeToken:
    wish = {"subject": "ann", "role": Role.CALLER, **changes}
    role, limits, expires_in = wish["role"], wish.get("limits", Limits()), wish.get("expires_in")
    assert isinstance(role, Role)
    assert isinstance(limits, Limits)
    assert expires_in is None or isinstance(expires_in, int)
    return await access.create(Wish(subject="ann", role=role, limits=limits, expires_in=expires_in))


async def test_a_server_is_open_until_the_first_token(place: Place) -> None:
    access = place.server()
    await access.recall()
    assert access.open
    await made(access)
    assert not access.open


async def test_a_server_never_opens_again(place: Place) -> None:
    access = place.server()
    token = await made(access)
    await access.revoke(token.token.id)
    restarted = place.server()
    await restarted.recall()
    assert not restarted.open


async def test_a_server_closes_within_a_second_of_a_token_made_elsewhere(place: Place) -> None:
    here, there = place.server(), place.server()
    await here.recall()
    await made(there)
    assert here.open
    await here.refresh()
    assert not here.open


async def test_a_token_begins_so_that_it_is_known_as_one_the_store_keeps_its_hash_alone(place: Place) -> None:
    access = place.server()
    token = await made(access)
    assert token.text.startswith("ip_")
    token_hash = hashlib.sha256(token.text.encode()).hexdigest()
    assert await place.pair.reader.valid_token(token_hash) == token.token


async def test_a_token_stands_for_its_subject_in_its_role_within_its_limits(place: Place) -> None:
    access = place.server()
    limits = Limits(frozenset({"m"}))
    token = await made(access, role=Role.PUBLISHER, limits=limits)
    caller = Caller("ann", Role.PUBLISHER, limits, token.token.id)
    assert access.known(token.text.encode()) is None
    assert await access.find(token.text.encode()) == caller
    assert access.known(token.text.encode()) == caller


async def test_what_is_no_token_lets_nobody_in(place: Place) -> None:
    access = place.server()
    await made(access)
    assert await access.find(b"ip_guess") is None
    assert access.known(b"ip_guess") is None


async def test_a_revocation_holds_at_once_where_it_is_asked_for(place: Place) -> None:
    access = place.server()
    token = await made(access)
    await access.find(token.text.encode())
    assert (await access.revoke(token.token.id)).revoked_at == place.clock.now
    assert access.known(token.text.encode()) is None
    assert await access.find(token.text.encode()) is None
    with pytest.raises(NotFound):
        await access.revoke(TokenId(new_id()))


async def test_a_revocation_elsewhere_holds_at_the_next_look(place: Place) -> None:
    here, there = place.server(), place.server()
    revoked, kept = await made(here), await made(here)
    for token in (revoked, kept):
        await here.find(token.text.encode())
    await there.revoke(revoked.token.id)
    await here.refresh()
    assert here.known(revoked.text.encode()) is None
    assert here.known(kept.text.encode()) is not None


async def test_an_expiry_holds_at_the_next_look_however_long_the_server_was_asleep(place: Place) -> None:
    access = place.server()
    token = await made(access, expires_in=HOUR)
    await access.find(token.text.encode())
    await access.refresh()
    assert access.known(token.text.encode()) is not None
    place.clock.advance(10 * DAY)
    await access.refresh()
    assert access.known(token.text.encode()) is None


async def test_the_day_of_the_last_use_is_written_once_a_day(place: Place) -> None:
    access = place.server()
    token = await made(access)
    days = []
    for _ in range(2):
        await access.find(token.text.encode())
        access.known(token.text.encode())
        await access.refresh()
        await access.refresh()
        stored = await place.pair.reader.token(token.token.id)
        assert stored is not None
        days.append(stored.last_used)
        place.clock.advance(DAY + SECOND)
        await access.refresh()
        access.known(token.text.encode())
    today = place.clock.now - 2 * (DAY + SECOND)
    assert days == [today - today % DAY, today - today % DAY + DAY]


async def test_when_the_store_cannot_tell_nobody_is_let_in_unasked(place: Place) -> None:
    access = place.server()
    token = await made(access)
    await access.find(token.text.encode())
    place.pair._writer._closing = True
    with pytest.raises(StoreUnavailable):
        await access.refresh()
    assert access.known(token.text.encode()) is None
    place.pair._writer._closing = False
    assert await access.find(token.text.encode()) is not None


async def test_whoever_follows_a_token_hears_of_its_end_once(place: Place) -> None:
    here, there = place.server(), place.server()
    token = await made(here)
    await here.find(token.text.encode())
    heard: list[str] = []
    with here.standing(token.token.id, partial(heard.append, "a")), here.standing(None, partial(heard.append, "local")):
        with here.standing(token.token.id, partial(heard.append, "b")):
            await here.refresh()
        assert heard == []
        await there.revoke(token.token.id)
        await here.refresh()
        assert heard == ["a"]
    await here.refresh()
    assert heard == ["a"]
    with here.standing(token.token.id, partial(heard.append, "too late")):
        assert heard == ["a", "too late"]
