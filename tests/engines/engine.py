"""The scripted engine itself: runs each call as its prompt says, remembers what happened."""

import asyncio
import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
from starlette.types import Receive, Scope, Send

from tests.engines.answers import Answer, Asked, Completion, embeddings, error_body
from tests.engines.directives import Directive, read_directive, without_faults
from tests.engines.exchange import ClientGone, Exchange
from tests.engines.messages import Message, message_error, token_count

Cut: TypeAlias = Callable[[Scope], None]
"""Closes the connection of a scope although no answer was sent."""

JSON: Final = "application/json"
MESSAGES: Final = "/v1/messages"
_COUNT_TOKENS: Final = MESSAGES + "/count_tokens"
_AT_ONCE: Final[dict[str, Callable[[Asked], bytes]]] = {"/v1/embeddings": embeddings, _COUNT_TOKENS: token_count}
"""What is answered without words."""

ROUTES: Final = ("/v1/chat/completions", "/v1/completions", MESSAGES, *_AT_ONCE)
"""The paths that infer."""
_decode: Final = msgspec.json.Decoder(Asked).decode


class Call(msgspec.Struct, kw_only=True):
    """One inference call that the engine got. Times in seconds of the event loop's clock."""

    id: int
    path: str
    directive: str
    body_sha256: str
    headers: list[str]
    """Names of the request's headers, in lower case."""
    started: float
    waiting: bool = False
    """Whether it came to a gate or hung."""
    finished: float | None = None
    cancelled: bool = False
    """Whether the client closed the connection before the end."""
    status: int | None = None
    chunks_sent: int = 0

    def has_been(self, state: str) -> bool:
        """Whether it has been in the state: started, waiting, finished, cancelled."""
        states = {"waiting": self.waiting, "finished": self.finished is not None, "cancelled": self.cancelled}
        return states.get(state, True)


class _Broken(Exception):
    """The script closes the connection here."""


class _Cut(Exception):
    """The script ends the stream here, without its end mark."""


