"""What a caller asks of the queue, in dispatch's own words."""

import msgspec

from inferpool.core.access import NO_LIMITS, Limits
from inferpool.core.clock import Micros
from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.core.task import EXPIRES_IN, MAX_TRIES, QueueMode
from inferpool.dispatch.watcher import Watcher


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One inference call. `body` is kept byte for byte; `model`, `streaming`, `priority` were read from it."""

    owner: str
    endpoint: str
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    model: str
    streaming: bool = False
    priority: str = "default"
    mode: QueueMode = QueueMode.WAIT
    pin: bool = False
    metadata: dict[str, str] = {}
    agent: str | None = None
    limits: Limits = NO_LIMITS
    """What the caller's token is bound to."""
    idempotency_key: str | None = None
    expires_in: Micros = EXPIRES_IN
    max_tries: int = MAX_TRIES
    watched: bool = True
    """The caller waits for the answer: the ticket carries a watcher."""
    persist: bool = False
    """The task runs on when its last watcher leaves."""


class Ticket(msgspec.Struct, frozen=True):
    """The durable task that a call became."""

    task_id: TaskId
    status: Status
    created: bool
    """False: the idempotency key led to a task that stood already."""
    watcher: Watcher | None
    """There when the call is `watched`; whoever took the ticket closes it."""
