"""How many rows a look reads with a million tasks that wait, four million that have ended, on PostgreSQL."""

import asyncio
from typing import Final, NamedTuple

import msgspec

from bench.connection import get, post
from bench.counting import Count, Read
from bench.effort import Effort
from bench.ended import ended_id
from bench.fill_postgres import Filling, fill, waiting_id
from bench.fleet import Fleet
from bench.load import ask_once
from bench.postgres import Postgres
from bench.report import Figure
from bench.script import Wish, request_body
from bench.world import Plan, World, world

NAME: Final = "rows read, PostgreSQL"
TARGET: Final = 10_000
POOL: Final = "elsewhere"
"""What waits is nobody's: the worker is there for the calls."""
TASKS: Final = "/api/v1/inference-tasks"
NOBODY: Final = "01900000-0000-7000-8000-ffffffffffff"


LLM: Final = "scripted@reads-0"
PLAIN: Final = (
    "/v1/models",
    "/api/v1/llms",
    "/api/v1/sessions",
    "/api/v1/tokens",
    "/api/v1/audit",
    "/openapi.json",
    "/metrics",
    "/healthz",
    "/readyz",
)
COMMANDS: Final = (
    ("get", "tasks"),
    ("get", "tasks", "--status", "cancelled"),
    ("get", "tasks", "--pool", "nobody"),
    ("get", "pools"),
    ("get", "llms"),
    ("get", "sessions"),
    ("describe", "tasks"),
    ("describe", "task", ended_id(1)),
    ("describe", "pools"),
    ("describe", "llms"),
    ("describe", "sessions"),
)
"""Each as its user would call it."""
FILTERS: Final = (
    "",
    "status=pending",
    "status=cancelled",
    "pool=nobody",
    "llm=nobody",
    "agent=nobody",
    "owner=owner-0001",
    "owner=owner-0001&status=cancelled",
    "owner=nobody",
    "from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z",
)
"""Of the tasks: those that many rows pass, those that none does."""


class Ask(NamedTuple):
    """A request to one of the routes."""

    route: str
    """As the table of routes has it."""
    request: bytes


class _Seen(NamedTuple):
    what: str
    read: Read


async def measure(fleet: Fleet, effort: Effort, postgres: Postgres) -> list[Figure]:
    """Ask every route, the lists with every filter; then say the commands."""
    url = postgres.database("bench_reads")
    await fill(url, Filling(waiting=effort.waiting, ended=effort.ended, owners=effort.flows, pool=POOL, only_read=True))
    # Nothing polls meanwhile: what is read is what was asked for, but for the heartbeats.
    settings = {
        "INFERPOOL_QUEUE_TASKS": str(4 * effort.waiting),
        "INFERPOOL_POLL_S": "3600",
        "INFERPOOL_SWEEP_S": "3600",
    }
    async with world(fleet, Plan(name="reads", database=url, settings=settings)) as made:
        count = Count(url, made.port, f"{TASKS}/{NOBODY}/attempts", effort)
        await count.begin()
        asked = {**lists(effort), **others(effort, await _session(made))}
        seen = [await _asked(made, count, what, group) for what, group in asked.items()]
        seen += [await _said(fleet, made, count, command) for command in COMMANDS]
        seen.append(_Seen("what was told late", await count.late()))
    postgres.drop("bench_reads")
    return _figures(seen)


def lists(effort: Effort) -> dict[str, list[Ask]]:
    """The lists of tasks, each by what it asks for."""
    deep = f"cursor={ended_id(effort.ended // 2)}&status=cancelled"
    return {f"{TASKS}?{one}": [Ask(f"GET {TASKS}", get(f"{TASKS}?{one}&limit=1000"))] for one in (*FILTERS, deep)}


