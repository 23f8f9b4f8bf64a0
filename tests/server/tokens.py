"""A server with tokens: two subjects, each in every role, each with a task that its own worker holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from inferpool.core.access import NO_LIMITS, Limits, Role
from inferpool.dispatch.access import MadeToken, Wish
from inferpool.server.options import ServerOptions
from tests.server.rig import HOST, JSON, Answer, Rig, chat_body, running
from tests.server.scripted_worker import ScriptedWorker

SUBJECTS = ("own", "other")
LLMS = {"own": "m", "other": "n"}


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def token(rig: Rig, role: Role, subject: str = "own", limits: Limits = NO_LIMITS) -> MadeToken:
    return await rig.dispatch.access.create(Wish(subject=subject, role=role, limits=limits))


class Town:
    """The server with its people."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.tokens: dict[tuple[Role, str], MadeToken] = {}
        self.workers: dict[str, ScriptedWorker] = {}
        self.tasks: dict[str, str] = {}

    async def settle(self) -> None:
        """Make the tokens, the workers, the tasks."""
        for subject in SUBJECTS:
            for role in Role:
                self.tokens[role, subject] = await token(self.rig, role, subject)
            await self._work(subject)

    async def _work(self, subject: str) -> None:
        worker = self.workers[subject] = ScriptedWorker(self.rig)
        worker.token = self.headers(Role.PUBLISHER, subject)
        assert (await worker.register((LLMS[subject],))).status == 200
        self.tasks[subject] = await self.task(subject)

    async def task(self, subject: str) -> str:
        """A task of that subject, for its worker."""
        made = await self.post(Role.CALLER, subject, "/api/v1/inference-tasks", {"request": chat_body(LLMS[subject])})
        assert made.status == 202, made.body
        return str(made.json["id"])

    def headers(self, role: Role, subject: str = "own") -> dict[str, str]:
        return bearer(self.tokens[role, subject].text)

    async def get(self, role: Role, subject: str, path: str) -> Answer:
        return await self.rig.call("GET", path, {**HOST, **self.headers(role, subject)})

    async def post(self, role: Role, subject: str, path: str, body: object) -> Answer:
        return await self.rig.post(path, body, **self.headers(role, subject))

    async def delete(self, role: Role, subject: str, path: str) -> Answer:
        return await self.rig.call("DELETE", path, {**JSON, **self.headers(role, subject)})


@asynccontextmanager
async def settled(folder: Path, options: ServerOptions | None = None) -> AsyncIterator[Town]:
    """A town on a store in that folder."""
    async with running(folder, options) as rig:
        town = Town(rig)
        await town.settle()
        yield town
