"""`inferpool up`: server with worker for the engines of this machine, in one command."""

import asyncio
import contextlib
import shlex
import sys
from typing import Annotated, Final

import msgspec
import typer

from inferpool.cli.exits import EXIT_CODES, complain
from inferpool.cli.loop import run_program
from inferpool.cli.remote import TokenFlag, asked
from inferpool.client.native import NativeClient
from inferpool.client.transport import TransportError
from inferpool.core.access import TOKEN_PREFIX
from inferpool.core.errors import Forbidden, InferpoolError, Unauthenticated
from inferpool.core.llm import LlmStatus
from inferpool.settings import Settings, SharedSettings, load
from inferpool.wire.registry import LlmJson

app = typer.Typer()

LOOK_S: Final = 0.5
"""Between two looks at what is published."""
PATIENCE: Final = 6
"""Looks until one hears that no engine answers yet."""
_KNOWN: Final = 100
_CHAT: Final = "chat/completions"
_CLOSED: Final = (
    "\nThere are tokens, so whoever calls needs one: INFERPOOL_TOKEN or --token. The worker in this process needs none; "
    "others do."
)
_QUESTION: Final = "Why is the sky blue? One sentence."


@app.command(
    "up",
    epilog="Examples:\n\n$ inferpool up\n\n$ inferpool up --engine http://127.0.0.1:8000 --port 9000\n\n"
    "Other settings come from INFERPOOL_… variables or inferpool.toml: docs/reference/settings.md lists them.\n\n"
    + EXIT_CODES,
)
def up(
    port: Annotated[int | None, typer.Option("--port", metavar="PORT", help="0: any free one (default: 8010)")] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="sqlite:///PATH, a path or postgresql://USER@HOST/DATABASE (default: in your data folder)",
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine", metavar="URL", help="an engine, repeatable (default: what answers at the usual ports)"
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="the logs of both too")] = False,
    token: TokenFlag = None,
) -> None:
    """Run a server with a worker for the engines of this machine; print how to call it.

    Both run in this one process. Engines at the usual ports of Ollama, llama.cpp, vLLM, SGLang, LM Studio are found by
    themselves, also when they come later. Ctrl-C ends both politely: running answers may finish for 30 s, a second one
    ends at once. What is queued stays for the next time.
    """
    flags = {"port": port, "database_url": database_url, "engine": engine, "token": token}
    quiet = {} if verbose else {"log_level": "warning"}
    run_program(_run(load({**flags, **quiet})))


async def _run(settings: Settings) -> None:
    from inferpool.cli.together import run_together
    from inferpool.compose import new_secret

    own_token = TOKEN_PREFIX + new_secret()
    herald = Herald(settings, own_token)
    try:
        await run_together(settings, herald, own_token)
    finally:
        await herald.end()


class Herald:
    """Tells where the server is, what it serves, how to ask it; each change of the models too."""

    def __init__(self, settings: Settings, own_token: str) -> None:
        """`own_token` is what to look with once callers need a token."""
        self._settings = settings
        self._own_token = own_token
        self._telling: asyncio.Future[None] | None = None

    def begin(self, url: str) -> None:
        """The server is ready at this address."""
        _say(f"inferpool is up at {url} (Ctrl-C ends it; what is queued stays)")
        self._telling = asyncio.ensure_future(self._tell(url))

    def leave(self) -> None:
        """Both leave; that models go is no news then."""
        if self._telling is not None:
            self._telling.cancel()
            _say("\nLeaving: what runs may finish for a moment (Ctrl-C again: at once).")

    async def end(self) -> None:
        """Say nothing more."""
        if self._telling is not None:
            self._telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._telling

    async def _tell(self, url: str) -> None:
        shared = msgspec.structs.replace(self._settings.shared, server=[url])
        told = _Told(url, token=shared.token is not None)
        looks = 0
        while True:
            looks += 1
            try:
                told.tell(await _served(shared))
            except (Unauthenticated, Forbidden) as error:
                if shared.token is not None:
                    complain(f"{error}; give `inferpool up` none, or one that lets in, by INFERPOOL_TOKEN")
                    return
                shared = msgspec.structs.replace(shared, token=self._own_token)
                told.token = True
                _say(_CLOSED)
            if looks == PATIENCE and not told.shown:
                _say(self._missed())
            await asyncio.sleep(LOOK_S)

    def _missed(self) -> str:
        own = self._settings.worker
        looked = ", ".join(own.engine or own.local_engines)
        return (
            f"\nNo engine answers yet at {looked}.\n"
            "Start one (ollama serve, llama-server -m MODEL.gguf, vllm serve MODEL …): it is taken up by itself.\n"
            "One that is elsewhere: end this, then inferpool up --engine http://HOST:PORT"
        )