def others(effort: Effort, session_id: str) -> dict[str, list[Ask]]:
    """Requests to every other route that anybody but a worker asks, in groups that are counted together."""
    body = request_body(Wish(1))
    one, ended, old, last = f"{TASKS}/{{task_id}}", ended_id(1), ended_id(2), waiting_id(effort.waiting - 1)
    return {
        "the first in line": [Ask(f"GET {one}", get(f"{TASKS}/{waiting_id(0)}"))],
        "the last in line": [Ask(f"GET {one}", get(f"{TASKS}/{last}"))],
        "an ended task": [Ask(f"GET {one}{end}", get(f"{TASKS}/{ended}{end}")) for end in ("", "/stream", "/attempts")],
        "calls": [
            Ask("POST /v1/chat/completions", post("/v1/chat/completions", body)),
            Ask("POST /api/v1/llms/{name}/infer", post(f"/api/v1/llms/{LLM}/infer", body)),
            Ask(f"POST {TASKS}", post(TASKS, b'{"request":' + body + b"}")),
        ],
        "cancel, replay, purge": [
            Ask(f"DELETE {one}", _delete(f"{TASKS}/{last}")),
            Ask(f"POST {one}/replay", post(f"{TASKS}/{last}/replay", b"")),
            Ask(f"DELETE {one}", _delete(f"{TASKS}/{old}?purge=true")),
        ],
        "pools": [
            Ask("GET /api/v1/pools", get("/api/v1/pools")),
            Ask("GET /api/v1/pools/{name}", get(f"/api/v1/pools/{POOL}")),
        ],
        "the other lists": [Ask(f"GET {path}", get(path)) for path in PLAIN],
        "the other single things": [
            Ask("GET /v1/models/{name}", get("/v1/models/scripted")),
            Ask("GET /api/v1/llms/{name}", get(f"/api/v1/llms/{LLM}")),
            Ask("GET /api/v1/sessions/{session_id}", get(f"/api/v1/sessions/{session_id}")),
            Ask("GET /api/v1/tokens/{token_id}", get(f"/api/v1/tokens/{NOBODY}")),
            Ask("DELETE /api/v1/tokens/{token_id}", _delete(f"/api/v1/tokens/{NOBODY}")),
        ],
    }


def _delete(path: str) -> bytes:
    return get(path).replace(b"GET", b"DELETE", 1)


class _Session(msgspec.Struct):
    id: str


class _Sessions(msgspec.Struct):
    data: list[_Session]


async def _session(made: World) -> str:
    """The worker's."""
    reply = await ask_once(made.port, get("/api/v1/sessions"))
    return msgspec.json.decode(reply.body, type=_Sessions).data[0].id


async def _asked(made: World, count: Count, what: str, group: list[Ask]) -> _Seen:
    for ask in group:
        reply = await ask_once(made.port, ask.request)
        if reply.status not in {200, 202, 204, 404}:
            raise RuntimeError(f"{ask.route} was answered with {reply.status}: {reply.body[:300]!r}")
    return _Seen(what, await count.told())


async def _said(fleet: Fleet, made: World, count: Count, command: tuple[str, ...]) -> _Seen:
    """While the command runs this process must not stand still: nothing of it is asked meanwhile."""
    arguments = ["-m", "inferpool", *command, "--server", f"http://127.0.0.1:{made.port}"]
    await asyncio.to_thread(fleet.run, "command", arguments)
    return _Seen(" ".join(("inferpool", *command[:4])), await count.told())


def _figures(seen: list[_Seen]) -> list[Figure]:
    """The one that read most, first of the routes, then of the commands."""
    commands = [one for one in seen if one.what.startswith("inferpool ")]
    routes = [one for one in seen if one not in commands]
    return [_most("a route", routes, TARGET), _most("a get or describe", commands, TARGET)]


def _most(what: str, seen: list[_Seen], target: float) -> Figure:
    ordered = sorted(seen, key=_rows, reverse=True)
    note = ", ".join(f"{one.what}: {one.read.rows} rows, {one.read.entries} entries of indexes" for one in ordered[:5])
    return Figure(
        row=NAME,
        name=f"most that {what} reads, to the nearest hundred",
        unit="rows",
        # What the server reads by itself meanwhile cannot be told to the row.
        values=[float(round(ordered[0].read.rows, -2))],
        target=target,
        note=f"Read most, {what}: {note}",
    )


def _rows(one: _Seen) -> int:
    return one.read.rows
