"""Claims about the real server, asked by schemathesis whatever its own document allows or forbids; `make fuzz` asks more."""

from pathlib import Path

import pytest

from tests.fuzz.run import Wish, fuzz
from tests.journeys.site import opened_site

pytestmark = [pytest.mark.anyio, pytest.mark.journey]

WITH_TOKEN = Wish(cases=250, phases="fuzzing", seed=1, closed=True, bearer=True)
SUCCEED = {"POST /v1/chat/completions", "POST /api/v1/inference-tasks", "POST /api/v1/sessions/{session_id}/events"}


async def test_every_answer_is_one_that_the_document_knows(tmp_path: Path) -> None:
    async with opened_site(tmp_path) as site:
        ran = await fuzz(site, WITH_TOKEN)
        assert ran.report.exit_code == 0, ran.printed
        assert ran.report.test_cases.generated >= 200
        assert ran.report.accepted() >= SUCCEED
