"""Listens on ports of this machine, on every system that Python runs on."""

import ipaddress
import socket
from typing import Final

BACKLOG: Final = 2048
"""Connections that may wait to be taken."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises `OSError`, for a port that is taken, say."""
    return socket.create_server((host, port), family=_family(host), backlog=BACKLOG)


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
