"""Closed loops of callers: each asks again when it has its answer, which must be the one that the engine sent."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final, NamedTuple

from bench.connection import Address, Connection, Reply, connect, post
from bench.script import Wish, answer_body, request_body, stream_body

LONGEST_S: Final = 120.0
"""No round takes longer: then the run fails."""
_calls: Final = count(1)


class WrongAnswer(Exception):
    """An answer that is not what the engine sent."""


class Round(NamedTuple):
    """What a closed loop saw. `replies` are without their bodies."""

    calls: int
    seconds: float
    replies: list[Reply]


class Order(NamedTuple):
    """How a round asks: `calls` in all by `callers` at once, each for `chunks` chunks (0: one piece).

    `cycle_s`: a caller that has its answer earlier waits so long after its last call before it asks again.
    """

    address: Address
    calls: int
    callers: int
    chunks: int = 0
    cycle_s: float = 0.0


async def run_round(order: Order) -> Round:
    """Make the calls. Raises `WrongAnswer`, `TimeoutError`, `Broken`."""
    connections = [await connect(order.address.port) for _ in range(order.callers)]
    replies: list[Reply] = []
    turns = iter(range(order.calls))
    try:
        async with asyncio.timeout(LONGEST_S), asyncio.TaskGroup() as callers:
            began = time.perf_counter()
            for one in connections:
                callers.create_task(_calls_of(one, order, turns, replies))
        return Round(len(replies), time.perf_counter() - began, replies)
    finally:
        for one in connections:
            one.close()


async def _calls_of(connection: Connection, order: Order, turns: Iterator[int], replies: list[Reply]) -> None:
    for _ in turns:
        wish = Wish(next(_calls), order.chunks)
        reply = await connection.ask(post(order.address.path, request_body(wish)))
        check(wish, reply)
        replies.append(reply._replace(body=b""))
        if reply.seconds < order.cycle_s:
            await asyncio.sleep(order.cycle_s - reply.seconds)


def check(wish: Wish, reply: Reply) -> None:
    """Raises `WrongAnswer` unless it is, byte for byte, what the engine answers to the wish."""
    expected = stream_body(wish) if wish.chunks else answer_body(wish.call)
    if reply.status != 200 or reply.body != expected:
        seen = reply.body[:300] if len(reply.body) < len(expected) else reply.body[-300:]
        raise WrongAnswer(f"call {wish.call}: {reply.status}, {len(reply.body)} of {len(expected)} bytes: {seen!r}")


async def ask_once(port: int, request: bytes) -> Reply:
    """One request over a connection of its own."""
    connection = await connect(port)
    try:
        return await connection.ask(request)
    finally:
        connection.close()


async def ask_in_turn(port: int, requests: Sequence[bytes], callers: int) -> list[Reply]:
    """All requests, `callers` at once; the replies in their order."""
    replies: list[Reply | None] = [None] * len(requests)
    connections = [await connect(port) for _ in range(callers)]
    turns = iter(enumerate(requests))
    try:
        async with asyncio.timeout(LONGEST_S), asyncio.TaskGroup() as group:
            for one in connections:
                group.create_task(_ask_each(one, turns, replies))
    finally:
        for one in connections:
            one.close()
    return [reply for reply in replies if reply is not None]


async def _ask_each(connection: Connection, turns: Iterator[tuple[int, bytes]], replies: list[Reply | None]) -> None:
    for number, request in turns:
        replies[number] = await connection.ask(request)
