"""What can be set of a worker; the composition fills it from the settings."""

import msgspec

from inferpool.client.server import Patience


class OutboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the outbox."""

    batch_events: int = 500
    batch_bytes: int = 1_000_000
    waiting_chunks: int = 20_000
    """Unacknowledged chunks beyond which engines are not read."""
    waiting_bytes: int = 32_000_000
    """The same bound in bytes of their payloads."""
    memory_bytes: int = 64_000_000
    """Acknowledged chunks of running attempts kept in memory; beyond it they go to disk."""
    shelve_after_s: float = 0.05
    """How long an unacknowledged result stays in memory alone; 0: it is on disk before it is sent."""
    disk_retry_s: float = 1.0
    """After a write that failed."""


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's settings as the composition fills them. Durations in seconds."""

    name: str
    version: str = ""
    labels: dict[str, str] = {}
    server_urls: list[str]
    server_token: str | None = None
    engine_urls: list[str]
    """With or without `/v1`."""
    local_engines: list[str] = []
    """Where to look for engines when `engine_urls` names none."""
    engine_key: str | None = None
    models: list[str] = []
    """The engine's model ids to publish; empty: all that it lists."""
    pool: str | None = None
    """The pool of every llm instead of its model id."""
    slots: int | None = None
    """Requests that the engine answers at once; None: its own total where it tells, else 4."""
    probe_s: float = 5.0
    """Between two looks at the engine."""
    probe_timeout_s: float = 10.0
    silence_s: float = 300.0
    """Silence in a begun stream that counts as its end."""
    leave_s: float = 30.0
    """For running attempts to finish after a leave began; then they are given back."""
    flush_s: float = 5.0
    """For the outbox to empty after that."""
    outbox: OutboxOptions = OutboxOptions()
    patience: Patience = Patience()
