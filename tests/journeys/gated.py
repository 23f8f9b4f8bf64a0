"""A site whose server asks for tokens, on an address that other machines could reach."""

import asyncio
import ipaddress
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import Site


class Typed(NamedTuple):
    """How a command ended, with its two outputs."""

    code: int
    output: str
    errors: str


class Pass(NamedTuple):
    """A token with the id under which it is revoked."""

    id: str
    token: str


class GatedSite(Site):
    """The server listens on this machine's own address. `token` is that of the caller `app`."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession) -> None:
        super().__init__(folder, http)
        self.admin = ""
        self._expiring = Pass("", "")
        self.secrets: list[str] = []
        """Every token that was made."""
        self.outputs: list[str] = []
        """What commands said beside their results."""

    async def open_with_tokens(self) -> None:
        """On the server's machine the first token, the server; then all else by its address, as from another machine."""
        self.admin = (await self.typed_token("admin", "ann", "--database-url", str(self.database))).token
        await asyncio.gather(self.start_engine(), self.start_server(host=own_address(), log_level="debug"))
        publisher, caller, self._expiring = await asyncio.gather(
            self.typed_token("publisher", "office"),
            self.typed_token("caller", "app", "--expires", "1h"),
            self.made("caller", "app", expires_in_s=1),
        )
        self.token = caller.token
        await self.start_worker(token=publisher.token, log_level="debug")

    async def typed(self, *arguments: str, token: str = "") -> Typed:
        """A command of this machine's user."""
        environment = {name: value for name, value in os.environ.items() if name != "INFERPOOL_TOKEN"}
        environment |= {"INFERPOOL_SERVER": self.server_url} if self.server_url else {}
        environment |= {"INFERPOOL_TOKEN": token} if token else {}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inferpool", *arguments),
            cwd=self.folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self.outputs.append(errors.decode())
        return Typed(process.returncode or 0, output.decode(), errors.decode())

    async def typed_token(self, role: str, subject: str, *flags: str) -> Pass:
        """`inferpool token create`."""
        told = await self.typed("token", "create", "--role", role, "--subject", subject, *flags, token=self.admin)
        assert told.code == 0, told.errors
        return self._kept(Pass(told.errors.removeprefix("token ").partition(":")[0], told.output.strip()))

    async def made(self, role: str, subject: str, **limits: object) -> Pass:
        """A token that the admin makes over the API."""
        wish = {"role": role, "subject": subject, **limits}
        status, made = await self.ask("POST", "/api/v1/tokens", wish, Authorization=f"Bearer {self.admin}")
        assert status == 201, made
        return self._kept(Pass(str(made["id"]), str(made["token"])))

    def _kept(self, made: Pass) -> Pass:
        self.secrets.append(made.token)
        return made

    async def expired(self) -> str:
        """A token whose time is over."""
        async with asyncio.timeout(PATIENCE_S):
            while await self._lets_in(self._expiring):
                pass
        return self._expiring.token

    async def revoked(self) -> str:
        """A token that was good for a call before it was revoked."""
        made = await self.made("caller", "app")
        assert await self._lets_in(made)
        await self.revoke(made)
        return made.token

    async def _lets_in(self, made: Pass) -> bool:
        status, _ = await self.ask("GET", "/v1/models", Authorization=f"Bearer {made.token}")
        return status == 200

    async def revoke(self, made: Pass) -> None:
        """End a token over the API."""
        path = f"/api/v1/tokens/{made.id}"
        status, told = await self.ask("DELETE", path, Authorization=f"Bearer {self.admin}")
        assert status == 200, told

    def leaks(self) -> list[str]:
        """Where a token stands that should not, in a line that was printed or a file; lines that tell a prompt."""
        lines = [*[line for program in self.programs for line in program.lines], *self.outputs]
        printed = [line for line in lines if any(told in line for told in (*self.secrets, "say 3 words"))]
        files = [(str(path), path.read_bytes()) for path in self.folder.rglob("*") if path.is_file()]
        return printed + [name for name, held in files if any(secret.encode() in held for secret in self.secrets)]


def own_address() -> str:
    """An address under which other machines could reach this one; all of them where there is none."""
    found = [str(entry[4][0]) for entry in _addresses_of_name()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: nobody's address; nothing is sent, only a way is looked up
            found.append(probe.getsockname()[0])
        except OSError:
            pass  # no way leads out of here
    return next((one for one in found if not ipaddress.ip_address(one).is_loopback), "0.0.0.0")


def _addresses_of_name() -> list[tuple[object, object, object, object, tuple[object, ...]]]:
    try:
        return [*socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    except OSError:
        return []


@asynccontextmanager
async def opened_gated_site(folder: Path) -> AsyncIterator[GatedSite]:
    """A gated site without processes yet; whatever a journey starts is ended by its id."""
    async with aiohttp.ClientSession() as http:
        site = GatedSite(folder, http)
        try:
            yield site
        finally:
            await site.close()
