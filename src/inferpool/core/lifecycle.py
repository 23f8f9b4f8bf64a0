"""The states of a task with every verb that moves it: the one table that everything else is derived from.

Spec section 3. `TRANSITIONS` says which verb leads from where to where; `advance` says what each verb does to the
fields that decide later verbs. The store repeats this by compare-and-swap, and its conformance suite holds both
against each other, state by state and verb by verb.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from inferpool.core.ids import SessionId


class Status(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    CLAIMED = "claimed"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"
    CANCELLED = "cancelled"


PENDING: Final = frozenset({Status.PENDING})
HELD: Final = frozenset({Status.CLAIMED, Status.RUNNING})
TERMINAL: Final = frozenset({Status.COMPLETED, Status.ERROR, Status.CANCELLED})


class Verb(StrEnum):
    """What can be done to a stored task."""

    CLAIM = "claim"
    START = "start"
    ADOPT = "adopt"
    COMPLETE = "complete"
    FAIL = "fail"
    RETRY = "retry"
    REVERT = "revert"
    GIVE_BACK = "give_back"
    CANCEL = "cancel"
    EXPIRE = "expire"
    UNSERVED = "unserved"
    """A `live` or `never` call that waits again ends once no llm that could serve it is live (spec section 5)."""
    REPLAY = "replay"
    DELETE = "delete"


class Ending(StrEnum):
    """How an attempt ended: the word in its history row."""

    COMPLETED = "completed"
    FAILED = "failed"
    RETRIED = "retried"
    REVERTED = "reverted"
    RETURNED = "returned"
    CANCELLED = "cancelled"


class Rule(msgspec.Struct, frozen=True):
    """One line of the table. `target` is None for a row that is gone; `last` is where it ends when no try is left."""

    sources: frozenset[Status]
    target: Status | None
    last: Status | None = None
    fenced: bool = False
    """Spoken by a session: the row must name that session with that attempt."""


TRANSITIONS: Final[Mapping[Verb, Rule]] = {
    Verb.CLAIM: Rule(PENDING, Status.CLAIMED),
    Verb.START: Rule(HELD, Status.RUNNING, fenced=True),
    Verb.ADOPT: Rule(PENDING, Status.CLAIMED),
    Verb.COMPLETE: Rule(HELD, Status.COMPLETED, fenced=True),
    Verb.FAIL: Rule(HELD, Status.ERROR, fenced=True),
    Verb.RETRY: Rule(HELD, Status.PENDING, last=Status.ERROR, fenced=True),
    Verb.REVERT: Rule(HELD, Status.PENDING, last=Status.ERROR, fenced=True),
    Verb.GIVE_BACK: Rule(HELD, Status.PENDING, fenced=True),
    Verb.CANCEL: Rule(PENDING | HELD, Status.CANCELLED),
    Verb.EXPIRE: Rule(PENDING, Status.ERROR),
    Verb.UNSERVED: Rule(PENDING, Status.ERROR),
    Verb.REPLAY: Rule(frozenset({Status.ERROR, Status.CANCELLED}), Status.PENDING),
    Verb.DELETE: Rule(TERMINAL, None),
}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a row that decide which verb may come next."""

    status: Status = Status.PENDING
    attempt: int = 0
    tries: int = 0
    max_tries: int = 3
    ready: bool = True
    claimed_by: SessionId | None = None
    lost_by: SessionId | None = None
    lost_counted: bool = False
    """The revert that set `lost_by` counted a try (its history row tells): adopt takes it back."""
    patient: bool = True
    """False for a row inserted under `live` or `never`: a 429 ends it too."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Who does a verb, to which attempt, with what consequence."""

    session: SessionId | None = None
    attempt: int | None = None
    counts: bool = True
    """Whether a retry or a revert costs a try."""


