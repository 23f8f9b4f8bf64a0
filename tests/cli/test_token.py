"""Claims about `inferpool token`, about commands that show one."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from inferpool.cli.token import _is_here
from tests.cli.played import running_server
from tests.cli.typed import Told, Typed

ADMIN = ("token", "create", "--role", "admin", "--subject", "ann")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An open server on a store of its own."""
    with running_server(tmp_path) as (_, address):
        yield address


def token_of(told: Told) -> str:
    assert (told.code, len(told.output.split())) == (0, 1), told
    assert told.output.startswith("ip_")
    return told.output.strip()


def test_the_first_token_is_made_without_one_then_every_command_needs_one(url: str, typed: Typed) -> None:
    assert typed("get", "tasks", "--server", url).code == 0
    made = typed(*ADMIN, "--server", url)
    assert "admin for 'ann', never expires; it is not shown again" in made.errors
    assert "from now on every call needs one" in made.errors
    refused = typed("get", "tasks", "--server", url)
    assert (refused.code, len(refused.errors.splitlines())) == (1, 1)
    assert "INFERPOOL_TOKEN or --token" in refused.errors
    assert typed("get", "tasks", "--server", url, "--token", token_of(made)).code == 0


def test_a_token_of_the_environment_is_shown_too(url: str, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERPOOL_TOKEN", token_of(typed(*ADMIN, "--server", url)))
    second = typed(*ADMIN, "--server", url)
    assert token_of(second)
    assert "first token" not in second.errors
    assert typed("get", "tokens", "--server", url).code == 0


def test_tokens_are_made_listed_described_revoked(url: str, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERPOOL_TOKEN", token_of(typed(*ADMIN, "--server", url)))
    told = typed(
        *("token", "create", "--role", "caller", "--subject", "app", "--expires", "30d", "--llm", "m", "--pool", "p"),
        *("--server", url, "-o", "json"),
    )
    made = json.loads(told.output)
    assert (made["role"], made["subject"], made["llms"], made["pools"]) == ("caller", "app", ["m"], ["p"])
    listed = typed("token", "list", "--server", url)
    head, row, _ = listed.lines
    assert head[:4] == ["ID", "SUBJECT", "ROLE", "STATUS"]
    assert row[:5] == [made["id"], "app", "caller", "valid", "29d23h"]
    assert "llm m, pool p" in listed.output
    assert made["token"] not in listed.output
    described = typed("describe", "token", made["id"], "--server", url)
    assert "llm m, pool p" in described.output
    ended = typed("token", "revoke", made["id"], "--server", url)
    assert ended.output == f"token {made['id']} of app revoked\n"
    assert typed("get", "token", made["id"], "--server", url).lines[1][3] == "revoked"
    assert typed("get", "tasks", "--server", url, "--token", made["token"]).code == 1
    assert json.loads(typed("describe", "tokens", made["id"], "--server", url, "-o", "json").output)["revoked_at"]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_revoked_token_is_told_in_the_form_that_is_asked_for(typed: Typed, tmp_path: Path, form: str) -> None:
    store = ("--database-url", str(tmp_path / "own.db"))
    made = json.loads(typed(*ADMIN, *store, "-o", "json").output)
    told = typed("token", "revoke", made["id"], *store, "-o", form).output
    assert f"{made['id']}" in told
    assert "revoked_at" in told
    assert made["token"] not in told
    assert typed("token", "revoke", made["id"], *store, "-o", "name").output == made["id"] + "\n"


def test_its_limits_are_said_with_its_end(url: str, typed: Typed) -> None:
    told = typed(
        *("token", "create", "--role", "caller", "--subject", "app", "--expires", "2h", "--llm", "m", "--server", url)
    )
    assert "caller for 'app', limited to llm m, expires" in told.errors


@pytest.mark.parametrize("subject", ["", " a"])
def test_what_no_token_may_be_is_one_line(url: str, typed: Typed, subject: str) -> None:
    told = typed("token", "create", "--role", "admin", "--subject", subject, "--server", url)
    assert (told.code, told.output) == (1, "")
    assert told.errors.startswith("error: `subject` is")


def test_an_end_that_is_no_time_is_told_with_examples(typed: Typed) -> None:
    told = typed(*ADMIN, "--expires", "soon", "--database-url", "nowhere.db")
    assert (told.code, "30d, 12h" in told.errors) == (2, True)


def test_without_a_server_this_machines_own_store_is_opened(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inferpool.toml").write_text('server = ["http://127.0.0.1:9"]\ndatabase_url = "own.db"\n')
    first = typed(*ADMIN)
    assert token_of(first)
    assert "that was the first token" in first.errors
    second = typed("token", "create", "--role", "publisher", "--subject", "office", "-o", "name")
    assert "first token" not in second.errors
    assert [row[1:4] for row in typed("token", "list").lines[1:]] == [
        ["office", "publisher", "valid"],
        ["ann", "admin", "valid"],
    ]
    assert typed("token", "revoke", second.output.strip()).code == 0
    with closing(sqlite3.connect(tmp_path / "own.db")) as connection:
        acts = connection.execute("SELECT action, resource FROM audit ORDER BY id").fetchall()
    assert [act for act, _ in acts] == ["inferpool token create"] * 2 + ["inferpool token revoke"]
    assert acts[1][1] == acts[2][1] == second.output.strip()


def test_a_store_that_is_named_is_opened_whatever_server_runs(url: str, typed: Typed, tmp_path: Path) -> None:
    told = typed(*ADMIN, "--server", url, "--database-url", str(tmp_path / "other.db"))
    assert token_of(told)
    assert typed("get", "tasks", "--server", url).code == 0
    locked = typed(*ADMIN, "--database-url", str(tmp_path / "store.db"))
    assert (locked.code, "tell its address by --server" in locked.errors) == (1, True)


def test_a_server_of_another_machine_that_does_not_answer_is_not_replaced_by_this_ones_store(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = typed(*ADMIN, "--server", "http://inferpool.invalid:8010")
    assert (told.code, told.output) == (1, "")
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_is_not_there_cannot_be_revoked(typed: Typed, tmp_path: Path) -> None:
    told = typed("token", "revoke", "x", "--database-url", str(tmp_path / "own.db"))
    assert (told.code, told.errors) == (1, "error: there is no token x; `inferpool get` lists what there is\n")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:8010"])
def test_a_loopback_address_is_this_machines(address: str) -> None:
    assert _is_here(address)


@pytest.mark.parametrize("address", ["http://gpu.example:8010", "https://example.com", "http://[fe80::1]"])
def test_any_other_is_not(address: str) -> None:
    assert not _is_here(address)


def test_a_server_for_others_asks_for_a_token_first(typed: Typed, tmp_path: Path) -> None:
    told = typed("serve", "--host", "0.0.0.0", "--port", "0", "--database-url", str(tmp_path / "own.db"))
    assert told.code == 2
    assert "inferpool token create --role admin" in told.errors.splitlines()[-1]
