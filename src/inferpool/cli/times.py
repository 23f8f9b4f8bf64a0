"""Times as people read them: how long ago, which hour of the day here."""

import time
from datetime import UTC, datetime
from typing import Final

from inferpool.wire.tasks import from_rfc3339

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def seconds_since(stamp: str) -> float:
    """How long ago an RFC 3339 time was; negative for one to come."""
    return time.time() - from_rfc3339(stamp) / 1_000_000


def short(seconds: float) -> str:
    """A duration in its two largest units: `3d4h`, `5m10s`, `0s`."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return "".join(parts) or "0s"


def age(stamp: str | None) -> str:
    """How long ago, for a column; `-` for a time that is not set."""
    return "-" if stamp is None else short(seconds_since(stamp))


def spelled(stamp: str | None) -> str:
    """A time with its distance from now, for one who reads a single thing."""
    if stamp is None:
        return "-"
    local = datetime.fromtimestamp(from_rfc3339(stamp) / 1_000_000, UTC).astimezone()
    since = seconds_since(stamp)
    distance = f"{short(since)} ago" if since >= 0 else f"in {short(-since)}"
    return f"{local:%Y-%m-%d %H:%M:%S} ({distance})"
