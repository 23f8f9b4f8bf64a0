"""The two acts of the demo: a worker is killed in the middle of an answer, then the server with a full queue."""

import asyncio
from collections import Counter
from functools import partial
from typing import Final

import msgspec
import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from inferpool.cli.bodies import words_of
from inferpool.cli.stage import GRACE_S, MODEL, SLOTS, DemoFailed, Stage, say, show
from inferpool.cli.tail import response_body
from inferpool.client.native import Chunk, End, Reset
from inferpool.core.lifecycle import Status
from inferpool.wire.tasks import InferenceTask

QUESTION: Final = "Tell me a long story about a lighthouse keeper who repairs an old clock."
ANSWER_TOKENS: Final = 220
CHUNKS_BEFORE_THE_KILL: Final = 15
CHUNKS_NEEDED: Final = 5
QUEUED: Final = 10
SHORT_TOKENS: Final = 48


class Killed(msgspec.Struct, frozen=True):
    """What the first act did: which task, whose process, which session held it, how many chunks came before."""

    task_id: str
    worker: str
    session_id: str
    chunks: int


async def kill_the_worker(stage: Stage) -> None:
    """The first act. Raises `DemoFailed` when anything is not as promised."""
    say("The official openai client asks for a story, streamed. It knows nothing of workers:\n")
    killed = await _ask_then_kill(stage)
    say(
        f"\n\nThat stream is over, and says so (worker_lost): it must not repeat what it showed. The task goes on. A viewer\n"
        f"re-attaches by the task's id; after {GRACE_S} s without a sign of the dead worker, the other one begins again:\n"
    )
    task, shown = await _watch_again(stage, killed.task_id)
    say("\n")
    await _check_first_act(stage, killed, task, shown)


async def _ask_then_kill(stage: Stage) -> Killed:
    """Print the stream, kill the worker behind it after some chunks, read on until the stream says that it is lost."""
    async with AsyncOpenAI(base_url=f"{stage.server_url}/v1", api_key="none is needed here", max_retries=0) as client:
        answer = await client.chat.completions.with_raw_response.create(
            model=MODEL,
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            max_tokens=ANSWER_TOKENS,
            temperature=0,
        )
        stream: AsyncStream[ChatCompletionChunk] = answer.parse()
        reader = _Reader(stage, answer.headers["inferpool-task-id"])
        try:
            async for chunk in stream:
                await reader.read(chunk)
        except openai.APIError as error:
            if error.code != "worker_lost" or reader.killed is None:
                raise DemoFailed(f"the stream ended in another error than worker_lost: {error.message}") from error
            return reader.killed
    raise DemoFailed("the stream ended without a word about the worker that was killed")


class _Reader:
    """Prints the chunks of the first act; kills the worker in the middle of them."""

    def __init__(self, stage: Stage, task_id: str) -> None:
        self._stage = stage
        self._task_id = task_id
        self._chunks = 0
        self.killed: Killed | None = None

    async def read(self, chunk: ChatCompletionChunk) -> None:
        """Print one chunk; the N-th is the last that its worker sends."""
        words = chunk.choices[0].delta.content if chunk.choices else None
        if not words:
            return
        self._chunks += 1
        show(words)
        if self._chunks == CHUNKS_BEFORE_THE_KILL:
            self.killed = await self._kill()

    async def _kill(self) -> Killed:
        task = await self._stage.native.task(self._task_id)
        if task.claimed_by is None:
            raise DemoFailed(f"the task is {task.status.value} already: nobody holds it")
        worker = await self._stage.worker_of(task.claimed_by)
        pid = self._stage.pids[worker]
        await self._stage.processes.kill(worker)
        say(f"\n\n>>> kill -9 {pid}: that was the worker {worker!r}, which holds the task {self._task_id}")
        return Killed(self._task_id, worker, task.claimed_by, self._chunks)


