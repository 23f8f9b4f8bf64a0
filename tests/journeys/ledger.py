"""A journey's own account, kept outside the store: what was accepted, what each watcher saw."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from inferpool.core.stream import unpack_chunks
from tests.engines.directives import answer_to

ENDS: Final = frozenset({"completed", "error", "cancelled"})
WORDLESS: Final = frozenset({"embeddings", "messages/count_tokens"})
"""Endpoints whose answers are numbers."""


class Event(msgspec.Struct, frozen=True):
    """One server-sent event of a native stream."""

    id: str
    name: str
    data: str


class Sight:
    """What one watcher of a task saw, over all its connections together."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.attempt = 0
        self.chunks: list[str] = []
        self.last_id: str | None = None
        self.resets = 0
        self.connections = 0
        self.end: str | None = None
        """The status under which the stream ended."""

    def see(self, event: Event) -> None:
        """Take one event down. Fails where a chunk is missing, comes twice, or follows the end."""
        assert self.end is None, f"{event} came after the end"
        attempt, _, place = event.id.partition("-")
        if event.name == "position":
            assert not event.id, event
        elif event.name in ENDS:
            assert place == "end", event
            self.end = event.name
        elif event.name == "reset":
            assert place == "0", event
            assert int(attempt) > self.attempt, event
            self.attempt, self.chunks = int(attempt), []
            self.resets += 1
        else:
            if not self.chunks:  # nothing was seen that a newer attempt could make void: no reset is due
                self.attempt = max(self.attempt, int(attempt))
            assert (int(attempt), int(place)) == (self.attempt, len(self.chunks) + 1), (event, len(self.chunks))
            self.chunks.append(event.data)
        self.last_id = event.id or self.last_id


class Row(msgspec.Struct, frozen=True):
    """What the store says of one task."""

    status: str
    endpoint: str
    request: bytes
    response: bytes | None
    chunks: list[str] | None


class Ledger:
    """All that was accepted or seen in one journey."""

    def __init__(self) -> None:
        self.accepted: dict[str, bytes] = {}
        """The bodies by the ids that the server gave out for them."""
        self.unsure: list[bytes] = []
        """Bodies of calls whose connection broke before any id came: a row of each may stand, or may not."""
        self.answers: dict[str, bytes] = {}
        """The bodies that blocked callers got."""
        self.sights: list[Sight] = []
        self.failing: dict[str, str] = {}
        """Tasks that do not complete, with the status in which they end."""

    def accept(self, task_id: str, body: bytes) -> None:
        """The server gave out this id for the body (once more, where the call was repeated)."""
        assert self.accepted.setdefault(task_id, body) == body, f"{task_id} is another call's"

    def watch(self, task_id: str) -> Sight:
        """A new watcher of the task."""
        sight = Sight(task_id)
        self.sights.append(sight)
        return sight

    def compare(self, rows: Mapping[str, Row]) -> None:
        """Hold it against the store's rows, once everything has ended."""
        self._compare_ids(rows)
        for task_id, body in self.accepted.items():
            assert rows[task_id].request == body
        for task_id, row in rows.items():
            assert row.status == self.failing.get(task_id, "completed"), (task_id, row.status)
            if row.status == "completed":
                assert row.response is not None
                if row.endpoint not in WORDLESS:
                    assert text_of(row.response) == answer_to(prompt_of(row.request)), task_id
        for task_id, answer in self.answers.items():
            assert rows[task_id].response == answer
        for sight in self.sights:
            self._compare_sight(sight, rows[sight.task_id])

    def _compare_ids(self, rows: Mapping[str, Row]) -> None:
        lost = self.accepted.keys() - rows.keys()
        assert lost == set(), "accepted, but not in the store"
        unsure = list(self.unsure)
        for task_id in rows.keys() - self.accepted.keys():
            unsure.remove(rows[task_id].request)  # fails for a row that no call asked for

    def _compare_sight(self, sight: Sight, row: Row) -> None:
        if sight.end is None:
            return  # it left before the end; what it saw was judged as it came
        assert sight.end == row.status
        if sight.end == "completed":
            assert sight.chunks == row.chunks


ROWS: Final = (
    "SELECT tasks.id, status, endpoint, request, response, packed FROM tasks LEFT JOIN chunks ON task_id = tasks.id"
)
"""What `rows_of` reads."""


def rows_of(found: Iterable[tuple[object, ...]]) -> dict[str, Row]:
    """Every task with its stream, by id."""
    return {str(task_id): _row(*values) for task_id, *values in found}


def _row(status: object, endpoint: object, request: object, response: object, packed: object) -> Row:
    assert isinstance(request, bytes)
    assert isinstance(response, bytes | None)
    assert isinstance(packed, bytes | None)
    return Row(str(status), str(endpoint), request, response, None if packed is None else unpack_chunks(packed))


def read_rows(database: Path) -> dict[str, Row]:
    """Every task of an SQLite file, read beside the server."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return rows_of(connection.execute(ROWS))


def prompt_of(request: bytes) -> str:
    """The last message, or the bare prompt, of a request: what the scripted engine obeys."""
    asked = json.loads(request)
    return str(asked["messages"][-1]["content"] if "messages" in asked else asked["prompt"])


def text_of(response: bytes) -> str:
    """What the assistant said, in the body of a completion or of a message."""
    answer = json.loads(response)
    if "content" in answer:
        return "".join(str(block["text"]) for block in answer["content"])
    choice = answer["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def text_of_chunks(chunks: list[str]) -> str:
    """What the assistant said, in the chunks of a streamed chat completion."""
    choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
    return "".join(str(choice["delta"].get("content") or "") for choice in choices)
