"""Names for the identifiers that travel through every layer.

All of them are UUIDv7 strings (RFC 9562), so that they sort by the time of their making. The core makes none: whoever
composes the program hands in a `NewId`.
"""

from collections.abc import Callable
from typing import NewType, TypeAlias

from inferpool.core.clock import Micros

TaskId = NewType("TaskId", str)
SessionId = NewType("SessionId", str)
ServerId = NewType("ServerId", str)
TokenId = NewType("TokenId", str)
BatchId = NewType("BatchId", str)
"""One claim statement's mark on the rows that it took (`claim_batch`)."""

NewId: TypeAlias = Callable[[], str]
"""Makes one new UUIDv7 string at each call."""


def made_at_us(made: str) -> Micros:
    """When the UUIDv7 was made, by its maker's clock: its first 48 bits are milliseconds (RFC 9562 section 5.7)."""
    return int(made[:8] + made[9:13], 16) * 1000
