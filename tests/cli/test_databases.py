"""Claims about the commands that open a database themselves, where it is one of PostgreSQL."""

from inferpool.store.invariants import RULES
from tests.cli.typed import Typed
from tests.store.side_desk import ask, new_database
from tests.store.throwaway import PASSWORD, server


def test_tokens_are_made_and_the_store_is_checked_at_its_address(typed: Typed) -> None:
    url = new_database("commands")
    made = typed("token", "create", "--role", "admin", "--subject", "ada", "--database-url", url)
    assert (made.code, made.output[:3]) == (0, "ip_")
    assert ask(url, "SELECT subject, role FROM tokens") == [("ada", "admin")]
    told = typed("doctor", "--database-url", url)
    assert (told.code, told.errors) == (0, "")
    assert told.output.count(": ok\n") == len(RULES)


def test_a_database_that_cannot_be_used_is_one_line_without_its_password(typed: Typed) -> None:
    url = server().url("nowhere").replace("postgres@", f"postgres:{PASSWORD.replace(' ', '')}@")
    for command in (("serve", "--port", "0"), ("doctor",), ("token", "list")):
        told = typed(*command, "--database-url", url)
        assert told.code == 1
        assert told.errors.startswith("error: ")
        assert told.errors.count("\n") == 1
        assert "create the database" in told.errors
        assert PASSWORD.replace(" ", "") not in told.errors
