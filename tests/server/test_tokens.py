"""Claims about the routes of tokens, about what each lets in, about the audit."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from inferpool.core.access import Limits, Role
from inferpool.core.clock import DAY, HOUR
from inferpool.server.options import ServerOptions
from tests.server.rig import HOST, JSON, Answer, Rig, chat_body, running
from tests.server.scripted_worker import ScriptedWorker
from tests.server.tokens import Town, bearer, settled, token

pytestmark = pytest.mark.anyio
TOKENS = "/api/v1/tokens"
AUDIT = "/api/v1/audit"
TASKS = "/api/v1/inference-tasks"
FOREIGN = {"host": "inferpool.example.com", "origin": "http://elsewhere.example", "x-forwarded-for": "1.2.3.4"}


@pytest.fixture
async def town(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with settled(tmp_path) as made:
        yield made


def lines(answer: Answer) -> list[dict[str, object]]:
    data = answer.json["data"]
    assert isinstance(data, list)
    return data


async def test_the_first_token_closes_the_open_server(rig: Rig, worker: ScriptedWorker) -> None:
    made = await rig.post(TOKENS, {"role": "admin", "subject": "ann"})
    assert (made.status, made.json["role"], made.json["subject"]) == (201, "admin", "ann")
    assert str(made.json["token"]).startswith("ip_")
    assert made.headers["location"] == f"{TOKENS}/{made.json['id']}"
    assert made.headers["cache-control"] == "no-store"
    assert (await rig.call("GET", "/v1/models")).status == 401
    assert (await rig.call("GET", "/v1/models", {**HOST, **bearer(str(made.json["token"]))})).status == 200


async def test_a_token_lets_in_under_any_host_from_any_page_through_any_proxy(town: Town) -> None:
    headers = {**FOREIGN, **town.headers(Role.CALLER)}
    assert (await town.rig.call("GET", "/v1/models", headers)).status == 200


async def test_a_token_may_come_as_anthropics_clients_send_it(town: Town) -> None:
    text = town.tokens[Role.CALLER, "own"].text
    assert (await town.rig.call("GET", "/v1/models", {**HOST, "x-api-key": text})).status == 200
    assert (await town.rig.call("GET", "/v1/models", {**HOST, "authorization": f"bearer  {text} "})).status == 200


async def test_a_tokens_text_is_told_once_its_hash_never(town: Town) -> None:
    made = await town.post(
        Role.ADMIN, "own", TOKENS, {"role": "caller", "subject": "bob", "llms": ["m"], "pools": ["p"]}
    )
    shown = await town.get(Role.ADMIN, "own", f"{TOKENS}/{made.json['id']}")
    assert shown.json == {key: value for key, value in made.json.items() if key != "token"}
    assert (shown.json["llms"], shown.json["pools"], shown.json["expires_at"]) == (["m"], ["p"], None)
    listed = await town.get(Role.ADMIN, "own", TOKENS)
    assert lines(listed)[0] == shown.json
    assert str(made.json["token"]).encode() not in listed.body
    assert b"hash" not in listed.body


async def test_tokens_are_listed_newest_first_a_page_at_a_time(town: Town) -> None:
    whole = lines(await town.get(Role.ADMIN, "own", TOKENS))
    assert len(whole) == 6
    page = await town.get(Role.ADMIN, "own", TOKENS + "?limit=4")
    rest = await town.get(Role.ADMIN, "own", f"{TOKENS}?limit=4&cursor={page.json['next_cursor']}")
    assert [*lines(page), *lines(rest)] == whole
    assert rest.json["next_cursor"] is None


async def test_a_revoked_token_lets_nobody_in_from_the_answer_on(town: Town) -> None:
    path = f"{TOKENS}/{town.tokens[Role.CALLER, 'own'].token.id}"
    assert (await town.get(Role.CALLER, "own", "/v1/models")).status == 200
    revoked = await town.delete(Role.ADMIN, "own", path)
    assert revoked.json["revoked_at"] is not None
    assert (await town.get(Role.CALLER, "own", "/v1/models")).status == 401
    assert (await town.delete(Role.ADMIN, "own", path)).json == revoked.json


async def test_a_workers_channel_ends_with_its_token(town: Town) -> None:
    worker = town.workers["own"]
    channel = await worker.bind()
    await worker.infer()
    await town.delete(Role.ADMIN, "own", f"{TOKENS}/{town.tokens[Role.PUBLISHER, 'own'].token.id}")
    assert await channel.rest() == b""
    await channel.over()
    assert (await worker.say()).status == 401


async def test_an_expired_token_lets_nobody_in(town: Town) -> None:
    made = await town.post(Role.ADMIN, "own", TOKENS, {"role": "caller", "subject": "bob", "expires_in_s": 3600})
    headers = {**HOST, **bearer(str(made.json["token"]))}
    assert (await town.rig.call("GET", "/v1/models", headers)).status == 200
    town.rig.clock.advance(HOUR)
    await town.rig.dispatch.access.refresh()
    assert (await town.rig.call("GET", "/v1/models", headers)).status == 401


async def test_the_day_of_a_tokens_last_use_is_shown(town: Town) -> None:
    await town.get(Role.CALLER, "own", "/v1/models")
    await town.rig.dispatch.access.refresh()
    path = f"{TOKENS}/{town.tokens[Role.CALLER, 'own'].token.id}"
    assert (await town.get(Role.ADMIN, "own", path)).json["last_used_on"] == "2023-11-14"


async def test_what_no_token_may_be_is_told_by_its_field(town: Town) -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"role": "owner"}, "role"),
        ({"subject": ""}, "subject"),
        ({"subject": " ann"}, "subject"),
        ({"subject": "a\nb"}, "subject"),
        ({"subject": "a" * 201}, "subject"),
        ({"expires_in_s": 0}, "expires_in_s"),
        ({"expires_in_s": 0.001}, "expires_in_s"),
        ({"expires_in_s": 1e12}, "expires_in_s"),
        ({"llms": [""]}, "llms[0]"),
        ({"pools": ["a", "b\t"]}, "pools[1]"),
        ({"pools": ["a"] * 101}, "pools"),
        ({"role": "admin", "llms": ["a"]}, "role"),
        ({"token": "ip_mine"}, "token"),
    ]
    for fields, param in wrong:
        answer = await town.post(Role.ADMIN, "own", TOKENS, {"role": "caller", "subject": "bob", **fields})
        assert (answer.status, answer.error["param"]) == (400, param), fields
    broken = await town.rig.call("POST", TOKENS, {**JSON, **town.headers(Role.ADMIN)}, b"{")
    assert broken.status == 400
    assert len(lines(await town.get(Role.ADMIN, "own", TOKENS))) == 6


@pytest.mark.parametrize("path", ["x", "01900000-0000-7000-8000-000000000000"])
async def test_a_token_that_is_not_there_is_a_404(town: Town, path: str) -> None:
    assert (await town.get(Role.ADMIN, "own", f"{TOKENS}/{path}")).status == 404
    assert (await town.delete(Role.ADMIN, "own", f"{TOKENS}/{path}")).status == 404


async def limited(town: Town, role: Role, limits: Limits) -> dict[str, str]:
    return bearer((await token(town.rig, role, "own", limits)).text)


async def test_a_limited_caller_sees_calls_nothing_else(town: Town) -> None:
    headers = await limited(town, Role.CALLER, Limits(frozenset({"m"})))
    models = await town.rig.call("GET", "/v1/models", {**HOST, **headers})
    assert [one["id"] for one in lines(models)] == ["m"]
    llms = await town.rig.call("GET", "/api/v1/llms", {**HOST, **headers})
    assert [one["name"] for one in lines(llms)] == ["m"]
    for path in ("/v1/models/n", "/api/v1/llms/n"):
        assert (await town.rig.call("GET", path, {**HOST, **headers})).status == 404
    hidden = await town.rig.post("/v1/chat/completions", chat_body("n"), **headers)
    assert (hidden.status, hidden.error["code"]) == (404, "model_not_found")
    made = await town.rig.post(TASKS, {"request": chat_body("m")}, **headers)
    assert (made.status, made.json["lane"]) == (202, "llm:m")


async def test_llms_outside_the_limits_leave_no_hole_in_the_pages(town: Town) -> None:
    headers = await limited(town, Role.CALLER, Limits(frozenset({"n"})))
    page = await town.rig.call("GET", "/api/v1/llms?limit=1", {**HOST, **headers})
    assert [one["name"] for one in lines(page)] == ["n"]
    assert page.json["next_cursor"] is None


async def test_a_limited_caller_may_not_run_again_what_lies_outside(town: Town) -> None:
    path = f"{TASKS}/{town.tasks['own']}"
    await town.delete(Role.CALLER, "own", path)
    outside = await limited(town, Role.CALLER, Limits(frozenset({"x"})))
    answer = await town.rig.post(path + "/replay", None, **outside)
    assert (answer.status, answer.error["code"]) == (403, "forbidden")
    within = await limited(town, Role.CALLER, Limits(pools=frozenset({"m"})))
    assert (await town.rig.post(path + "/replay", None, **within)).status == 200


async def test_a_limited_publisher_publishes_nothing_else(town: Town) -> None:
    worker = ScriptedWorker(town.rig)
    worker.token = await limited(town, Role.PUBLISHER, Limits(frozenset({"x"})))
    refused = await worker.register(("x", "y"))
    assert (refused.status, refused.error["param"]) == (403, "llms[1].name")
    assert (await worker.register(("x",))).status == 200


async def test_insecure_answers_whoever_asks_while_there_is_no_token(tmp_path: Path) -> None:
    async with running(tmp_path, ServerOptions(insecure=True)) as rig:
        assert (await rig.call("GET", "/v1/models", FOREIGN)).status == 200
        await token(rig, Role.ADMIN)
        assert (await rig.call("GET", "/v1/models", FOREIGN)).status == 401


async def test_tasks_of_the_open_time_belong_to_local(rig: Rig, worker: ScriptedWorker) -> None:
    made = await rig.post(TASKS, {"request": chat_body()})
    local, ann = await token(rig, Role.CALLER, "local"), await token(rig, Role.CALLER, "ann")
    path = f"{TASKS}/{made.json['id']}"
    assert (await rig.call("GET", path, {**HOST, **bearer(local.text)})).status == 200
    assert (await rig.call("GET", path, {**HOST, **bearer(ann.text)})).status == 404


# ---- the audit --------------------------------------------------------------------------------------------------------


async def audit(town: Town, query: str = "") -> list[dict[str, object]]:
    return lines(await town.get(Role.ADMIN, "own", AUDIT + query))


async def test_what_was_made_revoked_cancelled_is_told_with_who_did_it(town: Town) -> None:
    made = await town.post(Role.ADMIN, "own", TOKENS, {"role": "caller", "subject": "bob"})
    await town.delete(Role.ADMIN, "own", f"{TOKENS}/{made.json['id']}")
    await town.delete(Role.CALLER, "own", f"{TASKS}/{town.tasks['own']}")
    cancelled, revoked, created = (await audit(town))[:3]
    admin, caller = (town.tokens[role, "own"].token.id for role in (Role.ADMIN, Role.CALLER))
    assert (created["action"], created["resource"]) == ("POST /api/v1/tokens", made.json["id"])
    assert (created["subject"], created["token_id"], created["outcome"], created["count"]) == ("own", admin, "done", 1)
    assert (revoked["action"], revoked["resource"]) == ("DELETE /api/v1/tokens/{token_id}", made.json["id"])
    assert (cancelled["action"], cancelled["token_id"]) == ("DELETE /api/v1/inference-tasks/{task_id}", caller)
    assert cancelled["resource"] == town.tasks["own"]


async def test_an_answered_change_is_durable_in_the_audit(town: Town) -> None:
    await town.delete(Role.ADMIN, "own", f"{TOKENS}/{town.tokens[Role.CALLER, 'own'].token.id}")
    assert town.rig.dispatch.trail._tallies == {}


async def test_calls_are_counted_registrations_told(town: Town) -> None:
    await town.rig.dispatch.trail.flush()
    for _ in range(3):
        await town.task("own")
    await town.workers["own"].register()
    found = {str(line["action"]): line for line in await audit(town)}
    assert found["POST /api/v1/inference-tasks"]["resource"] == ""
    assert found["POST /api/v1/sessions"]["resource"] == town.workers["own"].session_id
    mine = [line for line in await audit(town, "?subject=own") if line["action"] == "POST /api/v1/inference-tasks"]
    assert sum(int(str(line["count"])) for line in mine) == 4


async def test_a_call_that_made_a_task_is_told_even_if_it_was_not_answered(rig: Rig, worker: ScriptedWorker) -> None:
    call = rig.chat()
    await worker.infer()
    call.leave()
    await call.over()
    [line] = [one for one in lines(await rig.call("GET", AUDIT)) if "chat" in str(one["action"])]
    assert (line["subject"], line["token_id"], line["outcome"]) == ("local", None, "done")


async def test_every_denial_is_told_what_is_merely_not_there_is_not(town: Town) -> None:
    other = town.tasks["other"]
    await town.get(Role.CALLER, "own", f"{TASKS}/{other}")
    await town.get(Role.CALLER, "own", TOKENS)
    await town.get(Role.CALLER, "own", f"{TASKS}/01900000-0000-7000-8000-000000000000")
    await town.rig.call("GET", "/v1/models?api_key=secret", {**HOST, **bearer("ip_guess")})
    denied = [one for one in await audit(town) if one["outcome"] != "done"]
    assert {(one["subject"], one["action"], one["resource"], one["outcome"]) for one in denied} == {
        ("own", "GET /api/v1/inference-tasks/{task_id}", other, "not_found"),
        ("own", "GET /api/v1/tokens", "", "forbidden"),
        ("", "GET /v1/models", "", "unauthenticated"),
    }


async def test_the_audit_holds_no_prompt_no_token(town: Town) -> None:
    await town.post(Role.CALLER, "own", TASKS, {"request": {**chat_body("m"), "messages": ["the prompt"]}})
    await town.post(Role.PUBLISHER, "own", TASKS, {"request": {**chat_body("m"), "messages": ["the prompt"]}})
    told = msgspec.json.encode(await audit(town))
    assert b"the prompt" not in told
    assert b"ip_" not in told


async def test_the_audit_is_filtered_paged_kept_for_its_time(town: Town) -> None:
    await town.get(Role.CALLER, "own", TOKENS)
    await town.get(Role.CALLER, "other", TOKENS)
    assert [one["subject"] for one in await audit(town, "?outcome=forbidden")] == ["other", "own"]
    first = await town.get(Role.ADMIN, "own", AUDIT + "?limit=1")
    second = await town.get(Role.ADMIN, "own", f"{AUDIT}?limit=1&cursor={first.json['next_cursor']}")
    assert lines(first) != lines(second)
    assert await audit(town, "?from=2030-01-01T00:00:00Z") == []
    assert (await town.get(Role.ADMIN, "own", AUDIT + "?who=ann")).error["param"] == "who"
    town.rig.clock.advance(91 * DAY)
    duty = next(duty for duty in town.rig.dispatch.sweeps.duties() if duty.name == "audit")
    assert await town.rig.dispatch.sweeps.sweep(duty) > 0
    assert await audit(town) == []


async def test_what_was_done_is_answered_even_if_the_audit_cannot_be_written_now(town: Town, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("ALTER TABLE audit RENAME TO elsewhere")
        path = f"{TOKENS}/{town.tokens[Role.CALLER, 'own'].token.id}"
        assert (await town.delete(Role.ADMIN, "own", path)).status == 200
        connection.execute("ALTER TABLE elsewhere RENAME TO audit")
    assert (await audit(town))[0]["action"] == "DELETE /api/v1/tokens/{token_id}"
