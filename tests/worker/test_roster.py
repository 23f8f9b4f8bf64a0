"""What a worker publishes of the engines that it sees."""

import msgspec
import pytest

from inferpool.core.llm import LlmStatus
from inferpool.core.session import LlmOffer
from inferpool.wire.sessions import Event, LlmStatusChanged
from inferpool.worker.abilities import AUDIO, all_but
from inferpool.worker.disk import PatientDisk
from inferpool.worker.engine import Engine
from inferpool.worker.options import WorkerOptions
from inferpool.worker.roster import Roster, Tell
from inferpool.worker.state import WorkerState
from tests.worker.engine_peer import EnginePeer
from tests.worker.parts import MemoryDisk, QuietLog
from tests.worker.published.engine import PublishedPeer
from tests.worker.published.ollama import OLDER_SHOW, OLLAMA

pytestmark = pytest.mark.anyio


class Yard:
    """A roster over some engines."""

    def __init__(self, engines: int = 1, disk: MemoryDisk | None = None, **options: object) -> None:
        self.disk = disk or MemoryDisk()
        self.peers = [EnginePeer() for _ in range(engines)]
        self.said: list[Event] = []
        self.registrations = 0
        self.log = QuietLog()
        made = [Engine(peer.transport, f"http://engine{number}", None) for number, peer in enumerate(self.peers)]
        settings: dict[str, object] = {"name": "box", "server_urls": [], "engine_urls": [], **options}
        self.roster = Roster(
            msgspec.convert(settings, WorkerOptions),
            made,
            WorkerState(PatientDisk(self.disk, self.log), lambda: "session", lambda: "secret", self.log),
            Tell(self.said.append, self.register),
            self.log,
        )

    def register(self) -> None:
        self.registrations += 1

    async def look(self) -> list[LlmOffer]:
        for lookout in self.roster.lookouts:
            await lookout.look()
        return self.roster.offers()

    async def names(self) -> list[str]:
        return [offer.name for offer in await self.look()]


async def test_named_models_alone_are_published_in_the_given_pool() -> None:
    yard = Yard(models=["small"], pool="chat", slots=2)
    yard.peers[0].models = ["tiny", "small"]
    offers = await yard.look()
    assert [(offer.name, offer.pool_name, offer.slots) for offer in offers] == [("small@box", "chat", 2)]


async def test_a_named_model_is_published_before_its_engine_was_seen() -> None:
    yard = Yard(models=["small"])
    yard.peers[0].up = False
    assert [(offer.name, offer.status) for offer in await yard.look()] == [("small@box", LlmStatus.INACTIVE)]


async def test_a_named_model_that_the_engine_does_not_list_is_said_and_not_published() -> None:
    yard = Yard(models=["other"])
    assert await yard.look() == []
    assert "the engine lists no model to publish" in yard.log.said


async def test_an_engine_that_lists_nothing_serves_the_named_models() -> None:
    yard = Yard(models=["other"])
    yard.peers[0].models_status = 404
    assert [(offer.name, offer.status) for offer in await yard.look()] == [("other@box", LlmStatus.ACTIVE)]


async def test_a_list_that_cannot_be_read_names_no_model() -> None:
    yard = Yard()
    yard.peers[0].models = None
    assert await yard.look() == []


async def test_an_engine_that_still_loads_is_not_there() -> None:
    yard = Yard(models=["tiny"])
    yard.peers[0].models_status = 503
    assert [offer.status for offer in await yard.look()] == [LlmStatus.INACTIVE]


async def test_slots_are_the_engines_own_total_where_it_tells() -> None:
    yard = Yard()
    assert [offer.slots for offer in await yard.look()] == [4]
    yard.peers[0].slots = 9
    assert [offer.slots for offer in await yard.look()] == [9]


async def test_slots_that_change_are_told() -> None:
    yard = Yard()
    await yard.look()
    yard.roster.bound()
    yard.peers[0].slots = 9
    await yard.roster.lookouts[0].look()
    assert yard.said == [LlmStatusChanged(llm_name="tiny@box", status=LlmStatus.ACTIVE, slots=9, revision=1)]


