"""The uplink of one registration: batches of the outbox go to the server one at a time.

Design section 5: what piles up while a POST is under way is the next batch, so an idle worker's event leaves at once, a
busy one's batches grow by themselves.
"""

import asyncio

from inferpool.client.server import ServerClient, SessionKey
from inferpool.client.transport import TransportError
from inferpool.core.errors import InferpoolError, InvalidRequest, SessionInactive, SessionReplaced, TooLarge
from inferpool.core.failpoints import reach
from inferpool.wire.sessions import EventsReply
from inferpool.worker.backoff import Backoff
from inferpool.worker.batch import Batch
from inferpool.worker.log import Log
from inferpool.worker.outbox import Outbox


class Uplink:
    """Delivers until the server no longer takes the registration's word."""

    def __init__(self, server: ServerClient, outbox: Outbox, backoff: Backoff, log: Log) -> None:
        self._server = server
        self._outbox = outbox
        self._backoff = backoff
        self._log = log
        self._away = False

    async def run(self, key: SessionKey, heartbeat_s: float) -> None:
        """Never returns; raises `SessionInactive` or `SessionReplaced` when the server says so."""
        while True:
            await self._something(heartbeat_s)
            batch = self._outbox.next_batch()
            reply = await self._delivered(key, batch)
            if reply is not None:
                self._outbox.settle(batch, reply)

    async def _something(self, heartbeat_s: float) -> None:
        if self._outbox.pending.is_set():
            return
        try:
            async with asyncio.timeout(heartbeat_s):
                await self._outbox.pending.wait()
        except TimeoutError:
            return  # an empty batch is the heartbeat

    async def _delivered(self, key: SessionKey, batch: Batch) -> EventsReply | None:
        """Send the batch, byte for byte the same, until an answer was read; None: it is to be made anew."""
        while True:
            try:
                reply = await self._server.events(key, batch.body)
            except (SessionInactive, SessionReplaced):
                raise
            except (InvalidRequest, TooLarge) as error:
                self._too_much(batch, error)
                return None
            except (TransportError, InferpoolError) as error:
                self._trouble(error)
                await self._backoff.pause()
            else:
                if batch.ends:
                    reach("worker.after_send")
                self._fine()
                return reply

    def _too_much(self, batch: Batch, error: InferpoolError) -> None:
        if batch.events > 1:
            self._outbox.unsend(batch)
            return
        self._log.error("the server cannot take an event", code=error.code, error=error.message)
        self._outbox.condemn(batch, f"the server could not take the answer: {error.message}")

    def _trouble(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            self._log.warning("the server does not take events: they wait here", error=str(error))
            self._outbox.shelving.server_away()

    def _fine(self) -> None:
        if self._away:
            self._away = False
            self._backoff.reset()
            self._log.info("the server takes events again")
            self._outbox.shelving.server_back()
