"""What the journeys of the official clients share: failures taken down, calls that the engine saw or lost."""

import asyncio
from typing import Final

import anthropic
import openai

from tests.journeys.ledger import Ledger
from tests.journeys.site import Site

STOP_S: Final = 1.0
"""Within this time the engine must stop when its caller leaves."""


def note_failure(ledger: Ledger, error: openai.APIStatusError | anthropic.APIStatusError, status: str = "error") -> str:
    """Take down the task of a call that was answered with an error; its id."""
    task_id = str(error.response.headers["inferpool-task-id"])
    ledger.accept(task_id, error.request.content)
    ledger.failing[task_id] = status
    return task_id


async def calls_of(site: Site, text: str) -> int:
    """How often the engine was asked this."""
    return len([one for one in await site.engine_calls() if one["directive"] == text])


async def stopped_in_time(site: Site, count: int) -> None:
    """The engine has lost `count` calls, the last one a moment ago."""
    async with asyncio.timeout(STOP_S):
        await site.engine_waits("cancelled", count)


async def lost_calls(site: Site) -> int:
    """Calls that the engine lost so far."""
    return len([one for one in await site.engine_calls() if one["cancelled"]])