async def test_what_changed_while_the_worker_registered_is_told_afterwards() -> None:
    yard = Yard()
    await yard.look()
    yard.peers[0].up = False
    await yard.roster.lookouts[0].look()
    assert yard.said == []
    yard.roster.bound()
    assert yard.said == [LlmStatusChanged(llm_name="tiny@box", status=LlmStatus.INACTIVE, slots=4, revision=1)]


async def test_one_model_at_two_engines_of_a_worker_is_two_llms_of_one_pool() -> None:
    yard = Yard(engines=2)
    offers = await yard.look()
    assert [(offer.name, offer.pool_name, offer.engine) for offer in offers] == [
        ("tiny@box", "tiny", "http://engine0"),
        ("tiny@box-2", "tiny", "http://engine1"),
    ]


async def test_a_name_too_long_to_publish_is_left_out() -> None:
    yard = Yard()
    yard.peers[0].models = ["x" * 300, "", "tiny"]
    assert await yard.names() == ["tiny@box"]


async def test_other_models_lead_to_one_registration() -> None:
    yard = Yard()
    await yard.look()
    yard.roster.bound()
    yard.peers[0].models = ["other"]
    for _ in range(2):
        await yard.roster.lookouts[0].look()
    assert yard.registrations == 1
    assert yard.said == []


async def test_an_engine_that_answers_strangely_about_its_slots_has_the_usual_number() -> None:
    yard = Yard()
    yard.peers[0].slots = -1
    assert [offer.slots for offer in await yard.look()] == [4]


async def test_a_restarted_worker_still_publishes_the_models_of_an_engine_that_is_away() -> None:
    yard = Yard()
    yard.peers[0].slots = 7
    await yard.look()
    again = Yard(disk=yard.disk)
    again.peers[0].up = False
    offers = await again.look()
    assert [(offer.name, offer.slots, offer.status) for offer in offers] == [("tiny@box", 7, LlmStatus.INACTIVE)]


async def test_a_model_for_embeddings_alone_is_published_for_its_endpoint() -> None:
    peer = PublishedPeer(OLLAMA)
    yard = Yard(0)
    await yard.roster.add(Engine(peer.transport, "http://engine", None)).look()
    offers = {offer.model: (offer.type, offer.endpoints) for offer in yard.roster.offers()}
    assert offers["nomic-embed-text:latest"] == ("embedding", ["embeddings"])
    kind, endpoints = offers["llama3.2:latest"]
    assert (kind, endpoints) == ("chat", all_but(AUDIO))
    assert {offer.slots for offer in yard.roster.offers()} == {4}
    assert len({offer.engine for offer in yard.roster.offers()}) == 1


async def test_what_a_model_serves_is_remembered_while_its_engine_is_away() -> None:
    disk = MemoryDisk()
    await Yard(0, disk).roster.add(Engine(PublishedPeer(OLLAMA).transport, "http://engine", None)).look()
    again = Yard(0, disk)
    again.roster.add(Engine(PublishedPeer(OLLAMA).transport, "http://engine", None))
    everything = all_but(AUDIO)
    assert [offer.endpoints for offer in again.roster.offers()] == [everything, ["embeddings"], everything]


async def test_another_endpoint_is_told_by_registering_again() -> None:
    peer, yard = PublishedPeer(OLLAMA), Yard(0)
    peer.changed["POST /api/show nomic-embed-text:latest"] = OLDER_SHOW
    lookout = yard.roster.add(Engine(peer.transport, "http://engine", None))
    await lookout.look()
    yard.roster.offers()
    yard.roster.bound()
    peer.up = False
    await lookout.look()
    peer.up, peer.changed = True, {}
    await lookout.look()
    assert yard.registrations == 1


async def test_an_engine_with_audio_is_published_for_anything() -> None:
    yard = Yard()
    assert [offer.endpoints for offer in await yard.look()] == [None]


async def test_an_engine_without_audio_is_published_for_all_the_rest() -> None:
    yard = Yard()
    yard.peers[0].speaks = False
    [offer] = await yard.look()
    assert offer.endpoints is not None
    assert {"chat/completions", "completions", "embeddings", "rerank", "messages", "responses"} < set(offer.endpoints)
    assert not any(endpoint.startswith("audio/") for endpoint in offer.endpoints)
