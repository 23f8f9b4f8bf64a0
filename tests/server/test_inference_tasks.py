"""Claims about the native API of tasks."""

import msgspec
import pytest

from inferpool.core.clock import SECOND
from inferpool.core.ids import TaskId
from inferpool.wire.sessions import CancelRun
from tests.server.rig import HOST, Rig, chat_body, new_id
from tests.server.scripted_worker import ScriptedWorker, failure

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/inference-tasks"


async def made(rig: Rig, **fields: object) -> dict[str, object]:
    """A task that was queued."""
    answer = await rig.post(TASKS, {"request": chat_body(), **fields})
    assert answer.status == 202, answer.body
    return answer.json


async def known(rig: Rig, *names: str) -> ScriptedWorker:
    """A worker that published the names, then left: calls queue."""
    worker = ScriptedWorker(rig)
    await worker.register(names or ("m",))
    await rig.call("DELETE", worker.path, {**HOST, **worker.headers})
    return worker


async def test_a_queued_task_is_answered_at_once_with_its_place(rig: Rig) -> None:
    await known(rig)
    answer = await rig.post(TASKS, {"request": chat_body()})
    task = answer.json
    assert (answer.status, answer.headers["location"]) == (202, f"{TASKS}/{task['id']}")
    assert (answer.headers["inferpool-task-id"], answer.headers["inferpool-queue-position"]) == (task["id"], "1")
    assert (task["status"], task["queue_position"], task["expected_wait_s"]) == ("pending", 1, None)
    assert (task["request"], task["response"], task["error"], task["usage"]) == (chat_body(), None, None, None)
    assert (task["lane"], task["pool_name"], task["owner"], task["attempt"]) == ("pool:m", "m", "local", 0)


async def test_the_callers_bytes_are_kept(rig: Rig) -> None:
    await known(rig)
    body = b'{"request": { "model" : "m","messages":[ ], "big": 12345678901234567890.50 } }'
    answer = await rig.call("POST", TASKS, {**HOST, "content-type": "application/json"}, body)
    stored = await rig.dispatch.reader.task(TaskId(str(answer.json["id"])))
    assert stored is not None
    assert stored.request == b'{ "model" : "m","messages":[ ], "big": 12345678901234567890.50 }'
    assert b'"request":{ "model" : "m","messages":[ ], "big": 12345678901234567890.50 }' in answer.body


async def test_all_that_can_be_said_of_a_task_is_kept(rig: Rig) -> None:
    await known(rig)
    task = await made(
        rig,
        endpoint="rerank",
        request={"model": "m", "documents": [], "metadata": {"in": "body"}},
        priority="batch",
        metadata={"a": "b"},
        expires_in_s=60,
        max_tries=7,
    )
    assert (task["endpoint"], task["priority"], task["metadata"], task["max_tries"]) == (
        "rerank",
        "batch",
        {"a": "b"},
        7,
    )
    row = await rig.dispatch.reader.row(TaskId(str(task["id"])))
    assert row is not None
    assert row.expires_at - row.created_at == 60 * SECOND


async def test_what_the_body_says_counts_where_the_task_says_nothing(rig: Rig) -> None:
    await known(rig)
    task = await made(rig, request=chat_body(service_tier="flex", metadata={"in": "body"}, stream=True))
    assert (task["priority"], task["metadata"], task["streaming"]) == ("flex", {"in": "body"}, True)


@pytest.mark.parametrize("how", ["body", "header"])
async def test_a_pin_stands_in_the_llms_own_lane(rig: Rig, how: str) -> None:
    await known(rig, "m")
    if how == "body":
        answer = await rig.post(TASKS, {"request": chat_body(), "pin": True})
    else:
        answer = await rig.post(TASKS, {"request": chat_body()}, inferpool_pin="true")
    assert (answer.json["lane"], answer.json["llm_name"]) == ("llm:m", "m")


async def test_a_repeat_under_the_same_key_is_the_same_task(rig: Rig) -> None:
    await known(rig)
    first = await rig.post(TASKS, {"request": chat_body()}, idempotency_key="k")
    again = await rig.post(TASKS, {"request": chat_body()}, idempotency_key="k")
    assert (first.status, again.status, again.json["id"]) == (202, 200, first.json["id"])
    other = await rig.post(TASKS, {"request": chat_body(n=2)}, idempotency_key="k")
    assert (other.status, other.error["code"], other.headers["x-should-retry"]) == (409, "conflict", "false")
    assert await rig.rows() == 1


