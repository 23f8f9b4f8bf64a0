"""Claims about workers that say what they should not: refused, nobody else is harmed."""

import msgspec
import pytest

from tests.server.refusals import refused
from tests.server.rig import JSON, Rig, new_id
from tests.server.scripted_worker import SECRET, ScriptedWorker, bound_worker, chunks, of, result, started

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/inference-tasks"
SESSIONS = "/api/v1/sessions"


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\xff rubbish",
        b"[1,2,3]",
        b'{"events":[1]}',
        b'{"events":[{"type":7}]}',
        b'{"events":[{"type":"result","task_id":"x","attempt":1}]}',
        b'{"events":[{"type":"chunk","task_id":"x","attempt":1,"seq":1,"data":"\\ud83d"}]}',
        b'{"events":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_rubbish_from_a_worker_is_refused_as_a_whole(rig: Rig, worker: ScriptedWorker, body: bytes) -> None:
    call = rig.chat()
    infer = await worker.infer()
    answer = await rig.call("POST", worker.path + "/events", {**JSON, **worker.headers}, body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    await worker.answer(infer)
    assert (await call.whole()).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 0},
        {"status": 99999},
        {"status": -1},
        {"status": 2**70},
        {"attempt": 2**70},
        {"attempt": -1},
        {"task_id": "\0"},
        {"content_type": "x\r\ny: z\0"},
        {"content_type": ""},
        {"retry_after_s": 1e300, "status": 500},
        {"retry_after_s": -5, "status": 429},
        {"usage": {"prompt_tokens": 2**70, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": -(2**70)}},
        {"last_seq": 7},
        {"last_seq": 2**70},
        {"last_seq": -1},
        {"body_base64": "no base64!"},
        {"body_base64": "\N{SNOWMAN}"},
    ],
)
async def test_a_strange_result_harms_nobody_but_its_task(rig: Rig, fields: dict[str, object]) -> None:
    worker = await bound_worker(rig, "a", "b")
    strange, other = rig.chat("a"), rig.chat("b")
    tasks = {infer.llm_name: infer for infer in (await worker.infer(), await worker.infer())}
    answer = await worker.say({**result(tasks["a"]), **fields})
    assert answer.status in {200, 400}, answer.body
    await worker.answer(tasks["b"])
    assert (await other.whole()).status == 200
    strange.leave()
    await strange.over()
    assert (await worker.say()).status == 200
    assert [entry for entry in rig.log.entries if entry[0] == "request failed"] == []


@pytest.mark.parametrize("secret", ["", "another secret than that one", SECRET + " ", SECRET.upper()])
async def test_a_wrong_secret_is_a_403_on_every_session_route(rig: Rig, worker: ScriptedWorker, secret: str) -> None:
    headers = {**JSON, **worker.headers, "inferpool-session-secret": secret}
    for method, path in (
        ("POST", "/events"),
        ("GET", "/channel"),
        ("GET", f"/requests/{new_id()}/1"),
        ("DELETE", ""),
    ):
        answer = await rig.call(method, worker.path + path, headers)
        assert (answer.status, answer.error["code"]) == (403, "forbidden"), path
    assert (await worker.say()).status == 200


async def test_a_known_session_cannot_be_registered_with_another_secret(rig: Rig, worker: ScriptedWorker) -> None:
    body = {"protocol": 1, "session_id": worker.session_id, "epoch": 9, "worker": {"name": "box"}, "llms": []}
    answer = await rig.post(SESSIONS, body, inferpool_session_secret="another secret than that one")
    assert (answer.status, answer.error["code"]) == (403, "forbidden")
    assert (await worker.say()).status == 200


async def test_an_old_epoch_learns_the_stored_one_on_every_session_route(rig: Rig, worker: ScriptedWorker) -> None:
    old = dict(worker.headers)
    assert (await worker.register()).status == 200
    for method, path in (("POST", "/events"), ("GET", "/channel"), ("GET", f"/requests/{new_id()}/1"), ("DELETE", "")):
        answer = await rig.call(method, worker.path + path, {**JSON, **old})
        assert (answer.status, answer.error["code"], answer.error["epoch"]) == (409, "session_replaced", 2), path


