"""Claims about the session routes."""

from base64 import b64encode

import msgspec
import pytest

from tests.server.rig import HOST, JSON, Rig, chat_body, new_id
from tests.server.scripted_worker import SECRET, ScriptedWorker, bound_worker

pytestmark = pytest.mark.anyio
SESSIONS = "/api/v1/sessions"


def registration(**fields: object) -> dict[str, object]:
    llm = {"name": "m", "model": "m", "engine": "e", "slots": 1}
    return {"protocol": 1, "epoch": 1, "worker": {"name": "box"}, "llms": [llm], **fields}


async def test_a_worker_without_an_identity_gets_one(rig: Rig) -> None:
    answer = await rig.post(SESSIONS, registration())
    assert (answer.status, answer.json["epoch"], answer.json["protocol"]) == (200, 1, 1)
    assert answer.json["session_id"]
    assert answer.json["session_secret"]
    assert answer.json["llms"] == [{"name": "m", "pool": "m", "status": "active"}]


async def test_another_protocol_is_told_who_must_upgrade_even_if_its_body_is_foreign(rig: Rig) -> None:
    newer = await rig.post(SESSIONS, {"protocol": 2, "workers": []})
    assert (newer.status, newer.error["code"]) == (409, "protocol_unsupported")
    assert "upgrade the server" in str(newer.error["message"])
    older = await rig.post(SESSIONS, {"protocol": 0})
    assert "upgrade the worker" in str(older.error["message"])
    fitting = await rig.post(SESSIONS, registration(protocol=2))
    assert fitting.error["code"] == "protocol_unsupported"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"epoch": "1"}, "epoch"),
        ({"epoch": 0}, "epoch"),
        ({"worker": None}, "worker"),
        ({"worker": {}}, "worker.name"),
        ({"worker": {"name": ""}}, "worker.name"),
        ({"llms": {}}, "llms"),
        ({"llms": [{"name": "m"}]}, "llms[0].model"),
        ({"llms": [{"name": "m", "model": "m", "engine": "e", "slots": -1}]}, "llms[0].slots"),
        ({"llms": [{"name": "m", "model": "m", "engine": "e", "slots": 1, "status": "busy"}]}, "llms[0].status"),
        ({"holding": 1}, "holding"),
        ({"holding": [{"task_id": 1, "attempt": 1}]}, "holding[0].task_id"),
        ({"session_id": "nonsense"}, "session_id"),
        ({"protocol": "one"}, "protocol"),
    ],
)
async def test_a_wrong_field_of_a_registration_is_named(rig: Rig, fields: dict[str, object], param: str) -> None:
    answer = await rig.post(SESSIONS, registration(**fields), inferpool_session_secret=SECRET)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_request", param)
    assert await rig.dispatch.reader.sessions(None, 10) == []


async def test_a_registration_that_is_no_json_says_where(rig: Rig) -> None:
    answer = await rig.call("POST", SESSIONS, JSON, b'{"epoch": }')
    assert (answer.status, "byte 10" in str(answer.error["message"])) == (400, True)


async def test_an_older_epoch_learns_the_stored_one(rig: Rig, worker: ScriptedWorker) -> None:
    worker.epoch = 0
    again = await worker.register()
    assert (again.status, again.error["code"], again.error["epoch"]) == (409, "session_replaced", 1)


async def test_a_name_of_another_active_session_is_in_use(rig: Rig, worker: ScriptedWorker) -> None:
    other = ScriptedWorker(rig)
    answer = await other.register()
    assert (answer.status, answer.error["code"], "x-should-retry" in answer.headers) == (409, "name_in_use", False)


async def test_a_newer_registration_ends_the_older_channel(rig: Rig, worker: ScriptedWorker) -> None:
    old = worker._channel
    assert old is not None
    assert (await worker.register()).status == 200
    assert await old.rest() == b""
    await old.over()
    await worker.bind()


SECRET_ONLY = {"inferpool-session-secret": SECRET}
WRONG = [
    ({}, 403, "Inferpool-Session-Secret"),
    (SECRET_ONLY, 400, "Inferpool-Session-Epoch"),
    ({**SECRET_ONLY, "inferpool-session-epoch": ""}, 400, "Inferpool-Session-Epoch"),
    ({**SECRET_ONLY, "inferpool-session-epoch": "-1"}, 400, "Inferpool-Session-Epoch"),
    ({**SECRET_ONLY, "inferpool-session-epoch": "9" * 19}, 400, "Inferpool-Session-Epoch"),
    ({"inferpool-session-secret": "another secret than that", "inferpool-session-epoch": "1"}, 403, None),
    ({**SECRET_ONLY, "inferpool-session-epoch": "7"}, 409, None),
]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    "route", ["POST /events", "GET /channel", "GET /requests/01900000-0000-7000-8000-000000000000/1"]
)
async def test_every_session_route_asks_for_secret_with_epoch(
    rig: Rig, worker: ScriptedWorker, route: str, wrong: tuple[dict[str, str], int, str | None]
) -> None:
    headers, status, param = wrong
    method, tail = route.split(" ")
    answer = await rig.call(method, worker.path + tail, {**HOST, **headers})
    assert (answer.status, answer.error["param"]) == (status, param)


