"""Journeys with tokens, over this machine's own address: commands, server, workers, official clients as real processes."""

import asyncio
import signal
from collections.abc import AsyncIterator

import anthropic
import openai
import pytest

from tests.engines.directives import answer_to
from tests.journeys import anthropic_calls, openai_calls
from tests.journeys.clients import note_failure
from tests.journeys.fleet import POOL
from tests.journeys.gated import GatedSite, opened_gated_site, own_address
from tests.journeys.node_calls import run_node

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

BAD = ["wrong", "expired", "revoked"]


@pytest.fixture(scope="module")
async def site(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatedSite]:
    """One gated site for all; at the end nothing that it wrote holds a token, nothing that it printed a prompt."""
    async with opened_gated_site(tmp_path_factory.mktemp("gated")) as opened:
        await opened.open_with_tokens()
        yield opened
        await opened.conclude()
        assert opened.leaks() == []


async def bad_token(site: GatedSite, how: str) -> str:
    """A token that lets nobody in."""
    if how == "wrong":
        return "ip_" + "0" * 43
    return await (site.expired() if how == "expired" else site.revoked())


async def test_another_address_than_loopback_needs_a_token_which_the_refusal_says_how_to_make(site: GatedSite) -> None:
    flags = ("--host", own_address(), "--port", "0", "--database-url", "of-nobody.db")
    told = await site.typed("serve", *flags)
    assert (told.code, told.output) == (2, "")
    assert "inferpool token create --role admin" in told.errors
    assert told.errors.count("\n") == 1


async def test_openais_client_with_its_token_is_answered_whole_and_streamed(site: GatedSite) -> None:
    async with openai_calls.async_client(site) as client:
        assert POOL in [model.id async for model in client.models.list()]
        answer = await openai_calls.call(site, client, "say 3 words as token")
        streamed = await openai_calls.stream_text(site, client, "say 3 words every 1 ms as token")
    assert openai_calls.text_in(answer) == streamed == answer_to("say 3 words as token")
    [(owner,)] = site.rows("SELECT DISTINCT owner FROM tasks WHERE instr(request, 'as token')")
    assert owner == "app"


async def test_anthropics_client_with_its_token_is_answered_whole_and_streamed(site: GatedSite) -> None:
    async with anthropic_calls.async_client(site) as client:
        message = await anthropic_calls.call(site, client, "say 3 words as xkey")
        streamed = await anthropic_calls.stream_text(site, client, "say 3 words every 1 ms as xkey")
    assert anthropic_calls.text_in(message) == streamed == answer_to("say 3 words as xkey")
    calls = [one for one in await site.engine_calls() if "as xkey" in str(one["directive"])]
    assert [one for one in calls if {"x-api-key", "authorization"} & set(names_in(one))] == []


def names_in(call: dict[str, object]) -> list[str]:
    """The headers that the engine got."""
    names = call["headers"]
    assert isinstance(names, list)
    return names


async def test_nodes_client_with_its_token_is_answered(site: GatedSite) -> None:
    vectors, requests = await run_node(site, "vectors.mjs", list[list[list[float]]])
    assert vectors[0] == vectors[1]
    assert [one.status for one in requests] == [200, 200]


@pytest.mark.parametrize("how", BAD)
async def test_a_bad_token_is_each_clients_own_401(site: GatedSite, how: str) -> None:
    token = await bad_token(site, how)
    async with openai.AsyncOpenAI(base_url=site.server_url + "/v1", api_key=token) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.chat.completions.create(model=POOL, messages=openai_calls.says("say 1 words"))
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model=POOL, messages=openai_calls.says("say 1 words"), stream=True)
    assert (refused.value.code, refused.value.type) == ("unauthenticated", "authentication_error")
    assert refused.value.response.headers["www-authenticate"] == "Bearer"
    assert "inferpool-task-id" not in refused.value.response.headers
    assert token not in refused.value.response.text

    async with anthropic.AsyncAnthropic(base_url=site.server_url, api_key=token) as other:
        with pytest.raises(anthropic.AuthenticationError) as turned_away:
            await other.messages.create(model=POOL, max_tokens=9, messages=anthropic_calls.says("say 1 words"))
    assert turned_away.value.type == "authentication_error"
    assert turned_away.value.response.json()["type"] == "error"
    assert turned_away.value.request_id
    assert token not in turned_away.value.response.text


