"""The worker's disk fills up: answers wait in memory, go to the disk once it takes files again."""

import asyncio
import resource
import signal

import pytest

from tests.journeys.looks import outbox
from tests.journeys.processes import Program
from tests.journeys.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


def fill_disk(program: Program) -> None:
    """From now on each write of the process to a file is refused, as by a full disk: for root, too."""
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def empty_disk(program: Program) -> None:
    """Its files may grow again."""
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def test_a_full_disk_of_the_worker_costs_no_answer_and_it_recovers_by_itself(site: Site) -> None:
    await asyncio.gather(site.start_engine(), site.start_server())
    worker = await site.start_worker(shelve_after_s="0", disk_retry_s="0.1", failpoint="worker.after_result:2")
    assert site.server is not None
    fill_disk(worker)
    at_once = await site.enqueue("say 2 words")
    assert (await site.ended(at_once))["status"] == "completed"
    await worker.says("the disk refuses: going on in memory")

    streamed = await site.enqueue("say 6 words gate late after 3", stream=True)
    whole = await site.enqueue("say 4 words gate late")
    await site.engine_waits("waiting", 2)
    site.server.signal(signal.SIGSTOP)
    await site.server.stops()
    await site.open_gate("late")
    await site.engine_waits("finished", 3)
    assert outbox(site) == []

    empty_disk(worker)
    await worker.says("the disk takes files again")
    await worker.stops()
    assert [path.name for path in outbox(site)] == [f"{streamed}.1.result", f"{whole}.1.result"]
    await worker.kill()
    site.server.signal(signal.SIGCONT)
    await site.start_worker()
    await all_completed_at_first(site, [streamed, whole])
    assert len(await site.engine_calls()) == 3
    await site.conclude()


async def test_answers_that_only_memory_holds_are_delivered_yet_no_epoch_is_used_that_the_disk_refuses(
    site: Site,
) -> None:
    await asyncio.gather(site.start_engine(), site.start_server())
    worker = await site.start_worker()
    task_ids = [await site.enqueue(f"say {count} words gate late", stream=count == 3) for count in (2, 3, 4)]
    await site.engine_waits("waiting", 3)
    fill_disk(worker)
    assert site.server is not None
    site.server.signal(signal.SIGSTOP)
    await site.server.stops()
    await site.open_gate("late")
    await worker.says("the disk refuses: going on in memory")
    await site.engine_waits("finished", 3)
    assert outbox(site) == []
    assert site.rows("SELECT count(*) FROM tasks WHERE status IN ('claimed', 'running')") == [(3,)]
    site.server.signal(signal.SIGCONT)
    await all_completed_at_first(site, task_ids)

    last = await site.enqueue("say 5 words gate later")
    await site.engine_waits("waiting", 4)
    await site.server.kill()
    await site.open_gate("later")
    await site.start_server()
    await worker.says("not registered yet, trying again")
    assert site.standing(last)[1:] == (1, 0)
    assert site.rows("SELECT max(epoch) FROM sessions") == [(1,)]
    heard = len(worker.lines)
    empty_disk(worker)
    await worker.says("linked to the server", after=heard)
    await all_completed_at_first(site, [last])
    assert len(await site.engine_calls()) == 4
    await site.conclude()


async def all_completed_at_first(site: Site, task_ids: list[str]) -> None:
    """Each of the tasks has its answer, from the only attempt."""
    for task_id in task_ids:
        row = await site.ended(task_id)
        assert (row["status"], row["attempt"], row["tries"]) == ("completed", 1, 0)
