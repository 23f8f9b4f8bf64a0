"""A load balancer before the servers: each request goes to one that answers, as a seed wants it."""

import zlib
from collections.abc import Sequence
from random import Random

from inferpool.client.transport import HttpRequest
from tests.simulation.network import Network

BALANCER = "127.0.0.1:8000"
_BLIND = 0.05
"""How often it sends a request to a server that is down: its health checks are a little late."""


class Balancer:
    """Chooses by chance; or by the session, so that its channel and its events meet while no server comes or goes."""

    def __init__(self, network: Network, addresses: Sequence[str], chance: Random) -> None:
        self._network = network
        self._addresses = addresses
        self._chance = chance
        self._hashes = chance.random() < 0.5

    def __call__(self, request: HttpRequest) -> str:
        """The address of the server that gets the request."""
        up = [address for address in self._addresses if self._network.host(address) is not None]
        choice = self._addresses if not up or self._chance.random() < _BLIND else up
        parts = request.url.split("/")
        if self._hashes and parts[5:6] == ["sessions"] and len(parts) > 6:
            return choice[zlib.crc32(parts[6].encode()) % len(choice)]
        return self._chance.choice(choice)