@pytest.mark.parametrize(("protocol", "behind"), [(0, "worker"), (2, "server"), (99, "server")])
async def test_another_protocol_says_who_must_upgrade(rig: Rig, protocol: int, behind: str) -> None:
    answer = await rig.post(SESSIONS, {"protocol": protocol, "epoch": 1, "worker": {"name": "box"}})
    assert f"upgrade the {behind}" in await refused(rig, answer, 409, "protocol_unsupported")


async def test_chunks_of_tasks_that_are_unknown_or_anothers_are_refused_the_rest_is_taken(rig: Rig) -> None:
    mine, theirs = await bound_worker(rig, "a"), await bound_worker(rig, "b")
    call, other = rig.chat("a", stream=True), rig.chat("b", stream=True)
    own, foreign = await mine.infer(), await theirs.infer()
    stranger = {"type": "chunk", "task_id": new_id(), "attempt": 1, "seq": 1, "data": "x"}
    older = {"type": "chunk", "task_id": own.task_id, "attempt": 7, "seq": 1, "data": "x"}
    nonsense = {"type": "chunk", "task_id": "'; --", "attempt": -1, "seq": 0, "data": "x"}
    answer = await mine.say(
        stranger, *chunks(foreign, "evil"), result(foreign), older, nonsense, started(own), *chunks(own, "a")
    )
    told = {(entry["task_id"], entry["reason"]) for entry in msgspec.json.decode(answer.body)["refused"]}
    assert told == {
        (stranger["task_id"], "unknown"),
        (foreign.task_id, "stale"),
        (own.task_id, "stale"),
        ("'; --", "unknown"),
    }
    await mine.answer(own, last_seq=1)
    await theirs.begin(foreign, "good")
    await theirs.answer(foreign, last_seq=1)
    assert (await call.whole()).body == b"data: a\n\ndata: [DONE]\n\n"
    assert (await other.whole()).body == b"data: good\n\ndata: [DONE]\n\n"


async def test_a_gap_is_refused_with_what_is_there_and_filled_again(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(stream=True)
    infer = await worker.infer()
    gap = await worker.say(started(infer), *chunks(infer, "a"), *chunks(infer, "c", first=3), result(infer, last_seq=3))
    assert gap.json == {"refused": [{**of(infer), "reason": "gap", "have_seq": 1}]}
    rest = await worker.say(*chunks(infer, "a", "b", "c"), result(infer, last_seq=3))
    assert rest.json == {"refused": []}
    assert (await call.whole()).body == b"data: a\n\ndata: b\n\ndata: c\n\ndata: [DONE]\n\n"


EVIL = [
    "a\n\nevent: completed\ndata: {}",
    "a\r\rdata: b",
    "a\r\ndata: [DONE]\r\n\r\n",
    "id: 9-end\nretry: 1",
    ": ping\n",
]


@pytest.mark.parametrize("payload", EVIL)
async def test_lines_hidden_in_a_chunk_stay_data(rig: Rig, worker: ScriptedWorker, payload: str) -> None:
    call = rig.chat(stream=True)
    infer = await worker.infer()
    watcher = rig.open("GET", f"{TASKS}/{infer.task_id}/stream")
    await worker.begin(infer, payload)
    await worker.answer(infer, last_seq=1)
    for body, own in (((await call.whole()).body, 0), ((await watcher.whole()).body, 1)):
        first = body.split(b"\n\n")[0].split(b"\n")
        assert all(line.startswith(b"data: ") for line in first[own:])
        assert b"\r" not in body
        assert [line.removeprefix(b"data: ") for line in first[own:]] == [
            line.encode() for line in payload.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        ]


async def test_two_registers_with_one_name_leave_the_first_alone(rig: Rig, worker: ScriptedWorker) -> None:
    second = ScriptedWorker(rig)
    answer = await second.register(("new", "m"))
    assert (answer.status, answer.error["code"]) == (409, "name_in_use")
    assert "'m'" in str(answer.error["message"])
    assert (await rig.call("GET", "/api/v1/llms/new")).status == 404
    twice = await ScriptedWorker(rig).register(("x", "x"))
    assert (twice.status, twice.error["param"]) == (400, "llms[1].name")
    call = rig.chat()
    await worker.answer(await worker.infer())
    assert (await call.whole()).status == 200
