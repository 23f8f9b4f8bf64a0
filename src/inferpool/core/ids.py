"""Names for the identifiers that travel through every layer.

All of them are UUIDv7 strings (RFC 9562), so that they sort by the time of their making. The core makes none: whoever
composes the program hands in a `NewId`.
"""

from collections.abc import Callable
from typing import NewType, TypeAlias

TaskId = NewType("TaskId", str)
SessionId = NewType("SessionId", str)
ServerId = NewType("ServerId", str)
TokenId = NewType("TokenId", str)
BatchId = NewType("BatchId", str)
"""One claim statement's mark on the rows that it took (`claim_batch`)."""

NewId: TypeAlias = Callable[[], str]
"""Makes one new UUIDv7 string at each call."""
