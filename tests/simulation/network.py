"""An in-memory network between processes: it delays, loses, repeats, cuts by a seeded plan.

A request goes to the application that serves its address at the moment of its arrival. Everything under way belongs to
no process, so that what was sent by a process that is killed meanwhile still arrives.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from random import Random
from types import TracebackType
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from inferpool.client.transport import HttpRequest, Reply, TransportError
from tests.simulation.link import Inbox, Link, Message, Outlet
from tests.simulation.loop import NEUTRAL, Process, VirtualLoop
from tests.simulation.trace import Trace
from tests.simulation.weather import CALM, Fate, Weather

Scope: TypeAlias = Message
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_PATIENCE_S = 20.0
"""Of a client that names no timeout, when its request is lost."""


class Network:
    """All hosts with all connections between them."""

    def __init__(self, loop: VirtualLoop, chance: Random, trace: Trace) -> None:
        self.loop = loop
        self.chance = chance
        self.trace = trace
        self.weather: Weather = CALM
        self.near: set[str] = set()
        """Addresses on the sender's own machine: the weather seldom reaches them."""
        self.faults: list[str] = []
        """What an application raised."""
        self.balancers: dict[str, Callable[[HttpRequest], str]] = {}
        """Addresses behind which others answer: chosen anew for each request, at its arrival."""
        self._hosts: dict[str, tuple[App, Process]] = {}
        self._links: dict[Link, None] = {}

    @property
    def open_links(self) -> int:
        """Connections that one side at least believes in."""
        return len(self._links)

    def asked(self, server: Process) -> int:
        """Requests that `server` answers, whose clients have neither closed their ends nor seen them break."""
        return sum(
            link.server is server and not link.closed and link.inbox.broken is None and not link.client.killed
            for link in self._links
        )

    def serve(self, address: str, app: App, process: Process) -> None:
        """Answer what arrives at `address` (host:port) by `app`, whose coroutines belong to `process`."""
        self._hosts[address] = (app, process)

    def refuse(self, address: str) -> None:
        """Nobody listens there any more."""
        self._hosts.pop(address, None)

    def transport(self, process: Process) -> "MemoryTransport":
        """What `process` calls others with."""
        return MemoryTransport(self, process)

    def latency(self) -> float:
        return self.weather.latency(self.chance)

    def later(self, delay_s: float, act: Callable[[], object]) -> None:
        """Do it then, whoever lives."""
        self.loop.call_later(delay_s, act, context=NEUTRAL)

    # ---- a request's fate ----------------------------------------------------------------------------------------

    def send(self, link: Link, request: HttpRequest) -> None:
        """Put a request on its way, to whatever fate."""
        self._links[link] = None
        sheltered = urlsplit(request.url).netloc in self.near and self.chance.random() < 0.8
        fate = Fate.DIRECT if sheltered else self.weather.fate(self.chance)
        if fate is not Fate.DIRECT:
            self.trace.note("network", f"{fate.value}: {request.method} {request.url} of {link.client.name}")
        match fate:
            case Fate.LOST:
                self._lose(link, request)
            case Fate.LATE:
                self._delay(link, request)
            case Fate.ANSWER_LOST:
                self._deliver_later(link, request, deaf=True)
            case Fate.REPEATED:
                self._deliver_later(link, request)
                again = Link(link.client, Inbox(self.loop, request))
                self._links[again] = None
                self.later(self.chance.uniform(0.0, 8.0), _Delivery(self, again, request, deaf=True).arrive)
            case Fate.CUT:
                self._deliver_later(link, request)
                self.later(self.chance.uniform(0.0, self.weather.cut_after_s), _Cut(self, link).happen)
            case Fate.DIRECT:
                link.inbox.undisturbed = not self.weather.jam
                self._deliver_later(link, request)

    def _deliver_later(self, link: Link, request: HttpRequest, *, deaf: bool = False) -> None:
        self.later(self.latency(), _Delivery(self, link, request, deaf=deaf).arrive)

    def _lose(self, link: Link, request: HttpRequest) -> None:
        patience_s = request.timeout_s or _PATIENCE_S
        wait_s = self.chance.choice((self.latency(), self.chance.uniform(0.0, patience_s)))
        self.later(wait_s, _Failure(link, "connection reset").happen)

    def _delay(self, link: Link, request: HttpRequest) -> None:
        given_up_s = self.chance.uniform(0.0, min(request.timeout_s or _PATIENCE_S, 5.0))
        self.later(given_up_s, _Failure(link, "no answer in time").happen)
        late = Link(link.client, Inbox(self.loop, request))
        self._links[late] = None
        arrives_s = given_up_s + self.chance.uniform(0.0, 15.0)
        self.later(arrives_s, _Delivery(self, late, request, deaf=True).arrive)

    # ---- ends of connections -------------------------------------------------------------------------------------

    def leave(self, link: Link) -> None:
        """The client closed its end: the server notices soon."""
        link.closed = True
        if link.outlet is None or link.outlet.finished:
            self.forget(link)
        else:
            self.later(self.latency(), link.outlet.disconnect)

    def forget(self, link: Link) -> None:
        """No side needs it any more."""
        self._links.pop(link, None)

    def vanish(self, process: Process) -> None:
        """A process was killed: the other ends of its connections notice, some late."""
        for link in list(self._links):
            if link.client is process:
                link.closed = True
                delay = self.latency() if self.chance.random() < 0.9 else self.chance.uniform(1.0, 40.0)
                if link.outlet is None:
                    self.forget(link)
                else:
                    self.later(delay, link.outlet.disconnect)
            if link.server is process:
                self.later(self.latency(), _Failure(link, "connection reset by peer").happen)
                self.forget(link)

    async def run_app(self, link: Link, app: App, outlet: Outlet, scope: Scope) -> None:
        """Answer one delivered request, in the context of its process."""
        try:
            await app(scope, outlet.receive, outlet.send)
        except Exception as error:  # noqa: BLE001 - whatever an application raises is a finding
            self.faults.append(f"{scope['method']} {scope['path']}: {error!r}")
            self.trace.note("network", f"application failed: {error!r}")
        if not outlet.finished:
            outlet.finished = True
            self.later(self.latency(), _Failure(link, "the server closed the connection").happen)
        self.forget(link)

    def host(self, address: str) -> tuple[App, Process] | None:
        """Who serves this address now."""
        return self._hosts.get(address)


