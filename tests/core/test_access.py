"""Claims about who may do what."""

import pytest

from inferpool.core.access import (
    LOCAL_CALLER,
    MUTATIONS,
    NO_LIMITS,
    NOBODY,
    Action,
    Caller,
    Judgement,
    Limits,
    Resource,
    Right,
    Role,
    Token,
    judge,
)
from inferpool.core.ids import TokenId

ADMIN, PUBLISHER, CALLER = (Caller("ann", role) for role in Role)


def rights_of(caller: Caller, owner: str | None) -> set[str]:
    every = [Right(resource, action) for resource in Resource for action in Action]
    return {f"{one.resource}:{one.action}" for one in every if judge(caller, one, owner) is Judgement.MAY}


def every(*resources: str) -> set[str]:
    return {f"{resource}:{action}" for resource in resources for action in Action}


@pytest.mark.parametrize("owner", [None, "ann", "bob"])
def test_an_admin_may_do_everything_to_whatever_belongs_to_anybody(owner: str | None) -> None:
    assert rights_of(ADMIN, owner) == every(*Resource)
    assert rights_of(LOCAL_CALLER, owner) == every(*Resource)


@pytest.mark.parametrize("owner", [None, "", "ann"])
def test_who_is_not_known_may_do_nothing(owner: str | None) -> None:
    assert rights_of(NOBODY, owner) == set()


@pytest.mark.parametrize("owner", [None, "ann"])
def test_a_caller_has_tasks_threads_files_batches_of_its_own(owner: str | None) -> None:
    assert rights_of(CALLER, owner) == every("tasks", "threads", "files", "batches") | {"llms:read", "agents:read"}


@pytest.mark.parametrize("owner", [None, "ann"])
def test_a_publisher_has_sessions_of_its_own_nothing_else(owner: str | None) -> None:
    assert rights_of(PUBLISHER, owner) == every("sessions") | {"llms:read"}


def test_of_what_belongs_to_another_they_see_llms_with_agents_alone() -> None:
    assert rights_of(CALLER, "bob") == {"llms:read", "agents:read"}
    assert rights_of(PUBLISHER, "bob") == {"llms:read"}


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("caller", [CALLER, PUBLISHER])
def test_what_one_may_not_see_is_not_there(caller: Caller, action: Action) -> None:
    assert judge(caller, Right(Resource.TASKS, action), "bob") is Judgement.UNSEEN
    assert judge(caller, Right(Resource.TOKENS, action), "ann") is Judgement.UNSEEN


def test_what_one_may_see_but_not_do_is_forbidden() -> None:
    assert judge(CALLER, Right(Resource.LLMS, Action.DELETE), "bob") is Judgement.FORBIDDEN


@pytest.mark.parametrize("right", [Right(Resource.TOKENS, Action.READ), Right(Resource.SESSIONS, Action.PUBLISH)])
def test_what_is_no_single_thing_is_forbidden(right: Right) -> None:
    assert judge(CALLER, right) is Judgement.FORBIDDEN


def test_reading_leaves_no_line_in_the_audit() -> None:
    assert {Action.READ, Action.SPEAK}.isdisjoint(MUTATIONS)
    assert {Action.CREATE, Action.CANCEL, Action.REPLAY, Action.DELETE, Action.PUBLISH} <= MUTATIONS


LIMITS = Limits(frozenset({"tiny@desk", "solo"}), frozenset({"qwen"}))


def test_without_limits_everything_is_within() -> None:
    assert not NO_LIMITS
    assert NO_LIMITS.sees("x", "y")
    assert NO_LIMITS.covers("tier:fast", None)
    assert NO_LIMITS.lets_publish("x", "y", "fast")


@pytest.mark.parametrize(
    ("name", "pool", "seen"),
    [("tiny@desk", "tiny", True), ("a@b", "qwen", True), ("tiny@lap", "tiny", False), ("qwen", "other", False)],
)
def test_an_llm_is_within_by_its_name_or_by_its_pool(name: str, pool: str, seen: bool) -> None:
    assert LIMITS.sees(name, pool) is seen


@pytest.mark.parametrize(
    ("lane", "pool", "covered"),
    [
        ("pool:qwen", "qwen", True),
        ("pool:tiny", "tiny", False),
        ("llm:tiny@desk", "tiny", True),
        ("llm:a@b", "qwen", True),
        ("llm:a@b", "tiny", False),
        ("llm:qwen", "x", False),
        ("tier:qwen", None, False),
    ],
)
def test_a_lane_is_within_when_nobody_else_takes_from_it(lane: str, pool: str | None, covered: bool) -> None:
    assert LIMITS.covers(lane, pool) is covered


@pytest.mark.parametrize(
    ("name", "pool", "tier", "may"),
    [
        ("any@box", "qwen", None, True),
        ("any@box", "qwen", "fast", False),
        ("solo", "solo", None, True),
        ("tiny@desk", "tiny", None, True),
        ("tiny@desk", "tiny@desk", None, True),
        ("tiny@desk", "secret", None, False),
        ("solo", "s", None, False),
        ("other", "other", None, False),
    ],
)
def test_an_llm_is_published_only_where_all_it_takes_from_is_within(
    name: str, pool: str, tier: str | None, may: bool
) -> None:
    assert LIMITS.lets_publish(name, pool, tier) is may


def test_a_token_stands_for_its_subject() -> None:
    token = Token(
        id=TokenId("t"),
        subject="ann",
        role=Role.CALLER,
        llms=["a"],
        pools=[],
        created_at=1,
        expires_at=None,
        revoked_at=None,
        last_used=None,
    )
    assert token.caller == Caller("ann", Role.CALLER, Limits(frozenset({"a"})), TokenId("t"))
