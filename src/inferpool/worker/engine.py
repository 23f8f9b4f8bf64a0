"""Any OpenAI-compatible engine as the worker sees it: which models it lists, how many requests it takes, how to ask it."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated, Final

import msgspec

from inferpool.client.transport import HttpRequest, Reply, Transport, TransportError

_VERSIONED: Final = "/v1"


class EngineView(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine that answers tells of itself."""

    models: list[str] | None
    """Model ids; None when it lists none."""
    slots: int | None
    """Requests that it answers at once; None when it did not tell."""


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model]


class _Props(msgspec.Struct, frozen=True):
    total_slots: Annotated[int, msgspec.Meta(ge=1)]


_decode_models = msgspec.json.Decoder(_Models).decode
_decode_props = msgspec.json.Decoder(_Props).decode


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
        """Ask for its models, then for its slots. Raises `TransportError` when it is down or still loads."""
        status, body = await self._get(f"{self.root}{_VERSIONED}/models", timeout_s)
        if status >= 500:
            raise TransportError(f"the engine at {self.root} answers {status}")
        return EngineView(models=_models(status, body), slots=await self._slots(timeout_s))

    async def _slots(self, timeout_s: float) -> int | None:
        """llama.cpp tells its slots; other engines have no such route."""
        try:
            status, body = await self._get(f"{self.root}/props", timeout_s)
            return _decode_props(body).total_slots if status == 200 else None
        except (TransportError, msgspec.MsgspecError):
            return None

    async def _get(self, url: str, timeout_s: float) -> tuple[int, bytes]:
        request = HttpRequest(method="GET", url=url, headers=self._headers, timeout_s=timeout_s, silence_s=timeout_s)
        async with self._transport.open(request) as reply:
            return reply.status, await reply.read()


def _models(status: int, body: bytes) -> list[str] | None:
    if status != 200:
        return None
    try:
        return [model.id for model in _decode_models(body).data]
    except msgspec.MsgspecError:
        return None
