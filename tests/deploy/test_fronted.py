"""Claims about callers with their workers who reach real servers through Debian's nginx or haproxy alone."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from yarl import URL

from inferpool.settings import ServeSettings
from tests.deploy.fronted import COMMENT_S, SLASHED, FrontedSite
from tests.deploy.manifests import services, table
from tests.deploy.proxies import Manner, Times, proxy_before
from tests.engines.directives import answer_to
from tests.journeys import openai_calls
from tests.journeys.fleet import POOL
from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import chat

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

IMPATIENT = Manner(times=Times(calls=f"{20 * COMMENT_S:.0f}s", sessions=f"{20 * COMMENT_S:.0f}s"))
"""Far longer than the time between two comments, or two pings."""


async def test_openais_client_is_answered_whole(site: FrontedSite) -> None:
    async with openai_calls.async_client(site) as client:
        answer = await openai_calls.call(site, client, "say 3 words as whole")
    assert openai_calls.text_in(answer) == answer_to("say 3 words as whole")


async def test_a_stream_arrives_piece_by_piece_while_the_engine_still_speaks(site: FrontedSite) -> None:
    gate = site.new_gate()
    prompt = f"say 4 words as piece gate {gate} after 2"
    async with openai_calls.async_client(site) as client:
        _, stream = await openai_calls.open_stream(site, client, prompt)
        seen = [await anext(stream)]
        while openai_calls.text_of(seen) != "piece-0 piece-1":
            seen.append(await anext(stream))
        await site.open_gate(gate)
        seen += [chunk async for chunk in stream]
    assert openai_calls.text_of(seen) == answer_to(prompt)


async def test_silence_longer_than_the_proxys_patience_ends_a_blocked_call_but_no_stream_no_channel(
    fronted_site: FrontedSite, kind: str, tmp_path: Path
) -> None:
    site, gate = fronted_site, fronted_site.new_gate()
    prompt = f"say 4 words as quiet gate {gate} after 2"
    async with proxy_before(kind, site.addresses, tmp_path, IMPATIENT) as impatient:
        site.server_url = impatient.url
        worker = await site.work_through(impatient, f"quiet-{kind}")
        async with openai_calls.async_client(site) as client:
            _, stream = await openai_calls.open_stream(site, client, prompt)
            seen = [await anext(stream)]
            status, said = await site.call(f"gate {site.new_gate()}")
            assert status == 504, said
            await site.open_gate(gate)
            seen += [chunk async for chunk in stream]
        assert openai_calls.text_of(seen) == answer_to(prompt)
        assert len([line for line in worker.lines if "linked to the server" in line]) == 1
        await worker.kill()


async def test_a_worker_whose_uplink_does_not_meet_its_channel_answers_all_the_same(
    fronted_site: FrontedSite, kind: str, tmp_path: Path
) -> None:
    site, name = fronted_site, f"scattered-{kind}"
    async with proxy_before(kind, site.addresses, tmp_path, Manner(scattered=True)) as scattering:
        site.server_url = scattering.url
        worker = await site.work_through(scattering, name)
        async with openai_calls.async_client(site) as client:
            for _ in range(4):
                stream = await client.chat.completions.create(
                    model=f"{POOL}@{name}", messages=openai_calls.says("say 9 words every 1 ms as far"), stream=True
                )
                seen = [chunk async for chunk in stream]
                assert openai_calls.text_of(seen) == answer_to("say 9 words as far")
        assert len([line for line in worker.lines if "linked to the server" in line]) == 1
        await worker.kill()


@pytest.mark.parametrize("path", ["/api/v1/llms/{}", "/v1/models/{}"])
async def test_a_name_with_slashes_is_found_however_it_is_written(site: FrontedSite, kind: str, path: str) -> None:
    name = f"{SLASHED}@{kind}"
    whole = quote(name, safe="")
    for written in (whole, whole.replace("%2F", "%2f"), quote(name, safe="/")):
        url = URL(site.server_url + path.format(written), encoded=True)
        async with site.http.get(url, headers=site.credentials()) as reply:
            found = await reply.json()
        assert (reply.status, found.get("name", found.get("id"))) == (200, name)


async def test_the_worker_that_came_through_the_proxy_answers_under_its_own_name(site: FrontedSite, kind: str) -> None:
    name = quote(f"{SLASHED}@{kind}", safe="")
    url = URL(f"{site.server_url}/api/v1/llms/{name}/infer", encoded=True)
    headers = {**site.credentials(), "Content-Type": "application/json"}
    async with site.http.post(url, data=chat("say 2 words as own", model=SLASHED), headers=headers) as reply:
        answer = await reply.json()
    assert (reply.status, answer["choices"][0]["message"]["content"]) == (200, answer_to("say 2 words as own"))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_caller_who_leaves_is_missed_at_the_engine(site: FrontedSite, stream: bool) -> None:
    waiting, cancelled = await site.seen("waiting"), await site.seen("cancelled")
    calling = asyncio.create_task(site.call(f"say 4 words gate {site.new_gate()} after 2", stream=stream))
    async with asyncio.timeout(PATIENCE_S):
        await site.engine_waits("waiting", waiting + 1)
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
        await site.engine_waits("cancelled", cancelled + 1)


async def test_a_body_within_the_servers_limit_passes(site: FrontedSite) -> None:
    text = "say 1 words as big" + " x" * 400_000
    status, body = await site.call(text)
    assert (status, answer_to(text).encode() in body) == (200, True)


async def test_a_body_over_the_servers_limit_is_refused_before_it_is_sent(site: FrontedSite) -> None:
    host, _, port = site.server_url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {site.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {ServeSettings().max_body_bytes + 1}\r\n\r\n"
    )
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_without_a_token_nobody_passes(site: FrontedSite) -> None:
    async with site.http.get(site.server_url + "/v1/models") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (401, "unauthenticated")


async def test_the_health_check_of_the_compose_file_asks_a_server(fronted_site: FrontedSite) -> None:
    check = table(table(services()["inferpool-1"])["healthcheck"])["test"]
    [kind, _, flag, code] = msgspec.convert(check, list[str])
    assert (kind, flag) == ("CMD", "-c")
    for address, status in ((fronted_site.addresses[0], 0), ("127.0.0.1:9", 1)):
        asking = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code.replace("127.0.0.1:8010", address), stderr=asyncio.subprocess.DEVNULL
        )
        assert await asking.wait() == status
