"""Opening a PostgreSQL database: what is refused in one line that names the remedy, what a connection is set to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.store.migrate import check_store, load_migrations
from inferpool.store.opening import looking_into, open_store, place
from inferpool.store.postgres import PostgresOptions, PostgresPair, open_postgres
from inferpool.store.postgres_driver import Address, Timeouts, check, place_of
from inferpool.store.rows import APPLIED_MIGRATIONS
from inferpool.store.statements import load_statements
from tests.store.builders import new_id, new_task
from tests.store.side_desk import SideDesk, ask, emptied_desk, new_database
from tests.store.stores import SettableClock
from tests.store.throwaway import PASSWORD, server
from tests.store.wires import TransactionPooler, listening

pytestmark = pytest.mark.anyio

IMPATIENT = Timeouts(connect_s=5.0, patience_s=0.1)


@pytest.fixture
def desk() -> SideDesk:
    """An emptied database."""
    return emptied_desk(own=True)


@asynccontextmanager
async def opened(url: str, timeouts: Timeouts | None = None) -> AsyncIterator[PostgresPair]:
    options = PostgresOptions(readers=1, timeouts=timeouts or IMPATIENT)
    pair = await open_postgres(url, writer_id=new_id(), options=options)
    try:
        yield pair
    finally:
        await pair.close()


async def look(url: str, release: str = "9.0.0") -> None:
    """Look whether it is a store for this release, changing nothing."""
    with looking_into(url, SettableClock()) as connection:
        await check_store(connection, release)


async def refusal(url: str, timeouts: Timeouts = IMPATIENT) -> str:
    """What is said of a database that cannot be opened."""
    with pytest.raises(StoreUnavailable) as refused:
        async with opened(url, timeouts):
            pass
    said = str(refused.value)
    assert "\n" not in said
    assert "wrong-secret" not in said
    return said


async def test_a_database_that_is_not_there_is_said() -> None:
    assert '"nowhere" does not exist: create the database' in await refusal(server().url("nowhere"))


async def test_a_role_that_is_not_there_is_said() -> None:
    assert "stranger" in await refusal(server().url(user="stranger"))


async def test_a_wrong_password_is_said() -> None:
    folder = server().folder
    said = await refusal(f"postgresql://guarded:wrong-secret@/postgres?host={folder}")
    assert "correct the password" in said


async def test_a_right_password_lets_in() -> None:
    url = new_database("guarded")
    ask(url, "GRANT CREATE ON SCHEMA public TO guarded")
    async with opened(url.replace("postgres@", f"guarded:{PASSWORD}@")) as pair:
        assert await pair.reader.clocks() == []


async def test_a_missing_right_is_said_with_the_grant_that_gives_it() -> None:
    url = new_database("rights").replace("postgres@", f"guarded:{PASSWORD}@")
    said = await refusal(url)
    assert "GRANT CREATE ON SCHEMA" in said


async def test_a_database_that_takes_no_writes_is_said() -> None:
    url = new_database("standby")
    ask(
        url,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
    )
    assert "give the primary's address" in await refusal(url)


async def test_a_server_that_is_too_old_is_said() -> None:
    address = Address("postgresql://db.example/inferpool", IMPATIENT)
    with pytest.raises(StoreUnavailable, match=r"db.example/inferpool is 13\.22: inferpool needs 14 or newer, upgrade"):
        check(address, 130_022, "13.22", takes_no_writes=False)
    check(address, 140_000, "14.0", takes_no_writes=False)


async def test_a_server_that_does_not_listen_is_said_to_be_away(tmp_path: Path) -> None:
    assert "is away" in await refusal(f"postgresql://postgres@/postgres?host={tmp_path}")


async def test_a_server_that_does_not_answer_is_said_to_be_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        timeouts = Timeouts(connect_s=0.2, patience_s=0.1)
        said = await refusal(f"postgresql://guarded:wrong-secret@127.0.0.1:{port}/x?sslmode=disable", timeouts)
    assert f"the database at 127.0.0.1:{port}/x is away: no answer within 0.2 s" in said


async def test_a_server_without_the_encryption_that_is_asked_for_is_said() -> None:
    async with await asyncio.start_server(refuses_encryption, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        assert "rejected SSL upgrade" in await refusal(f"postgresql://guarded@127.0.0.1:{port}/x?sslmode=require")


async def test_an_encryption_that_fails_is_said() -> None:
    async with await asyncio.start_server(spoils_encryption, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        assert "no secure connection" in await refusal(f"postgresql://guarded@127.0.0.1:{port}/x?sslmode=require")


async def spoils_encryption(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)
    writer.write(b"S")
    await reader.readexactly(5)
    writer.write(bytes(100))
    writer.close()


async def refuses_encryption(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)
    writer.write(b"N")
    writer.close()


async def test_a_url_that_means_nothing_is_said() -> None:
    assert "URL cannot be used" in await refusal("postgresql://db.example:port/inferpool")


async def test_a_pooler_that_lends_by_the_transaction_is_said() -> None:
    pooler = TransactionPooler(server().folder)
    async with listening(pooler.serve) as folder:
        said = await refusal(f"postgresql://postgres@/postgres?host={folder}")
        pooler.close()
    assert "give the address of the server itself, or of a pooler in session mode" in said


async def test_many_servers_that_start_at_once_migrate_once() -> None:
    url = new_database("crowd")
    pairs = await asyncio.gather(
        *(open_postgres(url, writer_id=new_id(), options=PostgresOptions(readers=1)) for _ in range(6))
    )
    for pair in pairs:
        await pair.close()
    applied = ask(url, "SELECT number FROM migrations ORDER BY number")
    assert applied == [(step.number,) for step in load_migrations("postgres")]


async def test_a_schema_for_newer_releases_is_refused(desk: SideDesk) -> None:
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"this is 0\.0\.1: upgrade"):
            await open_postgres(desk.url, writer_id="w", options=PostgresOptions(release="0.0.1", readers=1))
    with pytest.raises(StoreUnavailable, match=r"this is 0\.0\.1: upgrade"):
        await look(desk.url, "0.0.1")


async def test_a_database_that_is_no_store_is_not_made_one_by_reading() -> None:
    url = new_database("bare")
    with pytest.raises(StoreUnavailable, match="migrations"):
        await look(url)
    assert ask(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_a_store_is_read_beside_its_servers(desk: SideDesk) -> None:
    async with opened(desk.url):
        await look(desk.url)


async def test_a_reader_changes_nothing(desk: SideDesk) -> None:
    with looking_into(desk.url, SettableClock()) as connection, pytest.raises(StoreUnavailable, match="read-only"):
        await connection.write("leave", [("nobody",)])


async def test_what_stands_against_a_database_names_it_once() -> None:
    url = server().url("nowhere")
    with pytest.raises(StoreUnavailable) as refused:
        await open_store(url, SettableClock(), new_id())
    assert str(refused.value).count(place(url)) == 1


async def test_whichever_database_is_named_is_opened(desk: SideDesk, tmp_path: Path) -> None:
    for where in (desk.url, tmp_path / "store.db"):
        pair = await open_store(where, SettableClock(), new_id())
        await pair.store.enqueue(task := new_task(), None)
        assert (await pair.reader.row(task.id)) is not None
        await pair.close()
        with looking_into(where, SettableClock()) as connection:
            assert len(await connection.read(APPLIED_MIGRATIONS, [()])) > 0


def test_a_place_is_shown_without_its_password() -> None:
    assert (
        place_of("postgresql://user:wrong-secret@db.example:5433/inferpool?sslmode=require")
        == "db.example:5433/inferpool"
    )
    assert place_of("postgresql://user@/inferpool?host=/run/postgres") == "/run/postgres/inferpool"
    assert place_of("postgresql:///inferpool") == "the local socket/inferpool"
    assert place(Path("/var/lib/inferpool.db")) == "/var/lib/inferpool.db"


def test_both_dialects_have_the_same_statements_but_for_their_connections() -> None:
    folder = Path(__file__).parents[2] / "src" / "inferpool" / "store" / "sql"
    own = {
        dialect: {name for file in ("connection", "backup", "copy") for name in named(folder / dialect / f"{file}.sql")}
        for dialect in ("sqlite", "postgres")
    }
    names = {dialect: set(load_statements(dialect)) - own[dialect] for dialect in own}
    assert names["sqlite"] - {"forget_other_servers"} == names["postgres"] - {"notify"}


def named(path: Path) -> set[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.removeprefix("-- name: ") for line in lines if line.startswith("-- name: ")}


async def test_a_writer_that_closes_leaves_nothing_behind(desk: SideDesk) -> None:
    async with opened(desk.url) as pair:
        await pair.store.enqueue(new_task(), None)
        assert desk.sql("SELECT commits FROM writers") == [(1,)]
    assert desk.sql("SELECT commits FROM writers") == []


async def test_a_store_that_is_abandoned_keeps_what_was_durable(desk: SideDesk) -> None:
    pair = await open_postgres(desk.url, writer_id=new_id(), options=PostgresOptions(readers=1))
    await pair.store.enqueue(kept := new_task(), None)
    lost = pair.store.enqueue(new_task(), None)
    pair.abandon()
    assert not lost.done()
    assert desk.sql("SELECT id FROM tasks") == [(kept.id,)]
