"""Claims about a caller that follows its own task."""

from collections.abc import MutableMapping

import pytest

from inferpool.core.ids import TaskId
from inferpool.core.lifecycle import Status
from inferpool.dispatch.calls import Ticket
from inferpool.server.following import Following
from inferpool.server.options import ServerOptions
from inferpool.server.request import Request
from inferpool.server.site import Site
from tests.server.rig import Rig
from tests.server.test_gate import Conversation

pytestmark = pytest.mark.anyio


async def test_a_ticket_without_a_watcher_cannot_be_followed(rig: Rig) -> None:
    said = Conversation()
    scope: MutableMapping[str, object] = {"method": "POST", "path": "/", "query_string": b"", "headers": []}
    request = Request(scope, said.receive, said.send, "r")
    with pytest.raises(RuntimeError, match="without its watcher"):
        Following(Site(rig.dispatch, ServerOptions()), request, Ticket(TaskId("t"), Status.PENDING, True, None))
