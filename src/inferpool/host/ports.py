"""Listens on ports of this machine, on every system that Python runs on."""

import ipaddress
import socket
import sys
from typing import Final

BACKLOG: Final = 2048
"""Connections that may wait to be taken."""

EVERYWHERE: Final = "listening on every address: other machines reach this one by its own name or address"
"""What is said of a socket that `is_everywhere`."""

SHARES: Final = sys.platform == "linux"
"""Whether new connections are spread over all sockets that listen on one port: socket(7), SO_REUSEPORT. Other systems hand
all of them to one, or know no such thing."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises `OSError`, for a port that is taken, say."""
    return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)


def sharing(host: str, port: int) -> socket.socket:
    """A socket bound there beside others of this user that share the port; it takes connections once it listens.

    The system spreads new connections over those that listen. Raises `OSError`, for a port that somebody has alone, say.
    """
    family = _family(host)
    made = socket.socket(family)
    try:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            made.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def claimed(host: str, port: int) -> socket.socket:
    """The same, for whoever starts the others: it keeps the port theirs while none of them runs.

    Port 0 is any free one. Raises `OSError` also for a port that others share: two servers on one port would be mixed.
    """
    if port:
        with socket.socket(_family(host)) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((host, port))
    return sharing(host, port)


def url_of(listener: socket.socket) -> str:
    """Where this machine reaches it: for a socket on every address that is the loopback one."""
    host, port = _place(listener)
    if is_everywhere(listener):
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_everywhere(listener: socket.socket) -> bool:
    """Whether it listens on every address of this machine, so that others reach it by any name that this machine has."""
    return ipaddress.ip_address(_place(listener)[0].partition("%")[0]).is_unspecified


def _place(listener: socket.socket) -> tuple[str, int]:
    name: tuple[str, int] = listener.getsockname()[:2]
    return name


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