async def test_a_task_is_read_with_its_answer(rig: Rig, worker: ScriptedWorker) -> None:
    task = await made(rig)
    await worker.answer(await worker.infer(), 200, '{"n": 1}')
    read = (await rig.call("GET", f"{TASKS}/{task['id']}")).json
    assert (read["status"], read["attempt"]) == ("completed", 1)
    assert read["response"] == {"status": 200, "content_type": "application/json", "body": {"n": 1}}
    assert "queue_position" not in read


async def test_a_failed_task_tells_why(rig: Rig, worker: ScriptedWorker) -> None:
    task = await made(rig)
    await worker.say(failure(await worker.infer(), "engine_timeout", "3600 s"))
    read = (await rig.call("GET", f"{TASKS}/{task['id']}")).json
    assert (read["status"], read["error"]) == ("error", {"code": "engine_timeout", "message": "3600 s"})


async def test_a_long_poll_ends_with_the_task(rig: Rig, worker: ScriptedWorker) -> None:
    task = await made(rig)
    poll = rig.open("GET", f"{TASKS}/{task['id']}?wait=60")
    await worker.answer(await worker.infer())
    assert (await poll.whole()).json["status"] == "completed"
    assert (await rig.call("GET", f"{TASKS}/{task['id']}?wait=60")).json["status"] == "completed"


async def test_a_long_poll_over_its_time_shows_the_task_as_it_is(rig: Rig) -> None:
    await known(rig)
    task = await made(rig)
    answer = await rig.call("GET", f"{TASKS}/{task['id']}?wait=0.02")
    assert (answer.status, answer.json["status"]) == (200, "pending")


async def test_who_leaves_a_long_poll_cancels_nothing(rig: Rig, worker: ScriptedWorker) -> None:
    task = await made(rig)
    poll = rig.open("GET", f"{TASKS}/{task['id']}?wait=60")
    infer = await worker.infer()
    poll.leave()
    await poll.over()
    assert (await worker.answer(infer)).json == {"refused": []}


