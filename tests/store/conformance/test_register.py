"""Claims about registering: identity, epochs, names."""

import asyncio

import msgspec
import pytest

from inferpool.core.clock import MINUTE
from inferpool.core.errors import Forbidden, NameInUse, SessionReplaced
from inferpool.core.llm import Kind, LlmStatus
from inferpool.store.protocol import Registered
from tests.store.builders import SECOND_SERVER, SERVER, Rig, Worker, enqueue, kept_llm, offer, registered

pytestmark = pytest.mark.anyio


async def test_a_new_session_is_active_with_its_llms(rig: Rig) -> None:
    worker = Worker(rig)
    llms = [offer("qwen@a", endpoints=["embeddings"], tier="large"), offer("b@a", status=LlmStatus.HIBERNATING)]
    answer = await worker.register(llms=llms)
    assert (answer.epoch, answer.resume, answer.drop, answer.moved) == (1, [], [], [])
    assert {llm.name for llm in answer.llms} == {"qwen@a", "b@a"}
    session = await rig.reader.session(worker.id)
    assert session is not None
    assert (session.epoch, session.active, session.leaving, session.server_id) == (1, True, False, SERVER)
    assert (session.subject, session.worker_name, session.worker_version) == ("local", "a", "0.1.0")
    assert (session.labels, session.inactive_at) == ({"gpu": "none"}, None)
    assert session.created_at == session.registered_at == session.seen_at
    assert await rig.reader.secret_hash(worker.id) == f"hash of {worker.id}"


async def test_an_llm_is_kept_as_it_was_published(rig: Rig) -> None:
    worker = Worker(rig)
    await worker.register(llms=[offer("q@a", endpoints=["embeddings"], tier="large", type="embedding", slots=7)])
    llm = await kept_llm(rig.reader, "q@a")
    assert llm is not None
    assert (llm.session_id, llm.kind, llm.model, llm.type) == (worker.id, Kind.VIRTUAL, "qwen2.5", "embedding")
    assert (llm.tier, llm.pool_name, llm.engine, llm.slots) == ("large", "qwen", "http://127.0.0.1:8000", 7)
    assert (llm.status, llm.endpoints, llm.extra) == (LlmStatus.ACTIVE, ["embeddings"], {"quant": "Q4"})


async def test_a_reconnect_comes_back_to_the_same_rows(rig: Rig) -> None:
    worker = await registered(rig)
    before = await kept_llm(rig.reader, worker.llm)
    first = await rig.reader.session(worker.id)
    rig.later(MINUTE)
    worker.server_id = SECOND_SERVER
    await worker.register(llms=[offer(worker.llm, slots=9, pool_name=None, status=LlmStatus.HIBERNATING)])
    after = await kept_llm(rig.reader, worker.llm)
    second = await rig.reader.session(worker.id)
    assert before is not None
    assert after is not None
    assert first is not None
    assert second is not None
    assert (after.created_at, after.slots, after.pool) == (before.created_at, 9, worker.llm)
    assert (after.status, after.session_id) == (LlmStatus.HIBERNATING, worker.id)
    assert after.updated_at > before.updated_at
    assert (second.epoch, second.server_id, second.created_at) == (2, SECOND_SERVER, first.created_at)
    assert second.registered_at > first.registered_at
    assert len(await rig.reader.llms(None, 10)) == len(await rig.reader.sessions(None, 10)) == 1


@pytest.mark.parametrize("behind", [0, 1])
async def test_only_a_higher_epoch_is_accepted(rig: Rig, behind: int) -> None:
    worker = await registered(rig)
    worker.epoch = 6
    await worker.register()
    before = await rig.reader.session(worker.id)
    old = msgspec.structs.replace(worker.registration(), epoch=7 - behind, worker_name="clone")
    with pytest.raises(SessionReplaced) as refused:
        await rig.store.register(old)
    assert refused.value.epoch == 7
    assert await rig.reader.session(worker.id) == before


async def test_two_processes_of_one_session_cannot_take_the_same_epoch(rig: Rig) -> None:
    worker = await registered(rig)
    both = [rig.store.register(worker.registration()) for _ in range(2)]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in outcomes] == [Registered, SessionReplaced]


@pytest.mark.parametrize("change", [{"secret_hash": "guessed"}, {"subject": "mallory"}])
async def test_a_known_session_needs_its_own_secret_with_its_subject(rig: Rig, change: dict[str, str]) -> None:
    worker = Worker(rig)
    worker.subject = "ann"
    await worker.register()
    before = await rig.reader.session(worker.id)
    with pytest.raises(Forbidden):
        await rig.store.register(msgspec.structs.replace(worker.registration(), **change))
    assert await rig.reader.session(worker.id) == before
    assert await rig.reader.secret_hash(worker.id) == f"hash of {worker.id}"


async def test_a_session_of_the_open_time_passes_to_the_subject_whose_worker_shows_its_secret(rig: Rig) -> None:
    worker = await registered(rig)
    worker.subject = "ann"
    await worker.register()
    session = await rig.reader.session(worker.id)
    assert session is not None
    assert (session.subject, session.epoch) == ("ann", 2)
    worker.subject = "mallory"
    with pytest.raises(Forbidden, match="another subject"):
        await worker.register()


