"""Any OpenAI-compatible engine as the worker sees it: which models it lists, how many requests it takes, how to ask it."""

from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from inferpool.client.transport import HttpRequest, Reply, Transport, TransportError
from inferpool.worker.abilities import Abilities, abilities, lacking
from inferpool.worker.makes import Listed, Make, list_models, recognise, total_slots
from inferpool.worker.probe import Probe

_VERSIONED: Final = "/v1"
_TELL_SLOTS: Final = frozenset({None, Make.LLAMA_CPP, Make.OTHER})


class EngineView(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine that answers tells of itself."""

    make: Make = Make.OTHER
    models: list[str] | None
    """Model ids; None when it lists none."""
    endpoints: dict[str, list[str]] = {}
    """Of the models that serve a few endpoints alone, those; the others serve whatever the engine has."""
    lacks: list[str] = []
    """The endpoints that it has not, as far as that is known."""
    slots: int | None
    """Requests that it answers at once; None when it did not tell."""


class EngineCall(msgspec.Struct, frozen=True, kw_only=True):
    """A request for the engine."""

    endpoint: str
    body: bytes
    content_type: str
    headers: dict[str, str] = {}
    """Those that the API needs (`anthropic-*`)."""
    silence_s: float | None
    """Longest silence within the answer's body; None: any."""


class Engine:
    """One engine's address with its key. Redirects are answers here, they are never followed."""

    def __init__(self, transport: Transport, url: str, key: str | None) -> None:
        self._transport = transport
        self.root = url.rstrip("/").removesuffix(_VERSIONED)
        """The address without `/v1`: the engine's name among the llms that share its slots."""
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._make: Make | None = None
        self._abilities: Abilities = {}
        self._lacks: list[str] | None = None

    def ask(self, call: EngineCall) -> AbstractAsyncContextManager[Reply]:
        """The engine's answer; leaving the context closes the request, which stops the engine."""
        return self._transport.open(
            HttpRequest(
                method="POST",
                url=f"{self.root}{_VERSIONED}/{call.endpoint}",
                headers={**call.headers, "content-type": call.content_type, **self._headers},
                body=call.body,
                silence_s=call.silence_s,
            )
        )

    async def look(self, timeout_s: float) -> EngineView:
        """Ask for its models, for what they can do, for its slots. Raises `TransportError` when it is down or loads."""
        probe = Probe(self._transport, self.root, self._headers, timeout_s)
        try:
            return await self._view(probe)
        except TransportError as error:
            self._make, self._abilities, self._lacks = None, {}, None
            raise type(error)(f"the engine at {self.root} is away: {error}") from error

    async def _view(self, probe: Probe) -> EngineView:
        listed = await list_models(probe)
        if self._make is None and listed:  # an empty list is no sign: the next look asks again
            self._make = await recognise(probe, listed)
        await self._learn(probe, listed or [])
        slots = await total_slots(probe) if self._make in _TELL_SLOTS else None
        restricted = {name: known for name, known in self._abilities.items() if known is not None}
        lacks = self._lacks or []
        names = None if listed is None else [model.id for model in listed]
        return EngineView(make=self._make or Make.OTHER, models=names, endpoints=restricted, lacks=lacks, slots=slots)

    async def _learn(self, probe: Probe, listed: list[Listed]) -> None:
        """Ask what new models can do; what was learned stands until the engine goes away."""
        if self._lacks is None and listed:
            self._lacks = await lacking(self._make, probe, listed)
        if self._make is not None and any(model.id not in self._abilities for model in listed):
            told = await abilities(self._make, probe, listed)
            self._abilities = {model.id: told.get(model.id) for model in listed if model.id in told}