async def test_a_workers_token_asks_no_model_in_each_clients_words(site: GatedSite) -> None:
    token = (await site.made("publisher", "elsewhere")).token
    async with openai.AsyncOpenAI(base_url=site.server_url + "/v1", api_key=token) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await client.chat.completions.create(model=POOL, messages=openai_calls.says("say 1 words"))
    assert (refused.value.code, refused.value.type) == ("forbidden", "permission_error")
    async with anthropic.AsyncAnthropic(base_url=site.server_url, api_key=token) as other:
        with pytest.raises(anthropic.PermissionDeniedError) as turned_away:
            await other.messages.create(model=POOL, max_tokens=9, messages=anthropic_calls.says("say 1 words"))
    assert turned_away.value.type == "permission_error"


async def test_another_subjects_task_is_not_there_but_for_an_admin(site: GatedSite) -> None:
    other = (await site.made("caller", "somebody")).token
    async with openai_calls.async_client(site) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model=POOL, messages=openai_calls.says("status 400 as mine"))
    task_id = note_failure(site.ledger, caught.value)
    path = f"/api/v1/inference-tasks/{task_id}"
    seen = [(await site.ask("GET", path, Authorization=f"Bearer {token}"))[0] for token in (other, site.admin)]
    assert seen == [404, 200]


async def test_a_worker_whose_token_is_revoked_is_cut_off_a_sibling_takes_its_task(site: GatedSite) -> None:
    guest = await site.made("publisher", "guest")
    worker = await site.start_worker("guest", token=guest.token, pool="guests", flush_s="0.2")
    task_id = await site.enqueue("say 3 words as guest gate guest", model="guests")
    await site.engine_waits("waiting")
    await site.revoke(guest)
    await worker.says("this token is unknown, was revoked or has expired")
    assert site.standing(task_id) in {("running", 1, 0), ("claimed", 1, 0)}, "the grace is its session's"

    await site.start_worker("host", token=(await site.made("publisher", "office")).token, pool="guests")
    await site.engine_waits("waiting", 2)
    await site.open_gate("guest")
    row = await site.ended(task_id)
    assert (row["status"], row["attempt"], row["tries"]) == ("completed", 2, 1)
    holders = [str(one["llm_name"]) for one in await site.attempts(task_id)]
    assert holders == [f"{POOL}@guest", f"{POOL}@host"]

    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert len([line for line in worker.lines if "not registered yet" in line]) == 1, "it tries again without a word"
    await site.start_worker("guest", token=(await site.made("publisher", "guest")).token, pool="guests")
    assert site.rows("SELECT count(*) FROM sessions WHERE worker_name = 'guest' AND active") == [(1,)]


async def test_a_caller_whose_token_is_revoked_while_it_reads_is_refused_the_next_time(site: GatedSite) -> None:
    made = await site.made("caller", "app")
    async with openai.AsyncOpenAI(base_url=site.server_url + "/v1", api_key=made.token) as client:
        task_id, stream = await openai_calls.open_stream(site, client, "say 4 words as reader gate reader after 2")
        seen = [await anext(stream)]
        await site.revoke(made)
        await site.open_gate("reader")
        seen += [chunk async for chunk in stream]
        assert openai_calls.text_of(seen) == answer_to("say 4 words as reader")
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    assert (await site.ended(task_id))["status"] == "completed"


async def test_commands_show_their_token_and_say_what_to_do_without(site: GatedSite) -> None:
    made = await site.made("caller", "app")
    without, shown, revoking = await asyncio.gather(
        site.typed("get", "llms"),
        site.typed("get", "llms", "-o", "name", token=site.token),
        site.typed("token", "revoke", made.id, token=site.admin),
    )
    assert (without.code, "INFERPOOL_TOKEN" in without.errors, without.errors.count("\n")) == (1, True, 1)
    assert f"{POOL}@box" in shown.output.split()
    assert (revoking.code, revoking.output) == (0, f"token {made.id} of app revoked\n")
    assert (await site.ask("GET", "/v1/models", Authorization=f"Bearer {made.token}"))[0] == 401
