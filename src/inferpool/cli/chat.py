"""`inferpool chat`: talks with a model in the terminal."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
import typer

from inferpool.cli.bodies import words_of
from inferpool.cli.complete import model_names
from inferpool.cli.exits import EXIT_CODES, complain, fail
from inferpool.cli.remote import ServerFlag, TokenFlag, asked, calling
from inferpool.client.native import NativeClient
from inferpool.client.transport import TransportError
from inferpool.core.errors import InferpoolError
from inferpool.settings import SharedSettings, load

app = typer.Typer()

PROMPT: Final = "> "
_KNOWN: Final = 1000
_TIER: Final = "tier:"


@app.command(
    "chat",
    epilog="Examples:\n\n$ inferpool chat qwen3\n\n$ inferpool chat llama3.2@office --system 'Answer in one sentence.'\n\n"
    "$ echo 'Name a colour.' | inferpool chat qwen3\n\n" + EXIT_CODES,
)
def chat(
    llm: Annotated[
        str,
        typer.Argument(
            metavar="LLM", help="an llm, or a pool: whichever of its llms is free answers", autocompletion=model_names
        ),
    ],
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="what the model is told first")] = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Talk with a model: each line is sent with all that was said before, the answer is printed as it arrives.

    Ctrl-C cancels the answer under way, which stops the engine; at the prompt it ends the chat, as Ctrl-D or /bye do. /new
    begins anew. Lines that are piped in are answered one after the other.
    """
    settings = load({"server": server, "token": token}).shared
    asyncio.run(asked(settings, _Known(llm)))
    talk = Talk(settings, llm, system)
    interactive = sys.stdin.isatty()
    for line in _typed() if interactive else sys.stdin:
        words = line.strip()
        if words == "/bye":
            return
        if words == "/new":
            talk.begin_anew()
        elif words:
            talk.say(words, patient=interactive)


def _typed() -> Iterator[str]:
    """What a person types, a line each, until Ctrl-D."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - importing it gives `input` its editing with its history
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            sys.stdout.write("\n")
            return


class _Known:
    """Makes sure that somebody publishes the model, before a long question is typed."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, client: NativeClient) -> None:
        llms = await client.llms(_KNOWN)
        names = {llm.name for llm in llms} | {llm.pool for llm in llms}
        names |= {pool.name for pool in await client.pools(_KNOWN)}
        if self._name in names or self._name.startswith(_TIER) or len(llms) == _KNOWN:
            return
        if not names:
            raise fail("no model is published on that server; `inferpool doctor` tells why")
        raise fail(f"nobody publishes {self._name!r}; there are: {', '.join(sorted({llm.pool for llm in llms}))}")


class Talk:
    """The conversation so far, with whom it is held."""

    def __init__(self, settings: SharedSettings, model: str, system: str | None) -> None:
        self._settings = settings
        self._model = model
        self._first = [{"role": "system", "content": system}] if system else []
        self._messages = list(self._first)

    def begin_anew(self) -> None:
        """Forget what was said."""
        self._messages = list(self._first)

    def say(self, words: str, *, patient: bool) -> None:
        """Ask, print the answer, keep both.

        Of an answer that was cancelled or broke off what came is kept. `patient`: errors or Ctrl-C end the answer alone.
        """
        self._messages.append({"role": "user", "content": words})
        answer = Answer()
        try:
            asyncio.run(self._ask(answer))
        except KeyboardInterrupt:
            answer.end("cancelled")
            if not patient:
                raise
        except (InferpoolError, TransportError) as error:
            answer.end()
            if not patient:
                raise
            complain(str(error))
        else:
            answer.end()
        self._keep(answer)

    def _keep(self, answer: "Answer") -> None:
        if answer.words:
            self._messages.append({"role": "assistant", "content": answer.words})
        else:
            self._messages.pop()

    async def _ask(self, answer: "Answer") -> None:
        from inferpool.client.chat import ChatClient

        body = msgspec.json.encode({"model": self._model, "stream": True, "messages": self._messages})
        async with (
            calling(self._settings) as caller,
            contextlib.aclosing(ChatClient(caller).stream(body, answer.queued)) as chunks,
        ):
            async for payload in chunks:
                answer.add(words_of(payload) or "")


class Answer:
    """One answer on its way to the screen."""

    def __init__(self) -> None:
        self.words = ""

    def queued(self, position: str) -> None:
        """Say how long the line is."""
        sys.stderr.write(f"-- place {position} in the queue --\n")

    def add(self, words: str) -> None:
        """Print what came."""
        self.words += words
        sys.stdout.write(words)
        sys.stdout.flush()

    def end(self, why: str | None = None) -> None:
        """End its line."""
        if self.words:
            sys.stdout.write("\n")
            sys.stdout.flush()
        if why is not None:
            sys.stderr.write(f"-- {why} --\n")
