"""Counts of all servers together, as their `/metrics` tell, over every one of their lives."""

import asyncio
from collections import Counter
from typing import Final

import aiohttp

from tests.chaos.options import lapse
from tests.chaos.stage import Stage

ENDED: Final = "inferpool_tasks_ended_total"
_EVERY_S: Final = 0.5
_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)


class Counts:
    """What each process last told; what it counted after that, before it was killed, nobody knows."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._told: dict[int, dict[str, float]] = {}

    async def watch(self) -> None:
        """Read them again and again, until cancelled."""
        while True:
            await self.read()
            await lapse(_EVERY_S)

    async def read(self) -> None:
        """Read all of them once; who does not answer has told nothing new."""
        await asyncio.gather(*[self._read(number) for number in range(len(self._stage.cluster.members))])

    async def _read(self, number: int) -> None:
        member = self._stage.cluster.members[number]
        assert member.server is not None
        pid = member.server.pid
        try:
            async with member.http.get(f"{member.server_url}/metrics", timeout=_TIMEOUT) as reply:
                self._told[pid] = parsed(await reply.text())
        except (aiohttp.ClientError, TimeoutError):
            return

    def sums(self) -> Counter[str]:
        """Every metric with its labels, added up."""
        total: Counter[str] = Counter()
        for told in self._told.values():
            for name, number in told.items():
                total[name] += round(number)
        return total

    def sum(self, name: str) -> int:
        """One metric over all its labels."""
        return sum(number for series, number in self.sums().items() if series.partition("{")[0] == name)


def parsed(text: str) -> dict[str, float]:
    """The counters of a page of `/metrics`."""
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {series: float(number) for series, _, number in lines if series.partition("{")[0].endswith("_total")}
