"""Claims about tokens: what is stored, which let in, how they end."""

import msgspec
import pytest

from inferpool.core.access import Limits, NewToken, Role, Token
from inferpool.core.clock import DAY, HOUR, MINUTE, SECOND
from inferpool.core.errors import Conflict, NotFound
from inferpool.core.ids import TokenId
from tests.store.builders import Rig, new_id

pytestmark = pytest.mark.anyio


def wanted(letter: str = "a", **changes: object) -> NewToken:
    """A token whose hash is that letter, 64 times."""
    plain = NewToken(id=TokenId(new_id()), hash=letter * 64, subject="ann", role=Role.CALLER)
    return msgspec.structs.replace(plain, **changes)


async def made(rig: Rig, letter: str = "a", **changes: object) -> Token:
    return await rig.store.create_token(wanted(letter, **changes))


@pytest.mark.parametrize("role", Role)
async def test_a_token_is_kept_as_it_was_asked_for(rig: Rig, role: Role) -> None:
    limits = Limits(frozenset({"tiny@desk", "b"}), frozenset({"qwen"}))
    token = await made(rig, role=role, limits=limits, expires_in=HOUR)
    assert (token.subject, token.role, token.llms, token.pools) == ("ann", role, ["b", "tiny@desk"], ["qwen"])
    assert (token.created_at, token.expires_at) == (rig.now(), rig.now() + HOUR)
    assert (token.revoked_at, token.last_used) == (None, None)
    assert await rig.reader.token(token.id) == token
    assert token.caller.limits == limits


async def test_a_token_is_found_by_its_hash_alone(rig: Rig) -> None:
    token = await made(rig)
    assert await rig.reader.valid_token("a" * 64) == token
    assert await rig.reader.valid_token("b" * 64) is None
    assert await rig.reader.token(TokenId(new_id())) is None


async def test_two_tokens_never_have_one_hash(rig: Rig) -> None:
    await made(rig)
    with pytest.raises(Conflict):
        await made(rig)
    assert len(await rig.reader.tokens(None, 10)) == 1


async def test_an_expired_token_lets_nobody_in(rig: Rig) -> None:
    token = await made(rig, expires_in=HOUR)
    rig.later(HOUR - SECOND)
    assert await rig.reader.valid_token("a" * 64) == token
    rig.later(SECOND)
    assert await rig.reader.valid_token("a" * 64) is None
    assert await rig.reader.token(token.id) == token


async def test_a_revoked_token_lets_nobody_in_from_then_on(rig: Rig) -> None:
    token = await made(rig)
    revoked = await rig.store.revoke_token(token.id)
    assert revoked == msgspec.structs.replace(token, revoked_at=rig.now())
    assert await rig.reader.valid_token("a" * 64) is None
    rig.later(HOUR)
    assert await rig.store.revoke_token(token.id) == revoked


async def test_a_token_that_is_not_there_cannot_be_revoked(rig: Rig) -> None:
    with pytest.raises(NotFound):
        await rig.store.revoke_token(TokenId(new_id()))


async def test_once_a_token_was_made_there_was_one_for_ever(rig: Rig) -> None:
    assert not await rig.reader.any_token()
    token = await made(rig)
    assert await rig.reader.any_token()
    await rig.store.revoke_token(token.id)
    rig.later(1000 * DAY)
    assert await rig.reader.any_token()


async def test_tokens_are_listed_newest_first_a_page_at_a_time(rig: Rig) -> None:
    tokens = [await made(rig, letter) for letter in "abc"][::-1]
    assert await rig.reader.tokens(None, 10) == tokens
    assert await rig.reader.tokens(tokens[0].id, 1) == tokens[1:2]


async def test_what_ceased_to_let_in_lately_is_told(rig: Rig) -> None:
    revoked, expiring = await made(rig, "a"), await made(rig, "b", expires_in=HOUR)
    await made(rig, "c", expires_in=DAY)
    assert await rig.reader.lapsed_tokens(MINUTE) == []
    await rig.store.revoke_token(revoked.id)
    assert await rig.reader.lapsed_tokens(MINUTE) == [revoked.id]
    rig.later(HOUR)
    assert await rig.reader.lapsed_tokens(MINUTE) == [expiring.id]
    rig.later(2 * MINUTE)
    assert await rig.reader.lapsed_tokens(MINUTE) == []


async def test_the_day_of_its_last_use_never_falls(rig: Rig) -> None:
    token = await made(rig)
    other = await made(rig, "b")
    await rig.store.use_tokens([(token.id, 2 * DAY), (TokenId("nobody"), DAY)])
    await rig.store.use_tokens([(token.id, DAY)])
    days = [(one.id, one.last_used) for one in await rig.reader.tokens(None, 10)]
    assert days == [(other.id, None), (token.id, 2 * DAY)]


@pytest.mark.parametrize("values", [("subject", ""), ("role", "owner"), ("hash", "ab")])
async def test_the_database_itself_refuses_what_is_no_token(rig: Rig, values: tuple[str, str]) -> None:
    await made(rig)
    with pytest.raises(rig.refusal):
        rig.sql(f"UPDATE tokens SET {values[0]} = ?", values[1])
