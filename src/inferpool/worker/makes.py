"""Recognises which make of engine answers, by signs that its documentation or its source gives."""

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from inferpool.client.transport import TransportError
from inferpool.worker.probe import Probe


class Make(StrEnum):
    """The makes that are known here, as one calls them."""

    OLLAMA = "Ollama"
    LLAMA_CPP = "llama.cpp"
    VLLM = "vLLM"
    SGLANG = "SGLang"
    LM_STUDIO = "LM Studio"
    INFERPOOL = "inferpool"
    """A server of ours: no engine, a worker beside it would feed it with its own answers."""
    OTHER = "an OpenAI-compatible engine"


class KeyWanted(TransportError):
    """The engine refuses whoever shows no key, or this one."""


_OWNERS: Final = {"llamacpp": Make.LLAMA_CPP, "vllm": Make.VLLM, "sglang": Make.SGLANG, "inferpool": Make.INFERPOOL}
"""`owned_by` in each make's list of models, by its source: llama.cpp tools/server, vLLM entrypoints/openai/engine/protocol.py
(ModelCard), SGLang srt/entrypoints/openai/protocol.py (ModelCard)."""


class Listed(msgspec.Struct, frozen=True):
    """One model of `GET /v1/models`."""

    id: str
    owned_by: str | None = None
    status: object = None
    """llama.cpp as a router of several models tells here whether it has loaded this one."""


class _Listing(msgspec.Struct, frozen=True):
    data: list[Listed] | None


class _Version(msgspec.Struct, frozen=True):
    version: str


class _Studio(msgspec.Struct, frozen=True):
    data: list[dict[str, msgspec.Raw]]


class _Props(msgspec.Struct, frozen=True):
    total_slots: Annotated[int, msgspec.Meta(ge=1)]


_decode_listing: Final = msgspec.json.Decoder(_Listing).decode


async def list_models(probe: Probe) -> list[Listed] | None:
    """The engine's models; None when it lists none that can be read.

    Ollama without a model says `"data": null` (openai/openai.go, ToListCompletion). Raises `TransportError` when the
    engine is away or still loads (llama.cpp: 503), `KeyWanted` when it wants another key.
    """
    answer = await probe.get("/v1/models")
    if answer.status in {401, 403}:
        raise KeyWanted(f"it answers {answer.status}: set INFERPOOL_ENGINE_API_KEY to the key that it wants")
    if answer.status >= 500:
        raise TransportError(f"it answers {answer.status}")
    if answer.status != 200:
        return None
    try:
        return _decode_listing(answer.body).data or []
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


async def recognise(probe: Probe, listed: list[Listed]) -> Make:
    """The make of the engine that gave this list."""
    for model in listed:
        if model.owned_by in _OWNERS:
            return _OWNERS[model.owned_by]
    # Ollama docs/api.md, "Version"; LM Studio docs, "REST API v0".
    if await probe.learn("/api/version", _Version) is not None:
        return Make.OLLAMA
    if await probe.learn("/api/v0/models", _Studio) is not None:
        return Make.LM_STUDIO
    return Make.OTHER


async def total_slots(probe: Probe) -> int | None:
    """The requests that llama.cpp answers at once (tools/server/README.md, `GET /props`), likewise what imitates it."""
    props = await probe.learn("/props", _Props)
    return None if props is None else props.total_slots