async def test_a_secret_in_any_letters_is_refused_politely(rig: Rig, worker: ScriptedWorker) -> None:
    headers = {**HOST, "inferpool-session-secret": "s\xe9cret", "inferpool-session-epoch": "1"}
    assert (await rig.call("POST", worker.path + "/events", headers)).status == 403


async def test_an_unknown_session_must_register(rig: Rig) -> None:
    stranger = ScriptedWorker(rig)
    stranger.epoch = 1
    answer = await stranger.say()
    assert (answer.status, answer.error["code"]) == (409, "session_inactive")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"events":[]}', b'{"events":[{"type":"newer than this"}],"more":1}'])
async def test_an_empty_batch_is_a_heartbeat(rig: Rig, worker: ScriptedWorker, body: bytes) -> None:
    answer = await rig.call("POST", worker.path + "/events", {**JSON, **worker.headers}, body)
    assert (answer.status, answer.body) == (200, b'{"refused":[]}')


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b'{"events":{}}', "events"),
        (b'{"events":[{"type":"chunk","task_id":"x"}]}', "attempt"),
        (b'{"events":[{"type":"result","task_id":"x","attempt":1,"status":"ok","content_type":""}]}', "status"),
        (b'{"events":[{}]}', "type"),
    ],
)
async def test_a_malformed_batch_is_refused(rig: Rig, worker: ScriptedWorker, body: bytes, param: str | None) -> None:
    answer = await rig.call("POST", worker.path + "/events", {**JSON, **worker.headers}, body)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_what_is_refused_is_told_with_the_reason(rig: Rig, worker: ScriptedWorker) -> None:
    task_id = new_id()
    answer = await worker.say({"type": "chunk", "task_id": task_id, "attempt": 1, "seq": 1, "data": "x"})
    assert answer.json == {"refused": [{"task_id": task_id, "attempt": 1, "reason": "unknown"}]}


async def test_a_big_body_is_fetched_beside_the_channel(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat(filler="x" * 300_000)
    infer = await worker.infer()
    assert (infer.request, infer.request_base64) == (None, None)
    assert infer.request_url is not None
    answer = await rig.call("GET", infer.request_url, {**HOST, **worker.headers})
    assert answer.body == msgspec.json.encode(chat_body(filler="x" * 300_000))
    assert answer.headers["content-type"] == "application/json"
    await worker.answer(infer)
    await call.whole()


@pytest.mark.parametrize("attempt", ["x", "1" * 10, "%C2%B2", "2"])
async def test_the_body_of_an_attempt_that_is_not_held_is_a_404(rig: Rig, worker: ScriptedWorker, attempt: str) -> None:
    answer = await rig.call("GET", f"{worker.path}/requests/{new_id()}/{attempt}", {**HOST, **worker.headers})
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_a_lost_channel_gives_back_what_was_not_written(rig: Rig, worker: ScriptedWorker) -> None:
    await worker.lose_channel()
    session = (await rig.call("GET", worker.path)).json
    assert session["active"] is True


async def test_a_worker_leaves_with_its_secret_as_often_as_it_likes(rig: Rig, worker: ScriptedWorker) -> None:
    for _ in range(2):
        assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    assert (await rig.call("GET", worker.path)).json["leaving"] is True


async def test_an_operator_needs_no_secret_to_let_a_session_leave(rig: Rig, worker: ScriptedWorker) -> None:
    assert (await rig.call("DELETE", worker.path)).status == 204
    assert (await rig.call("DELETE", f"{SESSIONS}/{new_id()}")).status == 404
    assert (await rig.call("DELETE", f"{SESSIONS}/nonsense")).status == 404


async def test_half_of_the_credentials_is_no_operator(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.call("DELETE", worker.path, {**HOST, "inferpool-session-epoch": "1"})
    assert answer.status == 403


async def test_sessions_are_listed_without_their_secrets(rig: Rig, worker: ScriptedWorker) -> None:
    answer = await rig.call("GET", SESSIONS)
    data = answer.json["data"]
    assert isinstance(data, list)
    assert [(one["id"], one["epoch"], one["worker"]["name"]) for one in data] == [(worker.session_id, 1, "box")]
    assert SECRET.encode() not in answer.body
    assert b64encode(SECRET.encode()) not in answer.body
    assert (await rig.call("GET", worker.path)).json == data[0]


async def test_a_session_that_is_not_there_is_a_404(rig: Rig) -> None:
    for name in (new_id(), "nonsense"):
        assert (await rig.call("GET", f"{SESSIONS}/{name}")).error["code"] == "not_found"


async def test_sessions_are_paged(rig: Rig, worker: ScriptedWorker) -> None:
    await bound_worker(rig, "other")
    first = (await rig.call("GET", f"{SESSIONS}?limit=1")).json
    second = (await rig.call("GET", f"{SESSIONS}?limit=1&cursor={first['next_cursor']}")).json
    ids = [one["id"] for page in (first, second) for one in (page["data"] if isinstance(page["data"], list) else [])]
    assert (len(set(ids)), second["next_cursor"]) == (2, None)
