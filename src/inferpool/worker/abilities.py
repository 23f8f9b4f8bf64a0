"""Finds out which models of an engine serve a few endpoints alone, asking each make in its own way."""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from inferpool.client.transport import TransportError
from inferpool.wire.openai import ENDPOINTS, FORM_ENDPOINTS
from inferpool.worker.makes import Listed, Make
from inferpool.worker.probe import Answer, Probe

EMBEDDINGS: Final = ["embeddings"]
RERANK: Final = ["rerank"]
_ANYTHING: Final[list[str] | None] = None
_LACKING: Final = 400
_NOT_SUPPORTED: Final = 501
_NO_POOLING: Final = b"Pooling type 'none'"
_NOT_THERE: Final = frozenset({200, 404, 405, _NOT_SUPPORTED})
_EMPTY: Final = b"{}"


class _Shown(msgspec.Struct, frozen=True):
    capabilities: list[str]


class _StudioModel(msgspec.Struct, frozen=True):
    id: str
    type: str


class _StudioModels(msgspec.Struct, frozen=True):
    data: list[_StudioModel]


class _OpenApi(msgspec.Struct, frozen=True):
    paths: dict[str, dict[str, msgspec.Raw]]


class _ModelInfo(msgspec.Struct, frozen=True):
    is_generation: bool


AUDIO: Final = ("audio/speech", *FORM_ENDPOINTS)
OTHERS: Final = ("score", "classify", "pooling", "moderations", "images/generations", "images/edits")
"""What engines have below `/v1/` that this project names nowhere else."""

Abilities: TypeAlias = dict[str, list[str] | None]
"""The endpoints of each model whose abilities are known; None: whatever the engine has."""


async def abilities(make: Make, probe: Probe, listed: list[Listed]) -> Abilities:
    """What these models serve; one of which nothing is learned now is left out, to be asked about again."""
    if make is Make.OLLAMA:
        return await _of_ollama(probe, listed)
    if make is Make.LM_STUDIO:
        return await _of_lm_studio(probe)
    told: Abilities = {model.id: _ANYTHING for model in listed}
    try:
        if make is Make.LLAMA_CPP and not _routes(listed):
            told = dict.fromkeys(told, await _of_llama_cpp(probe))
        if make is Make.VLLM:
            told = dict.fromkeys(told, await _of_vllm(probe))
        if make is Make.SGLANG:
            told = dict.fromkeys(told, await _of_sglang(probe))
    except TransportError:
        return {}
    return told


def _routes(listed: list[Listed]) -> bool:
    """Whether it is a llama.cpp in front of several others: what it serves depends on the model."""
    return any(model.status for model in listed)


async def lacking(make: Make | None, probe: Probe, listed: list[Listed]) -> list[str] | None:
    """The endpoints that the engine has not, by what it answers to an empty request: for audio, of llama.cpp more.

    A route that is there misses something in it; one that is not is answered 404, 405, 501, or 200 by LM Studio. None while
    it does not answer.
    """
    asked = (*AUDIO, *EMBEDDINGS, *RERANK) if make is Make.LLAMA_CPP and not _routes(listed) else AUDIO
    try:
        answers = [await probe.post(f"/v1/{endpoint}", _EMPTY) for endpoint in asked]
    except TransportError:
        return None
    return [endpoint for endpoint, answer in zip(asked, answers, strict=True) if answer.status in _NOT_THERE]


def all_but(lacks: Sequence[str]) -> list[str] | None:
    """What an engine serves that lacks these endpoints; None: anything."""
    known = [*ENDPOINTS, *FORM_ENDPOINTS, *OTHERS]
    return [endpoint for endpoint in known if endpoint not in lacks] if lacks else None


async def _of_ollama(probe: Probe, listed: list[Listed]) -> Abilities:
    """By docs/api.md, "Show Model Information": `capabilities`, which releases before 0.6.4 do not have."""
    names = [model.id for model in listed]
    questions = [probe.learn("/api/show", _Shown, msgspec.json.encode({"model": name})) for name in names]
    shown = await asyncio.gather(*questions)
    return {name: _by_capabilities(one) for name, one in zip(names, shown, strict=True)}


def _by_capabilities(shown: _Shown | None) -> list[str] | None:
    if shown is None or "embedding" not in shown.capabilities or "completion" in shown.capabilities:
        return _ANYTHING
    return EMBEDDINGS


async def _of_lm_studio(probe: Probe) -> Abilities:
    """By the documentation of its REST API v0, `GET /api/v0/models`: `type` is llm, vlm or embeddings."""
    told = await probe.learn("/api/v0/models", _StudioModels)
    models = [] if told is None else told.data
    return {model.id: EMBEDDINGS if model.type == "embeddings" else _ANYTHING for model in models}


async def _of_llama_cpp(probe: Probe) -> list[str] | None:
    """By what it answers to an empty request, which costs it nothing (tools/server: 501 for what it was not started for).

    `--embeddings` restricts a server to that use (tools/server/README.md). Newer releases chat nevertheless when the
    model is one for chat: such a model has no pooling, which they say.
    """
    embeds = await probe.post("/v1/embeddings", _EMPTY)
    if not _takes(embeds):
        return _ANYTHING
    chats = await probe.post("/v1/chat/completions", _EMPTY)
    if chats.status != _NOT_SUPPORTED and _NO_POOLING in embeds.body:
        return _ANYTHING
    return RERANK if _takes(await probe.post("/v1/rerank", _EMPTY)) else EMBEDDINGS


def _takes(answer: Answer) -> bool:
    """Whether it asks for what the empty request lacks."""
    return answer.status == _LACKING


_VLLM_ROUTES: Final = {
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
    "/v1/audio/transcriptions": "audio/transcriptions",
    "/v1/audio/translations": "audio/translations",
}


async def _of_vllm(probe: Probe) -> list[str] | None:
    """By its `/openapi.json`: routes are there for what the model can do (entrypoints/openai/api_server.py, build_app).

    Older releases list all of them, so does a server without that page tell nothing: then it is asked for anything.
    """
    page = await probe.learn("/openapi.json", _OpenApi)
    if page is None or "/v1/chat/completions" in page.paths or "/v1/completions" in page.paths:
        return _ANYTHING
    return [endpoint for path, endpoint in _VLLM_ROUTES.items() if path in page.paths] or _ANYTHING


async def _of_sglang(probe: Probe) -> list[str] | None:
    """By `is_generation` (srt/entrypoints/http_server.py; `/model_info` since 0.5.6, before it `/get_model_info`)."""
    info = await probe.learn("/get_model_info", _ModelInfo) or await probe.learn("/model_info", _ModelInfo)
    if info is None or info.is_generation:
        return _ANYTHING
    return EMBEDDINGS + RERANK
