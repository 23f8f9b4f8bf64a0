"""Who gets how much of an llm, simulated under a virtual clock; shares come out within 5 %."""

import random

import pytest

from inferpool.core.lanes import SHARES, PriorityClass
from tests.core.fairness_model import LANE, Llm, Queue, Task

PRIORITY, DEFAULT, FLEX, BATCH = PriorityClass


def _share(queue: Queue, owner: str, since: float, until: float) -> float:
    counted = queue.counted(since, until)
    return counted[owner] / counted.total()


def _within(expected: float) -> object:
    return pytest.approx(expected, rel=0.05)


def test_a_newcomer_waits_for_nobodys_flood() -> None:
    queue = Queue()
    queue.flood(10_000, Task("ann"))
    queue.run(100.5)
    newcomer = queue.enqueue(Task("bob"))
    queue.run(110)
    assert newcomer.started_at is not None
    assert newcomer.started_at - newcomer.enqueued_at <= 2.0


def test_a_newcomers_flood_gets_half_beside_an_older_one() -> None:
    queue = Queue(Llm(slots=4))
    queue.flood(10_000, Task("ann"))
    queue.run(500)
    queue.flood(3_000, Task("bob"))
    queue.run(1_500)
    assert _share(queue, "bob", 500, 1_500) == _within(0.5)


def test_many_owners_share_alike_whatever_each_has_queued() -> None:
    queue = Queue(Llm(slots=3))
    owners = [f"owner{number}" for number in range(10)]
    for number, owner in enumerate(owners):
        queue.flood(500 * (number + 1), Task(owner))
    queue.run(1_500)
    for owner in owners:
        assert _share(queue, owner, 0, 1_500) == _within(0.1)


def test_nobody_pays_for_a_cancelled_flood() -> None:
    queue = Queue()
    flood = queue.flood(10_000, Task("ann"))
    queue.flood(1_000, Task("bob"))
    queue.run(20.5)
    queue.cancel(flood)
    again = queue.flood(1_000, Task("ann"))
    queue.run(421)
    assert again[0].started_at is not None
    assert again[0].started_at < 24
    assert _share(queue, "ann", 21, 421) == _within(0.5)


def test_a_flood_cancelled_in_any_order_leaves_no_debt() -> None:
    queue = Queue()
    flood = queue.flood(5_000, Task("ann"))
    random.Random(5).shuffle(flood)
    queue.cancel(flood)
    queue.flood(300, Task("bob"))
    queue.flood(300, Task("ann"))
    queue.run(400)
    assert _share(queue, "ann", 1, 400) == _within(0.5)


def test_an_unclaimable_row_at_the_head_stops_nobody() -> None:
    queue = Queue(Llm(endpoints=("chat/completions",)))
    stuck = queue.enqueue(Task("eve", PRIORITY, endpoint="rerank"))
    queue.flood(500, Task("ann"))
    queue.flood(500, Task("bob"))
    queue.run(400)
    assert stuck.started_at is None
    assert _share(queue, "ann", 0, 400) == _within(0.5)
    assert _share(queue, "bob", 0, 400) == _within(0.5)


def test_an_owner_whose_head_is_unclaimable_keeps_the_share_of_the_rest() -> None:
    queue = Queue()
    queue.flood(50, Task("ann", endpoint="rerank"))
    queue.flood(1_000, Task("bob"))
    queue.run(100)
    queue.flood(1_000, Task("ann"))
    queue.run(700)
    assert _share(queue, "ann", 100, 700) == _within(0.5)


def test_a_row_that_became_claimable_goes_first() -> None:
    chat, rerank = Llm(), Llm(endpoints=(), slots=1)
    queue = Queue(chat, rerank)
    stuck = queue.flood(3, Task("eve", endpoint="rerank"))
    queue.flood(500, Task("ann", endpoint="rerank"))
    queue.flood(500, Task("ann"))
    queue.run(100)
    rerank.endpoints = ("rerank",)
    queue.enqueue(Task("ann"))
    queue.run(107)
    assert all(task.started_at is not None for task in stuck)


@pytest.mark.parametrize("restart_at", [300.0, 300.9])
def test_order_continues_with_the_shares_after_a_restart(restart_at: float) -> None:
    queue = Queue(Llm(slots=8))
    queue.flood(4_000, Task("ann"))
    queue.flood(8_000, Task("bob", PRIORITY))
    queue.run(restart_at)
    queue.restart()
    newcomer = queue.enqueue(Task("eve"))
    queue.flood(2_000, Task("eve"))
    queue.run(800)
    assert newcomer.started_at is not None
    assert newcomer.started_at - restart_at < 3
    counted = queue.counted(305, 800)
    assert counted["bob"] / counted["ann"] == _within(4.0)
    assert counted["eve"] / counted["ann"] == _within(1.0)
    ann = [task.id for task in queue.started if task.owner == "ann"]
    assert ann == sorted(ann)


def test_an_old_flood_is_not_overtaken_by_its_owners_own_tasks_after_a_restart() -> None:
    queue = Queue()
    queue.flood(100, Task("ann"))
    queue.run(10)
    queue.restart()
    last = queue.enqueue(Task("ann"))
    queue.run(150)
    assert last.started_at == 100


@pytest.mark.parametrize("flooder_servers", [1, 3])
def test_flooding_through_three_servers_earns_no_third_share(flooder_servers: int) -> None:
    queue = Queue(Llm(slots=4, server=0), Llm(slots=4, server=1), Llm(slots=4, server=2), servers=3)
    for server in range(flooder_servers):
        queue.arrive(0.1, Task("ann", server=server))
    for number in range(3):
        queue.at(0.03 * number, lambda: queue.arrive(0.1, Task("bob", server=0)))
    queue.run(400)
    assert queue.pending() > 0
    assert _share(queue, "bob", 40, 400) == _within(0.5)


