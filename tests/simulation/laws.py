"""The laws of spec section 3, held against every commit of the store.

After each commit the rows that decide are read on a connection of the checker's own. Whatever changed must be what one verb
of `core/lifecycle.py` makes of the row before; the columns that never change must not.
"""

import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from inferpool.core.ids import SessionId
from inferpool.core.lifecycle import TERMINAL, TRANSITIONS, Act, Refused, Standing, Status, Verb, advance
from tests.simulation.trace import Trace

_ROWS = """
SELECT id, status, attempt, tries, max_tries, ready, claimed_by, lost_by, mode,
       owner, lane, endpoint, model, streaming, priority, size, created_at,
       response_status, error_code, completed_at, length(response), rank, expires_at, deadline, claimed_llm
FROM tasks
"""
_LIVING = "SELECT count(*) FROM tasks WHERE status IN ('pending', 'claimed', 'running') AND instr(request, ?)"


class Row(NamedTuple):
    """The columns that the law speaks of."""

    id: str
    status: str
    attempt: int
    tries: int
    max_tries: int
    ready: int
    claimed_by: str | None
    lost_by: str | None
    mode: str
    owner: str
    lane: str
    endpoint: str
    model: str
    streaming: int
    priority: str
    size: int
    created_at: int
    response_status: int | None
    error_code: str | None
    completed_at: int | None
    response_size: int | None
    rank: float
    expires_at: int
    deadline: int | None
    claimed_llm: str | None

    @property
    def fixed(self) -> tuple[object, ...]:
        """Owner, request, routing: they never change."""
        return self[8:17]


_VERBS = (
    Verb.CLAIM,
    Verb.START,
    Verb.COMPLETE,
    Verb.GIVE_BACK,
    Verb.RETRY,
    Verb.FAIL,
    Verb.CANCEL,
    Verb.REVERT,
    Verb.ADOPT,
    Verb.EXPIRE,
    Verb.UNSERVED,
    Verb.REPLAY,
)
_LOSSES = frozenset({"give_back", "revert, forgotten", "forgotten"})
PROMPT_S = 2.5
"""Two messages in a jam may take longer than a wakeup that was missed: where there are jams, nobody asks."""
_SOMEBODY = SessionId("somebody")
"""A session that claims a row which is cancelled in the same commit: the row no longer names it."""
_FOLLOWING = (Verb.CLAIM, Verb.CANCEL, Verb.EXPIRE, Verb.UNSERVED)


