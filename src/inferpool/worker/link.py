"""Keeps this worker linked to its server: registers, follows the channel, registers anew when either side lost the other.

Spec section 4. Each accepted registration has one uplink task, which ends with the next registration; while the worker
registers, the older registration's uplink goes on for as long as the server takes it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from inferpool.client.server import ServerClient, SessionKey
from inferpool.client.transport import TransportError
from inferpool.core.errors import Conflict, InferpoolError, SessionReplaced, Unavailable
from inferpool.wire.sessions import Frame, RegisterReply, encode_events
from inferpool.worker.backoff import Backoff
from inferpool.worker.log import Log
from inferpool.worker.registration import Bound, Registration
from inferpool.worker.uplink import Uplink

_HEARTBEAT: Final = encode_events([])


class Link:
    """The worker's side of its session."""

    def __init__(
        self,
        server: ServerClient,
        registration: Registration,
        uplink: Uplink,
        new_backoff: Callable[[], Backoff],
        log: Log,
    ) -> None:
        self._server = server
        self._registration = registration
        self._uplink = uplink
        self._new_backoff = new_backoff
        self._backoff = new_backoff()
        self._log = log
        self._again = asyncio.Event()
        self._delivering: asyncio.Task[None] | None = None
        self._key: SessionKey | None = None
        self._leaving = False

    def register_again(self) -> None:
        """Other llms are to be published."""
        self._again.set()

    async def run(self, bound: Callable[[RegisterReply], None], hear: Callable[[Frame], None]) -> None:
        """Stay linked for ever; `bound` is called with each accepted registration, `hear` with each frame.

        Raises `SessionReplaced` when another process runs on this worker's state, `ProtocolUnsupported` when one side
        must be upgraded.
        """
        try:
            while True:
                accepted = await self._registration.register()
                await self._accept(accepted, bound)
                await self._follow(accepted.key, hear)
                await self._backoff.pause()
                await self._check_replaced(accepted.key)
        finally:
            await _end(self._delivering)

    async def _check_replaced(self, key: SessionKey) -> None:
        """Raises `SessionReplaced` when another process registered: the newest epoch of this one is that of `key`.

        Once the next is sent, a refusal does not tell whose epoch is stored: the way may have repeated our own request.
        Two processes on one state that did not ask would take the session from each other for ever.
        """
        try:
            async with asyncio.timeout(self._backoff.longest_s):
                await self._server.events(key, _HEARTBEAT)
        except SessionReplaced:
            raise
        except (TimeoutError, TransportError, InferpoolError):
            return  # nobody says that it was replaced

    async def fetch(self, path: str) -> bytes:
        """A big request body; asked for until the server gives it, or refuses for good (`InferpoolError`)."""
        backoff = self._new_backoff()
        while True:
            try:
                if self._key is not None:
                    return await self._server.request_body(self._key, path)
            except (TransportError, Conflict, Unavailable) as error:
                # No server now, or a registration is under way: the attempt waits with it, or is stopped.
                self._log.info("a request body is not there yet", reason=str(error))
            await backoff.pause()

    async def leave(self) -> None:
        """Tell the server that this worker takes nothing new, now as after each later registration."""
        self._leaving = True
        backoff = self._new_backoff()
        while self._key is not None and not await self._told_leave(self._key):
            await backoff.pause()

    async def _told_leave(self, key: SessionKey) -> bool:
        try:
            await self._server.leave(key)
        except (TransportError, InferpoolError) as error:
            self._log.warning("the server does not know yet that this worker leaves", reason=str(error))
            return False
        return True

    async def _accept(self, accepted: Bound, bound: Callable[[RegisterReply], None]) -> None:
        await _end(self._delivering)
        self._again.clear()
        self._key = accepted.key
        bound(accepted.reply)
        heartbeat_s = accepted.reply.heartbeat_s
        self._delivering = asyncio.create_task(self._uplink.run(accepted.key, heartbeat_s))
        if self._leaving:
            await self._told_leave(accepted.key)

    async def _follow(self, key: SessionKey, hear: Callable[[Frame], None]) -> None:
        """Return when the worker must register again."""
        channel = asyncio.create_task(self._listen(key, hear))
        again = asyncio.create_task(self._again.wait())
        tasks = [task for task in (self._delivering, channel) if task is not None]
        try:
            await asyncio.wait({*tasks, again}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    self._judge(task)
        finally:
            await _end(channel)
            await _end(again)

    def _judge(self, ended: asyncio.Task[None]) -> None:
        error = ended.exception()
        if isinstance(error, (TransportError, InferpoolError)) and not isinstance(error, SessionReplaced):
            self._log.warning("the link is lost, registering again", reason=str(error))
        elif error is not None:
            raise error

    async def _listen(self, key: SessionKey, hear: Callable[[Frame], None]) -> None:
        async with self._server.channel(key) as frames:
            self._log.info("linked to the server", session_id=key.session_id, epoch=key.epoch)
            async for frame in frames:
                self._backoff.reset()
                hear(frame)


async def _end(task: asyncio.Task[None] | asyncio.Task[bool] | None) -> None:
    """Cancel the task, wait for it. What server or network did to it no longer matters; a fault of our own is raised."""
    if task is None:
        return
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception) and not isinstance(outcome, (TransportError, InferpoolError)):
        raise outcome