def test_the_share_of_each_class_is_its_own() -> None:
    queue = Queue(Llm(slots=10))
    for priority in (PRIORITY, DEFAULT, FLEX):
        queue.flood(20_000, Task(priority.value, priority))
    queue.run(1_200)
    total = sum(SHARES[priority] for priority in (PRIORITY, DEFAULT, FLEX))
    for priority in (PRIORITY, DEFAULT, FLEX):
        assert _share(queue, priority.value, 0, 1_200) == _within(SHARES[priority] / total)


def test_all_batch_owners_together_get_a_twentyfifth_of_one_flex_flow() -> None:
    queue = Queue(Llm(slots=10))
    queue.flood(12_000, Task("flex", FLEX))
    for owner in ("ann", "bob", "eve"):
        queue.flood(400, Task(owner, BATCH))
    queue.run(1_050)
    assert 1 - _share(queue, "flex", 0, 1_050) == _within(1 / 26)


def test_an_owner_of_double_weight_gets_double() -> None:
    queue = Queue()
    queue.flood(1_000, Task("ann", weight=2.0))
    queue.flood(1_000, Task("bob"))
    queue.run(900)
    assert _share(queue, "ann", 0, 900) == _within(2 / 3)


def test_long_tasks_are_fewer_so_that_tokens_are_shared_alike() -> None:
    queue = Queue(Llm(slots=4))
    queue.arrive(0.2, Task("long", tokens=4_000, service_s=2.0))
    queue.arrive(0.2, Task("short", tokens=1_000, service_s=0.5))
    queue.run(2_000)
    counted = queue.counted(200, 2_000)
    assert counted["long"] * 4_000 / (counted["short"] * 1_000) == _within(1.0)


@pytest.mark.parametrize("slots", [1, 3])
def test_nobody_starves(slots: int) -> None:
    queue = Queue(Llm(slots=slots))
    batch = queue.enqueue(Task("low", BATCH))
    flex = queue.enqueue(Task("low", FLEX))
    for number in range(3):
        queue.arrive(0.4 / slots, Task(f"high{number}", PRIORITY))
    last_batch, last_flex = queue.enqueue(Task("low", BATCH)), queue.enqueue(Task("low", FLEX))
    queue.run(2_500)
    assert queue.pending() > 500
    assert all(task.started_at is not None for task in (batch, flex, last_batch, last_flex))


def test_a_lone_batch_task_in_an_idle_pool_runs_at_once() -> None:
    queue = Queue()
    queue.run(50)
    assert queue.enqueue(Task("ann", BATCH)).started_at == 50


def test_who_comes_after_a_batch_task_does_not_wait_for_its_rank() -> None:
    queue = Queue()
    queue.flood(10, Task("ann", BATCH))
    queue.run(2.5)
    assert queue.enqueue(Task("bob")).rank < queue.rows[LANE][1][0]
    queue.run(3)
    assert queue.counted(3, 3.1) == {"bob": 1}


def test_idle_capacity_is_not_paid_for_later() -> None:
    queue = Queue()
    queue.flood(500, Task("ann"))
    queue.run(600)
    for owner in ("ann", "bob"):
        queue.flood(500, Task(owner))
    queue.run(1_000)
    assert _share(queue, "ann", 600, 1_000) == _within(0.5)


def test_absence_earns_no_credit() -> None:
    queue = Queue()
    queue.flood(1_000, Task("ann"))
    queue.run(500)
    queue.flood(1_000, Task("bob"))
    queue.run(900)
    assert _share(queue, "bob", 500, 900) == _within(0.5)


def test_a_given_back_task_goes_before_its_flow() -> None:
    llm = Llm(slots=2)
    queue = Queue(llm)
    flood = queue.flood(100, Task("ann"))
    queue.run(10.5)
    held = next(task for task in flood if task.started_at == 10)
    queue.give_back(llm, held)
    assert held.started_at == 10.5


def test_an_llms_two_lanes_are_served_in_turn() -> None:
    queue = Queue(Llm(lanes=(LANE, "llm:m@box")))
    queue.flood(5_000, Task("ann"))
    queue.run(500)
    queue.flood(500, Task("bob", lane="llm:m@box"))
    queue.run(1_000)
    assert _share(queue, "bob", 500, 1_000) == _within(0.5)


def test_a_class_keeps_its_share_between_two_lanes() -> None:
    queue = Queue(Llm(lanes=(LANE, "llm:m@box"), slots=2))
    queue.flood(2_000, Task("ann", FLEX))
    queue.flood(2_000, Task("bob", DEFAULT, lane="llm:m@box"))
    queue.run(800)
    assert _share(queue, "bob", 0, 800) == _within(0.8)


def test_a_pool_served_by_two_llms_keeps_its_shares_beside_a_pinned_lane() -> None:
    queue = Queue(Llm(lanes=(LANE, "llm:one")), Llm(lanes=(LANE, "llm:two")))
    queue.flood(2_000, Task("ann"))
    queue.flood(2_000, Task("bob"))
    queue.flood(1_000, Task("eve", lane="llm:one"))
    queue.run(800)
    assert _share(queue, "eve", 0, 800) == _within(0.25)
    assert queue.counted(0, 800)["ann"] == _within(queue.counted(0, 800)["bob"])
