"""The main job on real input: the official SDK asks a real model, whole or streamed, through all our processes."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from tests.journeys.fleet import ROOT
from tests.journeys.ledger import read_rows, text_of, text_of_chunks
from tests.journeys.site import Site, opened_site

pytestmark = [pytest.mark.anyio, pytest.mark.journey, pytest.mark.engine]

MODEL: Final = "smollm2-135m"
VARIABLE: Final = "INFERPOOL_TEST_ENGINE_PYTHON"
QUESTION: Final[list[ChatCompletionUserMessageParam]] = [{"role": "user", "content": "Name three fruits."}]
TOKENS: Final = 24


def interpreter() -> Path:
    """The interpreter that has the engine's packages; without it the test fails, it is never left out."""
    path = Path(os.environ.get(VARIABLE) or ROOT / ".engine" / "bin" / "python")
    assert path.is_file(), (
        f"no real engine: `make .engine/installed` builds {path}, or set {VARIABLE} to its interpreter"
    )
    return path


@pytest.fixture(scope="module")
async def site(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Server and worker beside the real engine."""
    async with opened_site(tmp_path_factory.mktemp("real")) as opened:
        await opened.start_real_engine(interpreter())
        await opened.start_server()
        await opened.start_worker()
        yield opened
        await opened.check_laws()


async def test_a_real_model_answers_the_official_client_whole_or_streamed_the_rows_keep_it(site: Site) -> None:
    async with openai.AsyncOpenAI(base_url=site.server_url + "/v1", api_key="unused") as client:
        assert [model.id async for model in client.models.list()] == [MODEL, f"{MODEL}@box"]
        raw = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=QUESTION, max_tokens=TOKENS, temperature=0, seed=1
        )
        stream = await client.chat.completions.create(
            model=MODEL, messages=QUESTION, max_tokens=TOKENS, temperature=0, seed=1, stream=True
        )
        chunks = [chunk async for chunk in stream]
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    answer = raw.parse()
    assert said == answer.choices[0].message.content != ""
    assert len(chunks) > 5
    assert answer.usage is not None

    rows = read_rows(site.database)
    whole = rows[str(raw.headers["inferpool-task-id"])]
    streamed = rows[str(stream.response.headers["inferpool-task-id"])]
    assert (whole.status, whole.request, whole.response) == (
        "completed",
        raw.http_request.content,
        raw.http_response.content,
    )
    assert (streamed.status, streamed.request) == ("completed", stream.response.request.content)
    assert streamed.response is not None
    assert streamed.chunks is not None
    assert text_of(streamed.response) == text_of_chunks(streamed.chunks) == said
    row = await site.ended(str(stream.response.headers["inferpool-task-id"]))
    assert row["usage"] == {
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
    }
