"""The life of a session: registering, binding, leaving, its end."""

from collections.abc import Collection
from typing import NamedTuple

from inferpool.core.access import LOCAL
from inferpool.core.clock import Micros
from inferpool.core.errors import Forbidden, NameInUse, SessionInactive, SessionReplaced
from inferpool.core.ids import ServerId, SessionId
from inferpool.core.session import HeldAttempt, LlmOffer, Registration
from inferpool.core.task import HeldTask
from inferpool.store.connection import Connection, Row, TransactionLost
from inferpool.store.protocol import Moved, Registered, SessionLoss
from inferpool.store.rows import (
    ADOPT,
    DEACTIVATE,
    HELD,
    LLM_OWNER,
    LLMS_OF_SESSION,
    LOST,
    REVERT,
    SESSION_LOCKED,
    LlmOwner,
    LockedSession,
)
from inferpool.store.statements import json_text
from inferpool.store.tasks import now_us


async def register(connection: Connection, wish: Registration, dead_after: Micros) -> Registered:
    """Take a registration whole or not at all.

    A server without a heartbeat for `dead_after` is dead. Raises `Forbidden`, `SessionReplaced`, `NameInUse`.
    """
    now = await now_us(connection)
    before = await _locked(connection, wish.session_id, now - dead_after)
    if before is not None:
        _check_known(before, wish)
    owners = await connection.read(LLM_OWNER, [(name,) for name in sorted({llm.name for llm in wish.llms})])
    for owner in owners:
        _check_name(owner, wish)
    await _publish(connection, wish, now, {one.name for one in owners})
    was_dead = before is not None and before.server_id != wish.server_id and not before.alive
    moved = await _revert_unlisted(connection, wish, counts=not was_dead)
    moved += await _adopt_listed(connection, wish, now)
    held = {(one.task_id, one.attempt): one for one in await _held(connection, wish.session_id)}
    listed = {llm.name for llm in wish.llms}
    return Registered(
        epoch=wish.epoch,
        llms=[llm for llm in await connection.read(LLMS_OF_SESSION, [(wish.session_id,)]) if llm.name in listed],
        resume=[held[one.task_id, one.attempt] for one in wish.holding if (one.task_id, one.attempt) in held],
        drop=[one for one in wish.holding if (one.task_id, one.attempt) not in held],
        moved=moved,
    )


class Speaker(NamedTuple):
    """Who speaks for a session, at which server."""

    session_id: SessionId
    epoch: int
    server_id: ServerId


async def bind(connection: Connection, speaker: Speaker, dead_after: Micros) -> list[HeldTask]:
    """Move the session to this server, once an epoch. Raises `SessionReplaced`, `SessionInactive`."""
    now = await now_us(connection)
    session = await _spoken_by(connection, speaker.session_id, speaker.epoch, now - dead_after)
    if not session.active or (session.server_id != speaker.server_id and not session.alive):
        raise SessionInactive("the session has ended or its server is gone: register again")
    if session.bound:
        raise SessionInactive("this epoch has had its channel: register again for another")
    await connection.write("bind", [(speaker.server_id, now, speaker.session_id, speaker.epoch)])
    return await _held(connection, speaker.session_id)


async def leave(connection: Connection, session_id: SessionId, epoch: int | None) -> None:
    """Begin the leave; one that has begun, or is over, stays as it is. Raises `SessionReplaced`, `SessionInactive`."""
    now = await now_us(connection)
    await _spoken_by(connection, session_id, epoch, now)
    await connection.write("leave", [(session_id,)])
    await connection.write("quiet_llms", [(now, session_id)])


async def rescue(connection: Connection, loss: SessionLoss, dead_after: Micros) -> list[Moved] | None:
    """As `deactivate`, if also the session's server has had no heartbeat for `dead_after`."""
    await connection.write("hold_server", [(loss.server_id,)])
    return await deactivate(connection, loss, await now_us(connection) - dead_after)


async def deactivate(
    connection: Connection, loss: SessionLoss, server_dead_since: Micros | None = None
) -> list[Moved] | None:
    """End the session if it still stands as `loss` says; what it held reverts, without a try after a leave."""
    now = await now_us(connection)
    key = (loss.session_id, loss.epoch, loss.server_id, now - loss.silent_for, server_dead_since)
    standing = await connection.read(DEACTIVATE, [key])
    if not standing:
        return None
    await connection.write("end_session", [(now, loss.session_id)])
    await connection.write("quiet_llms", [(now, loss.session_id)])
    counts = loss.counts and not standing[0].leaving
    held = [HeldAttempt(one.task_id, one.attempt) for one in await _held(connection, loss.session_id)]
    return await _revert(connection, loss.session_id, held, [] if not counts else _counted(held, loss.unwritten))


async def beat(connection: Connection, server_id: ServerId, heard: list[SessionId]) -> None:
    """Write the heartbeats of a server with those of its sessions."""
    now = await now_us(connection)
    await connection.write("beat_server", [(server_id, now)])
    await connection.write("beat_session", [(now, session_id) for session_id in heard])


