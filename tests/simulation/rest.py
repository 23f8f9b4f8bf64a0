"""What must be left of a run once everything is healed: nothing."""

import asyncio
from collections import Counter

from inferpool.core.lifecycle import TERMINAL, Status
from inferpool.dispatch.live import LiveSession
from inferpool.dispatch.net import GUEST_S
from inferpool.dispatch.service import Dispatch
from inferpool.worker.run import Worker
from tests.simulation.cast import Cast


def unrest(cast: Cast) -> list[str]:
    """Everything that still waits, runs, or is remembered for no reason."""
    laws = cast.laws
    found = [f"{laws.name(row.id)} is {row}" for row in laws.rows if Status(row.status) not in TERMINAL]
    found += [f"{engine.name} runs {engine.running}" for engine in cast.engines if engine.running]
    for server in cast.servers:
        if server.dispatch is None:
            found.append(f"{server.name} is down")
        else:
            found += _of_dispatch(server.dispatch)
    found += _of_all([server.dispatch for server in cast.servers if server.dispatch is not None])
    for node in cast.workers:
        acting = [one.worker for one in node.acting]
        if len(acting) != 1 or acting[0] is None:
            found.append(f"{len(acting)} processes run as {node.name}")
        else:
            found += _of_worker(acting[0])
    return found


STOPS_S = 10.0
"""For a cancel frame to reach its worker, even one whose channel must be bound first."""


DROPS_S = 2.0
"""For a worker to end what it was told to drop."""


class Idleness:
    """Law 5: an engine that still works at what its worker no longer holds is stopped soon."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._since = dict.fromkeys((node.name for node in cast.workers), cast.loop.time())
        self._dropped: dict[tuple[str, int], float] = {}

    async def watch(self) -> None:
        """Look at the workers once a second, in any weather."""
        while True:
            await asyncio.sleep(1.0)
            for node in self._cast.nodes:
                if node.worker is not None and not node.process.halted:
                    self._look_at(node.name, node.worker)

    def _look_at(self, name: str, worker: Worker) -> None:
        """Whether the worker runs an attempt of which it has nothing more to say."""
        now = self._cast.loop.time()
        for key in worker._attempts._running:
            entry = worker._outbox.entries.get(key)
            if entry is not None and not entry.refused:
                self._dropped.pop(key, None)
            elif now - self._dropped.setdefault(key, now) > DROPS_S:
                self._dropped[key] = now
                self._cast.shared.breach(f"{name} still runs {key}, which was dropped")

    def begin(self) -> None:
        """From now on the weather is good."""
        self._since = dict.fromkeys(self._since, self._cast.loop.time())

    def look(self) -> None:
        """Compare what runs with what the rows say."""
        cast, now = self._cast, self._cast.loop.time()
        for node, engine in zip(cast.workers, cast.engine_processes, strict=True):
            asked = cast.world.network.asked(engine)
            held = [row for row in cast.laws.rows if row.claimed_by and str(row.claimed_llm).endswith(node.name)]
            if asked <= len(held):
                self._since[node.name] = now
            elif now - self._since[node.name] > STOPS_S:
                self._since[node.name] = now
                cast.shared.breach(f"{engine.name} works at {asked} requests, {node.name} holds {len(held)} tasks")


def _of_dispatch(dispatch: Dispatch) -> list[str]:
    found: list[str] = []
    backlog, feed = dispatch.backlog, dispatch.feed
    if backlog.counts.tasks or backlog.counts.size:
        found.append(f"the backlog counts {backlog.counts.tasks} tasks of {backlog.counts.size} bytes")
    if feed.size:
        found.append(f"the feed counts {feed.size} bytes")
    found += [
        f"the feed remembers {task_id}: attempt {strand.attempt}, {strand.watchers} watchers, {strand.outcome}"
        for task_id, strand in feed._strands.items()
    ]
    if dispatch.losses.orphans:
        found.append(f"{len(dispatch.losses.orphans)} orphans")
    for session in dispatch.catalog.sessions.values():
        found += _of_session(session)
    return found


def _of_all(servers: list[Dispatch]) -> list[str]:
    """What one server must know of another, or must not."""
    serving = Counter(session_id for dispatch in servers for session_id in dispatch.catalog.sessions)
    found = [] if serving else ["no session is there"]
    found += [f"{count} servers serve session {session_id}" for session_id, count in serving.items() if count > 1]
    alive = {dispatch._server_id for dispatch in servers}
    for dispatch in servers:
        if dispatch.peers._alive | {dispatch._server_id} != alive:
            found.append(f"{dispatch._server_id} knows {dispatch.peers._alive} of {alive}")
        found += [f"others follow {task_id}" for task_id in dispatch.net._announcer.interest._tasks]
        found += _of_guests(dispatch)
    return found


def _of_guests(dispatch: Dispatch) -> list[str]:
    found = []
    for guest in dispatch.catalog.guests.values():
        found += [f"guest {guest.id}: {held.task_id}/{held.attempt} is {held.state}" for held in guest.held.values()]
        silent_s = dispatch.feed.loop.time() - guest.heard_at
        if silent_s > GUEST_S + 2:
            found.append(f"guest {guest.id} is remembered after {silent_s:.0f} s")
    return found


def _of_session(session: LiveSession) -> list[str]:
    engines = [
        f"{engine.name}: {engine.used} used, {engine.reserved} reserved, claiming {engine.claiming}"
        for engine in session.engines.values()
        if engine.used or engine.reserved or engine.claiming
    ]
    held = [f"{held.task_id}/{held.attempt} is {held.state}" for held in session.held.values()]
    paused = [f"session {session.id}: paused {session.paused}"] if session.paused else []
    unbound = [f"session {session.id} has no channel"] if session.channel is None else []
    return engines + held + paused + unbound


def _of_worker(worker: Worker) -> list[str]:
    outbox = worker._outbox
    found = [f"the outbox holds {entry.key}" for entry in outbox.entries.values()]
    if outbox.pressure.chunks or outbox.pressure.bytes or outbox.pressure.kept_bytes:
        found.append(
            f"the outbox counts {outbox.pressure.chunks} chunks, {outbox.pressure.bytes} + {outbox.pressure.kept_bytes} bytes"
        )
    if worker._attempts._running:
        found.append(f"{len(worker._attempts._running)} attempts run")
    return found
