"""Checks that a store obeys the law: what `inferpool doctor` runs, what ends every journey.

Each rule is one statement of `invariants.sql`, so that it sees one snapshot while a server works beside it. Tasks are
read in pages of ids: memory stays bounded whatever the size of the store.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from inferpool.store.connection import Connection
from inferpool.store.statements import Statement

PAGE = 1000
"""Tasks that are looked at in one statement."""


class Violation(msgspec.Struct, frozen=True):
    """One breach: of which rule, by which task (or session, or llm), in what way."""

    rule: str
    subject: str
    detail: str


class Rule(msgspec.Struct, frozen=True):
    """One rule in a person's words, with what to do where it is broken."""

    name: str
    says: str
    remedy: str = "the server broke its own law: stop it, keep a copy of the file, report this with the copy"


class _Finding(msgspec.Struct, frozen=True):
    subject: str
    detail: str | None
    """None where the breach itself left a field empty that the detail names."""


class _Page(msgspec.Struct, frozen=True):
    first: str
    last: str
    size: int
    final: str


class Stage(msgspec.Struct, frozen=True):
    """How far a survey has come: what it looks at, how many it has seen, about which share of them (None: unknown)."""

    looks_at: str
    seen: int = 0
    share: float | None = None


class _Word(msgspec.Struct, frozen=True):
    text: str


_TASK_REMEDY = "cancel the task, or replay it once it has ended; then report this with a copy of the file"

FILE_RULE: Final = Rule("file", "the file is sound", "restore the last backup; this disk or file system loses writes")

OF_TASKS: Final = (
    Rule("status", "a status is one of the six"),
    Rule("pending", "a pending task is nobody's: no holder, no end", _TASK_REMEDY),
    Rule("held", "a held task names its holder, its claim, its deadline", _TASK_REMEDY),
    Rule("ended", "an ended task says when; completed with an answer, error with a code"),
    Rule("waiting", "only a pending task waits for a back-off or for a lost session", _TASK_REMEDY),
    Rule("tries", "tries never exceed attempts; with none left the task has ended", _TASK_REMEDY),
    Rule("history", "attempts rise by one, each ended one has its line"),
    Rule("counted", "every counted try is a line of the history"),
    Rule("one_end", "a task is completed once, by its last attempt"),
    Rule("lost", "the session that lost a task had its last attempt", _TASK_REMEDY),
    Rule(
        "holder",
        "whoever holds a task is an active session",
        "start the server: it reverts what nobody holds any more; else cancel the task",
    ),
    Rule("lane", "a task stands in the lane that its routing names"),
    Rule("size", "a task's size is that of its request"),
)
OF_HISTORY: Final = (Rule("orphaned_history", "a history belongs to a task", "harmless: it takes up room only"),)
OF_CHUNKS: Final = (
    Rule("chunks", "a stored stream is that of the completed attempt", "delete the task with `DELETE …?purge=true`"),
)
OF_THE_REST: Final = (
    Rule("keys", "an idempotency key leads to a task of its own owner"),
    Rule("sessions", "an inactive session says since when"),
    Rule("llms", "an llm follows its session", "start its worker again: registering writes its llms anew"),
)
RULES: Final = (FILE_RULE, *OF_TASKS, *OF_HISTORY, *OF_CHUNKS, *OF_THE_REST)

_FILE: Final = Statement("check_file", _Word)
_PAGED: Final = {"tasks": OF_TASKS, "attempts": OF_HISTORY, "chunks": OF_CHUNKS}


def _unwatched(stage: Stage) -> None:
    """Nobody looks."""


class Survey:
    """One walk through a store; `tasks` tells afterwards how many were looked at. `watch` hears of each stage."""

    def __init__(self, connection: Connection, page: int = PAGE, watch: Callable[[Stage], None] = _unwatched) -> None:
        self._connection = connection
        self._page = page
        self._watch = watch
        self.tasks = 0

    async def violations(self) -> AsyncIterator[Violation]:
        """Every breach, rule by rule within a page of tasks. Raises `StoreUnavailable` when the store cannot be read."""
        self._watch(Stage("the file"))
        for word in await self._connection.read(_FILE, [()]):
            if word.text != "ok":
                yield Violation(FILE_RULE.name, "", word.text)
        for table, rules in _PAGED.items():
            async for page in self._pages(table):
                for found in await self._broken(rules, page):
                    yield found
        self._watch(Stage("keys, sessions, llms"))
        for found in await self._broken(OF_THE_REST, ()):
            yield found

    async def _pages(self, table: str) -> AsyncIterator[tuple[str, str]]:
        """The bounds of each page: after one id, up to another."""
        statement = Statement(f"check_page_{table}", _Page)
        after, first, seen = "", "", 0
        while True:
            [page] = await self._connection.read(statement, [(after, self._page)])
            first = first or page.first
            self._watch(Stage(table, seen, _share(first, after or first, page.final)))
            seen += page.size
            if table == "tasks":
                self.tasks = seen
            if page.size:
                yield after, page.last
            if page.size < self._page:
                return
            after = page.last

    async def _broken(self, rules: Sequence[Rule], bounds: tuple[str, ...]) -> list[Violation]:
        """What breaks the rules within those bounds."""
        found = []
        for rule in rules:
            statement = Statement(f"check_{rule.name}", _Finding)
            findings = await self._connection.read(statement, [bounds])
            found += [Violation(rule.name, one.subject, one.detail or "") for one in findings]
        return found


def _share(first: str, at: str, final: str) -> float | None:
    """About how much of the ids from `first` to `final` lies before `at`: UUIDv7 begin with their time."""
    try:
        begin, now, end = (int(one.replace("-", "")[:12], 16) for one in (first, at, final))
    except ValueError:
        return None
    return (now - begin) / (end - begin) if end > begin else None


async def check(connection: Connection) -> list[Violation]:
    """Every breach of the law in the store, a list to compare with []."""
    return [found async for found in Survey(connection).violations()]
