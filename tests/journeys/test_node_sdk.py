"""The official `openai` SDK for Node against real processes: server, worker, scripted engine.

Each test runs one script of `node/`. The client keeps its own retries (two), so that whatever it would run again needlessly
stands as a row that the ledger does not know.
"""

import asyncio

import msgspec
import openai
import pytest

from tests.engines.directives import answer_to
from tests.journeys.clients import calls_of, lost_calls, stopped_in_time
from tests.journeys.fleet import CALLERS, POOL
from tests.journeys.node_calls import Refusal, Sent, run_node
from tests.journeys.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


@pytest.fixture(scope="module")
def site(clients_site: Site) -> Site:
    """The site of the clients."""
    return clients_site


class Usage(msgspec.Struct, frozen=True):
    """What an answer cost."""

    completion_tokens: int


class Whole(msgspec.Struct, frozen=True):
    """An answer in one piece."""

    text: str
    usage: Usage
    request_id: str


class Answers(msgspec.Struct, frozen=True):
    """What `answers.mjs` read."""

    whole: Whole
    streamed: str
    usage: Usage
    together: list[str]
    models: list[str]
    one: str


async def test_whole_streamed_many_at_once_the_client_reads_what_the_engine_says(site: Site) -> None:
    answers, requests = await run_node(site, "answers.mjs", Answers)
    assert (answers.whole.text, answers.whole.usage.completion_tokens) == (answer_to("say 6 words as node"), 6)
    assert answers.whole.request_id
    assert (answers.streamed, answers.usage.completion_tokens) == (answer_to("say 7 words as node"), 7)
    assert answers.together == [answer_to(f"say 3 words as node-{number}") for number in range(CALLERS)]
    assert (answers.models, answers.one) == ([POOL, f"{POOL}@box"], f"{POOL}@box")
    assert {one.status for one in requests} == {200}


async def test_vectors_are_the_engines_own_however_they_are_asked_for(site: Site) -> None:
    vectors, requests = await run_node(site, "vectors.mjs", list[list[list[float]]])
    async with openai.AsyncOpenAI(base_url=site.engine_url + "/v1", api_key="-") as direct:
        wanted = await direct.embeddings.create(model=POOL, input=["red", "green"])
    assert vectors == [[one.embedding for one in wanted.data]] * 2
    assert ["base64" in (one.body or "") for one in requests] == [True, False]


class Refusals(msgspec.Struct, frozen=True):
    """What `refusals.mjs` met; `seen` is the text before the stream broke."""

    unknown: Refusal
    whole: Refusal
    streamed: Refusal
    failing: Refusal
    impatient: Refusal
    broken: Refusal
    seen: str


async def test_each_refusal_is_the_clients_own_error_with_its_code_sent_once(site: Site) -> None:
    refusals, requests = await run_node(site, "refusals.mjs", Refusals)
    assert key_of(refusals.unknown) == ("NotFoundError", 404, "model_not_found")
    assert POOL in refusals.unknown.message
    assert refusals.unknown.request_id
    assert [key_of(one) for one in (refusals.whole, refusals.streamed)] == [("BadRequestError", 400, 400)] * 2
    assert "as the script says" in refusals.whole.message
    assert key_of(refusals.failing) == ("InternalServerError", 503, 503)
    assert key_of(refusals.impatient) == ("InternalServerError", 504, "wait_timeout")
    assert (refusals.broken.kind, refusals.broken.code) == ("APIError", "worker_lost")
    assert refusals.seen == "node-0 node-1 node-2"
    assert [one.status for one in requests] == [404, 400, 400, 503, 504, 200]
    whole, streamed, failing, *going_on = ids_of(requests)
    site.ledger.failing |= dict.fromkeys((whole, streamed, failing), "error")
    assert [(await site.ended(task_id))["status"] for task_id in going_on] == ["completed"] * 2


def key_of(refusal: Refusal) -> tuple[str, int | None, object]:
    """What a program chooses by."""
    return refusal.kind, refusal.status, refusal.code


def ids_of(requests: list[Sent]) -> list[str]:
    """The tasks of the requests that made one."""
    return [one.task_id for one in requests if one.task_id is not None]


class Leaving(msgspec.Struct, frozen=True):
    """What `leaving.mjs` saw: the chunks before it left, the error of the blocked call."""

    broke: int
    aborted: int
    blocked: str


async def test_callers_that_leave_cancel_their_tasks_whether_they_read_or_wait(site: Site) -> None:
    lost = await lost_calls(site)
    leaving, requests = await run_node(site, "leaving.mjs", Leaving)
    assert (leaving.broke, leaving.blocked) == (3, "APIUserAbortError")
    assert leaving.aborted < 500
    await stopped_in_time(site, lost + 3)
    rows = site.rows("SELECT id, request FROM tasks WHERE instr(request, 'as node-blocked')")
    for task_id, request in rows:  # its client left before it could read the id
        assert isinstance(request, bytes)
        site.ledger.accept(str(task_id), request)
    left = [*ids_of(requests), *[str(task_id) for task_id, _ in rows]]
    assert len(left) == 3
    site.ledger.failing |= dict.fromkeys(left, "cancelled")
    ends = await asyncio.gather(*[site.ended(task_id) for task_id in left])
    assert [row["status"] for row in ends] == ["cancelled"] * 3


class Keys(msgspec.Struct, frozen=True):
    """What `keys.mjs` got."""

    same: bool
    text: str
    other: Refusal


async def test_a_repeat_under_one_key_gets_the_same_answer_another_body_a_conflict(site: Site) -> None:
    keys, requests = await run_node(site, "keys.mjs", Keys)
    assert (keys.same, keys.text) == (True, answer_to("say 3 words as node-keyed"))
    assert key_of(keys.other) == ("ConflictError", 409, "conflict")
    assert [one.status for one in requests] == [200, 200, 409]
    assert await calls_of(site, "say 3 words as node-keyed") == 1
