"""The native API as the command line calls it: pages, paths, a stream over every cut."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from inferpool.client.caller import ServerCaller
from inferpool.client.native import Chunk, End, Followed, NativeClient, Reset
from inferpool.client.transport import HttpRequest, TransportError
from inferpool.core.errors import NotFound, ProtocolBroken, ShuttingDown
from inferpool.core.lifecycle import Status
from inferpool.wire.problems import problem_of
from inferpool.wire.sse import data_frame
from inferpool.wire.tasks import InferenceTask, Line, TaskList, frame_end, frame_line, frame_numbered, frame_reset
from tests.worker.memory import MemoryReply, MemoryTransport, pieces_of, stream, whole

pytestmark = pytest.mark.anyio

TIME = "2026-08-01T12:00:00.000Z"


def task(task_id: str, status: Status = Status.COMPLETED) -> InferenceTask:
    """A task as the API shows it in a list."""
    return InferenceTask(
        id=task_id,
        status=status,
        lane="pool:qwen",
        pool_name="qwen",
        llm_name=None,
        model="qwen",
        tier=None,
        endpoint="chat/completions",
        streaming=True,
        priority="default",
        rank=1.0,
        ready=True,
        owner="local",
        agent=None,
        attempt=1,
        tries=0,
        max_tries=3,
        claimed_by=None,
        claim_batch=None,
        lost_by=None,
        error=None,
        usage=None,
        metadata={},
        created_at=TIME,
        available_at=TIME,
        claimed_at=None,
        deadline=None,
        stream_started_at=None,
        completed_at=TIME,
        expires_at=TIME,
    )


END = frame_end(Status.COMPLETED, 1, msgspec.json.encode(task("t")))


class Script:
    """A server that gives one prepared answer after the other."""

    def __init__(self, *answers: MemoryReply | Exception) -> None:
        self._answers = iter(answers)
        self.asked: list[HttpRequest] = []
        self.pauses = 0

    async def _answer(self, request: HttpRequest) -> MemoryReply:
        self.asked.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def client(self) -> NativeClient:
        return NativeClient(ServerCaller(MemoryTransport(self._answer), ["http://server"]))

    async def pause(self) -> None:
        """What stands between two connections: nothing here."""
        self.pauses += 1

    async def followed(self, last: str | None = None) -> list[Followed]:
        """The whole stream of the task `t`."""
        return [event async for event in self.client.follow("t", last, self.pause)]

    def queries(self) -> Iterator[dict[str, list[str]]]:
        return (parse_qs(urlsplit(request.url).query) for request in self.asked)


def sent(*frames: bytes) -> MemoryReply:
    """A stream that ends after these frames."""
    return stream(pieces_of(*frames))


async def test_a_stream_is_followed_to_its_end() -> None:
    script = Script(sent(frame_numbered(1, 1, ["a", "b"]), END))
    assert await script.followed() == [Chunk("1-1", "a"), Chunk("1-2", "b"), End("1-end", task("t"))]
    assert "last-event-id" not in script.asked[0].headers
    assert script.pauses == 0


async def test_a_cut_stream_goes_on_after_the_last_thing_seen() -> None:
    script = Script(
        sent(frame_numbered(1, 1, ["a"])),
        TransportError("the server is away"),
        whole(503, problem_of(ShuttingDown("going away")).body),
        sent(frame_numbered(1, 2, ["b"]), END),
    )
    assert [event.id for event in await script.followed()] == ["1-1", "1-2", "1-end"]
    assert [request.headers.get("last-event-id") for request in script.asked] == [None, "1-1", "1-1", "1-1"]
    assert script.pauses == 3


async def test_what_is_no_part_of_the_answer_is_passed_over() -> None:
    script = Script(sent(frame_line(Line(3, 1.5)), data_frame("x", "newer"), frame_numbered(1, 1, ["a"]), END))
    assert [event.id for event in await script.followed()] == ["1-1", "1-end"]


async def test_a_reset_is_told() -> None:
    script = Script(sent(frame_numbered(1, 1, ["a"]), frame_reset(2), frame_numbered(2, 1, ["A"]), END))
    assert (await script.followed())[1:3] == [Reset("2-0"), Chunk("2-1", "A")]


async def test_an_end_that_was_seen_is_the_end() -> None:
    script = Script(MemoryReply(204, {}, pieces_of()), whole(200, msgspec.json.encode(task("t"))))
    assert await script.followed("1-end") == [End("1-end", task("t"))]
    assert script.asked[0].headers["last-event-id"] == "1-end"


async def test_a_task_that_is_not_there_ends_the_following() -> None:
    script = Script(whole(404, problem_of(NotFound("there is no task t")).body))
    with pytest.raises(NotFound):
        await script.followed()


async def test_a_list_is_read_page_by_page_up_to_its_limit() -> None:
    pages = [TaskList([task(f"{page}-{row}") for row in range(1000)], f"cursor {page}") for page in range(2)]
    last = TaskList([task("last")], None)
    script = Script(*(whole(200, msgspec.json.encode(page)) for page in (*pages, last)))
    found = await script.client.tasks({"status": ["error", "pending"], "pool": None}, 2500)
    assert (len(found), found[-1].id) == (2001, "last")
    assert list(script.queries()) == [
        {"status": ["error", "pending"], "limit": ["1000"]},
        {"status": ["error", "pending"], "limit": ["1000"], "cursor": ["cursor 0"]},
        {"status": ["error", "pending"], "limit": ["500"], "cursor": ["cursor 1"]},
    ]


async def test_a_limit_that_is_reached_asks_for_no_further_page() -> None:
    script = Script(whole(200, msgspec.json.encode(TaskList([task("a"), task("b")], "more"))))
    assert len(await script.client.tasks({}, 2)) == 2
    assert len(script.asked) == 1


async def test_a_name_stands_percent_encoded_in_the_path() -> None:
    script = Script(whole(404, problem_of(NotFound("no")).body))
    with pytest.raises(NotFound):
        await script.client.llm("hf.co/x/y:Q4@box")
    assert script.asked[0].url == "http://server/api/v1/llms/hf.co%2Fx%2Fy%3AQ4%40box"


async def test_waiting_for_an_end_waits_longer_for_the_answer() -> None:
    script = Script(*(whole(200, msgspec.json.encode(task("t"))) for _ in range(2)))
    await script.client.task("t")
    await script.client.task("t", wait_s=30)
    assert script.asked[1].url.endswith("/t?wait=30")
    assert (script.asked[1].timeout_s or 0) - (script.asked[0].timeout_s or 0) == 30


async def test_an_answer_of_another_program_is_told() -> None:
    with pytest.raises(ProtocolBroken, match="not an inferpool server"):
        await Script(whole(200, b"<html>")).client.task("t")
