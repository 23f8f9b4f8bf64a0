"""`inferpool token`: makes, lists, revokes tokens."""

import asyncio
import ipaddress
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

import typer

from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.output import Output, OutputFlag, plain, print_things, print_value
from inferpool.cli.own_store import own_tokens
from inferpool.cli.remote import LimitFlag, ServerFlag, TokenFlag, asked
from inferpool.cli.shapes import TOKENS, token_limits
from inferpool.cli.times import seconds_of, spelled
from inferpool.client.transport import TransportError
from inferpool.core.access import Role
from inferpool.core.errors import StoreUnavailable
from inferpool.settings import Settings, load
from inferpool.wire.tokens import MadeTokenJson, NewTokenRequest, TokenJson

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    help="Make, list, revoke tokens.",
    epilog=f"$ inferpool token create --role admin --subject ann\n\n{EXIT_CODES}",
)

DatabaseFlag: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--database-url", metavar="URL", help="ask no server: open this store, on which none may run at the moment"
    ),
]
_HOW: Final = (
    "A server that runs is asked over its API; its first token can be made without one, while it is open. Where no server "
    "runs, this machine's own store is opened."
)
_CLOSED: Final = (
    "that was the first token: from now on every call needs one, the workers' too (INFERPOOL_TOKEN or --token)"
)


@app.command(
    "create",
    epilog="Examples:\n\n$ inferpool token create --role admin --subject ann\n\n"
    "$ inferpool token create --role publisher --subject office --pool qwen3\n\n"
    "$ export INFERPOOL_TOKEN=$(inferpool token create --role caller --subject app --expires 30d)\n\n" + EXIT_CODES,
    help=f"Make a token; print it, this once.\n\n{_HOW}",
)
def create(
    role: Annotated[Role, typer.Option("--role", help="what it is for")],
    subject: Annotated[
        str, typer.Option("--subject", metavar="NAME", help="whom it stands for: the owner of its tasks")
    ],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="such as 30d or 12h (default: never)")
    ] = None,
    llm: Annotated[
        list[str] | None, typer.Option("--llm", metavar="NAME", help="limit it to this llm (repeatable)")
    ] = None,
    pool: Annotated[
        list[str] | None, typer.Option("--pool", metavar="POOL", help="limit it to this pool (repeatable)")
    ] = None,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """Make a token."""
    wanted = NewTokenRequest(
        role=role, subject=subject, expires_in_s=_seconds(expires), llms=llm or [], pools=pool or []
    )
    made, first = _use(_Place(server, token, database_url), lambda desk: desk.create_token(wanted))
    _print_made(made, output)
    if first:
        _say(_CLOSED)


@app.command(
    "list",
    epilog="Examples:\n\n$ inferpool token list\n\n$ inferpool token list -o json\n\n" + EXIT_CODES,
    help=f"List tokens, the newest first; never what they are.\n\n{_HOW}",
)
def list_all(
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """List tokens."""
    found, _ = _use(_Place(server, token, database_url), lambda desk: desk.tokens(limit))
    print_things(found, TOKENS, output)


@app.command(
    "revoke",
    epilog="Examples:\n\n$ inferpool token revoke 0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11\n\n" + EXIT_CODES,
    help=f"End a token for good: within a second it lets nobody in.\n\n{_HOW}",
)
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="the token's id, as `token list` shows it")],
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
    database_url: DatabaseFlag = None,
) -> None:
    """Revoke a token."""
    ended, _ = _use(_Place(server, token, database_url), lambda desk: desk.revoke_token(token_id))
    if output in {Output.JSON, Output.YAML}:
        print_value(plain(ended), output or Output.JSON)
    else:
        sys.stdout.write((ended.id if output is Output.NAME else f"token {ended.id} of {ended.subject} revoked") + "\n")


class Desk(Protocol):
    """Where tokens are made: a server, or this machine's own store."""

    async def create_token(self, asked: NewTokenRequest) -> MadeTokenJson: ...

    async def tokens(self, limit: int) -> list[TokenJson]: ...

    async def revoke_token(self, token_id: str) -> TokenJson: ...


class _Place(NamedTuple):
    """The flags that say where that is."""

    server: list[str] | None
    token: str | None
    database_url: str | None


def _use(place: _Place, act: Callable[[Desk], Awaitable[T]]) -> tuple[T, bool]:
    """What the act gives, with whether no token was asked for before it."""
    settings = load({"server": place.server, "token": place.token, "database_url": place.database_url})
    return asyncio.run(_used(settings, act, here=place.database_url is not None))


async def _used(settings: Settings, act: Callable[[Desk], Awaitable[T]], *, here: bool) -> tuple[T, bool]:
    if not here:
        try:
            return await asked(settings.shared, act), settings.shared.token is None
        except TransportError:
            if any(not _is_here(url) or _listens(url) for url in settings.shared.server):
                raise
    try:
        async with own_tokens(settings.serve) as desk:
            return await act(desk), desk.first
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error}; where a server runs on it, tell its address by --server") from error


def _is_here(url: str) -> bool:
    """Whether the address is one of this machine alone."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listens(url: str) -> bool:
    """Whether anybody takes a connection there."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1.0).close()
    except OSError:
        return False
    return True


def _seconds(expires: str | None) -> float | None:
    if expires is None:
        return None
    try:
        return seconds_of(expires)
    except ValueError as error:
        raise typer.BadParameter(f"{error}", param_hint="--expires") from error


def _print_made(made: MadeTokenJson, output: Output | None) -> None:
    """The token alone on the standard output, so that a shell can keep it; what it is beside it."""
    if output in {Output.JSON, Output.YAML}:
        print_value(plain(made), output or Output.JSON)
        return
    sys.stdout.write((made.id if output is Output.NAME else made.token) + "\n")
    limits = token_limits(made)
    _say(
        f"token {made.id}: {made.role.value} for {made.subject!r}"
        + ("" if limits == "-" else f", limited to {limits}")
        + (", never expires" if made.expires_at is None else f", expires {spelled(made.expires_at)}")
        + "; it is not shown again"
    )


def _say(line: str) -> None:
    """A word beside the result."""
    sys.stdout.flush()
    sys.stderr.write(line + "\n")
