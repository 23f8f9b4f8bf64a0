"""Which live sessions may take from each lane, kept in step a session at a time."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from inferpool.core.ids import SessionId
from inferpool.core.llm import Llm, LlmStatus
from inferpool.dispatch.live import LiveSession, lanes_of

_Key: TypeAlias = tuple[SessionId, str]


class Serving:
    """The lanes with the sessions, the llms behind them."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[_Key, tuple[LiveSession, Llm]]] = {}
        self._places: dict[SessionId, list[tuple[str, _Key]]] = {}

    def put(self, session: LiveSession, llms: Iterable[Llm]) -> None:
        """The session serves these llms, and none else."""
        serving = [llm for llm in llms if llm.status is not LlmStatus.INACTIVE]
        places = [(lane, (session.id, llm.name), llm) for llm in serving for lane in lanes_of(llm)]
        for lane, key, llm in places:
            self._lanes.setdefault(lane, {})[key] = (session, llm)
        kept = [(lane, key) for lane, key, _ in places]
        self._clear(session.id, set(kept))
        if kept:
            self._places[session.id] = kept

    def withdraw(self, session_id: SessionId) -> None:
        """The session serves nothing any more."""
        self._clear(session_id, set())

    def _clear(self, session_id: SessionId, kept: set[tuple[str, _Key]]) -> None:
        for lane, key in self._places.pop(session_id, ()):
            if (lane, key) not in kept:
                del self._lanes[lane][key]
                if not self._lanes[lane]:
                    del self._lanes[lane]

    def of(self, lane: str) -> Iterator[tuple[LiveSession, Llm]]:
        """Who may take from the lane, busy or not."""
        yield from self._lanes.get(lane, {}).values()

    def lanes(self) -> list[str]:
        """The lanes that somebody serves."""
        return list(self._lanes)
