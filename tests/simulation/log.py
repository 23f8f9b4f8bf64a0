"""The log of a simulated process: into the trace, with what must never be said counted as a fault."""

from tests.simulation.trace import Trace


class _Notes:
    """What one process said."""

    def __init__(self, trace: Trace, name: str) -> None:
        self._trace = trace
        self._name = name
        self.errors: list[str] = []

    def note(self, event: str, facts: dict[str, object]) -> None:
        said = " ".join(f"{key}={value}" for key, value in facts.items())
        self._trace.note(self._name, f"{event} {said}")

    def fault(self, event: str, facts: dict[str, object]) -> None:
        self.note(f"error: {event}", facts)
        self.errors.append(f"{self._name}: {event} {facts}")


class TraceLog(_Notes):
    """The port to the log of dispatch, of the server."""

    def info(self, event: str, **facts: object) -> None:
        self.note(event, facts)

    def warning(self, event: str, **facts: object) -> None:
        self.note(f"warning: {event}", facts)

    def error(self, event: str, **facts: object) -> None:
        self.fault(event, facts)


class WorkerLog(_Notes):
    """The port to the log of the worker."""

    def info(self, event: str, /, **facts: object) -> None:
        self.note(event, facts)

    def warning(self, event: str, /, **facts: object) -> None:
        self.note(f"warning: {event}", facts)

    def error(self, event: str, /, **facts: object) -> None:
        self.fault(event, facts)
