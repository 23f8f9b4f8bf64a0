"""The port to the log, as narrow as structlog's bound logger allows."""

from typing import Protocol


class Log(Protocol):
    """Takes one event with its facts; never a prompt, an answer, a secret."""

    def info(self, event: str, /, **facts: object) -> object: ...

    def warning(self, event: str, /, **facts: object) -> object: ...

    def error(self, event: str, /, **facts: object) -> object: ...
