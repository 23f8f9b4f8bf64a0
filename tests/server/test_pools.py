"""Claims about the native routes of pools."""

import msgspec
import pytest

from inferpool.core.clock import SECOND
from tests.server.rig import HOST, Rig, chat_body
from tests.server.scripted_worker import bound_worker

pytestmark = pytest.mark.anyio
POOLS = "/api/v1/pools"
TASKS = "/api/v1/inference-tasks"


def listed(pools: object) -> list[dict[str, object]]:
    assert isinstance(pools, list)
    return pools


async def test_a_pool_tells_its_members_what_runs_what_waits_since_when(rig: Rig) -> None:
    worker = await bound_worker(rig, "a@box", "b@box", pool_name="hf.co/x/y:Q4", slots=1)
    for model, pin in (("hf.co/x/y:Q4", False), ("hf.co/x/y:Q4", False), ("a@box", True)):
        assert (await rig.post(TASKS, {"request": chat_body(model), "pin": pin})).status == 202
    infer = await worker.infer()
    rig.clock.advance(90 * SECOND)
    pool = (await rig.call("GET", f"{POOLS}/hf.co%2Fx%2Fy:Q4")).json
    assert pool["oldest_wait_s"] == pytest.approx(90, abs=5)
    assert {**pool, "oldest_wait_s": None} == {
        "name": "hf.co/x/y:Q4",
        "members": [
            {"name": name, "status": "active", "slots": 1, "session_id": worker.session_id}
            for name in ("a@box", "b@box")
        ],
        "slots": 1,
        "running": 1,
        "pending": 2,
        "oldest_wait_s": None,
        "expected_wait_s": None,
    }
    assert (await worker.answer(infer)).status == 200
    after = (await rig.call("GET", f"{POOLS}/hf.co/x/y:Q4")).json
    assert isinstance(after["expected_wait_s"], float)


async def test_an_idle_pool_waits_for_nothing(rig: Rig) -> None:
    worker = await bound_worker(rig, "m")
    assert (await rig.call("GET", f"{POOLS}/m")).json["oldest_wait_s"] is None
    assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    pool = (await rig.call("GET", f"{POOLS}/m")).json
    assert (pool["slots"], pool["running"], pool["pending"]) == (0, 0, 0)


async def test_pools_are_paged_by_name(rig: Rig) -> None:
    await bound_worker(rig, "c", "a", "b")
    first = (await rig.call("GET", f"{POOLS}?limit=2")).json
    assert [pool["name"] for pool in listed(first["data"])] == ["a", "b"]
    second = (await rig.call("GET", f"{POOLS}?limit=2&cursor={first['next_cursor']}")).json
    assert ([pool["name"] for pool in listed(second["data"])], second["next_cursor"]) == (["c"], None)


async def test_a_pool_that_only_waits_is_one_too(rig: Rig) -> None:
    worker = await bound_worker(rig, "m")
    assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    await rig.post(TASKS, {"request": chat_body()})
    rig.dispatch.catalog._published.remove("m")
    [pool] = listed((await rig.call("GET", POOLS)).json["data"])
    assert (pool["name"], pool["members"], pool["pending"]) == ("m", [], 1)


@pytest.mark.parametrize("name", ["nobody", "a%2Fb", "%00", "%F0%9F%A6%99", "a b@c:d"])
async def test_a_pool_that_is_not_there_is_a_404(rig: Rig, name: str) -> None:
    answer = await rig.call("GET", f"{POOLS}/{name}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_a_pool_takes_no_parameters(rig: Rig) -> None:
    assert (await rig.call("GET", f"{POOLS}/m?limit=1")).error["param"] == "limit"
    assert msgspec.json.decode((await rig.call("GET", POOLS)).body) == {"data": [], "next_cursor": None}
