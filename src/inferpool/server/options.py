"""What the HTTP side of the server may be told, as one frozen value."""

import msgspec


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults are the italic numbers of the spec. Durations in seconds."""

    host: str = "127.0.0.1"
    port: int = 8010
    """0: any free one."""
    shared: bool = False
    """Equal processes listen on the same port: this one is asked only once it takes calls."""
    insecure: bool = False
    """Without a token too: listen on any address, answer whoever asks."""
    max_body_bytes: int = 32 * 2**20
    """A longer body is answered 413 before it is read."""
    body_s: float = 30.0
    """How long a body may take to come, beside the second that it earns with each 8 KiB; later it is answered 408."""
    headers_wait_s: float = 15.0
    """How long a stream withholds its headers for the engine's status."""
    comment_s: float = 15.0
    """How often an idle stream carries a keep-alive comment."""
    keep_alive_s: int = 75
    """How long an unused connection stays open; 5 s would race the clients' pools."""
    drain_s: float = 30.0
    """How long a shutdown waits for accepted calls."""
    farewell_s: int = 3
    """How long it then waits for the last bytes to leave."""
