"""`inferpool serve`: the server."""

from typing import Annotated, TypeAlias

import typer

from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.loop import run_program
from inferpool.settings import load

app = typer.Typer()

HostFlag: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="HOST",
        help="the address to listen on; others than loopback ones need a token to exist (default: 127.0.0.1)",
    ),
]
PortFlag: TypeAlias = Annotated[
    int | None, typer.Option("--port", metavar="PORT", help="0: any free one (default: 8010)")
]
DatabaseFlag: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="sqlite:///PATH, a path or postgresql://USER@HOST/DATABASE (default: in your data folder)",
    ),
]
ProcessesFlag: TypeAlias = Annotated[
    int | None,
    typer.Option("--processes", metavar="N", help="equal processes that share the port, on PostgreSQL (default: 1)"),
]
InsecureFlag: TypeAlias = Annotated[
    bool | None,
    typer.Option("--insecure", help="without any token too: listen on any address, answer whoever asks"),
]


@app.command(
    "serve",
    epilog="Examples:\n\n$ inferpool serve\n\n$ inferpool serve --port 9000 --database-url sqlite:///var/lib/inferpool.db"
    "\n\n$ inferpool serve --database-url postgresql://inferpool@db.example/inferpool --processes 4"
    "\n\nOther settings come from INFERPOOL_… variables or inferpool.toml: docs/reference/settings.md lists them.\n\n"
    + EXIT_CODES,
)
def serve(
    host: HostFlag = None,
    port: PortFlag = None,
    database_url: DatabaseFlag = None,
    processes: ProcessesFlag = None,
    insecure: InsecureFlag = None,
) -> None:
    """Run the server: it takes every call, keeps it, hands it to a worker.

    Ctrl-C or SIGTERM ends it politely: accepted calls may finish for 30 s; a second one ends it at once. Even kill -9
    loses nothing but the open connections.
    """
    flags = {
        "host": host,
        "port": port,
        "database_url": database_url,
        "processes": processes,
        "insecure": insecure,
    }
    settings = load(flags)
    if settings.serve.processes > 1:
        from inferpool.cli.parent import run_processes

        raise typer.Exit(run_processes(settings))
    from inferpool.compose import run_server

    run_program(run_server(settings))
