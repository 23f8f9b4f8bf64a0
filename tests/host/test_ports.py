"""Claims about listening, about how a socket's address is told."""

import socket

import pytest

from inferpool.host.ports import BACKLOG, SHARES, claimed, is_everywhere, listening, sharing, url_of

PATIENCE_S = 30.0
CALLERS = 64
"""That all of them come to one of two by chance happens once in 2**63 times."""


@pytest.mark.parametrize(
    ("host", "told", "everywhere"),
    [
        ("127.0.0.1", "http://127.0.0.1:", False),
        ("localhost", "http://127.0.0.1:", False),
        ("0.0.0.0", "http://127.0.0.1:", True),
        ("::1", "http://[::1]:", False),
        ("::", "http://[::1]:", True),
    ],
)
def test_the_address_that_is_told_can_be_used_on_this_machine(host: str, told: str, everywhere: bool) -> None:
    with listening(host, 0) as listener:
        assert url_of(listener).startswith(told)
        assert is_everywhere(listener) is everywhere


def test_a_port_that_is_taken_is_refused() -> None:
    with listening("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use"):
        listening("127.0.0.1", listener.getsockname()[1])


def test_a_socket_that_shares_takes_nothing_until_it_listens() -> None:
    with claimed("127.0.0.1", 0) as claim:
        place = claim.getsockname()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(place, PATIENCE_S)
        with sharing(*place) as first, sharing(*place) as second:
            for one in (first, second):
                one.listen(BACKLOG)
            socket.create_connection(place, PATIENCE_S).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_shared_or_taken_is_claimed_by_nobody_else(host: str) -> None:
    with claimed(host, 0) as claim, sharing(host, claim.getsockname()[1]) as shared:
        shared.listen(BACKLOG)
        for take in (claimed, listening):
            with pytest.raises(OSError, match="in use"):
                take(host, claim.getsockname()[1])
    with listening(host, 0) as alone:
        for take in (claimed, sharing):
            with pytest.raises(OSError, match="in use"):
                take(host, alone.getsockname()[1])


def test_new_connections_are_spread_over_those_that_listen() -> None:
    with claimed("127.0.0.1", 0) as claim:
        place = claim.getsockname()
        with sharing(*place) as first, sharing(*place) as second:
            for one in (first, second):
                one.listen(BACKLOG)
                one.setblocking(False)
            callers = [socket.create_connection(place, PATIENCE_S) for _ in range(CALLERS)]
            taken = [_taken(one) for one in (first, second)]
            for caller in callers:
                caller.close()
    assert SHARES
    assert sum(taken) == CALLERS
    assert min(taken) > 0, taken


def _taken(listener: socket.socket) -> int:
    """How many wait at this one; they are let go."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