class Refusal(StrEnum):
    """Why a verb was not done: the reasons of the uplink's answer (spec section 4)."""

    STALE = "stale"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Refused(Exception):
    """The law forbids the verb here; nothing changed."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


def permits(standing: Standing, verb: Verb, act: Act) -> bool:
    """Whether the law lets `act` do `verb` to a row that stands like this."""
    rule = TRANSITIONS[verb]
    if standing.status not in rule.sources:
        return False
    if rule.fenced and (act.session != standing.claimed_by or act.attempt != standing.attempt):
        return False
    guard = _GUARDS.get(verb)
    return guard is None or guard(standing, act)


def advance(standing: Standing, verb: Verb, act: Act) -> Standing | None:
    """The row after the verb; None when it is gone.

    Raises `Refused` when the law forbids it: nothing of an older attempt, or of another session, ever lands.
    """
    if not permits(standing, verb, act):
        raise Refused(refusal(standing))
    return _EFFECTS[verb](standing, act)


def refusal(standing: Standing | None) -> Refusal:
    """The reason that a worker is told for what it said about a row that stands like this."""
    if standing is None:
        return Refusal.UNKNOWN
    return Refusal.CANCELLED if standing.status is Status.CANCELLED else Refusal.STALE


def _may_adopt(standing: Standing, act: Act) -> bool:
    return standing.lost_by is not None and standing.lost_by == act.session and standing.attempt == act.attempt


_GUARDS: Final[Mapping[Verb, Callable[[Standing, Act], bool]]] = {
    Verb.CLAIM: lambda standing, act: standing.ready and act.session is not None,
    Verb.ADOPT: _may_adopt,
    Verb.EXPIRE: lambda standing, _: standing.lost_by is None,
    Verb.UNSERVED: lambda standing, _: not standing.patient,
}


def _claim(standing: Standing, act: Act) -> Standing:
    return msgspec.structs.replace(
        standing,
        status=Status.CLAIMED,
        attempt=standing.attempt + 1,
        claimed_by=act.session,
        lost_by=None,
        lost_counted=False,
    )


def _start(standing: Standing, _: Act) -> Standing:
    return msgspec.structs.replace(standing, status=Status.RUNNING)


def _adopt(standing: Standing, act: Act) -> Standing:
    return msgspec.structs.replace(
        standing,
        status=Status.CLAIMED,
        tries=standing.tries - standing.lost_counted,
        claimed_by=act.session,
        lost_by=None,
        lost_counted=False,
    )


def _end(standing: Standing, status: Status, tries: int | None = None) -> Standing:
    return msgspec.structs.replace(
        standing,
        status=status,
        tries=standing.tries if tries is None else tries,
        ready=True,
        claimed_by=None,
        lost_by=None,
        lost_counted=False,
    )


def _complete(standing: Standing, _: Act) -> Standing:
    return _end(standing, Status.COMPLETED)


def _fail(standing: Standing, _: Act) -> Standing:
    return _end(standing, Status.ERROR)


def _retry(standing: Standing, act: Act) -> Standing:
    tries = standing.tries + act.counts
    if tries >= standing.max_tries or not (act.counts or standing.patient):
        return _end(standing, Status.ERROR, tries)
    return msgspec.structs.replace(standing, status=Status.PENDING, tries=tries, ready=False, claimed_by=None)


def _revert(standing: Standing, act: Act) -> Standing:
    tries = standing.tries + act.counts
    if tries >= standing.max_tries:
        return _end(standing, Status.ERROR, tries)
    return msgspec.structs.replace(
        standing,
        status=Status.PENDING,
        tries=tries,
        claimed_by=None,
        lost_by=standing.claimed_by,
        lost_counted=act.counts,
    )


def _give_back(standing: Standing, _: Act) -> Standing:
    return msgspec.structs.replace(standing, status=Status.PENDING, claimed_by=None)


def _cancel(standing: Standing, _: Act) -> Standing:
    return _end(standing, Status.CANCELLED)


def _replay(standing: Standing, _: Act) -> Standing:
    return msgspec.structs.replace(standing, status=Status.PENDING, tries=0, ready=True)


def _delete(_: Standing, __: Act) -> None:
    return None


_EFFECTS: Final[Mapping[Verb, Callable[[Standing, Act], Standing | None]]] = {
    Verb.CLAIM: _claim,
    Verb.START: _start,
    Verb.ADOPT: _adopt,
    Verb.COMPLETE: _complete,
    Verb.FAIL: _fail,
    Verb.RETRY: _retry,
    Verb.REVERT: _revert,
    Verb.GIVE_BACK: _give_back,
    Verb.CANCEL: _cancel,
    Verb.EXPIRE: _fail,
    Verb.UNSERVED: _fail,
    Verb.REPLAY: _replay,
    Verb.DELETE: _delete,
}