class Laws:
    """Watches one database file through a whole run, whichever server writes it."""

    def __init__(self, path: Path, trace: Trace) -> None:
        self._file = path
        self._trace = trace
        self._connection: sqlite3.Connection | None = None
        self._rows: dict[str, Row] = {}
        self._counted: dict[str, bool] = {}
        """Whether the revert that set `lost_by` cost a try."""
        self._names: dict[str, str] = {}
        self._version = -1
        self._every: list[tuple[object, ...]] = []
        self.commits = 0
        self.seen: dict[str, int] = {}
        """How often each verb was seen: a run that never did one proves nothing of it."""
        self.broken: list[str] = []
        self.claimed_s: dict[tuple[str, int], float] = {}
        """When each attempt of each task was claimed first: nothing that was said before can be of it."""
        self.ended_s: dict[str, float] = {}
        self.disturbed_s: dict[str, float] = {}
        """When something was done to each server last: until then nothing there need be prompt."""
        self.lost: Callable[[Row, str], None] | None = None
        """Told of each held row that its session lost for good, with the verbs that did it."""
        self.cues: dict[tuple[str, int], Callable[[], None]] = {}
        """What to do at the n-th commit with this verb in it."""

    def name(self, name: str | None) -> str:
        """A short name for an identifier, by the order of its first appearance."""
        if name is None:
            return "-"
        return self._names.setdefault(name, f"t{len(self._names)}")

    def call(self, identifier: str, name: str) -> None:
        """Give an identifier a name that a person understands."""
        self._names[identifier] = name

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def row(self, task_id: str) -> Row | None:
        """A task as the last commit left it."""
        return self._rows.get(task_id)

    @property
    def rows(self) -> list[Row]:
        return list(self._rows.values())

    def look(self) -> None:
        """A commit may have happened: compare every row with what it was."""
        if self._connection is None:
            self._connection = sqlite3.connect(self._file, isolation_level=None)
        [(version,)] = self._connection.execute("PRAGMA data_version")
        if version == self._version:
            return
        self._version = version
        self.commits += 1
        every = self._connection.execute(_ROWS).fetchall()
        if every != self._every:
            self._compare(every)
            self._every = every

    def _compare(self, every: list[tuple[object, ...]]) -> None:
        for values in every:
            old = self._rows.get(str(values[0]))
            if old is None:
                self._appeared(self._keep(values))
            elif old != values:
                self._changed(old, self._keep(values))
        if len(every) < len(self._rows):
            for gone in self._rows.keys() - {str(values[0]) for values in every}:
                self._vanished(self._rows.pop(gone))

    def _keep(self, values: tuple[object, ...]) -> Row:
        row = self._rows[str(values[0])] = Row._make(values)
        if row.claimed_by is not None:
            self.claimed_s.setdefault((row.id, row.attempt), self._trace.now)
        if row.completed_at is None:
            self.ended_s.pop(row.id, None)
        else:
            self.ended_s.setdefault(row.id, self._trace.now)
        return row

    def lives(self, tag: str) -> bool:
        """Whether a task that asks with this tag has not ended."""
        if self._connection is None:
            return False
        [(count,)] = self._connection.execute(_LIVING, (f'"tag": "{tag}",',))
        return bool(count)

    def is_undisturbed(self, process: str, since_s: float) -> bool:
        """Whether nothing was done to the server, of which this is a process, since then."""
        return self.disturbed_s.get(process.rpartition("-")[0], math.inf) < since_s

    def check_prompt(self, who: str, task_id: str, asked: tuple[str, float]) -> None:
        """Whoever waited with an undisturbed connection to an undisturbed server hears of an end at once.

        `asked`: which process, since when. What befell the other servers is no excuse: a lost hint costs a poll.
        """
        ended_s, (process, asked_s) = self.ended_s.get(task_id), asked
        if ended_s is None or not self.is_undisturbed(process, min(ended_s, asked_s)):
            return
        waited_s = self._trace.now - max(ended_s, asked_s)
        if waited_s > PROMPT_S:
            self.broken.append(f"{who} heard of the end of {task_id} after {waited_s:.3f} s")

    def precedes(self, at_s: float, task_id: str, attempt: int) -> bool:
        """Whether something that was said then is older than the attempt."""
        return at_s < self.claimed_s.get((task_id, attempt), 0.0)

    def _vanished(self, old: Row) -> None:
        self._note(old, "gone")
        if Status(old.status) not in TERMINAL:
            self._break(old, "a task that had not ended vanished")

    def _appeared(self, row: Row) -> None:
        self._note(row, f"enqueued {_shown(row, self)}")
        if (row.status, row.attempt) not in {("pending", 0), ("claimed", 1)} or row.tries:
            self._break(row, f"a new task stands as {row.status}, attempt {row.attempt}")

    def _changed(self, old: Row, new: Row) -> None:
        if old.fixed != new.fixed:
            self._break(old, f"owner, request or routing changed: {old.fixed} {new.fixed}")
        if new.attempt < old.attempt:
            self._break(old, f"the attempt fell from {old.attempt} to {new.attempt}")
        if new.tries > new.attempt:
            self._break(old, f"{new.tries} tries in {new.attempt} attempts")
        path = self._path(old, new)
        if path is None:
            self._break(old, f"no verb leads from {_shown(old, self)} to {_shown(new, self)}")
            return
        self.seen[path] = self.seen.get(path, 0) + 1
        self._tell(old, path)
        self._note(new, f"{path}: {_shown(old, self)} -> {_shown(new, self)}")
        if "replay" not in path and old.rank != new.rank:
            self._break(old, "the rank changed")
        if Status(old.status) in TERMINAL and "replay" not in path:
            self._break(old, f"a row that had ended changed: {old} {new}")

    def _tell(self, old: Row, path: str) -> None:
        if self.lost is not None and path in _LOSSES:
            self.lost(old, path)
        cue = self.cues.pop((path, self.seen[path]), None)
        if cue is not None:
            cue()

    def _path(self, old: Row, new: Row) -> str | None:
        """The verbs that lead from one row to the other within one commit; None: the law knows no such way.

        A start rides on the commit of any other verb. A rule (a back-off is over, a revert, a give back) may share its
        commit with the claim that follows; two verbs that sessions speak never do.
        """
        target = _standing(new, lost_counted=False)
        before = _standing(old, lost_counted=self._counted.get(old.id, False))
        if before == msgspec.structs.replace(target, lost_counted=before.lost_counted):
            return "run on"
        for path, after in _paths(before, new):
            if msgspec.structs.replace(after, lost_counted=False) == target:
                self._counted[old.id] = after.lost_counted
                return path
        return None

    def _note(self, row: Row, what: str) -> None:
        self._trace.note("row", f"{self.name(row.id)} {what}")

    def _break(self, row: Row, what: str) -> None:
        law = f"{self.name(row.id)} ({row.id}): {what}"
        self._trace.note("LAW", law)
        self.broken.append(law)


