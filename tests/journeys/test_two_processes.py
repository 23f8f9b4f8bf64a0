"""Journeys of two processes that want to be one: on one state folder, with one session, on one database."""

import shutil

import pytest

from tests.journeys.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


async def test_a_second_worker_on_one_state_folder_is_refused_while_the_first_works_on(site: Site) -> None:
    await site.start()
    second = await site.start_worker(linked=False)
    assert await second.ended() == 1
    assert f"another worker runs on {site.folder / 'state' / 'worker-box'}" in second.lines[-1]
    row = await site.ended(await site.enqueue("say 2 words"))
    assert (row["status"], row["attempt"]) == ("completed", 1)
    assert site.rows("SELECT worker_name, epoch FROM sessions") == [("box", 1)]
    await site.conclude()


async def test_of_two_processes_with_one_session_the_older_ends_itself_saying_why(site: Site) -> None:
    await site.start_engine()
    await site.start_server()
    older = await site.start_worker()
    task_id = await site.enqueue("say 3 words gate hold", stream=True)
    await site.engine_waits("waiting")
    ((session_id,),) = site.rows("SELECT claimed_by FROM tasks WHERE id = ?", task_id)
    shutil.copytree(site.folder / "state", site.folder / "copied")

    await site.start_worker(state_folder=str(site.folder / "copied"))
    assert await older.ended() == 1
    assert "another process" in older.lines[-1]
    assert "epoch" in older.lines[-1]
    await site.engine_waits("waiting", 2)
    assert site.rows("SELECT id, epoch, active FROM sessions") == [(session_id, 2, 1)]
    assert site.rows("SELECT claimed_by, attempt, tries FROM tasks") == [(session_id, 2, 1)]

    await site.open_gate("hold")
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 2, 1)
    assert [call["cancelled"] for call in await site.engine_calls()] == [True, False]
    await site.conclude()


async def test_a_second_server_on_one_database_is_refused_while_the_first_serves_on(site: Site) -> None:
    first = await site.start_server()
    flags = ("serve", "--port", "0", "--database-url", str(site.database))
    second = await site._start("second", "-m", "inferpool", *flags)
    assert await second.ended() == 1
    assert f"another inferpool server is using {site.database}" in second.lines[-1]
    assert first.code is None
    async with site.http.get(f"{site.server_url}/readyz") as reply:
        assert reply.status == 200
    await site.conclude()
