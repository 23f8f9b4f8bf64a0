"""A session as the server that serves it knows it: epoch, channel, engines, attempts."""

import asyncio

from inferpool.core.access import LOCAL
from inferpool.core.ids import ServerId, SessionId, TaskId
from inferpool.core.lanes import llm_lane, pool_lane, tier_lane
from inferpool.core.llm import Llm
from inferpool.core.session import HeldAttempt
from inferpool.dispatch.channel import Channel
from inferpool.dispatch.slots import Engine, Held, HeldState


class LiveSession:
    """A registered session at the epoch that this server took."""

    def __init__(self, session_id: SessionId, epoch: int, secret_hash: str, now: float) -> None:
        self.id = session_id
        self.epoch = epoch
        self.secret_hash = secret_hash
        self.subject = LOCAL
        """Whom it belongs to."""
        self.llms: dict[str, Llm] = {}
        self.engines: dict[str, Engine] = {}
        self.held: dict[tuple[TaskId, int], Held] = {}
        self.channel: Channel | None = None
        self.bound = False
        self.heard_at = now
        self.heard = True
        """It spoke since the last heartbeat was written."""
        self.lost_at: float | None = now
        """Since when it has no channel; None while it has one."""
        self.leaving = False
        self.paused = 0
        """Registrations or losses under way: nothing new is claimed."""
        self.gone = False
        self.served_by: ServerId | None = None
        """The server that serves it, where this one only hears it; None: this one."""
        self.revisions: dict[str, int] = {}
        """The newest change taken of each llm in this epoch."""
        self.busy = 0
        """Statements under way that may give it tasks."""
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def open(self) -> bool:
        """Whether it can be given work now."""
        return self.channel is not None and not (self.leaving or self.paused or self.gone)

    def reserve(self, engine: Engine, slots: int = 1) -> None:
        """Promise free slots of an engine to a statement under way."""
        self.busy += 1
        self._quiet.clear()
        engine.reserved += slots

    def release(self, engine: Engine, slots: int = 1) -> None:
        """The statement is through; what it got is held by now."""
        engine.reserved -= slots
        self.busy -= 1
        if not self.busy:
            self._quiet.set()

    async def quiet(self) -> None:
        """Until no claim is under way: then memory knows all that the rows say of this session."""
        await self._quiet.wait()

    def retire(self) -> None:
        """Another registration has its place, or it is lost: its channel ends."""
        self.gone = True
        if self.channel is not None:
            self.channel.close()

    def unwritten(self) -> list[HeldAttempt]:
        """Attempts whose frames never left: losing them costs no try."""
        waiting = (held for held in self.held.values() if held.state is HeldState.UNWRITTEN)
        return [HeldAttempt(held.task_id, held.attempt) for held in waiting]

    def publish(self, llms: list[Llm]) -> None:
        """Take what it publishes; used slots stay with their engines."""
        self.llms = {llm.name: llm for llm in llms}
        names = {llm.engine for llm in llms}
        for name in names:
            self.engines.setdefault(name, Engine(name, 0))
        for engine in self.engines.values():
            engine.llms = [llm for llm in llms if llm.engine == engine.name]
            engine.slots = max((llm.slots for llm in engine.llms), default=0)
            engine.looked.clear()  # what it looked for was for the llms that it had

    def change(self, llm: Llm) -> None:
        """One of its llms changed."""
        self.publish([*(known for known in self.llms.values() if known.name != llm.name), llm])

    def engine_of(self, llm_name: str) -> Engine:
        """The engine whose slot an attempt for this llm uses, also when the llm is no longer published."""
        llm = self.llms.get(llm_name)
        name = llm.engine if llm else next(iter(self.engines), "")
        engine = self.engines.get(name)
        return self.engines.setdefault(name, Engine(name, 0)) if engine is None else engine

    def hold(self, held: Held) -> None:
        """The attempt uses a slot from now on."""
        self.held[held.task_id, held.attempt] = held
        held.engine.used += 1

    def free(self, held: Held) -> bool:
        """Its slot is free; False when it was before."""
        if self.held.get((held.task_id, held.attempt)) is not held:
            return False
        del self.held[held.task_id, held.attempt]
        held.engine.used -= 1
        held.state = HeldState.FREED
        return True


def lanes_of(llm: Llm) -> list[str]:
    """The lanes that an llm takes from: its pool's, its own, its tier's."""
    lanes = [pool_lane(llm.pool), llm_lane(llm.name)]
    return [*lanes, tier_lane(llm.tier)] if llm.tier else lanes
