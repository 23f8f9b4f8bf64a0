"""The llms that this worker publishes, compared with what its last registration said.

Spec section 4: a worker that finds its engine's models by itself names each llm `MODEL@WORKER` with the model id as its
pool, so that the same model on two machines is one pool without settings.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from inferpool.core.llm import NAME_LIMIT
from inferpool.core.session import LlmOffer
from inferpool.wire.sessions import Event, LlmStatusChanged
from inferpool.worker.abilities import all_but
from inferpool.worker.engine import Engine
from inferpool.worker.log import Log
from inferpool.worker.lookout import Lookout
from inferpool.worker.options import WorkerOptions
from inferpool.worker.state import WorkerState

_CHAT: Final = "chat"
_TYPES: Final = {"embeddings": "embedding", "rerank": "rerank", "audio/transcriptions": "audio"}
"""What an llm does, by the first of the endpoints that it serves alone."""


class Tell(NamedTuple):
    """Whom the roster tells of changes."""

    say: Callable[[Event], None]
    """An llm of the registration has another status, or other slots."""
    register: Callable[[], None]
    """There are other llms than the registration says, or they serve other endpoints."""


class Post(NamedTuple):
    """A published llm with the engine that serves it."""

    offer: LlmOffer
    lookout: Lookout


class Roster:
    """All llms of all engines of this worker."""

    def __init__(self, options: WorkerOptions, engines: list[Engine], state: WorkerState, tell: Tell, log: Log) -> None:
        self._options = options
        self._state = state
        self._tell = tell
        self._log = log
        self._published: dict[str, Post] = {}
        self._bound = False
        self._revision = 0
        self.lookouts: list[Lookout] = []
        for engine in engines:
            self.add(engine)

    def add(self, engine: Engine) -> Lookout:
        """Take up one more engine; its llms are told of once it was looked at."""
        lookout = Lookout(self._options, engine, self._state, self.compare, self._log)
        self.lookouts.append(lookout)
        return lookout

    def post(self, llm_name: str) -> Post | None:
        """Who serves this llm; None when it is not published."""
        return self._published.get(llm_name)

    def offers(self) -> list[LlmOffer]:
        """The llms as they are now, for a registration; changes wait until `bound` says that it was accepted."""
        self._bound = False
        self._published = self._current()
        return [post.offer for post in self._published.values()]

    def bound(self) -> None:
        """The registration of the last `offers` stands: tell what changed meanwhile."""
        self._bound = True
        self.compare()

    def compare(self) -> None:
        """Tell the server what differs from the registration."""
        if not self._bound:
            return
        current = self._current()
        if _shapes(current) != _shapes(self._published):
            self._bound = False
            self._tell.register()
            return
        for name, post in current.items():
            offer, known = post.offer, self._published[name].offer
            if (known.status, known.slots) != (offer.status, offer.slots):
                self._revision += 1
                change = LlmStatusChanged(
                    llm_name=name, status=offer.status, slots=offer.slots, revision=self._revision
                )
                self._tell.say(change)
        self._published = current

    def _current(self) -> dict[str, Post]:
        posts: dict[str, Post] = {}
        for number, lookout in enumerate(self.lookouts, start=1):
            for model in lookout.models:
                name = f"{model}@{self._options.name}"
                if name in posts:
                    name = f"{name}-{number}"  # the same model at a second engine of this worker
                if model and len(name) <= NAME_LIMIT:
                    posts[name] = Post(self._offer(name, model, lookout), lookout)
        return posts

    def _offer(self, name: str, model: str, lookout: Lookout) -> LlmOffer:
        alone = lookout.endpoints.get(model)
        return LlmOffer(
            name=name,
            model=model,
            type=_TYPES.get(alone[0], _CHAT) if alone else _CHAT,
            endpoints=alone or all_but(lookout.lacks),
            pool_name=self._options.pool or model,
            engine=lookout.engine.root,
            slots=lookout.slots,
            status=lookout.status,
        )


def _shapes(posts: dict[str, Post]) -> dict[str, list[str] | None]:
    """What a registration alone can change."""
    return {name: post.offer.endpoints for name, post in posts.items()}
