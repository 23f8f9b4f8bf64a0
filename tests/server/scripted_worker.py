"""A worker that does what the test says, over the session routes."""

import msgspec

from inferpool.wire.sessions import Frame, Infer, decode_frame
from tests.server.rig import HOST, JSON, Answer, Exchange, Rig, new_id

SECRET = "a secret of this worker alone"


class ScriptedWorker:
    """One session with its channel."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.session_id = new_id()
        self.epoch = 0
        self.token: dict[str, str] = {}
        """The header of its token, if it has one."""
        self._channel: Exchange | None = None
        self._frames: list[Frame] = []

    @property
    def path(self) -> str:
        return f"/api/v1/sessions/{self.session_id}"

    @property
    def headers(self) -> dict[str, str]:
        return {**self.token, "inferpool-session-secret": SECRET, "inferpool-session-epoch": str(self.epoch)}

    async def register(
        self,
        names: tuple[str, ...] = ("m",),
        slots: int = 4,
        holding: tuple[object, ...] = (),
        fields: dict[str, object] | None = None,
    ) -> Answer:
        """Register under the next epoch; the fields are those of every llm."""
        self.epoch += 1
        llms = [{"name": name, "model": name, "engine": "e", "slots": slots, **(fields or {})} for name in names]
        body = {
            "protocol": 1,
            "session_id": self.session_id,
            "epoch": self.epoch,
            "worker": {"name": "box", "version": "0.1", "labels": {}},
            "llms": llms,
            "holding": holding,
        }
        headers = {**JSON, **self.token, "inferpool-session-secret": SECRET}
        return await self._rig.call("POST", "/api/v1/sessions", headers, msgspec.json.encode(body))

    async def bind(self) -> Exchange:
        """Open the channel."""
        self._channel = self._rig.open("GET", self.path + "/channel", {**HOST, **self.headers})
        status, headers = await self._channel.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        return self._channel

    async def frame(self) -> Frame:
        """The next frame that is no ping."""
        while not self._frames:
            assert self._channel is not None
            part = await self._channel.part()
            assert part, "the channel ended"
            for event in part.decode().removesuffix("\n\n").split("\n\n"):
                name, data = event.split("\n")
                frame = decode_frame(name.removeprefix("event: "), data.removeprefix("data: "))
                if frame is not None and name != "event: ping":
                    self._frames.append(frame)
        return self._frames.pop(0)

    async def infer(self) -> Infer:
        """The next task."""
        frame = await self.frame()
        assert isinstance(frame, Infer), frame
        return frame

    async def say(self, *events: dict[str, object]) -> Answer:
        """One batch of events."""
        return await self._rig.call(
            "POST", self.path + "/events", {**JSON, **self.headers}, msgspec.json.encode({"events": events})
        )

    async def answer(self, infer: Infer, status: int = 200, body: str = '{"choices":[]}', last_seq: int = 0) -> Answer:
        """The engine's answer."""
        return await self.say(result(infer, status, body, last_seq))

    async def begin(self, infer: Infer, *payloads: str, status: int = 200) -> Answer:
        """The engine begins to stream."""
        return await self.say(started(infer, status), *chunks(infer, *payloads))

    async def lose_channel(self) -> None:
        """The connection breaks."""
        assert self._channel is not None
        self._channel.leave()
        await self._channel.over()


def started(infer: Infer, status: int = 200, content_type: str = "text/event-stream") -> dict[str, object]:
    return {"type": "started", **of(infer), "status": status, "content_type": content_type}


def chunks(infer: Infer, *payloads: str, first: int = 1) -> list[dict[str, object]]:
    return [
        {"type": "chunk", **of(infer), "seq": first + place, "data": payload} for place, payload in enumerate(payloads)
    ]


def result(infer: Infer, status: int = 200, body: str = '{"choices":[]}', last_seq: int = 0) -> dict[str, object]:
    return {
        "type": "result",
        **of(infer),
        "last_seq": last_seq,
        "status": status,
        "content_type": "application/json",
        "body": body,
    }


def failure(infer: Infer, code: str, message: str) -> dict[str, object]:
    return {"type": "failure", **of(infer), "code": code, "message": message}


def of(infer: Infer) -> dict[str, object]:
    return {"task_id": infer.task_id, "attempt": infer.attempt}


async def bound_worker(rig: Rig, *names: str, slots: int = 4, **fields: object) -> ScriptedWorker:
    """A worker that is registered, its channel open."""
    worker = ScriptedWorker(rig)
    answer = await worker.register(names or ("m",), slots, fields=fields)
    assert answer.status == 200, answer.body
    await worker.bind()
    return worker
