"""Looks at a running set-up from here: server, engines, workers, models, each with its remedy."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from inferpool.cli.times import age
from inferpool.client.caller import ServerCaller
from inferpool.client.native import NativeClient
from inferpool.client.transport import Transport, TransportError
from inferpool.core.errors import Forbidden, InferpoolError, ProtocolBroken, Unauthenticated, Unavailable
from inferpool.core.llm import LlmStatus
from inferpool.host.room import LITTLE, room_for, spelled
from inferpool.settings import Settings
from inferpool.wire.registry import LlmJson, SessionJson
from inferpool.worker.discovery import EngineSource, Found, Locked, find_engines
from inferpool.worker.engine import EngineView

T = TypeVar("T")

_KNOWN: Final = 1000
_WORKER: Final = "worker"
_NAMED: Final = 5
"""Names that are told one by one; the rest are counted."""


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class Finding(msgspec.Struct, frozen=True):
    """What one check found, with what to do; `remedy` is empty where all is well."""

    check: str
    state: State
    says: str
    remedy: str = ""


class Checkup:
    """Asks the server, then the engines of this machine."""

    def __init__(self, settings: Settings, server: Transport, engines: Transport) -> None:
        self._settings = settings
        self._caller = ServerCaller(server, settings.shared.server, settings.shared.token)
        self._source = EngineSource(engines, settings.worker.engine_api_key)

    async def run(self) -> list[Finding]:
        """Every finding, in the order in which to mend them."""
        client = NativeClient(self._caller)
        findings = [await self._server()]
        sessions: list[SessionJson] = []
        llms: list[LlmJson] = []
        if findings[0].state is State.OK:
            sessions, findings_of_workers = await _asked(_WORKER, client.sessions, _workers)
            llms, findings_of_models = await _asked("model", client.llms, _models)
            findings += findings_of_workers
            findings += [_with_hint(one, sessions) for one in findings_of_models]
        served = any(llm.status is LlmStatus.ACTIVE for llm in llms)
        return findings[:1] + await self._engines(served) + findings[1:]

    async def _server(self) -> Finding:
        url = self._caller.url
        try:
            said = await self._caller.call(self._caller.request("GET", "/readyz", {}, b"", 5.0, 5.0))
        except TransportError:
            return Finding("server", State.FAIL, f"nobody answers at {url}", _START)
        except Unavailable as error:
            return Finding("server", State.FAIL, f"{url} is not ready: {error}", "wait; its log says what it waits for")
        except InferpoolError:
            said = b""
        if not said.startswith(_READY):
            return Finding("server", State.FAIL, f"what answers at {url} is no inferpool server", _START)
        return Finding("server", State.OK, f"inferpool answers at {url}")

    async def _engines(self, served: bool) -> list[Finding]:
        """The named engines each; else those at the usual addresses, whose absence is fine if others serve."""
        own = self._settings.worker
        if own.engine:
            return [await self._named(url, own.probe_timeout_s) for url in own.engine]
        found = await find_engines(self._source, own.local_engines, own.probe_timeout_s)
        if found:
            return [_engine(one.engine.root, one.view) if isinstance(one, Found) else _locked(one) for one in found]
        looked = ", ".join(url.removeprefix("http://") for url in own.local_engines)
        if served:
            return [Finding("engine", State.OK, f"none on this machine at {looked}; workers elsewhere serve")]
        return [Finding("engine", State.FAIL, f"none answers at {looked}", "start one, or name yours by --engine URL")]

    async def _named(self, url: str, timeout_s: float) -> Finding:
        try:
            return _engine(url, await self._source.keyed(url).look(timeout_s))
        except TransportError as error:
            return Finding("engine", State.FAIL, str(error), "start it, or correct its address")


_READY: Final = b'{"status":"ready"'
"""What `/readyz` says."""
_START: Final = "start one: inferpool serve; or say where it is: --server URL or INFERPOOL_SERVER"


async def _asked(
    what: str, ask: Callable[[int], Awaitable[list[T]]], judge: Callable[[Sequence[T]], list[Finding]]
) -> tuple[list[T], list[Finding]]:
    """What the server lists, judged; or why it does not list it."""
    try:
        told = await ask(_KNOWN)
    except Unauthenticated:
        return [], [
            Finding(what, State.FAIL, "the server asks for a token", "give yours by INFERPOOL_TOKEN or --token")
        ]
    except Forbidden as error:
        # A caller sees no workers, which is no fault of its set-up: whether any serves it, the models tell.
        state = State.WARN if what == _WORKER else State.FAIL
        return [], [Finding(what, state, str(error), "give a token that may look: INFERPOOL_TOKEN or --token")]
    except (InferpoolError, TransportError) as error:
        remedy = "install the same release on both" if isinstance(error, ProtocolBroken) else "see the server's log"
        return [], [Finding(what, State.FAIL, f"the server does not tell: {error}", remedy)]
    return told, judge(told)


def room(where: Path) -> Finding:
    """Whether the disk of a store has room."""
    free = room_for(where)
    if free is None or free >= LITTLE:
        return Finding("disk", State.OK, "there is room" if free is None else f"{spelled(free)} free")
    remedy = "make room: a full disk refuses every call"
    return Finding("disk", State.WARN, f"{spelled(free)} free where {where} is", remedy)


def _engine(url: str, view: EngineView) -> Finding:
    """An engine that answers."""
    if not view.models:
        remedy = "load a model into it" if view.models == [] else "name its models: inferpool worker --model MODEL"
        return Finding("engine", State.WARN, f"{view.make.value} at {url} lists no model", remedy)
    slots = f", {view.slots} slots" if view.slots else ""
    return Finding("engine", State.OK, f"{view.make.value} at {url} serves {_names(view.models)}{slots}")


def _locked(locked: Locked) -> Finding:
    """What refuses to answer."""
    return Finding("engine", State.FAIL, f"{locked.url} wants a key", "set INFERPOOL_ENGINE_API_KEY to it")


def _workers(sessions: Sequence[SessionJson]) -> list[Finding]:
    """Who is connected."""
    active = [one for one in sessions if one.active and not one.leaving]
    if active:
        told = [f"{one.worker.name} (seen {age(one.seen_at)} ago)" for one in active]
        return [Finding("worker", State.OK, f"connected: {_names(told)}")]
    gone = [f"{one.worker.name} (seen {age(one.seen_at)} ago)" for one in sessions]
    says = f"none is connected; gone: {_names(gone)}" if gone else "none is connected"
    return [Finding("worker", State.FAIL, says, "start one beside an engine: inferpool worker")]


def _models(llms: Sequence[LlmJson]) -> list[Finding]:
    """What callers can name now."""
    active = sorted({llm.pool for llm in llms if llm.status is not LlmStatus.INACTIVE})
    if active:
        return [Finding("model", State.OK, f"published: {_names(active)}")]
    away = sorted({llm.name for llm in llms})
    says = f"none takes work; inactive: {_names(away)}" if away else "none is published"
    return [Finding("model", State.FAIL, says)]


def _with_hint(finding: Finding, sessions: Sequence[SessionJson]) -> Finding:
    """What to do when no model takes work depends on whether a worker is there."""
    if finding.state is State.OK or finding.remedy:
        return finding
    there = any(one.active for one in sessions)
    remedy = "the worker's engine is away or has no model: see its log" if there else "start a worker beside an engine"
    return msgspec.structs.replace(finding, remedy=remedy)


def _names(names: Sequence[str]) -> str:
    """The first few."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
