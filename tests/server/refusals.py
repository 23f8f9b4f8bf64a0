"""What the tests of bad input look at: a clear refusal, no row behind it."""

from tests.server.rig import Answer, Rig


async def refused(rig: Rig, answer: Answer, status: int, code: str) -> str:
    """The message of a refusal after which there is no row."""
    assert (answer.status, answer.error["code"]) == (status, code), answer.body
    assert await rig.rows() == 0
    assert rig.dispatch.backlog.counts.tasks == 0
    message = answer.error["message"]
    assert isinstance(message, str)
    assert len(message) > 10
    return message
