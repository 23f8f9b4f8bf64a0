"""What this server has to tell the others, until the bus takes it.

Nothing is kept while there is no other server. What the same sending would tell twice is told once.
"""

from collections.abc import Iterable, Iterator

from inferpool.core.ids import ServerId, SessionId, TaskId
from inferpool.core.lanes import PRIORITY_CLASSES
from inferpool.dispatch.bus import Bus, Letter
from inferpool.dispatch.interest import Interest
from inferpool.dispatch.notes import (
    AnyMessage,
    Freed,
    Heard,
    Parted,
    SessionsChanged,
    Taken,
    TaskEnded,
    Waiting,
    Watch,
    Withdrawn,
)
from inferpool.dispatch.peers import Peers
from inferpool.dispatch.strand import Strand
from inferpool.store.protocol import Moved


class Announcer:
    """The outgoing side of the bus."""

    def __init__(self, bus: Bus, peers: Peers) -> None:
        self._bus = bus
        self._peers = peers
        self.interest = Interest()
        self._lanes: dict[str, None] = {}
        self._watched: dict[TaskId, None] = {}
        self._sessions: dict[SessionId, None] = {}
        self._strands: dict[Strand, None] = {}
        self._letters: list[Letter] = []

    def collect(self) -> Iterator[Letter]:
        """All that is to be told now."""
        lanes, self._lanes = self._lanes, {}
        watched, self._watched = self._watched, {}
        sessions, self._sessions = self._sessions, {}
        strands, self._strands = self._strands, {}
        letters, self._letters = self._letters, []
        if sessions:
            yield None, SessionsChanged(list(sessions))
        if lanes or watched:
            yield None, Waiting(list(lanes), list(watched))
        for strand in strands:
            yield from self.interest.news(strand)
        yield from letters

    def tell(self, message: AnyMessage, to: ServerId | None = None) -> None:
        """Say it to one server, or to all of them."""
        if self._peers.any:
            self._letters.append((to, message))
            self._bus.wake()

    def waiting(self, lane: str, watched: TaskId | None = None) -> None:
        """The lane has something to claim; `watched`: the task, if a caller follows it here."""
        if self._peers.any:
            self._lanes[lane] = None
            if watched is not None:
                self._watched[watched] = None
            self._bus.wake()

    def sessions(self, session_ids: Iterable[SessionId]) -> None:
        """These sessions, or what they publish, changed in the rows."""
        if self._peers.any:
            self._sessions.update(dict.fromkeys(session_ids))
            self._bus.wake()

    def relay(self, strands: Iterable[Strand]) -> None:
        """There are new chunks: whoever follows one of these tasks elsewhere gets them."""
        followed = [strand for strand in strands if strand.task_id in self.interest]
        if followed:
            self._strands.update(dict.fromkeys(followed))
            self._bus.wake()

    def ended(self, strand: Strand | None, task_id: TaskId, attempt: int) -> None:
        """The task has its end: whoever follows it elsewhere reads it."""
        if task_id not in self.interest:
            return
        last_seq = 0
        if strand is not None and strand.attempt == attempt:
            last_seq = len(strand.chunks)
            self._letters.extend(self.interest.news(strand))
        self.interest.forget(task_id)
        self.tell(TaskEnded(task_id, attempt, last_seq))

    def taken(self, task: Moved, why: str) -> None:
        """An attempt of a session that another server serves was taken from it."""
        if task.session_id is not None:
            self.tell(Taken(task.session_id, task.task_id, task.attempt, why))

    def freed(self, server_id: ServerId, session_id: SessionId, task_id: TaskId, attempt: int) -> None:
        """A worker told us how an attempt ended whose session the other server serves."""
        self.tell(Freed(session_id, task_id, attempt), server_id)

    def withdrawn(self, task: Moved) -> None:
        """A pending task ended."""
        self.tell(Withdrawn(task.lane, task.owner, PRIORITY_CLASSES[task.priority], task.rank))

    def heard(self, server_id: ServerId, session_ids: list[SessionId]) -> None:
        """Sessions that the other server serves spoke to us."""
        self.tell(Heard(session_ids), server_id)

    def watch(self, strand: Strand, server_id: ServerId | None = None) -> None:
        """A task is followed here: ask the server where it runs, or all of them, for what is missing."""
        self.tell(Watch(strand.task_id, strand.attempt, len(strand.chunks)), server_id)

    def parted(self, task_id: TaskId) -> None:
        """A replay, or a purge."""
        self.tell(Parted(task_id))
