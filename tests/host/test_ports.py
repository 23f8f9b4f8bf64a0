"""Claims about listening, about how a socket's address is told."""

import pytest

from inferpool.host.ports import is_everywhere, listening, url_of


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
