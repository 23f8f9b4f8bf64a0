"""Hints between servers on a real PostgreSQL: in order, whole, heard again after every kind of break."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from inferpool.core.errors import StoreUnavailable
from inferpool.store.postgres import PostgresOptions, open_postgres
from inferpool.store.postgres_driver import Address, Timeouts, connect
from inferpool.store.postgres_signals import Ear, PostgresSignals, Pulse
from inferpool.store.servers_protocol import NOTE_LIMIT, Note
from tests.store.builders import new_id
from tests.store.listeners import (
    ALL,
    FORBEARING,
    PATIENCE_S,
    Counting,
    Gate,
    Listener,
    alone,
    connections,
    sent,
    signalling,
)
from tests.store.shaky import in_thread, terminate, through, turn_of_the_loop
from tests.store.side_desk import SideDesk, ask, emptied_desk
from tests.store.stores import SettableClock, opened_sqlite
from tests.store.throwaway import PASSWORD, Throwaway, server
from tests.store.wires import Wire, listening

pytestmark = pytest.mark.anyio

OFTEN = Pulse(every_s=0.05, answer_s=PATIENCE_S)


@pytest.fixture
def desk() -> SideDesk:
    """An emptied database."""
    return emptied_desk(own=True)


@pytest.fixture(scope="module")
def mortal() -> Iterator[Throwaway]:
    """A server that a test may stop."""
    own = Throwaway(settings=("fsync=on",))
    yield own
    own.throw_away()


async def test_what_one_server_sends_the_others_hear_in_order_as_it_does_itself(desk: SideDesk) -> None:
    async with (
        signalling(desk.url) as one,
        signalling(desk.url) as other,
        Listener(one) as here,
        Listener(other, [ALL, "other"]) as there,
    ):
        await one.send([Note(ALL, "first"), Note("nobody", "lost"), Note("other", "second")])
        await one.send([Note(ALL, "third")])
        assert await there.heard(3) == ["first", "second", "third"]
        assert await here.heard(2) == ["first", "third"]


async def test_sendings_that_meet_keep_their_order(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, Listener(one) as here:
        await asyncio.gather(*(one.send([Note(ALL, str(number))]) for number in range(20)))
        assert await here.heard(20) == [str(number) for number in range(20)]


async def test_a_thousand_notes_at_once_arrive_in_order(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, signalling(desk.url) as other, Listener(other) as there:
        texts = [f"{number} " + "x" * 900 for number in range(1_000)]
        await one.send([Note(ALL, text) for text in texts])
        assert await there.heard(1_000) == texts


async def test_a_note_of_the_greatest_size_arrives_whole(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, Listener(one) as here:
        text = "é€" * (NOTE_LIMIT // 5)
        assert len(text.encode()) == NOTE_LIMIT
        await one.send([Note(ALL, text)])
        assert await here.heard(1) == [text]


async def test_of_equal_notes_at_once_one_arrives_at_least(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, Listener(one) as here:
        await one.send([Note(ALL, "same"), Note(ALL, "same"), Note(ALL, "other")])
        assert (await here.heard(2))[-2:] == ["same", "other"]


@pytest.mark.parametrize("channel", ['a "quoted" one', "inferpool:019a-b", "x'; DROP TABLE tasks; --", "Größe"])
async def test_any_name_is_a_channel(desk: SideDesk, channel: str) -> None:
    async with signalling(desk.url) as one, Listener(one, [channel]) as here:
        await one.send([Note(channel, "heard")])
        assert await here.heard(1) == ["heard"]


@pytest.mark.parametrize("note", [Note("x" * 64, ""), Note(ALL, "x" * 8_000), Note(ALL, "\0")])
async def test_what_postgres_refuses_is_lost_with_a_word(desk: SideDesk, note: Note) -> None:
    async with signalling(desk.url) as one, Listener(one) as here:
        with pytest.raises(StoreUnavailable, match="notes were lost"):
            await one.send([note])
        await one.send([Note(ALL, "next")])
        assert await here.heard(1) == ["next"]


async def test_after_its_connections_were_ended_a_server_hears_again_what_is_sent(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, Listener(one) as here:
        for round_number in range(1, 4):
            await sent(one, f"before {round_number}")
            terminate(desk)
            await here.linked(round_number + 1)
            await sent(one, f"after {round_number}")
            await here.told(f"after {round_number}")


async def test_after_the_database_crashed_a_server_hears_again_what_is_sent(mortal: Throwaway) -> None:
    async with signalling(mortal.url()) as one, Listener(one) as here:
        await one.send([Note(ALL, "before")])
        assert await here.heard(1) == ["before"]
        await in_thread(partial(mortal.stop, "immediate"))
        try:
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await one.send([Note(ALL, "lost")])
        finally:
            await in_thread(mortal.start)
        await here.linked(2)
        await sent(one, "after")
        await here.told("after")
        assert "lost" not in here.texts


async def test_a_wire_that_falls_silent_is_noticed(desk: SideDesk) -> None:
    wire = Counting(server().folder)
    curt = Pulse(every_s=0.05, answer_s=0.5)
    async with (
        listening(wire.serve) as folder,
        signalling(through(folder, desk.url), pulse=curt) as one,
        signalling(desk.url) as other,
        Listener(one) as here,
    ):
        links, wire.silent = here.links, True
        await here.linked(links + 1)
        await sent(other, "after")
        await here.told("after")


async def test_a_notification_that_does_not_come_back_is_noticed_though_the_connection_answers(desk: SideDesk) -> None:
    async with signalling(desk.url, pulse=Pulse(every_s=2.0, answer_s=0.5)) as one, Listener(one) as here:
        links, [driver] = here.links, one._heard_on
        await driver.script("UNLISTEN *")
        await here.linked(links + 1)


async def test_a_connection_that_answers_is_kept(desk: SideDesk) -> None:
    wire = Counting(server().folder)
    async with (
        listening(wire.serve) as folder,
        signalling(through(folder, desk.url), pulse=OFTEN) as one,
        signalling(desk.url) as other,
        Listener(one) as here,
        Listener(other, [pulse_of(one)]) as pulses,
    ):
        await pulses.heard(3)
        assert (here.links, wire.connections, here.texts) == (1, 1, [])
        terminate(desk)
        await here.linked(2)


def pulse_of(signals: PostgresSignals) -> str:
    [driver] = signals._heard_on
    return f"inferpool pulse {driver.process}"


async def test_who_sends_into_silence_does_not_wait_for_long(desk: SideDesk) -> None:
    wire = Wire(server().folder)
    curt = Timeouts(connect_s=0.2, patience_s=0.0, statement_s=0.2, margin_s=0.1)
    async with listening(wire.serve) as folder, signalling(through(folder, desk.url), curt) as one:
        await sent(one, "first")
        wire.silent = True
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await one.send([Note(ALL, "lost")])


async def test_a_sending_that_is_cancelled_spoils_nothing(desk: SideDesk) -> None:
    wire = Counting(server().folder)
    async with listening(wire.serve) as folder, signalling(through(folder, desk.url)) as one:
        await one.send([Note(ALL, "first")])
        wire.silent = True
        sending = asyncio.ensure_future(one.send([Note(ALL, "lost")]))
        await turn_of_the_loop()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await one.send([Note(ALL, "second")])
        assert wire.connections == 2


async def test_who_is_refused_goes_on_asking_until_let_in(mortal: Throwaway) -> None:
    wire = Counting(mortal.folder)
    url = mortal.url(user="guarded").replace("guarded@", "guarded:another@")
    async with listening(wire.serve) as folder, signalling(url.replace(str(mortal.folder), folder)) as one:
        here = Listener(one)
        await wire.connected(3)
        with pytest.raises(StoreUnavailable, match="correct the password"):
            await one.send([Note(ALL, "lost")])
        await in_thread(partial(set_password, mortal, "another"))
        try:
            async with here:
                await one.send([Note(ALL, "heard")])
                assert await here.heard(1) == ["heard"]
        finally:
            await in_thread(partial(set_password, mortal, PASSWORD))


def set_password(mortal: Throwaway, password: str) -> None:
    ask(mortal.url(), f"ALTER ROLE guarded PASSWORD '{password}'")


async def test_who_stops_listening_leaves_neither_connection_nor_task(desk: SideDesk) -> None:
    await alone(desk)
    before = asyncio.all_tasks()
    async with signalling(desk.url, pulse=OFTEN) as one:
        async with Listener(one) as here:
            await one.send([Note(ALL, "heard")])
            await here.heard(1)
            assert connections(desk) == 2
        async with asyncio.timeout(PATIENCE_S):
            while connections(desk) > 1 or asyncio.all_tasks() != before:
                await turn_of_the_loop()
    await alone(desk)
    assert here.task.cancelled()


async def test_an_ear_that_was_closed_hears_nothing_though_its_connection_does(desk: SideDesk) -> None:
    driver = await connect(Address(desk.url, FORBEARING))
    heard: list[str] = []
    ear = Ear(driver, heard.append)
    await ear.open([ALL])
    ear.close()
    arrived = asyncio.get_running_loop().create_future()
    await driver.listen(ALL, arrived.set_result)
    await driver.run("notify", [(ALL, "late")])
    async with asyncio.timeout(PATIENCE_S):
        assert (await arrived, heard) == ("late", [])
    driver.drop()


async def test_a_listening_ends_with_the_signals(desk: SideDesk) -> None:
    async with signalling(desk.url) as one, Listener(one) as here:
        one.close()
        async with asyncio.timeout(PATIENCE_S):
            await here.task
        with pytest.raises(StoreUnavailable, match="closed"):
            await one.send([Note(ALL, "late")])
        await alone(desk)


async def test_signals_that_close_while_they_connect_are_closed(desk: SideDesk) -> None:
    gate = Gate(server().folder)
    async with listening(gate.serve) as folder, signalling(through(folder, desk.url)) as one:
        sending = asyncio.ensure_future(one.send([Note(ALL, "lost")]))
        here = Listener(one)
        await gate.asked.wait()
        one.close()
        gate.opened.set()
        with pytest.raises(StoreUnavailable, match="closed"):
            await sending
        await here.task
        assert here.links == 0
        await alone(desk)


@pytest.mark.parametrize("abandons", [False, True])
async def test_a_stores_signals_end_with_it(desk: SideDesk, abandons: bool) -> None:
    pair = await open_postgres(desk.url, writer_id=new_id(), options=PostgresOptions(readers=1))
    here = Listener(pair.signals)
    await here.linked(1)
    await sent(pair.signals, "heard")
    await here.heard(1)
    if abandons:
        pair.abandon()
    else:
        await pair.close()
    await here.task
    await alone(desk)


async def test_a_server_on_a_file_is_alone(tmp_path: Path) -> None:
    async with opened_sqlite(tmp_path / "store.db", SettableClock()) as pair:
        assert pair.signals is None
