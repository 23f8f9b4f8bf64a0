"""Hints between the servers of one database, in memory: quick, in order, lost as often as a seed wants it."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from random import Random

import msgspec

from inferpool.core.errors import StoreUnavailable
from inferpool.store.servers_protocol import NOTE_LIMIT, Note
from tests.simulation.loop import NEUTRAL, Process, VirtualLoop
from tests.simulation.trace import Trace


class SignalWeather(msgspec.Struct, frozen=True, kw_only=True):
    """Chances from 0 to 1, delays in seconds."""

    lost: float = 0.0
    """That one listener does not hear one note."""
    refused: float = 0.0
    """That a sending fails: a part of its notes is lost to everybody, the sender is told."""
    latency_s: float = 0.002
    """Of a note, of a sending, at most."""
    jam: float = 0.0
    """That a note, with all behind it, takes up to two seconds."""

    def latency(self, chance: Random) -> float:
        """Draw how long one note is under way."""
        if self.jam and chance.random() < self.jam:
            return chance.uniform(0.1, 2.0)
        return chance.uniform(0.0001, self.latency_s)


QUIET = SignalWeather()


def gusts(chance: Random) -> SignalWeather:
    """A mixture of troubles that is a seed's own."""
    return SignalWeather(
        lost=chance.choice((0.0, 0.0, 0.05, 0.3)),
        refused=chance.choice((0.0, 0.0, 0.05)),
        latency_s=chance.choice((0.001, 0.01, 0.1)),
        jam=chance.choice((0.0, 0.0, 0.02)),
    )


class Ear:
    """One listening of one server; its callbacks run in that server's process."""

    def __init__(self, channels: Sequence[str], hear: Callable[[str], None]) -> None:
        self.channels = frozenset(channels)
        self.context: Context = copy_context()
        self.arrival = 0.0
        """When the newest note under way arrives: none overtakes another."""
        self.deaf = False
        """The wire is broken, nobody noticed yet."""
        self.broken = asyncio.Event()
        self._hear = hear

    def take(self, text: str) -> None:
        """A note arrives."""
        if not (self.deaf or self.broken.is_set()):
            self._hear(text)


class Hub:
    """The database's way of carrying notes."""

    def __init__(self, loop: VirtualLoop, chance: Random, trace: Trace) -> None:
        self.loop = loop
        self.chance = chance
        self.trace = trace
        self.weather = QUIET
        self.ears: dict[Ear, Process] = {}
        self.mute: dict[Process, None] = {}
        """Whose sendings fail for now."""

    def carry(self, note: Note) -> None:
        """Put a note on its way to whoever listens."""
        for ear in self.ears:
            if note.channel not in ear.channels:
                continue
            ear.arrival = max(ear.arrival, self.loop.time() + self.weather.latency(self.chance))
            if self.chance.random() < self.weather.lost:
                self.trace.note("signals", f"a note to {self.ears[ear].name} is lost")
            else:
                self.loop.call_at(ear.arrival, self._arrive, ear, note.text, context=NEUTRAL)

    def _arrive(self, ear: Ear, text: str) -> None:
        if ear in self.ears:
            self.loop.call_soon(ear.take, text, context=ear.context)

    def cut(self, process: Process) -> None:
        """What is sent to the process is lost from now on; it does not notice."""
        for ear in self._ears_of(process):
            ear.deaf = True

    def notice(self, process: Process) -> None:
        """The process notices that its wire is broken: it listens anew."""
        for ear in self._ears_of(process):
            if ear.deaf:
                ear.broken.set()

    def heal(self) -> None:
        """Good weather; every broken wire is noticed."""
        self.weather = QUIET
        self.mute.clear()
        for process in list(self.ears.values()):
            self.notice(process)

    def _ears_of(self, process: Process) -> list[Ear]:
        return [ear for ear, owner in self.ears.items() if owner is process]


class HubSignals:
    """The port of `store/servers_protocol.py` for one process."""

    def __init__(self, hub: Hub, process: Process) -> None:
        self._hub = hub
        self._process = process

    async def send(self, notes: Sequence[Note]) -> None:
        """See `Signals.send`."""
        hub = self._hub
        assert all(len(note.text.encode()) <= NOTE_LIMIT for note in notes)
        await asyncio.sleep(hub.weather.latency(hub.chance))
        failing = self._process in hub.mute or hub.chance.random() < hub.weather.refused
        for note in notes[: hub.chance.randint(0, len(notes) - 1)] if failing else notes:
            hub.carry(note)
        if failing:
            hub.trace.note(self._process.name, "cannot send its notes")
            raise StoreUnavailable("the wire is broken")

    async def listen(self, channels: Sequence[str], hear: Callable[[str], None], linked: Callable[[], None]) -> None:
        """See `Signals.listen`."""
        hub = self._hub
        while True:
            ear = Ear(channels, hear)
            hub.ears[ear] = self._process
            try:
                hub.trace.note(self._process.name, "hears the others")
                linked()
                await ear.broken.wait()
            finally:
                hub.ears.pop(ear, None)
            await asyncio.sleep(hub.chance.uniform(0.05, 1.0))

    def drop(self) -> None:
        """The process was killed: nothing is heard any more."""
        for ear, owner in list(self._hub.ears.items()):
            if owner is self._process:
                del self._hub.ears[ear]
