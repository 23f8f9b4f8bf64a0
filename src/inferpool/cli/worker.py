"""`inferpool worker`: the process beside an engine."""

from typing import Annotated, TypeAlias

import typer

from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.loop import run_program
from inferpool.cli.remote import ServerFlag, TokenFlag
from inferpool.settings import load

app = typer.Typer()


EngineFlag: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        metavar="URL",
        help="an OpenAI-compatible engine, with or without /v1, repeatable (default: what answers at the usual ports)",
    ),
]
NameFlag: TypeAlias = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="this worker's name (default: the host's)")
]
ModelFlag: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="MODEL", help="publish only this model of the engine (repeatable)"),
]
PublishFlag: TypeAlias = Annotated[
    str | None,
    typer.Option("--pool", metavar="POOL", help="publish into this pool (default: one named like the model)"),
]
SlotsFlag: TypeAlias = Annotated[
    int | None,
    typer.Option("--slots", metavar="N", help="requests at once (default: what the engine tells, else 4)"),
]


@app.command(
    "worker",
    epilog="Examples:\n\n$ inferpool worker\n\n$ INFERPOOL_ENGINE_API_KEY=KEY inferpool worker --server https://example.com --engine http://127.0.0.1:8000\n\n"
    "$ inferpool worker --engine http://127.0.0.1:11434 --model qwen3:8b --model llama3.2 --slots 2\n\n"
    "Other settings come from INFERPOOL_… variables or inferpool.toml: docs/reference/settings.md lists them.\n\n"
    + EXIT_CODES,
)
def worker(
    server: ServerFlag = None,
    token: TokenFlag = None,
    engine: EngineFlag = None,
    name: NameFlag = None,
    model: ModelFlag = None,
    pool: PublishFlag = None,
    slots: SlotsFlag = None,
) -> None:
    """Run a worker: it connects to the server, publishes the engine's models, runs what it is given.

    Without --engine it takes up what answers here on the usual ports of Ollama, llama.cpp, vLLM, SGLang, LM Studio. It
    needs no open port. A server or an engine that is not there yet is waited for. Ctrl-C or SIGTERM lets running answers
    finish for 30 s; a second one ends it at once, what is finished but not delivered stays on disk.
    """
    from inferpool.compose import run_worker

    flags = {
        "token": token,
        "server": server,
        "engine": engine,
        "name": name,
        "model": model,
        "pool": pool,
        "slots": slots,
    }
    run_program(run_worker(load(flags)))
