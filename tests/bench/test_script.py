"""What the scripted engine says must be what the load expects."""

import pytest

from bench.connection import Reply
from bench.load import WrongAnswer, check
from bench.script import DONE, Wish, answer_body, frame, payloads, read_wish, request_body, stream_body


@pytest.mark.parametrize("wish", [Wish(7), Wish(12345678, 500, 20)])
def test_a_request_carries_its_wish(wish: Wish) -> None:
    assert read_wish(request_body(wish)) == wish


def test_a_body_of_someone_else_carries_none() -> None:
    assert read_wish(b'{"model":"scripted"}') is None


def test_bodies_have_about_the_size_that_was_asked_for() -> None:
    assert abs(len(request_body(Wish(1), 1024)) - 1024) < 32
    assert abs(len(answer_body(1, 1024)) - 1024) < 32


def test_a_stream_is_its_payloads_as_frames_then_the_end_mark() -> None:
    wish = Wish(3, chunks=2)
    assert len(payloads(wish)) == 3
    assert stream_body(wish) == b"".join(map(frame, payloads(wish))) + frame(DONE)


def reply(status: int, body: bytes) -> Reply:
    return Reply(status, body, 0.0, 0.0)


@pytest.mark.parametrize("wish", [Wish(4), Wish(5, chunks=3)])
def test_the_answer_of_another_call_is_noticed(wish: Wish) -> None:
    other = Wish(wish.call + 1, wish.chunks)
    right = stream_body(wish) if wish.chunks else answer_body(wish.call)
    wrong = stream_body(other) if wish.chunks else answer_body(other.call)
    check(wish, reply(200, right))
    for status, body in ((200, wrong), (200, right[:-1]), (500, right)):
        with pytest.raises(WrongAnswer):
            check(wish, reply(status, body))
