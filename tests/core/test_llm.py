"""Claims about the llm that callers name."""

import msgspec
import pytest

from inferpool.core.ids import SessionId
from inferpool.core.llm import Kind, Llm, LlmStatus

LLM = Llm(
    name="qwen@box",
    session_id=SessionId("s"),
    kind=Kind.VIRTUAL,
    model="qwen",
    type="chat",
    tier=None,
    pool_name="qwen",
    engine="http://localhost:8000",
    slots=4,
    status=LlmStatus.ACTIVE,
    endpoints=["chat/completions"],
    extra={},
    created_at=1,
    updated_at=1,
)


def test_the_effective_pool_is_the_pool_name() -> None:
    assert LLM.pool == "qwen"


@pytest.mark.parametrize("pool_name", [None, ""])
def test_an_llm_without_a_pool_name_is_its_own_pool(pool_name: str | None) -> None:
    assert msgspec.structs.replace(LLM, pool_name=pool_name).pool == "qwen@box"


def test_an_llm_serves_the_endpoints_that_it_lists() -> None:
    assert LLM.serves("chat/completions")
    assert not LLM.serves("embeddings")


def test_an_llm_without_a_list_serves_any_endpoint() -> None:
    assert msgspec.structs.replace(LLM, endpoints=None).serves("rerank")
