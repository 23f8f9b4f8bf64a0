"""Times as people read them: how long ago, which hour of the day here."""

import re
import time
from datetime import UTC, datetime
from typing import Final

from inferpool.wire.tasks import from_rfc3339

_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d+)?)([dhms])")
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


def until(stamp: str | None) -> str:
    """How long from now, for a column; `-` for a time that is over or not set."""
    left = 0.0 if stamp is None else -seconds_since(stamp)
    return short(left) if left > 0 else "-"


def seconds_of(text: str) -> float:
    """A duration as people write it: `30d`, `12h`, `90m`, `45s`. Raises `ValueError`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration such as 30d, 12h, 90m or 45s")
    return float(match[1]) * next(size for size, unit in _UNITS if unit == match[2])


def spelled(stamp: str | None) -> str:
    """A time with its distance from now, for one who reads a single thing."""
    if stamp is None:
        return "-"
    local = datetime.fromtimestamp(from_rfc3339(stamp) / 1_000_000, UTC).astimezone()
    since = seconds_since(stamp)
    distance = f"{short(since)} ago" if since >= 0 else f"in {short(-since)}"
    return f"{local:%Y-%m-%d %H:%M:%S} ({distance})"
