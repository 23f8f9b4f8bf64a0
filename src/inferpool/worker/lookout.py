"""Watches one engine: what it serves, whether it is there."""

import asyncio
from collections.abc import Callable
from typing import Final

from inferpool.client.transport import TransportError
from inferpool.core.llm import LlmStatus
from inferpool.worker.engine import Engine, EngineView
from inferpool.worker.log import Log
from inferpool.worker.options import WorkerOptions
from inferpool.worker.state import Sighting, WorkerState

DEFAULT_SLOTS: Final = 4


class Lookout:
    """Looks at its engine every few seconds; each change of what it sees is said once in the log."""

    def __init__(
        self, options: WorkerOptions, engine: Engine, state: WorkerState, changed: Callable[[], None], log: Log
    ) -> None:
        """`changed` is called after each look."""
        self._options = options
        self._state = state
        self._changed = changed
        self._log = log
        self._view: EngineView | None = None
        self._said = ""
        self._one = asyncio.Lock()
        self._begun = 0
        self._done = 0
        """The number of the last look that came to its end."""
        self.engine = engine
        last = state.last_sight(engine.root)
        self.models = list(options.models) or (last.models if last else [])
        """What to publish; before the engine was seen what it served last, or what the user named."""
        self.slots = options.slots or (last.slots if last else DEFAULT_SLOTS)
        self.endpoints = last.endpoints if last else {}
        """Of the models that serve a few endpoints alone, those."""
        self.lacks = last.lacks if last else []
        """The endpoints that the engine has not."""

    @property
    def status(self) -> LlmStatus:
        """Of every llm of this engine."""
        return LlmStatus.INACTIVE if self._view is None else LlmStatus.ACTIVE

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._options.probe_s)
            await self.look()

    async def look(self) -> None:
        """Know what the engine serves, or that it is away, from a look that was begun after this call.

        However many call at once, they share one look; one that is under way and finds the engine away serves too. So a
        burst of failed attempts asks an engine in trouble no more than twice.
        """
        begun, under_way = self._begun, self._one.locked()
        async with self._one:
            if self._done > begun or (under_way and self._done == begun and self._view is None):
                return
            self._begun += 1
            await self._ask()
            self._done = self._begun

    async def _ask(self) -> None:
        try:
            view = await self.engine.look(self._options.probe_timeout_s)
        except TransportError as error:
            self._view = None
            self._say("waiting for the engine", reason=str(error))
        else:
            self._view = view
            self._learn(view)
        self._changed()

    def _learn(self, view: EngineView) -> None:
        self.slots = self._options.slots or view.slots or self.slots
        self.endpoints, self.lacks = view.endpoints, view.lacks
        named = self._options.models
        if view.models is None:
            self.models = list(named) or self.models
        else:
            self.models = [model for model in view.models if not named or model in named]
        self._state.note_sight(self.engine.root, Sighting(self.models, self.slots, self.endpoints, self.lacks))
        if self.models:
            told = ", ".join(self._told(model) for model in self.models)
            self._say("the engine serves models", make=view.make.value, models=told, slots=self.slots)
        else:
            self._say("the engine lists no model to publish", wanted=", ".join(named) or "any")

    def _told(self, model: str) -> str:
        """The model, with what it is alone for."""
        alone = self.endpoints.get(model)
        return f"{model} ({', '.join(alone)} only)" if alone else model

    def _say(self, event: str, **facts: object) -> None:
        said = f"{event} {facts}"
        if said != self._said:
            self._said = said
            self._log.info(event, engine=self.engine.root, **facts)