class ScriptedEngine:
    """The engine's state: its calls, its gates."""

    def __init__(self, models: Sequence[str], cut: Cut | None = None) -> None:
        self.models = list(models)
        self.calls: list[Call] = []
        self._cut = cut
        self._seen: Counter[str] = Counter()
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._hung = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An inference route, as an ASGI application."""
        exchange = Exchange(scope, receive, send)
        try:
            await self._run(exchange)
        except ClientGone:
            return
        finally:
            exchange.close()

    async def _run(self, exchange: Exchange) -> None:
        request = await exchange.body()
        try:
            asked = _decode(request)
        except msgspec.DecodeError as error:
            await _answer(exchange, 400, error_body(str(error), "invalid_request"))
            return
        call = self._begin(exchange, request, asked)
        try:
            await self._perform(exchange, call, asked, request)
        except ClientGone:
            call.cancelled = True
        except _Broken:
            return
        finally:
            call.finished = asyncio.get_running_loop().time()
            self._change()

    def _begin(self, exchange: Exchange, request: bytes, asked: Asked) -> Call:
        call = Call(
            id=len(self.calls) + 1,
            path=exchange.path,
            directive=asked.prompt_text(),
            body_sha256=hashlib.sha256(request).hexdigest(),
            headers=sorted(exchange.headers),
            started=asyncio.get_running_loop().time(),
        )
        self.calls.append(call)
        self._seen[call.directive] += 1
        self._change()
        return call

    async def _perform(self, exchange: Exchange, call: Call, asked: Asked, request: bytes) -> None:
        directive = self._directive(call)
        if directive.reset:
            await self._reset(exchange)
        if directive.status != 200:
            await self._refuse(exchange, call, directive)
        elif call.path in _AT_ONCE:
            call.status = 200
            await _answer(exchange, 200, _AT_ONCE[call.path](asked))
        else:
            speak = self._stream if asked.streaming else self._say
            await speak(exchange, call, directive, _answer_to(call.path, request, asked))

    def _directive(self, call: Call) -> Directive:
        directive = read_directive(call.directive)
        spent = directive.times is not None and self._seen[call.directive] > directive.times
        return without_faults(directive) if spent else directive

    async def _reset(self, exchange: Exchange) -> None:
        if self._cut is not None:
            self._cut(exchange.scope)
            with contextlib.suppress(ClientGone):
                await exchange.until(asyncio.Event())
        raise _Broken

    async def _refuse(self, exchange: Exchange, call: Call, directive: Directive) -> None:
        call.status = directive.status
        await self._wait_at(exchange, call, directive, 0)
        headers = {} if directive.retry_after is None else {"retry_after": directive.retry_after}
        error = message_error if call.path.startswith(MESSAGES) else error_body
        await _answer(exchange, directive.status, error("as the script says", directive.status), **headers)

    async def _say(self, exchange: Exchange, call: Call, directive: Directive, answer: Answer) -> None:
        """The answer in one piece, after all the time that its words take."""
        for place in range(len(answer.pieces) + 1):
            await self._wait_at(exchange, call, directive, place)
            if directive.break_after == place:
                await exchange.start(200, JSON)
                await exchange.send(answer.body()[:20])
                raise _Broken
        call.status = 200
        await _answer(exchange, 200, answer.body())

    async def _stream(self, exchange: Exchange, call: Call, directive: Directive, answer: Answer) -> None:
        call.status = 200
        await exchange.start(200, "text/event-stream; charset=utf-8")
        with contextlib.suppress(_Cut):
            for chunk in answer.opening():
                await _send_chunk(exchange, call, answer.frame(chunk))
            for place, piece in enumerate(answer.pieces):
                await self._stumble(exchange, call, directive, answer, place)
                await _send_chunk(exchange, call, answer.frame(answer.word(piece)))
            await self._stumble(exchange, call, directive, answer, len(answer.pieces))
            for chunk in answer.closing():
                await _send_chunk(exchange, call, answer.frame(chunk))
            await exchange.send(answer.end)
        await exchange.send(b"", last=True)

    async def _stumble(self, exchange: Exchange, call: Call, directive: Directive, answer: Answer, place: int) -> None:
        """Whatever the script wants after `place` words of a stream."""
        await self._wait_at(exchange, call, directive, place)
        if directive.break_after == place:
            raise _Broken
        if directive.fail_after == place:
            await _send_chunk(exchange, call, answer.frame(answer.failure("as the script says")))
            raise _Cut
        if directive.end_after == place:
            raise _Cut

    async def _wait_at(self, exchange: Exchange, call: Call, directive: Directive, place: int) -> None:
        if directive.gate is not None and directive.gate_after == place:
            await self._wait(exchange, call, self._gates[directive.gate])
        if directive.hang_after == place:
            await self._wait(exchange, call, self._hung)
        if directive.every_ms and place:
            await exchange.pause(directive.every_ms / 1000)

    async def _wait(self, exchange: Exchange, call: Call, event: asyncio.Event) -> None:
        call.waiting = True
        self._change()
        await exchange.until(event)

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # ---- what tests ask ----

    def open_gate(self, name: str) -> None:
        """Let every call at this gate pass, now or later."""
        self._gates[name].set()

    def release(self) -> None:
        """Let every call that hangs now go on."""
        self._hung.set()
        self._hung = asyncio.Event()

    def forget(self) -> None:
        """Begin anew: no calls, every gate closed."""
        self.calls.clear()
        self._seen.clear()
        self._gates.clear()

    async def wait_for(self, state: str, count: int = 1) -> list[Call]:
        """The calls that have been in the state, as soon as there are so many of them."""
        while len(found := [call for call in self.calls if call.has_been(state)]) < count:
            await self._changed.wait()
        return found


def _answer_to(path: str, request: bytes, asked: Asked) -> Answer:
    if path == MESSAGES:
        return Message(request, asked)
    return Completion(request, asked, chat=path == "/v1/chat/completions")


async def _send_chunk(exchange: Exchange, call: Call, frame: bytes) -> None:
    await exchange.send(frame)
    call.chunks_sent += 1


async def _answer(exchange: Exchange, status: int, body: bytes, **headers: str) -> None:
    await exchange.start(status, JSON, content_length=str(len(body)), **headers)
    await exchange.send(body, last=True)
