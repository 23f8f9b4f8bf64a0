"""Makes the log of a process, on its error output."""

import sys

import structlog
from structlog.typing import FilteringBoundLogger, Processor


def process_log(form: str, level: str, **facts: str) -> FilteringBoundLogger:
    """A log of lines for people (`console`) or for a collector (`json`), from this level on; each line has these facts.

    Whoever writes to it never hands in a prompt, an answer, a secret.
    """
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=_steps(form),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    ).bind(**facts)
    return log


def _steps(form: str) -> list[Processor]:
    """From an event to a line."""
    last: Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if form == "json":
        last = structlog.processors.JSONRenderer()
    return [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), last]
