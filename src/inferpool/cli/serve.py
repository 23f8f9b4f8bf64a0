"""`inferpool serve`: the server."""

from typing import Annotated

import typer

from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.loop import run_program
from inferpool.settings import load

app = typer.Typer()


@app.command(
    "serve",
    epilog="Examples:\n\n$ inferpool serve\n\n$ inferpool serve --port 9000 --database-url sqlite:///var/lib/inferpool.db"
    "\n\n$ inferpool serve --database-url postgresql://inferpool@db.example/inferpool"
    "\n\nOther settings come from INFERPOOL_… variables or inferpool.toml: docs/reference/settings.md lists them.\n\n"
    + EXIT_CODES,
)
def serve(
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="HOST",
            help="the address to listen on; others than loopback ones need a token to exist (default: 127.0.0.1)",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="PORT", help="0: any free one (default: 8010)")] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="sqlite:///PATH, a path or postgresql://USER@HOST/DATABASE (default: in your data folder)",
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="without any token too: listen on any address, answer whoever asks"),
    ] = None,
) -> None:
    """Run the server: it takes every call, keeps it, hands it to a worker.

    Ctrl-C or SIGTERM ends it politely: accepted calls may finish for 30 s; a second one ends it at once. Even kill -9
    loses nothing but the open connections.
    """
    from inferpool.compose import run_server

    run_program(run_server(load({"host": host, "port": port, "database_url": database_url, "insecure": insecure})))
