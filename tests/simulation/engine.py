"""An OpenAI-compatible engine in memory, which remembers every answer that it gave.

Each answer carries a number of its own in every part, so that a mixture of two attempts shows. Its troubles (5xx, 429, a stream
that breaks off or falls silent) are drawn from the seed.
"""

import asyncio
import json
from random import Random

import msgspec

from tests.simulation.link import Message
from tests.simulation.network import Receive, Scope, Send

MODEL = "tiny"


class Moods(msgspec.Struct, frozen=True, kw_only=True):
    """Chances from 0 to 1 that an answer goes wrong, pace in seconds."""

    busy: float = 0.0
    """429 with `Retry-After`."""
    broken: float = 0.0
    """500."""
    breaks_off: float = 0.0
    """The stream ends without its mark."""
    silent: float = 0.0
    """The stream begins, then says nothing more."""
    pause_s: float = 0.05
    """Between two chunks, at most."""
    words: int = 8
    """Chunks of an answer, at most."""


class Said(msgspec.Struct, frozen=True):
    """One answer: what a stream's chunks carried, or the whole body."""

    engine: str
    at_s: float
    """When the engine began to answer."""
    tag: str
    payloads: list[str]
    body: bytes


class ScriptedEngine:
    """One engine with its history."""

    def __init__(self, name: str, chance: Random) -> None:
        self.name = name
        self.moods = Moods()
        self.away = False
        """It answers 503, as an engine that loads its model."""
        self.running = 0
        self.said: dict[str, Said] = {}
        """What each answer is, by its number: nothing less may ever count as one."""
        self._chance = chance
        self._count = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = await receive()
        if self.away:
            await answer(send, 503, {"error": {"message": "loading"}})
        elif scope["path"] == "/v1/models":
            await answer(send, 200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif scope["path"] == "/v1/chat/completions":
            body = request["body"]
            assert isinstance(body, bytes)
            await self._serve(json.loads(body), receive, send)
        else:
            await answer(send, 404, {"error": {"message": "no such route"}})

    async def _serve(self, asked: dict[str, object], receive: Receive, send: Send) -> None:
        """Answer until the client leaves: that is what stops a real engine too."""
        self.running += 1
        work = asyncio.ensure_future(self._chat(asked, send))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.running -= 1
            gone.cancel()
            if not work.done():
                work.cancel()
        if work.done() and not work.cancelled():
            await work

    async def _chat(self, asked: dict[str, object], send: Send) -> None:
        chance, moods = self._chance, self.moods
        await asyncio.sleep(chance.uniform(0.0, moods.pause_s))
        if asked["tag"] == "bad":
            await answer(send, 400, {"error": {"message": "bad", "type": "invalid_request_error"}})
        elif chance.random() < moods.busy:
            headers = [(b"retry-after", b"2")] if chance.random() < 0.5 else []
            await answer(send, 429, {"error": {"message": "busy"}}, headers)
        elif chance.random() < moods.broken:
            await answer(send, 500, {"error": {"message": "broken"}})
        elif asked.get("stream"):
            await self._stream(asked, send)
        else:
            await self._whole(str(asked["tag"]), send)

    def _number(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count}"

    def _remember(self, number: str, tag: str, payloads: list[str], body: bytes) -> None:
        self.said[number] = Said(self.name, asyncio.get_running_loop().time(), tag, payloads, body)

    async def _whole(self, tag: str, send: Send) -> None:
        number = self._number()
        await asyncio.sleep(self._chance.uniform(0.0, self.moods.pause_s * 4))
        message = {"role": "assistant", "content": f"{tag} by {number}"}
        body = json.dumps(
            {
                "id": number,
                "object": "chat.completion",
                "created": 1,
                "model": MODEL,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
            }
        ).encode()
        self._remember(number, tag, [], body)
        await start(send, 200, b"application/json")
        await send(part(body, more=False))

    async def _stream(self, asked: dict[str, object], send: Send) -> None:
        number, tag = self._number(), str(asked["tag"])
        chance, moods = self._chance, self.moods
        payloads = self._payloads(number, tag)
        self._remember(number, tag, payloads, b"")
        fails_at = chance.randrange(1, len(payloads)) if chance.random() < moods.breaks_off + moods.silent else None
        await start(send, 200, b"text/event-stream")
        for place, payload in enumerate(payloads):
            if place == fails_at:
                if chance.random() * (moods.breaks_off + moods.silent) < moods.silent:
                    await asyncio.sleep(3600.0)
                await send(part(b"", more=False))
                return
            await send(part(f"data: {payload}\n\n".encode(), more=True))
            await asyncio.sleep(chance.uniform(0.0, moods.pause_s))
        options = asked.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            usage = {"prompt_tokens": 3, "completion_tokens": len(payloads), "total_tokens": 3 + len(payloads)}
            last = json.dumps(chunk(number, [], usage))
            await send(part(f"data: {last}\n\n".encode(), more=True))
        await send(part(b"data: [DONE]\n\n", more=False))

    def _payloads(self, number: str, tag: str) -> list[str]:
        words = [
            f"{tag} ",
            "by ",
            *(f"{number}.{place} " for place in range(self._chance.randint(1, self.moods.words))),
        ]
        deltas: list[dict[str, object]] = [
            {"index": 0, "delta": {"content": word}, "finish_reason": None} for word in words
        ]
        deltas.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        return [json.dumps(chunk(number, [delta], None)) for delta in deltas]


def chunk(number: str, choices: list[dict[str, object]], usage: dict[str, int] | None) -> dict[str, object]:
    """One `chat.completion.chunk`."""
    return {
        "id": number,
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": choices,
        "usage": usage,
    }


async def answer(
    send: Send, status: int, body: dict[str, object], headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send a whole JSON answer."""
    await start(send, status, b"application/json", headers)
    await send(part(json.dumps(body).encode(), more=False))


async def start(send: Send, status: int, kind: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Send a head."""
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *(headers or [])]}
    )


def part(body: bytes, *, more: bool) -> Message:
    """A part of a body."""
    return {"type": "http.response.body", "body": body, "more_body": more}