async def test_a_long_poll_of_somebodys_call_leaves_its_cancelling_alone(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat()
    infer = await worker.infer()
    assert (await rig.call("GET", f"{TASKS}/{infer.task_id}?wait=0.01")).json["status"] == "claimed"
    call.leave()
    assert isinstance(await worker.frame(), CancelRun)
    await call.over()


async def test_a_cancel_ends_the_task_and_stops_the_gpu(rig: Rig, worker: ScriptedWorker) -> None:
    task = await made(rig)
    infer = await worker.infer()
    answer = await rig.call("DELETE", f"{TASKS}/{task['id']}")
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    frame = await worker.frame()
    assert isinstance(frame, CancelRun)
    assert frame.task_id == infer.task_id


async def test_an_ended_task_is_answered_unchanged(rig: Rig, worker: ScriptedWorker) -> None:
    task = await made(rig)
    await worker.answer(await worker.infer())
    answer = await rig.call("DELETE", f"{TASKS}/{task['id']}")
    assert (answer.status, answer.json["status"]) == (200, "completed")


async def test_only_an_ended_task_can_be_purged(rig: Rig) -> None:
    await known(rig)
    task = await made(rig)
    alive = await rig.call("DELETE", f"{TASKS}/{task['id']}?purge=true")
    assert (alive.status, alive.error["code"]) == (409, "conflict")
    await rig.call("DELETE", f"{TASKS}/{task['id']}")
    gone = await rig.call("DELETE", f"{TASKS}/{task['id']}?purge=true")
    assert (gone.status, gone.body, "content-length" in gone.headers) == (204, b"", False)
    assert (await rig.call("GET", f"{TASKS}/{task['id']}")).status == 404


async def test_a_replayed_task_waits_again(rig: Rig) -> None:
    await known(rig)
    task = await made(rig)
    refused = await rig.call("POST", f"{TASKS}/{task['id']}/replay")
    assert (refused.status, refused.error["code"]) == (409, "conflict")
    await rig.call("DELETE", f"{TASKS}/{task['id']}")
    answer = await rig.call("POST", f"{TASKS}/{task['id']}/replay")
    assert (answer.status, answer.json["status"], answer.json["queue_position"]) == (200, "pending", 1)


async def test_the_history_tells_each_attempt(rig: Rig, worker: ScriptedWorker) -> None:
    task = await made(rig)
    infer = await worker.infer()
    await worker.say({"type": "returned", "task_id": infer.task_id, "attempt": 1})
    await worker.answer(await worker.infer())
    history = (await rig.call("GET", f"{TASKS}/{task['id']}/attempts")).json
    assert history["next_cursor"] is None
    assert [(one["attempt"], one["ending"], one["counted"]) for one in entries(history)] == [
        (1, "returned", False),
        (2, "completed", False),
    ]


def entries(page: dict[str, object]) -> list[dict[str, object]]:
    """The entries of a list."""
    data = page["data"]
    assert isinstance(data, list)
    return data


async def test_lists_are_paged_newest_first(rig: Rig) -> None:
    await known(rig)
    ids = [(await made(rig))["id"] for _ in range(5)]
    seen: list[object] = []
    cursor = ""
    while True:
        page = (await rig.call("GET", f"{TASKS}?limit=2{cursor}")).json
        seen += [task["id"] for task in entries(page)]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]
    first = (await rig.call("GET", TASKS)).json
    assert (len(entries(first)), first["next_cursor"], "request" in entries(first)[0]) == (5, None, False)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=pending", 1),
        ("status=cancelled", 1),
        ("status=pending,cancelled", 2),
        ("status=pending&status=cancelled", 2),
        ("status=completed", 0),
        ("pool=m", 2),
        ("pool=other", 0),
        ("pool=m&status=pending", 1),
        ("llm=m", 0),
        ("agent=a", 0),
        ("owner=local", 2),
        ("owner=other", 0),
        ("from=2000-01-01T00:00:00Z", 2),
        ("from=2100-01-01T00:00:00Z", 0),
        ("to=2000-01-01T00:00:00Z", 0),
    ],
)
async def test_filters_are_joined_by_and(rig: Rig, query: str, count: int) -> None:
    await known(rig)
    await made(rig)
    task = await made(rig)
    await rig.call("DELETE", f"{TASKS}/{task['id']}")
    assert len(entries((await rig.call("GET", f"{TASKS}?{query}")).json)) == count


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=%C2%B2", "limit"),
        ("cursor=nonsense", "cursor"),
        ("status=done", "status"),
        ("from=yesterday", "from"),
        ("to=2026-08-01T12:00:00", "to"),
        ("state=pending", "state"),
    ],
)
async def test_a_wrong_parameter_is_named(rig: Rig, query: str, param: str) -> None:
    answer = await rig.call("GET", f"{TASKS}?{query}")
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("method", "tail"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("DELETE", "?purge=true"),
        ("GET", "/stream"),
        ("POST", "/replay"),
        ("GET", "/attempts"),
    ],
)
@pytest.mark.parametrize("task_id", ["nonsense", "0198a0f0-0000-7000-8000-000000000001"])
async def test_a_task_that_is_not_there_is_a_404_everywhere(rig: Rig, method: str, tail: str, task_id: str) -> None:
    answer = await rig.call(method, f"{TASKS}/{task_id}{tail}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "tail", "param"),
    [
        ("GET", "?wait=61", "wait"),
        ("GET", "?wait=-1", "wait"),
        ("GET", "?wait=soon", "wait"),
        ("GET", "?waits=1", "waits"),
        ("DELETE", "?purge=maybe", "purge"),
        ("GET", "/stream?from=1", "from"),
        ("POST", "/replay?x=1", "x"),
        ("GET", "/attempts?x=1", "x"),
    ],
)
async def test_a_parameter_that_a_route_does_not_take_is_named(rig: Rig, method: str, tail: str, param: str) -> None:
    answer = await rig.call(method, f"{TASKS}/{new_id()}{tail}")
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_another_owners_task_is_not_to_be_seen(rig: Rig) -> None:
    await known(rig)
    task = await made(rig)
    stored = await rig.dispatch.reader.task(TaskId(str(task["id"])))
    assert stored is not None
    assert msgspec.json.decode(stored.request) == chat_body()
    with pytest.raises(Exception, match="there is no task"):
        await rig.dispatch.intake.cancel(stored.row.id, "somebody")
