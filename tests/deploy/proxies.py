"""Debian's nginx with Debian's haproxy as processes of a test, each on its file in `deploy/`.

haproxy runs on the file itself: it reads what differs from place to place from its environment. For nginx the addresses,
times, paths in the table below are put in the place of those in the file, each of which must stand there; nothing else is
changed, unless a test asks what happens without the rule that keeps a session on one server.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec

from tests.deploy.programs import DEPLOY, program
from tests.journeys.processes import Program

KINDS: Final = ("nginx", "haproxy")
SERVERS: Final = ("127.0.0.1:8011", "127.0.0.1:8012", "127.0.0.1:8013")
"""The servers that both files name."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long a proxy waits for a server's next byte, as both files say it."""

    calls: str = "660s"
    sessions: str = "60s"


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How the proxy is to be other than its file: shorter of patience, or without the rule that keeps a session on one server."""

    times: Times = Times()
    scattered: bool = False


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy is told: the socket that it inherits, its three servers, where it may write."""

    listener: int
    port: int
    servers: Sequence[str]
    folder: Path
    manner: Manner


class Proxy(NamedTuple):
    """One that runs: where it listens, the process."""

    url: str
    process: Program


@asynccontextmanager
async def proxy_before(
    kind: str, servers: Sequence[str], folder: Path, manner: Manner | None = None
) -> AsyncIterator[Proxy]:
    """That proxy before these servers (`HOST:PORT`, at most three); the others of its file take no connection."""
    with ExitStack() as held:
        closed = [held.enter_context(closed_port()) for _ in SERVERS[len(servers) :]]
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        port: int = listener.getsockname()[1]
        front = Front(
            listener=listener.fileno(),
            port=port,
            servers=[*servers, *closed],
            folder=folder,
            manner=manner or Manner(),
        )
        process = await _started(kind, front)
        listener.close()  # from now on it is the proxy's; who came meanwhile waits in its line
        try:
            yield Proxy(f"http://127.0.0.1:{port}", process)
        finally:
            await _end(process)


async def _started(kind: str, front: Front) -> Program:
    command, environment = COMMANDS[kind](front)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=front.folder,
        env={**os.environ, **environment},
        pass_fds=(front.listener,),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Program(kind, process)


async def _end(process: Program) -> None:
    """As a supervisor does; both close their connections at once."""
    if process.code is None:
        process.signal(signal.SIGTERM)
    await process.ended()


@contextmanager
def closed_port() -> Iterator[str]:
    """An address that refuses every connection, for as long as nobody else can take it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def nginx_command(front: Front) -> tuple[list[str], dict[str, str]]:
    """The program on the file with other addresses, times, paths; the socket is handed on as between two nginx."""
    path = front.folder / "nginx.conf"
    path.write_text(changed((DEPLOY / "nginx.conf").read_text(), _nginx_changes(front)))
    command = [program("nginx"), "-c", str(path), "-e", "stderr", "-g", "daemon off;"]
    return command, {"NGINX": f"{front.listener};"}


def _nginx_changes(front: Front) -> dict[str, str]:
    return {
        "listen 127.0.0.1:8010;": f"listen 127.0.0.1:{front.port};",
        **{f"server {was} ": f"server {new} " for was, new in zip(SERVERS, front.servers, strict=True)},
        "_timeout 660s;": f"_timeout {front.manner.times.calls};",
        "_timeout 60s;": f"_timeout {front.manner.times.sessions};",
        "/var/log/nginx/": f"{front.folder}/nginx-",
        "/run/nginx.pid": f"{front.folder}/nginx.pid",
        **({"hash $inferpool_session consistent;": ""} if front.manner.scattered else {}),
    }


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of the pieces replaced wherever it stands. Fails for one that stands nowhere."""
    for was, new in changes.items():
        assert was in text, f"{was!r} is no longer in the file"
        text = text.replace(was, new)
    return text


def haproxy_command(front: Front) -> tuple[list[str], dict[str, str]]:
    """The program on the file itself, with the variables that it reads."""
    servers = {f"SERVER_{place}": server for place, server in enumerate(front.servers, 1)}
    times = {"CALL_TIMEOUT": front.manner.times.calls, "SESSION_TIMEOUT": front.manner.times.sessions}
    command = [program("haproxy"), "-db", "-f", str(haproxy_file(front))]
    return command, {"LISTEN": f"fd@{front.listener}", **servers, **times}


def haproxy_file(front: Front) -> Path:
    """The file of `deploy/` itself, unless a test is not what it runs as: without a right to another user, or with another rule."""
    path = DEPLOY / "haproxy.cfg"
    changes = {} if os.geteuid() == 0 else {"    user haproxy\n    group haproxy\n": ""}
    changes |= {"balance hash path,field(5,/)": "balance roundrobin"} if front.manner.scattered else {}
    if not changes:
        return path
    own = front.folder / "haproxy.cfg"
    own.write_text(changed(path.read_text(), changes))
    return own


_Command: TypeAlias = Callable[[Front], tuple[list[str], dict[str, str]]]
COMMANDS: Final[Mapping[str, _Command]] = {"nginx": nginx_command, "haproxy": haproxy_command}
