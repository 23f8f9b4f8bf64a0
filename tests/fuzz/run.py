"""Runs schemathesis against a site: real server, real worker, scripted engine."""

import asyncio
import math
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiohttp
import msgspec
import uuid_utils

from inferpool.wire.sessions import EPOCH_HEADER, SECRET_HEADER
from tests.journeys.fleet import POOL, ROOT
from tests.journeys.site import Site

SETTINGS: Final[Mapping[str, str]] = {"wait_limit_s": "1", "headers_wait_s": "0.5", "comment_s": "0.5"}
"""Of the server: nobody waits for long."""
CHECKS: Final = (
    "errors_bear_their_code",  # in the place of `not_a_server_error`
    "answers_bear_their_id",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ensure_resource_availability",
    "ignored_auth",
)
"""All that it has but `use_after_free`: a DELETE cancels here, begins a leave, revokes, what it was about stays."""
DOCUMENT: Final = "openapi.json"
REPORT: Final = "fuzz.json"
SESSIONS: Final = "/api/v1/sessions"
WORKER: Final = "box"
BEAT_S: Final = 0.5
OPENING: Final = "/api/v1/tokens"
"""The first token would close an open server."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    cases: int
    """At least so many, spread over the routes."""
    phases: str = "coverage,fuzzing,stateful"
    seed: int | None = None
    closed: bool = False
    """The server has tokens."""
    bearer: bool = False
    """The calls carry one."""
    role: str = "admin"
    """Whose."""


class Rates(msgspec.Struct, frozen=True):
    """What became of the calls that fit the document."""

    accepted: int = 0
    unreachable: int = 0
    conflicts: int = 0
    rejected: int = 0


class Counts(msgspec.Struct, frozen=True):
    """How many cases there were."""

    generated: int
    unique_failures: int
    without_checks: int
    errored: int


class Report(msgspec.Struct, frozen=True):
    """What schemathesis tells of a run (its `json` report, as far as it is read here)."""

    exit_code: int
    running_time: float
    seed: int | None
    test_cases: Counts
    valid_rates: dict[str, dict[str, Rates]]

    def accepted(self) -> set[str]:
        """The operations that succeeded at least once."""
        return {name for name, phases in self.valid_rates.items() if any(rates.accepted for rates in phases.values())}


class Ran(msgspec.Struct, frozen=True):
    """A run that is over: what it found, as schemathesis prints it."""

    report: Report
    printed: str


async def fuzz(site: Site, wish: Wish) -> Ran:
    """Start the site's processes, ask what the wish says, look whether the store is sound."""
    await asyncio.gather(site.start_engine(), site.start_server(**SETTINGS))
    worker = await site.start_worker(WORKER)
    status, document = await site.ask("GET", "/openapi.json")
    assert status == 200, document
    (site.folder / DOCUMENT).write_bytes(msgspec.json.encode(document))
    kept, admins, token = await _kept(site), "", ""
    if wish.closed:
        made, admins = await _token(site)
        asking, token = await _token(site, wish.role, admins)
        kept += [made, asking]
        await worker.kill()  # its next request would be a 401
        await site.start_worker(WORKER, token=admins)
    async with _ghost(site, admins) as ghost:
        ours = {"INFERPOOL_TEST_KEPT": ",".join([*kept, ghost["id"]]), "INFERPOOL_TEST_SESSION": _listed(ghost)}
        ran = await _run(site, _flags(site, wish, document, token), ours)
    await site.check_laws()
    return ran


async def _kept(site: Site) -> list[str]:
    status, told = await site.ask("GET", SESSIONS)
    assert status == 200, told
    sessions = told["data"]
    assert isinstance(sessions, list)
    return [str(session["id"]) for session in sessions]


async def _token(site: Site, role: str = "admin", by: str = "") -> tuple[str, str]:
    bearer = {"Authorization": f"Bearer {by}"} if by else {}
    status, made = await site.ask("POST", OPENING, {"role": role, "subject": "fuzz"}, **bearer)
    assert status == 201, made
    return str(made["id"]), str(made["token"])


def _flags(site: Site, wish: Wish, document: Mapping[str, object], token: str) -> list[str]:
    paths = document["paths"]
    assert isinstance(paths, dict)
    each = math.ceil(wish.cases / sum(len(methods) for methods in paths.values()))
    flags = [
        f"--url={site.server_url}",
        f"--checks={','.join(CHECKS)}",
        f"--phases={wish.phases}",
        f"--max-examples={each}",
    ]
    flags += ["--report=json", f"--report-json-path={REPORT}", "--continue-on-failure", "--generation-database=none"]
    flags += ["--no-color", "--request-timeout=20", "--warnings=off"]
    flags += [] if wish.closed else [f"--exclude-path={OPENING}"]
    flags += [] if wish.seed is None else [f"--seed={wish.seed}"]
    return [*flags, "--header", f"Authorization: Bearer {token}"] if wish.bearer else flags


@asynccontextmanager
async def _ghost(site: Site, token: str) -> AsyncIterator[Mapping[str, str]]:
    """A session without a worker that lives as long as the context: its id, the headers that speak for it."""
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    headers = {SECRET_HEADER: "a secret of this session alone", EPOCH_HEADER: "1"}
    body = {"epoch": 1, "session_id": str(uuid_utils.uuid7()), "worker": {"name": "ghost"}}
    async with site.http.post(site.server_url + SESSIONS, json=body, headers={**bearer, **headers}) as reply:
        assert reply.status == 200, await reply.text()
    url, over = f"{site.server_url}{SESSIONS}/{body['session_id']}", asyncio.Event()
    forever = aiohttp.ClientTimeout(total=None)
    async with site.http.get(f"{url}/channel", headers={**bearer, **headers}, timeout=forever) as channel:
        assert channel.status == 200, await channel.text()
        beating = asyncio.create_task(_beat(site, f"{url}/events", {**bearer, **headers}, over))
        try:
            yield {"id": str(body["session_id"]), **headers}
        finally:
            over.set()
            await beating


async def _beat(site: Site, url: str, headers: Mapping[str, str], over: asyncio.Event) -> None:
    while not over.is_set():
        async with site.http.post(url, json={}, headers=headers) as reply:
            assert reply.status == 200, await reply.text()
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), BEAT_S)


def _listed(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in pairs.items())


async def _run(site: Site, flags: list[str], told: Mapping[str, str]) -> Ran:
    ours = {
        **told,
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        "INFERPOOL_TEST_POOL": POOL,
        "INFERPOOL_TEST_LLM": f"{POOL}@{WORKER}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", DOCUMENT, *flags),
        cwd=site.folder,
        env={**_unmeasured(), **ours},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text, report = printed.decode(errors="replace"), site.folder / REPORT
    assert report.exists(), text
    return Ran(msgspec.json.decode(report.read_bytes(), type=Report), text)


def _unmeasured() -> dict[str, str]:
    """The environment without what would measure the coverage of schemathesis itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
