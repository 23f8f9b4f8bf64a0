"""One chaos run, from the first process to the comparison of its ledger with the rows."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

from tests.chaos.counts import ENDED, Counts
from tests.chaos.faults import strike
from tests.chaos.load import Load
from tests.chaos.options import Options, lapse
from tests.chaos.plan import Fault, draw
from tests.chaos.stage import PATIENCE_S, Stage, opened_stage

Say: TypeAlias = Callable[[str], None]


class Struck(msgspec.Struct, frozen=True):
    """A fault that happened. `held`: tasks at workers just then; `under_way`: those that callers had not heard the end of."""

    fault: Fault
    held: int
    under_way: int


class Report(msgspec.Struct, kw_only=True):
    """What came of a run."""

    seed: int
    struck: list[Struck] = []
    accepted: int = 0
    told: Counter[str] = msgspec.field(default_factory=Counter)
    before: float = 0.0
    """Completions a second before the first fault."""
    after: float = 0.0
    """Those after the last one."""
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    tries: list[tuple[object, ...]] = []
    """Status, attempts, tries, how many tasks ended like that."""
    connections: int = 0
    resets: int = 0
    streams: int = 0
    dropped: int = 0
    """Notifications that went nowhere."""
    took_s: float = 0.0


class Run:
    """The run while it goes on."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self.stage = stage
        self.options = stage.options
        self.load = Load(stage.urls, stage.cluster.ledger, stage.options)
        self.counts = Counts(stage)
        self.report = Report(seed=stage.options.seed)
        self._say = say

    async def play(self) -> Report:
        """Load, faults, load again; then everything is held against everything."""
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self.counts.watch())
                loading = group.create_task(self.load.run())
                await self._trouble()
                self.load.stop()
                await loading
                await self.counts.read()
                watching.cancel()
        finally:
            await self.load.close()
        await self._conclude()
        self.report.took_s = time.monotonic() - began
        return self.report

    async def _trouble(self) -> None:
        await self.load.ends(self.options.pace)
        self.report.before = await self._rate(self.options.quiet_s)
        async with asyncio.TaskGroup() as group:
            for fault in draw(self.options):
                striking = group.create_task(self._strike(fault))
                if not fault.overlaps:
                    await striking
                await self.load.ends(self.options.pace)
        await lapse(self.options.settle_s)
        self.report.after = await self._rate(self.options.again_s)
        await self.load.ends(max(0, self.options.tasks - self.load.done))

    async def _strike(self, fault: Fault) -> None:
        [[held]] = await self.stage.ask("SELECT count(*) FROM tasks WHERE claimed_by IS NOT NULL")
        assert isinstance(held, int)
        self.report.struck.append(Struck(fault, held, self.load.under_way))
        self._say(f"{fault.number}: {fault.kind} {fault.target}, {held} held, {self.load.done} ended")
        await strike(self.stage, fault)

    async def _rate(self, seconds: float) -> float:
        """Tasks that end in a second, as `/metrics` tells."""
        first, began = await self._ended()
        await lapse(seconds)
        last, ended = await self._ended()
        return (last - first) / (ended - began)

    async def _ended(self) -> tuple[int, float]:
        await self.counts.read()
        return self.counts.sum(ENDED), time.monotonic()

    async def _conclude(self) -> None:
        report, ledger, cluster = self.report, self.stage.cluster.ledger, self.stage.cluster
        report.accepted = len(ledger.accepted)
        report.told = self.load.told
        report.counts = self.counts.sums()
        report.streams = len(ledger.sights)
        report.connections = sum(sight.connections for sight in ledger.sights)
        report.resets = sum(sight.resets for sight in ledger.sights)
        report.tries = cluster.rows(
            "SELECT status, attempt, tries, count(*) FROM tasks GROUP BY status, attempt, tries ORDER BY status, attempt, tries"
        )
        report.dropped = self.stage.dropped()
        await self._delivered()
        await cluster.conclude()

    async def _delivered(self) -> None:
        """Until no worker has an answer left that it could not hand over."""
        until = time.monotonic() + PATIENCE_S
        while left := [path.name for path in self.stage.cluster.folder.rglob("*.result")]:
            lines = {box.name: box.program.lines[-8:] for box in self.stage.boxes if box.program is not None}
            assert time.monotonic() < until, (left, lines)
            await lapse(0.2)


async def chaos(folder: Path, options: Options, say: Say) -> Report:
    """One run. Raises `AssertionError` where the law is broken, where something is lost, where nothing goes on."""
    async with opened_stage(folder, options) as stage:
        await stage.start()
        return await Run(stage, say).play()