async def test_a_name_of_another_active_session_is_in_use(rig: Rig) -> None:
    owner, other = await registered(rig), Worker(rig, "b")
    with pytest.raises(NameInUse, match=owner.llm):
        await other.register(llms=[offer("new@b"), offer(owner.llm)])
    llm = await kept_llm(rig.reader, owner.llm)
    assert llm is not None
    assert llm.session_id == owner.id
    assert await kept_llm(rig.reader, "new@b") is None
    assert await rig.reader.session(other.id) is None


async def test_a_refused_registration_changes_nothing_of_its_session(rig: Rig) -> None:
    owner, other = await registered(rig), await registered(rig, "b")
    before = await rig.reader.session(other.id)
    with pytest.raises(NameInUse):
        await other.register(llms=[offer(other.llm, slots=99), offer(owner.llm)])
    llm = await kept_llm(rig.reader, other.llm)
    assert llm is not None
    assert llm.slots == 4
    assert await rig.reader.session(other.id) == before


async def test_a_name_of_an_inactive_session_is_taken_over(rig: Rig) -> None:
    owner, other = await registered(rig), Worker(rig, "b")
    await owner.lose()
    await other.register(llms=[offer(owner.llm)])
    llm = await kept_llm(rig.reader, owner.llm)
    assert llm is not None
    assert (llm.session_id, llm.status) == (other.id, LlmStatus.ACTIVE)


async def test_a_name_of_another_subject_is_not_taken_over(rig: Rig) -> None:
    owner, other = await registered(rig), Worker(rig, "b")
    await owner.lose()
    registration = msgspec.structs.replace(other.registration(llms=[offer(owner.llm)]), subject="mallory")
    with pytest.raises(NameInUse):
        await rig.store.register(registration)
    llm = await kept_llm(rig.reader, owner.llm)
    assert llm is not None
    assert llm.session_id == owner.id


async def test_a_ghost_whose_name_was_taken_over_cannot_come_back_with_it(rig: Rig) -> None:
    ghost, heir = await registered(rig), Worker(rig, "b")
    await ghost.lose()
    await heir.register(llms=[offer(ghost.llm)])
    with pytest.raises(NameInUse):
        await ghost.register()
    session = await rig.reader.session(ghost.id)
    assert session is not None
    assert not session.active


async def test_two_sessions_that_want_one_name_at_once_get_it_once(rig: Rig) -> None:
    wanted = [Worker(rig, name).registration(llms=[offer("shared")]) for name in ("a", "b")]
    outcomes = await asyncio.gather(*map(rig.store.register, wanted), return_exceptions=True)
    assert [type(each) for each in outcomes] == [Registered, NameInUse]


async def test_a_bad_registration_does_not_fail_what_shares_its_batch(rig: Rig) -> None:
    owner, other = await registered(rig), Worker(rig, "b")
    third = Worker(rig, "c")
    refused, fine = await asyncio.gather(
        other.register(llms=[offer(owner.llm)]), third.register(), return_exceptions=True
    )
    assert isinstance(refused, NameInUse)
    assert isinstance(fine, Registered)


async def test_registering_revives_an_inactive_session(rig: Rig) -> None:
    worker = await registered(rig)
    await worker.lose()
    await worker.register()
    session = await rig.reader.session(worker.id)
    llm = await kept_llm(rig.reader, worker.llm)
    assert session is not None
    assert llm is not None
    assert (session.active, session.inactive_at, llm.status) == (True, None, LlmStatus.ACTIVE)
    [task_id] = await enqueue(rig)
    assert [each.task_id for each in await worker.claim()] == [task_id]


async def test_registering_ends_a_leave(rig: Rig) -> None:
    worker = await registered(rig)
    await rig.store.leave(worker.id, worker.epoch)
    await worker.register()
    session = await rig.reader.session(worker.id)
    assert session is not None
    assert not session.leaving
    await enqueue(rig)
    assert len(await worker.claim()) == 1


async def test_an_llm_that_is_no_longer_published_stays_known_but_inactive(rig: Rig) -> None:
    worker = Worker(rig)
    await worker.register(llms=[offer("x@a"), offer("y@a")])
    answer = await worker.register(llms=[offer("x@a")])
    gone = await kept_llm(rig.reader, "y@a")
    assert gone is not None
    assert gone.status is LlmStatus.INACTIVE
    assert [llm.name for llm in answer.llms] == ["x@a"]


async def test_a_name_of_a_public_llm_is_in_use(rig: Rig) -> None:
    rig.sql(
        "INSERT INTO llms (name, kind, model, type, engine, slots, status, extra, created_at, updated_at)"
        " VALUES ('gpt', 'public', 'gpt', 'chat', 'https://engine.example', 4, 'inactive', '{}', 1, 1)"
    )
    with pytest.raises(NameInUse, match="gpt"):
        await Worker(rig).register(llms=[offer("gpt")])
    llm = await kept_llm(rig.reader, "gpt")
    assert llm is not None
    assert (llm.kind, llm.session_id) == (Kind.PUBLIC, None)
