"""Repeats a clean-up in small transactions, at rest in between, so that it holds up no caller for long."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

REST: Final = 2.0
"""How long it rests after each transaction, in times of what that took: two thirds of the writer stay with the callers."""


async def repeat(once: Callable[[], Awaitable[int]], limit: int, longest_s: float = math.inf) -> int:
    """Do it again while it finds the `limit` of rows that one transaction takes, for `longest_s` about; gives all its rows."""
    loop = asyncio.get_running_loop()
    first = began = loop.time()
    total = done = await once()
    while done >= limit and loop.time() - first < longest_s:
        await asyncio.sleep(REST * (loop.time() - began))
        began = loop.time()
        done = await once()
        total += done
    return total
