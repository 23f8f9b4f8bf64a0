"""What this server does about the hints of the others."""

import asyncio
from typing import assert_never

from inferpool.core.ids import ServerId
from inferpool.core.stream import Place
from inferpool.dispatch.moves import Moves
from inferpool.dispatch.notes import (
    AnyMessage,
    Freed,
    Heard,
    Parted,
    Relayed,
    SessionsChanged,
    Taken,
    TaskEnded,
    Tick,
    Unwatch,
    Waiting,
    Watch,
    Withdrawn,
)
from inferpool.dispatch.roaming import Roaming
from inferpool.dispatch.scheduler import Scheduler
from inferpool.dispatch.shared import Shared
from inferpool.dispatch.strand import Head


class Hearing:
    """The incoming side of the bus."""

    def __init__(self, shared: Shared, scheduler: Scheduler, moves: Moves, roaming: Roaming) -> None:
        self._catalog = shared.catalog
        self._backlog = shared.backlog
        self._feed = shared.feed
        self._peers = shared.peers
        self._announcer = shared.announcer
        self._scheduler = scheduler
        self._moves = moves
        self._roaming = roaming

    def hear(self, sender: ServerId, message: AnyMessage) -> None:  # noqa: C901 - one line a kind of message
        """Act on one message of another server."""
        match message:
            case Waiting():
                self._waiting(sender, message)
            case Relayed():
                self._relayed(sender, message)
            case TaskEnded():
                self._ended(message)
            case Taken():
                self._taken(message)
            case Freed():
                self._freed(message)
            case Watch():
                self._watch(sender, message)
            case Unwatch():
                self._announcer.interest.drop(message.task_id, sender)
            case SessionsChanged():
                self._roaming.changed(message.session_ids)
            case Heard():
                self._heard(message)
            case Withdrawn():
                self._backlog.ranker.withdrawn(message.lane, message.owner, message.priority, message.rank)
            case Parted():
                self._feed.part(message.task_id)
            case Tick():
                self._tick(sender, message)
            case _:
                assert_never(message)

    def _waiting(self, sender: ServerId, message: Waiting) -> None:
        for task_id in message.watched:
            self._announcer.interest.add(task_id, sender)
        self._catalog.know(message.lanes)
        self._moves.waiting(message.lanes)

    def _relayed(self, sender: ServerId, message: Relayed) -> None:
        strand = self._feed.find(message.task_id)
        if strand is None or strand.outcome is not None:
            self._announcer.tell(Unwatch(message.task_id), sender)
            return
        if not self._feed.relayed(message.task_id, message.attempt, message.first_seq, message.payloads):
            self._announcer.watch(strand, sender)
            return
        if message.status and strand.head is None and strand.attempt == message.attempt:
            strand.head = Head(message.status, message.content_type)
            strand.wake()
        self._announcer.relay([strand])

    def _ended(self, message: TaskEnded) -> None:
        self._announcer.interest.forget(message.task_id)
        self._moves.settle(message.task_id, Place(message.attempt, message.last_seq) if message.last_seq else None)

    def _taken(self, message: Taken) -> None:
        if found := self._catalog.held(message.session_id, message.task_id, message.attempt):
            self._scheduler.stop(*found, message.why)
            self._moves.over(found[1])

    def _freed(self, message: Freed) -> None:
        if found := self._catalog.held(message.session_id, message.task_id, message.attempt):
            self._scheduler.free(*found)
            self._moves.over(found[1])

    def _watch(self, sender: ServerId, message: Watch) -> None:
        self._announcer.interest.asked(message.task_id, sender, message.attempt, message.have)
        strand = self._feed.find(message.task_id)
        if strand is not None and strand.here:
            self._announcer.relay([strand])

    def _heard(self, message: Heard) -> None:
        now = asyncio.get_running_loop().time()
        for session_id in message.session_ids:
            session = self._catalog.sessions.get(session_id)
            if session is not None:
                session.heard_at = now

    def _tick(self, sender: ServerId, message: Tick) -> None:
        self._peers.ticked(sender, message, asyncio.get_running_loop().time())
        for news in message.lanes:
            if news.clock:
                self._backlog.ranker.merge_clock(news.lane, news.clock)
            if news.tasks or news.size:
                self._backlog.counts.know(news.lane, news.tasks, news.size)
        for flow in message.flows:
            self._backlog.ranker.added_elsewhere(flow.lane, flow.owner, flow.priority, flow.amount)
