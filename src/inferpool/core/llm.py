"""The llm: a registered model endpoint that callers name."""

from enum import StrEnum

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.ids import SessionId

NAME_LIMIT = 200
"""Characters of an llm's, pool's, tier's or worker's name."""


class LlmStatus(StrEnum):
    """Whether an llm can be given work: now, after a wake, or not at all."""

    ACTIVE = "active"
    HIBERNATING = "hibernating"
    INACTIVE = "inactive"


class Kind(StrEnum):
    """Who calls the engine: the server itself (`public`), or a worker (`virtual`)."""

    PUBLIC = "public"
    VIRTUAL = "virtual"


class Llm(msgspec.Struct, frozen=True, kw_only=True):
    """An llm as the store keeps it. Times in microseconds UTC."""

    name: str
    session_id: SessionId | None
    """The session that publishes it; None for a public llm."""
    kind: Kind
    model: str
    """The engine's own model id, spliced into each body."""
    type: str
    """What it does: `chat`, `embedding`, …"""
    tier: str | None
    pool_name: str | None
    engine: str
    """Llms of one session with the same engine share its slots."""
    slots: int
    status: LlmStatus
    endpoints: list[str] | None
    """The endpoints it serves; None: any."""
    extra: dict[str, str]
    created_at: Micros
    updated_at: Micros

    @property
    def pool(self) -> str:
        """The effective pool: its `pool_name`, else its own name."""
        return self.pool_name or self.name

    def serves(self, endpoint: str) -> bool:
        """Whether it answers calls of this endpoint."""
        return self.endpoints is None or endpoint in self.endpoints


class LlmChange(msgspec.Struct, frozen=True):
    """What a session tells of one of its llms. `revision` rises with each change in an epoch; 0: its worker does not count them."""

    llm_name: str
    status: LlmStatus
    slots: int
    revision: int = 0
