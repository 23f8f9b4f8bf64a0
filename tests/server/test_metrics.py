"""Claims about `/metrics`: what happened is counted once, in a format that Prometheus reads."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from inferpool.core.clock import SECOND
from inferpool.dispatch.backlog import Backlog
from inferpool.dispatch.catalog import Catalog
from inferpool.dispatch.gauges import OTHERS, POOLS_MOST, TIERS, PoolGauge, pool_gauges
from inferpool.server import metrics
from inferpool.server.metrics import NAMES
from tests.server.rig import HOST, Rig, chat_body
from tests.server.scripted_worker import bound_worker, chunks, failure, result, started

pytestmark = pytest.mark.anyio
TASKS = "/api/v1/inference-tasks"


async def numbers(rig: Rig) -> dict[str, float]:
    """Every sample by its name with its labels, as `name{label="value"}`."""
    answer = await rig.call("GET", "/metrics")
    assert answer.status == 200, rig.log.entries
    assert answer.headers["content-type"].startswith("text/plain")
    samples = [sample for family in parse(answer.body.decode()) for sample in family.samples]
    return {_spelled(sample.name, sample.labels): sample.value for sample in samples}


def _spelled(name: str, labels: dict[str, str]) -> str:
    told = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{told}}}" if told else name


class Looks:
    """Looks at the pools, counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, backlog: Backlog, catalog: Catalog) -> dict[str, PoolGauge]:
        self.count += 1
        return pool_gauges(backlog, catalog)


async def test_every_metric_is_told_from_the_first_second_on(rig: Rig) -> None:
    answer = await rig.call("GET", "/metrics", {**HOST, "accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = re.findall(r"^# TYPE (\S+) ", answer.body.decode(), re.MULTILINE)
    assert {name.removesuffix("_total") for name in NAMES} <= set(families)
    assert len(families) == len(set(families))
    assert "process_cpu_seconds" in families
    assert answer.body.endswith(b"# EOF\n")


async def test_an_answer_is_counted_with_its_times(rig: Rig) -> None:
    worker = await bound_worker(rig, "m", slots=3)
    assert (await rig.post(TASKS, {"request": chat_body(stream=True)})).status == 202
    infer = await worker.infer()
    before = await numbers(rig)
    assert (before["inferpool_sessions"], before["inferpool_slots"], before["inferpool_slots_busy"]) == (1, 3, 1)
    await worker.say(started(infer), *chunks(infer, "data: 1\n\n", "data: [DONE]\n\n"))
    await worker.say(*chunks(infer, "data: 1\n\n"), result(infer, body="", last_seq=2))
    after = await numbers(rig)
    assert after['inferpool_tasks_enqueued_total{endpoint="chat/completions"}'] == 1
    assert after['inferpool_tasks_ended_total{code="",status="completed"}'] == 1
    assert after["inferpool_attempts_claimed_total"] == after["inferpool_task_wait_seconds_count"] == 1
    assert after["inferpool_chunks_total"] == 2
    assert after["inferpool_first_chunk_seconds_count"] == after["inferpool_attempt_seconds_count"] == 1
    assert after["inferpool_slots_busy"] == 0
    assert after["inferpool_store_batch_operations_sum"] >= before["inferpool_store_batch_operations_sum"] + 1
    assert after["inferpool_store_flush_seconds_count"] > before["inferpool_store_flush_seconds_count"]


async def test_what_waits_is_told_by_pool(rig: Rig) -> None:
    await bound_worker(rig, "a@box", pool_name="a", slots=1, tier="fast")
    for model, pin in (("a", False), ("a", False), ("a@box", True), ("tier:fast", False)):
        assert (await rig.post(TASKS, {"request": chat_body(model), "pin": pin})).status == 202
    told = await numbers(rig)
    assert told['inferpool_pool_tasks_pending{pool="a"}'] == 2
    assert told[f'inferpool_pool_tasks_pending{{pool="{TIERS}"}}'] == 1
    assert (told['inferpool_pool_slots{pool="a"}'], told["inferpool_tasks_pending"]) == (1, 3)
    assert told["inferpool_tasks_pending_bytes"] > 0


async def test_one_answer_looks_at_the_pools_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await bound_worker(rig, "a@box", pool_name="a", slots=1)
    looks = Looks()
    monkeypatch.setattr(metrics, "pool_gauges", looks)
    assert (await numbers(rig))['inferpool_pool_slots{pool="a"}'] == 1
    assert looks.count == 1


async def test_many_pools_are_told_in_sum(rig: Rig) -> None:
    await bound_worker(rig, *(f"m{number:03}" for number in range(POOLS_MOST + 5)), slots=1)
    told = [name for name in await numbers(rig) if name.startswith("inferpool_pool_slots")]
    assert len(told) == POOLS_MOST + 1
    assert f'inferpool_pool_slots{{pool="{OTHERS}"}}' in told


async def test_a_failed_attempt_is_a_retry_a_returned_one_a_revert(rig: Rig) -> None:
    worker = await bound_worker(rig, "m", slots=1)
    assert (await rig.post(TASKS, {"request": chat_body()})).status == 202
    await worker.say({"type": "returned", "task_id": (first := await worker.infer()).task_id, "attempt": first.attempt})
    again = await worker.infer()
    await worker.say(failure(again, "engine_error", "it broke"))
    told = await numbers(rig)
    assert told['inferpool_attempts_reverted_total{reason="returned"}'] == 1
    assert (told["inferpool_attempts_retried_total"], told["inferpool_attempts_claimed_total"]) == (1, 2)


async def test_a_lost_session_is_told_by_its_reverts(rig: Rig) -> None:
    worker = await bound_worker(rig, "m", slots=2)
    for _ in range(2):
        assert (await rig.post(TASKS, {"request": chat_body()})).status == 202
        await worker.infer()
    assert (await rig.call("DELETE", worker.path, {**HOST, **worker.headers})).status == 204
    await worker.lose_channel()
    await rig.dispatch.poll.tick()
    assert (await numbers(rig))['inferpool_attempts_reverted_total{reason="lost"}'] == 2


async def test_what_a_rule_ended_is_told_by_its_code(rig: Rig) -> None:
    worker = await bound_worker(rig, "m", slots=1)
    for _ in range(2):
        assert (await rig.post(TASKS, {"request": chat_body(), "expires_in_s": 60})).status == 202
    infer = await worker.infer()
    assert (await rig.call("DELETE", f"{TASKS}/{infer.task_id}")).status == 200
    await worker.say(*chunks(infer, "data: late\n\n"))
    rig.clock.advance(3600 * SECOND)
    told = await numbers(rig)
    assert told['inferpool_tasks_ended_total{code="cancelled",status="cancelled"}'] == 1
    assert told['inferpool_attempts_refused_total{reason="cancelled"}'] == 1


async def test_errors_of_the_server_are_told_by_their_codes(rig: Rig) -> None:
    assert (await rig.post("/v1/chat/completions", chat_body("nobody"))).status == 404
    assert (await rig.call("GET", "/nowhere")).status == 404
    told = await numbers(rig)
    assert told['inferpool_requests_declined_total{code="model_not_found"}'] == 1
    assert told['inferpool_requests_declined_total{code="not_found"}'] == 1
