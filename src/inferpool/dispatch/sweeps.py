"""Periodic clean-up: one small idempotent loop a duty."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from inferpool.core.errors import InferpoolError
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.roaming import Roaming
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.steps import repeat


class Duty(msgspec.Struct, frozen=True):
    """One kind of clean-up. `once` does at most `sweep_limit` rows in one transaction; it returns how many."""

    name: str
    once: Callable[[], Awaitable[int]]


class Sweeps:
    """The duties of this server."""

    def __init__(self, shared: Shared, moves: Moves, roaming: Roaming) -> None:
        self._store = shared.store
        self._reader = shared.reader
        self._catalog = shared.catalog
        self._moves = moves
        self._roaming = roaming
        self._options = shared.options
        self._alone = shared.bus.alone
        self._log = shared.log

    def duties(self) -> list[Duty]:
        """Every duty, each to be run by a loop of its own."""
        duties = [
            Duty("silent sessions", self._silent_sessions),
            Duty("old sessions", self._old_sessions),
            Duty("ended tasks", self._ended_tasks),
            Duty("stored chunks", self._stored_chunks),
            Duty("idempotency keys", self._keys),
            Duty("audit", self._audit),
        ]
        if not self._alone:
            duties.append(Duty("old servers", self._old_servers))
        return duties

    async def run(self, duty: Duty) -> None:
        """Sweep, wait, sweep again: until cancelled."""
        while True:
            await asyncio.sleep(self._options.sweep_s)
            await self.sweep(duty)

    async def sweep(self, duty: Duty) -> int:
        """Repeat the duty in steps until it finds nothing more. Returns the rows it took, 0 when it could not go on."""
        total = 0
        try:
            total = await repeat(duty.once, self._options.sweep_limit)
        except InferpoolError as error:  # the store is away or full: the next round tries again
            self._log.warning("sweep failed", duty=duty.name, code=error.code.value, message=error.message)
        if total:
            self._log.info("swept", duty=duty.name, rows=total)
        return total

    async def _silent_sessions(self) -> int:
        moved = await self._store.deactivate_silent(self._options.stale_after, self._options.sweep_limit)
        self._moves.apply(moved)
        await self._roaming.recheck(list(self._catalog.sessions))  # their workers register again
        return len(moved)

    async def _old_sessions(self) -> int:
        gone = await self._store.forget_sessions(self._options.forget_after, self._options.sweep_limit)
        if gone:
            await self._catalog.recall(self._reader)
        return gone

    async def _ended_tasks(self) -> int:
        return await self._store.delete_ended(self._options.keep_tasks, self._options.sweep_limit)

    async def _stored_chunks(self) -> int:
        return await self._store.delete_chunks(self._options.keep_chunks, self._options.sweep_limit)

    async def _keys(self) -> int:
        return await self._store.delete_keys(self._options.keep_keys, self._options.sweep_limit)

    async def _audit(self) -> int:
        return await self._store.delete_audit(self._options.keep_audit, self._options.sweep_limit)

    async def _old_servers(self) -> int:
        return await self._store.forget_servers(self._options.forget_after, self._options.sweep_limit)
