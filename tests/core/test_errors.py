"""Claims about the tree of errors, compared with its drawing."""

import re

import pytest

from inferpool.core import errors
from inferpool.core.errors import Code, InferpoolError
from inferpool.core.ids import TaskId

DRAWN = re.compile(r"^(?P<indent>[│├└─ ]+)(?P<name>[A-Z]\w+)\b")


def drawn() -> dict[str, str]:
    """Each error of the drawing with the one that it hangs from."""
    parents: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = DRAWN.match(line)
        if match is None:
            continue
        depth = len(match["indent"])
        above = [entry for entry in above if entry[0] < depth]
        if above:
            parents[match["name"]] = above[-1][1]
        above.append((depth, match["name"]))
    return parents


def below(error: type[InferpoolError]) -> list[type[InferpoolError]]:
    return [found for child in error.__subclasses__() for found in (child, *below(child))]


ALL = [error for error in below(InferpoolError) if error.__module__ == errors.__name__]


def test_the_tree_is_as_it_is_drawn() -> None:
    assert {error.__name__: error.__base__.__name__ for error in ALL if error.__base__} == drawn()


def test_codes_are_snake_case_words() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in Code)


def test_every_leaf_but_an_ended_task_has_a_code_of_its_own() -> None:
    leaves = [error for error in ALL if not below(error) and error is not errors.TaskFailed]
    codes = [error.code for error in leaves]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", [errors.InvalidRequest, errors.NameInUse, errors.ModelNotFound, errors.TooLarge])
def test_an_error_says_what_went_wrong_with_the_field_at_fault(error: type[InferpoolError]) -> None:
    raised = error("say it again", "model")
    assert (str(raised), raised.message, raised.param) == ("say it again", "say it again", "model")


def test_a_replaced_session_learns_the_stored_epoch() -> None:
    raised = errors.SessionReplaced("another process runs on this state", 7)
    assert (raised.code, raised.epoch, raised.param) == (Code.SESSION_REPLACED, 7, None)


def test_a_wrong_method_learns_the_right_ones() -> None:
    raised = errors.MethodNotAllowed("this path does not take PUT", ["GET", "DELETE"])
    assert (raised.code, raised.allowed) == (Code.METHOD_NOT_ALLOWED, ["GET", "DELETE"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RateLimited, Code.RATE_LIMITED),
        (errors.LlmUnavailable, Code.LLM_UNAVAILABLE),
        (errors.QueueFull, Code.QUEUE_FULL),
        (errors.ShuttingDown, Code.SHUTTING_DOWN),
        (errors.StoreUnavailable, Code.STORE_UNAVAILABLE),
    ],
)
def test_what_is_not_possible_now_says_when_to_ask_again(error: type[errors.Unavailable], code: Code) -> None:
    assert (error.code, error("later").retry_after_s, error("later", 30.0).retry_after_s) == (code, 1.0, 30.0)


def test_the_end_of_a_wait_names_the_task_that_goes_on() -> None:
    raised = errors.WaitTimeout("still queued", TaskId("t"))
    assert (raised.code, raised.task_id) == (Code.WAIT_TIMEOUT, "t")


def test_a_failed_task_has_the_code_of_its_row() -> None:
    raised = errors.TaskFailed(Code.WORKER_LOST, "lost", TaskId("t"))
    assert (raised.code, raised.message, raised.task_id) == (Code.WORKER_LOST, "lost", "t")
    assert InferpoolError.code is Code.INTERNAL
    assert errors.ProtocolBroken.code is Code.PROTOCOL_BROKEN


def test_what_is_hidden_reads_like_what_is_not_there_but_is_known_as_a_refusal() -> None:
    hidden, absent = errors.NotFound.unseen("there is no task 7"), errors.NotFound("there is no task 7")
    assert (hidden.code, hidden.message, hidden.param) == (absent.code, absent.message, absent.param)
    assert (hidden.denied, absent.denied) == (True, False)
    assert errors.Forbidden("no").denied
    assert errors.Unauthenticated("no").denied
