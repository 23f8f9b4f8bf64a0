"""What follows from an engine's HTTP answer: whether it ends the task, when the next attempt may begin.

Spec sections 3 (retry), 4 (public llms) with 5 (status passes through).
"""

import re
from email.utils import mktime_tz, parsedate_tz
from enum import StrEnum
from typing import Final

from inferpool.core.clock import SECOND, Micros, micros

BACKOFF_LIMIT_S: Final = 60
RETRY_AFTER_LIMIT_S: Final = 600.0

_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


class Judgement(StrEnum):
    """What an engine's status means for the task that it answers."""

    COMPLETE = "complete"
    """The answer: keep status and body."""
    FAIL = "fail"
    """The caller's own mistake: final, status and body are kept and passed on."""
    FAIL_AUTH = "fail_auth"
    """The engine refuses our key: final, 502 `engine_auth`, the row keeps no body."""
    FAIL_REDIRECT = "fail_redirect"
    """The engine is elsewhere: final, 502 `engine_redirect`, the row keeps no body."""
    RETRY = "retry"
    """The engine could not: again after the back-off, a try is used."""
    RETRY_FREE = "retry_free"
    """The engine is busy (429): again after the back-off, no try is used."""


_OF_STATUS: Final = {
    401: Judgement.FAIL_AUTH,
    403: Judgement.FAIL_AUTH,
    407: Judgement.FAIL_AUTH,
    408: Judgement.RETRY,
    429: Judgement.RETRY_FREE,
}
_OF_HUNDRED: Final = {2: Judgement.COMPLETE, 3: Judgement.FAIL_REDIRECT, 4: Judgement.FAIL}


def judge_status(status: int) -> Judgement:
    """Judge the final HTTP status of any engine.

    A number that is no final status (under 200, over 599) says that the engine is broken, as a 5xx does.
    """
    return _OF_STATUS.get(status) or _OF_HUNDRED.get(status // 100, Judgement.RETRY)


def backoff_us(attempt: int, jitter: float) -> Micros:
    """How long the task waits after its attempt of this number (from 1): at most 1 s, doubling up to 60 s.

    `jitter` in [0, 1) is the part of it that is waited (full jitter), so that tasks that failed together do not
    come back together.
    """
    doubled = min(1 << min(max(attempt, 1) - 1, 6), BACKOFF_LIMIT_S)
    return int(doubled * SECOND * jitter)


def retry_delay_us(attempt: int, jitter: float, retry_after_s: float | None) -> Micros:
    """How long the task waits: what the engine asked for if it did, cut to 0-600 s, else the back-off."""
    if retry_after_s is None:
        return backoff_us(attempt, jitter)
    return micros(_cut(retry_after_s))


def parse_retry_after(header: str | None, now_us: Micros) -> float | None:
    """The seconds from now that a `Retry-After` header asks for, cut to 0-600; None without one that can be read.

    RFC 9110 section 10.2.3: seconds (fractions are taken too, some engines send them) or an HTTP date, of which the
    obsolete forms are read as well.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return _cut(float(text))
    date = parsedate_tz(text)
    if date is None:
        return None
    try:
        # HTTP dates are GMT, also those of the oldest form, which do not say so.
        at = mktime_tz((*date[:9], date[9] or 0))
    except (ValueError, OverflowError):  # a year that no calendar has
        return None
    return _cut(at - now_us / SECOND)


def _cut(seconds: float) -> float:
    # In this order a NaN becomes the limit.
    return max(0.0, min(RETRY_AFTER_LIMIT_S, seconds))
