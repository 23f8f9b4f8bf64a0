"""What every part of dispatch works with, handed over as one value."""

from collections.abc import Callable

import msgspec

from inferpool.core.clock import Clock, Jitter
from inferpool.core.ids import NewId, ServerId
from inferpool.dispatch.announcer import Announcer
from inferpool.dispatch.background import Background, Log
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.bus import Bus
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.feed import Feed
from inferpool.dispatch.options import DispatchOptions
from inferpool.dispatch.pace import Pace
from inferpool.dispatch.peers import Peers
from inferpool.dispatch.tally import Tally
from inferpool.store.protocol import Store, StoreReader


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """The store, the server's memory, what comes from outside."""

    store: Store
    reader: StoreReader
    options: DispatchOptions
    server_id: ServerId
    clock: Clock
    new_id: NewId
    new_secret: Callable[[], str]
    jitter: Jitter
    log: Log
    background: Background
    catalog: Catalog
    backlog: Backlog
    feed: Feed
    pace: Pace
    tally: Tally
    bus: Bus
    peers: Peers
    announcer: Announcer