def _standing(row: Row, *, lost_counted: bool) -> Standing:
    return Standing(
        status=Status(row.status),
        attempt=row.attempt,
        tries=row.tries,
        max_tries=row.max_tries,
        ready=bool(row.ready),
        claimed_by=_session(row.claimed_by),
        lost_by=_session(row.lost_by),
        lost_counted=lost_counted,
        patient=row.mode == "wait",
    )


def _session(name: str | None) -> SessionId | None:
    return None if name is None else SessionId(name)


def _paths(before: Standing, new: Row) -> Iterator[tuple[str, Standing]]:
    """Every way of one commit, the shortest first."""
    first: list[tuple[str, Standing]] = []
    for step in _steps(before, new, _VERBS):
        first.append(step)
        yield step
    if before.status is Status.CLAIMED:
        started = msgspec.structs.replace(before, status=Status.RUNNING)
        for verb, after in _steps(started, new, _VERBS):
            first.append((f"start, {verb}", after))
            yield first[-1]
    for one, middle in first:
        for two, after in _steps(middle, new, _FOLLOWING):
            yield f"{one}, {two}", after


def _steps(before: Standing, new: Row, verbs: tuple[Verb, ...]) -> Iterator[tuple[str, Standing]]:
    """Every row that one step makes of this one, where the sessions involved are those that the new row names."""
    if not before.ready:
        yield "ready", msgspec.structs.replace(before, ready=True)
    if before.lost_by is not None:
        yield "forgotten", msgspec.structs.replace(before, lost_by=None, lost_counted=False)
    sessions = {before.claimed_by: None, before.lost_by: None, _session(new.claimed_by): None, _SOMEBODY: None}
    for verb in verbs:
        if before.status in TRANSITIONS[verb].sources:
            acts = [
                Act(session=one, attempt=before.attempt, counts=counts) for one in sessions for counts in (True, False)
            ]
            yield from _done(before, verb, acts)


def _done(before: Standing, verb: Verb, acts: list[Act]) -> Iterator[tuple[str, Standing]]:
    for act in acts:
        try:
            after = advance(before, verb, act)
        except Refused:
            continue
        if after is not None:
            yield verb.value, after


def _shown(row: Row, laws: Laws) -> str:
    ready = "" if row.ready else " unready"
    by = f" by {laws.name(row.claimed_by)}" if row.claimed_by else ""
    lost = f" lost by {laws.name(row.lost_by)}" if row.lost_by else ""
    end = f" {row.error_code or row.response_status or ''}" if row.completed_at else ""
    return f"{row.status}{end}/{row.attempt}/{row.tries}{ready}{by}{lost}"
