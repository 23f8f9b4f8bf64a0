"""What watchers saw, held against what the engines said."""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.simulation.engine import Said, ScriptedEngine
from tests.simulation.laws import Laws

TERMINAL = frozenset({"completed", "error", "cancelled"})


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    id: str
    data: str


class EventReader:
    """Cuts a body that arrives in parts into events; comments vanish. Written apart from the product's own parser."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, part: bytes) -> Iterator[Event]:
        """The events that are complete now."""
        self._rest += part
        *blocks, self._rest = self._rest.split(b"\n\n")
        for block in blocks:
            fields = {"event": "", "id": "", "data": ""}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                if name:
                    value = value.removeprefix(" ")
                    fields[name] = f"{fields[name]}\n{value}" if fields.get(name) else value
            if fields["data"] or fields["event"]:
                yield Event(fields["event"], fields["id"], fields["data"])


class Memory:
    """What all engines said, by the numbers of their answers."""

    def __init__(self, engines: list[ScriptedEngine], laws: Laws, breach: Callable[[str], None]) -> None:
        self._engines = engines
        self._laws = laws
        self._breach = breach

    def said(self, number: str) -> Said | None:
        for engine in self._engines:
            if number in engine.said:
                return engine.said[number]
        return None

    def check_whole(self, who: str, tag: str, body: bytes) -> None:
        """A whole answer must be one that an engine gave, byte for byte."""
        said = self.said(json.loads(body)["id"])
        if said is None or said.body != body or said.tag != tag:
            self._breach(f"{who}: no engine answered {tag} with {body!r}")

    def check_stream(self, who: str, tag: str, payloads: list[str]) -> None:
        """A finished stream must be the whole of one answer."""
        numbers = {json.loads(payload)["id"] for payload in payloads}
        said = self.said(numbers.pop()) if len(numbers) == 1 else None
        if said is None or said.payloads != payloads or said.tag != tag:
            self._breach(f"{who}: no engine streamed {payloads} for {tag}; it said {said}")

    def check_attempt(self, who: str, number: str, task_id: str, attempt: int) -> Said | None:
        """What is shown or stored as this attempt's must not have been said before the attempt was claimed."""
        said = self.said(number)
        if said is not None and self._laws.precedes(said.at_s, task_id, attempt):
            self._breach(f"{who}: {number} was said at {said.at_s}, before attempt {attempt} was claimed")
        return said

    def check_prefix(self, who: str, payloads: list[str]) -> None:
        """A stream must go on as it began: with chunks of the same answer."""
        if json.loads(payloads[-1])["id"] != json.loads(payloads[0])["id"]:
            self._breach(f"{who}: a stream mixes attempts: {payloads}")

    def check_assembled(self, who: str, tag: str, body: bytes) -> None:
        """The stored body of a stream must say what its chunks said."""
        final = json.loads(body)
        said = self.said(final["id"])
        text = "" if said is None else "".join(text_of(payload) for payload in said.payloads)
        if said is None or said.tag != tag or final["choices"][0]["message"]["content"] != text:
            self._breach(f"{who}: the assembled body of {tag} is {body!r}, the engine said {text!r}")


def text_of(payload: str) -> str:
    """The words of one chunk."""
    choices = json.loads(payload)["choices"]
    return "" if not choices else str(choices[0]["delta"].get("content") or "")


class NativeView:
    """What one watcher of the native stream saw, across all of its connections."""

    def __init__(self, caller: tuple[str, str], task_id: str, memory: Memory, breach: Callable[[str], None]) -> None:
        name, self._tag = caller
        self._who = f"watcher of {name}"
        self._task_id = task_id
        self._memory = memory
        self._breach = breach
        self.attempt = 0
        self.seq = 0
        self.payloads: list[str] = []
        self.end: str | None = None
        """The name of the terminal event."""
        self.row: dict[str, object] = {}

    @property
    def last_id(self) -> str | None:
        """What a reconnect sends as `Last-Event-ID`."""
        if self.end is not None:
            return f"{self.attempt}-end"
        return f"{self.attempt}-{self.seq}" if self.attempt else None

    def see(self, event: Event) -> None:
        """Take one event; whatever breaks the sequence law is told."""
        if self.end is not None:
            self._breach(f"{self._who} saw {event} after the end {self.end}")
        elif event.name in TERMINAL:
            self._ended(event)
        elif event.name == "reset":
            self._reset(event)
        elif event.name == "position":
            self._waiting(event)
        elif event.name:
            self._breach(f"{self._who} saw an unknown event {event}")
        else:
            self._chunk(event)

    def _waiting(self, event: Event) -> None:
        """Where the task stands while it waits: it names no place of the stream."""
        if event.id:
            self._breach(f"{self._who} saw a position with the id {event.id}")

    def _chunk(self, event: Event) -> None:
        attempt, seq = map(int, event.id.split("-"))
        goes_on = attempt == self.attempt and seq == self.seq + 1
        begins = self.seq == 0 and attempt >= self.attempt and seq == 1
        if not (goes_on or begins):
            self._breach(f"{self._who} saw chunk {event.id} after {self.attempt}-{self.seq}")
        self.attempt, self.seq = attempt, seq
        self.payloads.append(event.data)
        self._memory.check_attempt(self._who, json.loads(event.data)["id"], self._task_id, attempt)
        self._memory.check_prefix(self._who, self.payloads)

    def _reset(self, event: Event) -> None:
        attempt = int(event.id.split("-")[0])
        if attempt <= self.attempt:
            self._breach(f"{self._who} was reset to attempt {attempt} while it saw {self.attempt}")
        self.attempt, self.seq, self.payloads = attempt, 0, []

    def _ended(self, event: Event) -> None:
        self.end = event.name
        self.row = json.loads(event.data)
        if self.row["status"] != event.name:
            self._breach(f"{self._who} saw the end {event.name} of a row in {self.row['status']}")
        if event.name == "completed" and self.row["streaming"]:
            self._memory.check_stream(self._who, self._tag, self.payloads)
            if int(event.id.split("-")[0]) != self.attempt:
                self._breach(f"{self._who} saw chunks of attempt {self.attempt}, then the end {event.id}")


class OpenAiView:
    """What one caller of a streamed OpenAI route saw."""

    def __init__(self, who: str, tag: str, memory: Memory, breach: Callable[[str], None]) -> None:
        self._who = who
        self._tag = tag
        self._memory = memory
        self._breach = breach
        self.payloads: list[str] = []
        self.done = False
        self.error: dict[str, object] | None = None

    def see(self, event: Event) -> None:
        """Take one frame."""
        if self.done or self.error is not None:
            self._breach(f"{self._who} saw {event} after the end")
        elif event.data == "[DONE]":
            self.done = True
            self._memory.check_stream(self._who, self._tag, self.payloads)
        elif "error" in (frame := json.loads(event.data)):
            self.error = frame["error"]
        else:
            self.payloads.append(event.data)
            self._memory.check_prefix(self._who, self.payloads)
