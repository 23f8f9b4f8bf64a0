"""Claims about servers that are restarted one after the other behind haproxy, which asks them whether they are ready."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.deploy.fronted import opened_fronted_site
from tests.engines.directives import answer_to
from tests.journeys import openai_calls

pytestmark = [pytest.mark.anyio, pytest.mark.journey]


async def test_a_server_that_is_told_to_end_ends_its_streams_first_while_new_calls_go_to_the_other(
    tmp_path: Path,
) -> None:
    prompts = [f"say 4 words as last-{place} gate last after 2" for place in range(4)]
    async with opened_fronted_site(tmp_path) as site:
        haproxy = site.proxies["haproxy", 2]
        site.server_url = haproxy.url
        async with openai_calls.async_client(site) as client:
            streams = [(await openai_calls.open_stream(site, client, prompt))[1] for prompt in prompts]
            seen = [[await anext(stream)] for stream in streams]
            site.servers[0].signal(signal.SIGTERM)
            for backend in ("calls", "sessions"):
                await haproxy.process.says(f"Server {backend}/one is DOWN")
            later = asyncio.create_task(site.call("say 3 words as later"))
            await site.open_gate("last")
            for chunks, stream in zip(seen, streams, strict=True):
                chunks += [chunk async for chunk in stream]
            status, body = await later
        assert [openai_calls.text_of(chunks) for chunks in seen] == [answer_to(prompt) for prompt in prompts]
        assert (status, answer_to("say 3 words as later").encode() in body) == (200, True)
        assert await site.servers[0].ended() == 0
