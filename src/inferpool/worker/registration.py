"""Registers this worker's session until the server takes it.

Spec section 4: every reconnect registers, each time under an epoch above any that this worker used, written down before
it is sent.
"""

from collections.abc import Callable
from typing import NamedTuple

from inferpool.client.server import ServerClient, SessionKey
from inferpool.client.transport import TransportError
from inferpool.core.errors import InferpoolError, ProtocolUnsupported, SessionReplaced
from inferpool.core.session import LlmOffer
from inferpool.wire.sessions import Holding, RegisterReply, RegisterRequest, WorkerInfo
from inferpool.worker.backoff import Backoff
from inferpool.worker.log import Log
from inferpool.worker.state import WorkerState


class Bound(NamedTuple):
    """An accepted registration."""

    key: SessionKey
    reply: RegisterReply


class Claims(NamedTuple):
    """What a registration says, asked for anew at each try."""

    worker: WorkerInfo
    llms: Callable[[], list[LlmOffer]]
    holding: Callable[[], list[Holding]]


class Registration:
    """Knows whether this process ever registered: only one that did not may try above a newer epoch."""

    def __init__(self, server: ServerClient, state: WorkerState, claims: Claims, backoff: Backoff, log: Log) -> None:
        self._server = server
        self._state = state
        self._claims = claims
        self._backoff = backoff
        self._log = log
        self._registered = False
        self._said = ""

    async def register(self) -> Bound:
        """Try for ever.

        Raises `SessionReplaced` when another process runs on this worker's state, `ProtocolUnsupported` when one side
        must be upgraded.
        """
        while True:
            bound = await self._try()
            if bound is not None:
                self._registered = True
                self._said = ""
                return bound
            await self._backoff.pause()

    async def _try(self) -> Bound | None:
        epoch = self._state.next_epoch()
        if epoch is None:
            self._say("the disk does not take the state file, which an epoch must be in before it is used")
            return None
        request = self._request(epoch)
        try:
            reply = await self._server.register(request, self._state.secret)
        except SessionReplaced as error:
            # The very epoch that was sent: something on the way repeated the request, the other copy was accepted. (Were it
            # another process, one of the two finds its own registration replaced: see `Link`.)
            if self._registered and error.epoch > epoch:
                raise
            self._state.raise_epoch(error.epoch)
            self._say(f"epoch {request.epoch} is used up, {error.epoch} was stored")
        except ProtocolUnsupported:
            raise
        except (TransportError, InferpoolError) as error:
            self._say(str(error))
        else:
            key = SessionKey(session_id=reply.session_id, secret=self._state.secret, epoch=reply.epoch)
            return Bound(key, reply)
        return None

    def _request(self, epoch: int) -> RegisterRequest:
        return RegisterRequest(
            session_id=self._state.session_id,
            epoch=epoch,
            worker=self._claims.worker,
            llms=self._claims.llms(),
            holding=self._claims.holding(),
        )

    def _say(self, message: str) -> None:
        if message != self._said:
            self._said = message
            self._log.warning("not registered yet, trying again", reason=message)
