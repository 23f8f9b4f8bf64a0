"""The cost of a backlog: enqueue, claim with a million tasks waiting, beside a thousand that wait among as many rows."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench.backlog_alone import BacklogRound
from bench.connection import post
from bench.effort import Effort
from bench.fleet import Fleet
from bench.load import ask_in_turn
from bench.records import LANE
from bench.report import Figure, ratios
from bench.script import Wish, request_body
from bench.world import Plan, World, answered, start_worker, world
from inferpool.store.statements import load_statements

NAME: Final = "cost of a backlog"
TARGET: Final = 1.2
INDEX: Final = "tasks_waiting"
_CALLERS: Final = 64
_HOUR_S: Final = 3600


class _Sizes(NamedTuple):
    few: Path
    many: Path


class Costs(NamedTuple):
    """Microseconds a task, a value a round."""

    enqueue: list[float]
    claim: list[float]


class NotByIndex(Exception):
    """The claim would read the backlog."""


async def measure(fleet: Fleet, effort: Effort) -> list[Figure]:
    """Rounds with many, with few waiting, in turn: at the store alone, then through whole servers."""
    sizes = _Sizes(fleet.folder / "few.db", fleet.folder / "many.db")
    _fill(fleet, sizes.few, effort.few, effort)
    _fill(fleet, sizes.many, effort.backlog, effort)
    _end(fleet, sizes.few, effort.backlog - effort.few, effort)
    plan = claim_plan(sizes.many)
    many, few = Costs([], []), Costs([], [])
    for _ in range(effort.rounds):
        for path, costs in ((sizes.many, many), (sizes.few, few)):
            done = alone(fleet, ["--database", str(path)], effort)
            costs.enqueue.append(done.enqueue_us)
            costs.claim.append(done.claim_us)
    return [*figures(NAME, "store CPU", (many, few), plan), *await _served(fleet, sizes, effort)]


def _fill(fleet: Fleet, path: Path, tasks: int, effort: Effort) -> None:
    command = ["-m", "bench.fill", "--database", str(path), "--pool", "scripted"]
    fleet.run("fill", [*command, "--tasks", str(tasks), "--flows", str(effort.flows)])


def _end(fleet: Fleet, path: Path, tasks: int, effort: Effort) -> None:
    """A history of that many: what is compared is how many rows wait, not how many there are."""
    command = ["-m", "bench.ended", "--database", str(path), "--tasks", str(tasks)]
    fleet.run("ended", [*command, "--owners", str(effort.flows), "--age-s", str(_HOUR_S)])


def claim_plan(path: Path) -> str:
    """How the database would look for what to claim. Raises `NotByIndex` when that is not the lane's index."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as look:
        statement = "EXPLAIN QUERY PLAN " + load_statements("sqlite")["claimable"]
        steps = [str(step[3]) for step in look.execute(statement, (LANE, None, None, _CALLERS)).fetchall()]
    plan = "; ".join(steps)
    first = steps[0] if steps else ""
    if f"INDEX {INDEX}" not in first or "TEMP B-TREE" in plan or "SCAN tasks" in plan:
        raise NotByIndex(plan)
    return first


def alone(fleet: Fleet, store: Sequence[str], effort: Effort) -> BacklogRound:
    """A round at the store without a server; `store` are the flags that name it."""
    command = ["-m", "bench.backlog_alone", *store, "--tasks", str(4 * effort.backlog_calls), "--rank", "0.5"]
    return msgspec.json.decode(fleet.run("backlog", command), type=BacklogRound)


async def _served(fleet: Fleet, sizes: _Sizes, effort: Effort) -> list[Figure]:
    """The same through servers that read the backlog back at their start."""
    settings = {"INFERPOOL_QUEUE_TASKS": str(4 * effort.backlog)}
    many_plan = Plan(name="many", workers=0, database=sizes.many, settings=settings)
    few_plan = Plan(name="few", workers=0, database=sizes.few, settings=settings)
    async with world(fleet, many_plan) as many, world(fleet, few_plan) as few:
        costs = Costs([], []), Costs([], [])
        for _ in range(effort.rounds):
            for made, one in ((many, costs[0]), (few, costs[1])):
                one.enqueue.append(await _enqueue(made, effort.backlog_calls))
                one.claim.append(await _drain(made, effort.backlog_calls))
    return figures(NAME, "server CPU", costs)


async def _enqueue(made: World, tasks: int) -> float:
    before = made.server.cpu_s()
    bodies = [b'{"request":' + request_body(Wish(number)) + b"}" for number in range(tasks)]
    requests = [post("/api/v1/inference-tasks", body) for body in bodies]
    statuses = {reply.status for reply in await ask_in_turn(made.port, requests, _CALLERS)}
    if statuses != {202}:
        raise RuntimeError(f"enqueueing was answered with {statuses}")
    return (made.server.cpu_s() - before) * 1e6 / tasks


async def _drain(made: World, tasks: int) -> float:
    """Let a worker answer that many."""
    made.workers = [start_worker(made, 0)]
    start = await answered(made, await answered(made) + _CALLERS)
    before = made.server.cpu_s()
    end = await answered(made, start + tasks - 2 * _CALLERS)
    spent = made.server.cpu_s() - before
    _pause_worker(made)
    return spent * 1e6 / (end - start)


def _pause_worker(made: World) -> None:
    for worker in made.workers:
        made.fleet.end(worker)
    made.workers = []


def figures(row: str, what: str, costs: tuple[Costs, Costs], note: str = "") -> list[Figure]:
    """With many over with few, round by round."""
    many, few = costs
    verbs = (("enqueue", many.enqueue, few.enqueue), ("claim, to its end", many.claim, few.claim))
    return [
        Figure(
            row=row,
            name=f"{what}, {verb}: many / few",
            unit="x",
            values=ratios(ours, limit),
            target=TARGET,
            limit=limit,
            limit_name="µs with few",
            note=note,
        )
        for verb, ours, limit in verbs
    ]