async def _watch_again(stage: Stage, task_id: str) -> tuple[InferenceTask, str]:
    """Follow the native stream to its end; gives the task with the words that stand on the screen at last."""
    shown: list[str] = []
    async for event in stage.native.follow(task_id, None, partial(asyncio.sleep, 0.2)):
        if isinstance(event, Chunk):
            shown.append(words_of(event.data) or "")
            show(shown[-1])
        elif isinstance(event, Reset):
            shown.clear()
            say("\n\n--- the stream says `reset`: the next attempt begins the answer anew ---\n")
        elif isinstance(event, End):
            return event.task, "".join(shown)
    raise DemoFailed("the native stream ended without the task's end")


async def _check_first_act(stage: Stage, killed: Killed, task: InferenceTask, shown: str) -> None:
    attempts = await stage.native.attempts(task.id)
    say(f"The task ended as {task.status.value}. Its attempts:")
    for one in attempts:
        say(f"  {one.attempt}  {one.ending:<9}  on {one.llm_name}, session {one.session_id}")
    _must(killed.chunks >= CHUNKS_NEEDED, f"only {killed.chunks} chunks came before the kill")
    _must(len(attempts) == 2, f"the task has {len(attempts)} attempts, not two")
    _must(attempts[0].session_id == killed.session_id, "the process that was killed did not hold attempt 1")
    _must(attempts[1].session_id != killed.session_id, "the killed session completed attempt 2")
    _must(task.status is Status.COMPLETED and attempts[1].ending == "completed", "attempt 2 did not complete the task")
    _must(bool(shown) and shown == words_of(response_body(task)), "what was printed is not the whole answer")
    say(f"Seen before the kill: {killed.chunks} chunks. Printed in the end: the whole answer, {len(shown)} characters.")


async def kill_the_server(stage: Stage) -> None:
    """The second act. Raises `DemoFailed` when anything is not as promised."""
    count = QUEUED + SLOTS
    ids = await asyncio.gather(*(_enqueue(stage, number) for number in range(count)))
    found = await _states(stage, ids)
    say(f"{count} questions are in the queue of the one worker that is left: {_spelled(found)}.")
    _must(found[Status.PENDING] >= QUEUED, f"only {found[Status.PENDING]} of them wait")
    pid = stage.pids["server"]
    await stage.processes.kill("server")
    say(f"\n>>> kill -9 {pid}: that was the server, with {found[Status.PENDING]} tasks waiting\n")
    await stage.start_server()
    say(
        f"It is back as process {stage.pids['server']}, on the same file. The worker comes back by itself; nobody asks again:"
    )
    await stage.until("every task is completed", partial(_all_completed, stage, ids))
    for task in await asyncio.gather(*(stage.native.task(one) for one in ids)):
        words = " ".join((words_of(response_body(task)) or "").split())
        say(f"  {task.id}  {task.status.value}, attempt {task.attempt}: {words[:60]}…")
    say(f"All {count} are completed; none was lost.")


async def _enqueue(stage: Stage, number: int) -> str:
    """Queue one question that nobody waits for."""
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"Write three sentences about the number {number}."}],
        "max_tokens": SHORT_TOKENS,
    }
    return (await stage.native.enqueue(msgspec.json.encode({"request": request}))).id


async def _states(stage: Stage, ids: list[str]) -> Counter[Status]:
    tasks = {task.id: task.status for task in await stage.native.tasks({}, 100)}
    return Counter(tasks[one] for one in ids)


async def _all_completed(stage: Stage, ids: list[str]) -> bool:
    found = await _states(stage, ids)
    ended = found[Status.ERROR] + found[Status.CANCELLED]
    _must(not ended, f"{ended} of the tasks ended without an answer")
    return found[Status.COMPLETED] == len(ids)


def _spelled(found: Counter[Status]) -> str:
    return ", ".join(f"{count} {status.value}" for status, count in sorted(found.items()))


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)