class _Told:
    """What was said of the models."""

    def __init__(self, url: str, *, token: bool) -> None:
        self._url = url
        self.token = token
        """Whether a call needs one."""
        self._names: list[str] = []
        self.shown = False
        """Whether there ever was one."""

    def tell(self, llms: list[LlmJson]) -> None:
        """Say what changed; the first time how to ask too."""
        names = [llm.name for llm in llms]
        if names == self._names:
            return
        self._names = names
        _say(models_told(llms))
        if not self.shown:
            _say(calls_told(self._url, llms, token=self.token))
        self.shown = True


async def _served(settings: SharedSettings) -> list[LlmJson]:
    """The llms that take work now; none while the server does not tell. Raises `Unauthenticated`, `Forbidden`."""
    try:
        llms = await asked(settings, _llms)
    except (Unauthenticated, Forbidden):
        raise
    except (TransportError, InferpoolError):
        return []
    return [llm for llm in llms if llm.status is LlmStatus.ACTIVE]


async def _llms(client: NativeClient) -> list[LlmJson]:
    return await client.llms(_KNOWN)


def models_told(llms: list[LlmJson]) -> str:
    """What is served now, a line a model."""
    if not llms:
        return "\nNo model is there any more; it is taken up again when its engine is back."
    width = max(len(llm.pool) for llm in llms)
    lines = [f"  {llm.pool:<{width}}  {llm.engine}{_alone(llm)}" for llm in sorted(llms, key=lambda llm: llm.name)]
    return "\nModels:\n" + "\n".join(lines)


def _alone(llm: LlmJson) -> str:
    if not llm.endpoints or _CHAT in llm.endpoints:
        return ""
    return f"  ({', '.join(llm.endpoints)} only)"


def calls_told(url: str, llms: list[LlmJson], *, token: bool) -> str:
    """A curl and an SDK line that work as they stand, for a model that chats if there is one."""
    chatting = [llm for llm in llms if not llm.endpoints or _CHAT in llm.endpoints]
    model = min(llm.pool for llm in chatting or llms)
    question = msgspec.json.encode(_QUESTION).decode()
    named = msgspec.json.encode(model).decode()
    if chatting:
        path, body = _CHAT, {"model": model, "messages": [{"role": "user", "content": _QUESTION}]}
        call = f'chat.completions.create(model={named}, messages=[{{"role": "user", "content": {question}}}])'
        shown = ".choices[0].message.content"
    else:
        path, body = "embeddings", {"model": model, "input": _QUESTION}
        call, shown = f"embeddings.create(model={named}, input={question})", ".data[0].embedding"
    key = '-H "authorization: Bearer $INFERPOOL_TOKEN" ' if token else ""
    secret = 'os.environ["INFERPOOL_TOKEN"]' if token else '"unused"'
    modules = "os, openai" if token else "openai"
    program = f'import {modules}; print(openai.OpenAI(base_url="{url}/v1", api_key={secret}).{call}{shown})'
    json = msgspec.json.encode(body).decode()
    return (
        "\nAsk it (the python line needs `pip install openai`):\n"
        f"  curl {url}/v1/{path} -H 'content-type: application/json' {key}-d {shlex.quote(json)}\n"
        f"  python -c {shlex.quote(program)}\n"
        + (f"  inferpool chat {shlex.quote(model)} --server {url}\n" if chatting else "")
    )


def _say(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody reads it any more: it serves, it ends all the same
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
