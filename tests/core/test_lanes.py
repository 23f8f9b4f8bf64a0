"""What lanes are called, which class a call's service tier names."""

import pytest

from inferpool.core.lanes import (
    SHARES,
    LaneScope,
    PriorityClass,
    class_for_service_tier,
    llm_lane,
    parse_lane,
    pool_lane,
    tier_lane,
)


def test_a_lane_is_called_by_its_scope() -> None:
    assert (pool_lane("qwen"), llm_lane("qwen@box"), tier_lane("fast")) == ("pool:qwen", "llm:qwen@box", "tier:fast")


@pytest.mark.parametrize("name", ["qwen", "hf.co/x/y:Q4@box", "a:b:c", "ü %2F"])
def test_every_name_is_read_back_from_its_lane(name: str) -> None:
    assert parse_lane(pool_lane(name)) == (LaneScope.POOL, name)
    assert parse_lane(llm_lane(name)) == (LaneScope.LLM, name)
    assert parse_lane(tier_lane(name)) == (LaneScope.TIER, name)


@pytest.mark.parametrize("lane", ["", "qwen", "pool:", ":qwen", "topic:qwen"])
def test_what_no_lane_function_made_is_not_a_lane(lane: str) -> None:
    with pytest.raises(ValueError, match=r"lane|LaneScope"):
        parse_lane(lane)


@pytest.mark.parametrize(
    ("tier", "expected"),
    [
        (None, PriorityClass.DEFAULT),
        ("", PriorityClass.DEFAULT),
        ("auto", PriorityClass.DEFAULT),
        ("default", PriorityClass.DEFAULT),
        ("scale", PriorityClass.DEFAULT),
        ("made-up", PriorityClass.DEFAULT),
        ("priority", PriorityClass.PRIORITY),
        ("flex", PriorityClass.FLEX),
        ("batch", PriorityClass.BATCH),
    ],
)
def test_a_service_tier_names_a_class(tier: str | None, expected: PriorityClass) -> None:
    assert class_for_service_tier(tier) is expected


def test_every_class_has_its_share() -> None:
    assert {name.value: SHARES[name] for name in PriorityClass} == {
        "priority": 16,
        "default": 4,
        "flex": 1,
        "batch": 0.04,
    }