class _Delivery:
    """A request that arrives; `deaf`: nobody sees its answer."""

    def __init__(self, network: Network, link: Link, request: HttpRequest, *, deaf: bool) -> None:
        self._network = network
        self._link = link
        self._request = request
        self._deaf = deaf

    def arrive(self) -> None:
        network, link = self._network, self._link
        target = urlsplit(self._request.url)
        choose = network.balancers.get(target.netloc)
        host = network.host(target.netloc if choose is None else choose(self._request))
        if host is None or host[1].killed:
            network.later(network.latency(), _Failure(link, "connection refused").happen)
            network.forget(link)
            return
        app, process = host
        outlet = Outlet(network.loop, self._request, link.inbox, network.latency)
        link.outlet, link.server = outlet, process
        link.inbox.answered_by = process.name
        if self._deaf:
            outlet.deaf = True
            network.later(network.chance.uniform(0.0, 3.0), _Break(link).happen)
        if link.closed:
            outlet.disconnect()
        work = network.run_app(link, app, outlet, _scope(self._request))
        process.spawn(network.loop, work, f"{self._request.method} {target.path}")


class _Failure:
    """The client's end breaks."""

    def __init__(self, link: Link, why: str) -> None:
        self._link = link
        self._why = why

    def happen(self) -> None:
        self._link.inbox.fail(self._why)


class _Break:
    """Both ends break, at once."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def happen(self) -> None:
        self._link.inbox.fail("connection reset")
        if self._link.outlet is not None:
            self._link.outlet.disconnect()


class _Cut:
    """The line is cut: nothing arrives any more; each end notices by itself, some late."""

    def __init__(self, network: Network, link: Link) -> None:
        self._network = network
        self._link = link

    def happen(self) -> None:
        network, link = self._network, self._link
        outlet = link.outlet
        if outlet is None or outlet.finished or link.closed:
            return
        outlet.deaf = True
        network.trace.note("network", f"a connection of {link.client.name} is cut")
        network.later(self._unnoticed_s(), _Failure(link, "cut").happen)
        network.later(self._unnoticed_s(), outlet.disconnect)

    def _unnoticed_s(self) -> float:
        """How long an end believes in a dead connection: until its system's probes go unanswered, at the most."""
        chance = self._network.chance
        half_open = chance.random() < self._network.weather.half_open
        return chance.uniform(0.0, 60.0) if half_open else chance.choice((0.001, chance.uniform(0.0, 5.0)))


class MemoryTransport:
    """The port of `client/transport.py`, over the network of the simulation."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process
        self.dead = False
        """Its process was killed: what its coroutines still try fails."""

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[Reply]:
        """See `Transport.open`."""
        if self.dead:
            raise TransportError("the process is dead")
        return _Exchange(self._network, self._process, request)


class _Exchange:
    """One request with its answer."""

    def __init__(self, network: Network, process: Process, request: HttpRequest) -> None:
        self._network = network
        self._request = request
        self._link = Link(process, Inbox(network.loop, request))

    @property
    def undisturbed(self) -> bool:
        """The network does nothing to this connection."""
        return self._link.inbox.undisturbed

    @property
    def answered_by(self) -> str:
        """The process that the request was delivered to; empty before."""
        return self._link.inbox.answered_by

    async def __aenter__(self) -> Reply:
        self._network.send(self._link, self._request)
        try:
            await self._link.inbox.wait_head()
        except BaseException:  # whatever ends the waiting, the connection is closed
            self._network.leave(self._link)
            raise
        return self._link.inbox

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._network.leave(self._link)


def _scope(request: HttpRequest) -> Scope:
    target = urlsplit(request.url)
    headers = {"host": target.netloc, "content-length": str(len(request.body)), **request.headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": target.scheme,
        "path": unquote(target.path),
        "raw_path": target.path.encode(),
        "query_string": target.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 50_000),
        "server": (target.hostname, target.port),
        "state": {},
    }
