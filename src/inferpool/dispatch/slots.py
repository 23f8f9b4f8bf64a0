"""The slots of a session's engines with the attempts that hold them."""

from enum import Enum
from typing import Final

from inferpool.core.ids import TaskId
from inferpool.core.llm import Llm
from inferpool.core.turns import Turns
from inferpool.dispatch.strand import Strand


class HeldState(Enum):
    """Where an attempt's slot stands."""

    UNWRITTEN = 0
    """Claimed; its infer frame waits for the channel."""
    WRITTEN = 1
    """Its frame was handed over: the worker runs it."""
    STOPPING = 2
    """It ended otherwise; the engine may still be busy with it."""
    FREED = 3
    """The slot is free."""


class Engine:
    """One engine of a session: the llms on it share its slots."""

    __slots__ = ("claiming", "llms", "looked", "name", "reserved", "slots", "turns", "used")

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self.slots = slots
        self.llms: list[Llm] = []
        self.used = 0
        """Attempts that hold a slot."""
        self.reserved = 0
        """Slots that a claim under way may fill."""
        self.claiming = False
        self.turns: Final = Turns()
        self.looked: dict[str, int] = {}
        """Lanes with nothing more for the endpoints of these llms, up to that mark of the lane."""

    @property
    def free(self) -> int:
        """Slots that nothing holds or is about to."""
        return self.slots - self.used - self.reserved

    def seeks(self, lane: str, mark: int) -> bool:
        """Whether the lane may hold something that it has not looked for yet; `mark`: the lane's newest, 0 for none."""
        return mark != 0 and self.looked.get(lane) != mark


class Held:
    """An attempt that uses a slot of an engine."""

    __slots__ = ("attempt", "engine", "flow", "llm_name", "since", "state", "stopping_at", "strand", "task_id", "why")

    def __init__(self, task_id: TaskId, attempt: int, llm_name: str, engine: Engine, strand: Strand) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.llm_name = llm_name
        self.engine = engine
        self.strand = strand
        self.state = HeldState.UNWRITTEN
        self.flow: tuple[str, str, str] | None = None
        """Lane, owner, class, where they are known: its tokens are charged there."""
        self.since = 0.0
        """When it was handed over, on the event loop's clock."""
        self.stopping_at = 0.0
        """When its cancel frame went out, on the event loop's clock; 0: it waits for a channel."""
        self.why = ""
        """The reason that a refused chunk is told while it stops."""