async def _locked(connection: Connection, session_id: SessionId, alive_since: Micros) -> LockedSession | None:
    found = await connection.read(SESSION_LOCKED, [(alive_since, session_id)])
    return found[0] if found else None


async def _spoken_by(
    connection: Connection, session_id: SessionId, epoch: int | None, alive_since: Micros
) -> LockedSession:
    """The session, if it is known under this epoch (None: an operator speaks, under any)."""
    session = await _locked(connection, session_id, alive_since)
    if session is None:
        raise SessionInactive("the session is unknown: register")
    if epoch is not None and session.epoch != epoch:
        raise SessionReplaced(f"the session's epoch is {session.epoch}", session.epoch)
    return session


def _check_known(session: LockedSession, wish: Registration) -> None:
    if session.secret_hash != wish.secret_hash:
        raise Forbidden("the session's secret is wrong")
    # Who registered while the server was open had no subject yet: the secret proves that it is the same worker.
    if session.subject not in {wish.subject, LOCAL}:
        raise Forbidden("the session belongs to another subject")
    if wish.epoch <= session.epoch:
        raise SessionReplaced(f"the session registered already with epoch {session.epoch}", session.epoch)


def _check_name(owner: LlmOwner, wish: Registration) -> None:
    """Raises `NameInUse` unless the name is the session's own, or that of an ended one of the same subject."""
    if owner.session_id == wish.session_id:
        return
    if owner.session_id is None:
        raise NameInUse(f"the llm {owner.name!r} is a public one")
    if owner.active:
        raise NameInUse(f"the llm {owner.name!r} is published by another session")
    if owner.subject != wish.subject:
        raise NameInUse(f"the llm {owner.name!r} belongs to another subject")


async def _publish(connection: Connection, wish: Registration, now: Micros, known: Collection[str]) -> None:
    """Write the session with its llms; those whose names were known are taken over."""
    labels = json_text(wish.labels)
    worker = (wish.subject, wish.worker_name, wish.worker_version, labels, now, now, now, wish.secret_hash)
    first = await connection.change("put_session", [(wish.session_id, wish.epoch, wish.server_id, *worker)])
    listed = json_text([llm.name for llm in wish.llms])
    await connection.write("retire_llms", [(now, wish.session_id, listed)])
    rows = [(*_llm(wish.session_id, llm, now), llm.name if llm.name in known else None) for llm in wish.llms]
    if not all(first + await connection.change("put_llm", rows)):
        raise TransactionLost("another server registered the session, or one of its names, meanwhile")


def _llm(session_id: SessionId, llm: LlmOffer, now: Micros) -> Row:
    return (
        llm.name,
        session_id,
        llm.model,
        llm.type,
        llm.tier,
        llm.pool_name,
        llm.engine,
        llm.slots,
        llm.status,
        None if llm.endpoints is None else json_text(llm.endpoints),
        json_text(llm.extra),
        now,
        now,
    )


async def _held(connection: Connection, session_id: SessionId) -> list[HeldTask]:
    return await connection.read(HELD, [(session_id,)])


def _counted(held: list[HeldAttempt], unwritten: list[HeldAttempt]) -> list[HeldAttempt]:
    return [one for one in held if one not in unwritten]


async def _revert_unlisted(connection: Connection, wish: Registration, *, counts: bool) -> list[Moved]:
    """What the session held and lists no more goes back to the queue."""
    held = [HeldAttempt(one.task_id, one.attempt) for one in await _held(connection, wish.session_id)]
    gone = [one for one in held if one not in wish.holding]
    moved = await _revert(connection, wish.session_id, gone, _counted(gone, wish.unwritten) if counts else [])
    lost = await connection.read(LOST, [(wish.session_id,)])
    forgotten = [one for one in lost if one not in wish.holding]
    await connection.write("unlose", [(one.task_id, one.attempt, wish.session_id) for one in forgotten])
    return moved


async def _adopt_listed(connection: Connection, wish: Registration, now: Micros) -> list[Moved]:
    """What the session lost, still has, and nobody claimed since is its own again."""
    lost = await connection.read(LOST, [(wish.session_id,)])
    keys = [(now, one.task_id, one.attempt, wish.session_id) for one in lost]
    adopted = await connection.read(ADOPT, keys)
    await connection.write("unwrite_attempt", [(one.task_id, one.attempt) for one in adopted])
    return adopted


async def _revert(
    connection: Connection, session_id: SessionId, held: list[HeldAttempt], counted: list[HeldAttempt]
) -> list[Moved]:
    """Put the attempts back in the queue; those among `counted` cost a try each."""
    now = await now_us(connection)
    rows = [(now, one in counted, one.task_id, one.attempt, session_id) for one in held]
    await connection.write("revert_attempt", rows)
    return await connection.read(REVERT, [(*row, session_id) for row in rows])
