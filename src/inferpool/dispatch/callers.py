"""The callers that wait for an answer: a shutdown waits for them."""

import asyncio


class Callers:
    """How many there are."""

    def __init__(self) -> None:
        self.blocked = 0
        self._watched: list[asyncio.Future[None]] = []

    def block(self) -> None:
        """One more waits."""
        self.blocked += 1

    def unblock(self) -> None:
        """One less."""
        self.blocked -= 1
        for future in self._watched:
            if not future.done():
                future.set_result(None)
        self._watched.clear()

    async def changed(self, timeout_s: float) -> None:
        """Until one of them got its answer, or `timeout_s` passed."""
        future = asyncio.get_running_loop().create_future()
        self._watched.append(future)
        await asyncio.wait((future,), timeout=timeout_s)
