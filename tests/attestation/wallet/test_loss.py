"""Lost packets are sent again: on virtual time, so that nothing depends on the speed of the machine."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.default_identity_formats import FORMATS
from ipv8.attestation.wallet.chunks import chunks_of
from ipv8.attestation.wallet.community import AttestationCommunity
from ipv8.attestation.wallet.enrolment import INCOMPLETE_SECONDS
from ipv8.attestation.wallet.payload import (
    AttestationChunkPayload,
    ChallengePayload,
    ChallengeResponsePayload,
    RequestAttestationPayload,
    VerifyAttestationRequestPayload,
)
from ipv8.attestation.wallet.verifying import RESEND_SECONDS
from ipv8.peer import Peer
from ipv8.test.simulation import Link, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VALUE = b"\x20"
"""What is attested: a text, and a number in the range."""

CHALLENGE = slice(23 + 76 + 8 + 20, -64)
"""Where packets have the challenge."""


class Wallets:
    """Three nodes that know each other: a subject, an authority and a verifier."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.nodes: list[Any] = [simulation.add_node(AttestationCommunity, working_directory=":memory:")
                                 for _ in range(3)]
        simulation.introduce(self.nodes)
        simulation.run(5.0)
        self.subject, self.authority, self.verifier = (node.overlay for node in self.nodes)
        #: How often the program of the authority was asked.
        self.asked = 0
        self.authority.set_attestation_request_callback(self.decide)

    def decide(self, *_: Any) -> bytes:
        self.asked += 1
        return VALUE

    def peer(self, i: int) -> Peer:
        return Peer(self.nodes[i].my_peer.public_key, self.nodes[i].address)

    async def enrol(self, id_format: str = "id_metadata") -> bytes:
        key = self.subject.get_id_algorithm(id_format).generate_secret_key()
        found: bytes = await self.subject.request_attestation_async(self.peer(1), "name", key, {"id_format": id_format})
        return found

    async def verify(self, attestation_hash: bytes, id_format: str = "id_metadata") -> list[float]:
        right = b"\x01" if "range" in id_format else VALUE
        certainties: list[float] = await self.verifier.verify_async(self.nodes[0].address, attestation_hash,
                                                                    [right, b"\x00"], id_format)
        return certainties


@pytest.fixture
def wallets() -> Iterator[Wallets]:
    with Simulation(seed=1) as simulation:
        yield Wallets(simulation)


def lose(overlay: Any, message: int, is_lost: Callable[[int], bool]) -> list[bytes]:
    """Lose packets of a message that an overlay sends, by their number from 0 on; all of them, as they are sent."""
    send = overlay.endpoint.send
    sent: list[bytes] = []

    def lossy(address: Any, packet: bytes) -> None:
        if packet.startswith(overlay.get_prefix()) and packet[22] == message:
            sent.append(packet)
            if is_lost(len(sent) - 1):
                return
        send(address, packet)

    overlay.endpoint.send = lossy
    return sent


@pytest.mark.parametrize(("node", "message", "count"), [
    ("verifier", VerifyAttestationRequestPayload.msg_id, 1), ("subject", AttestationChunkPayload.msg_id, 1),
    ("verifier", ChallengePayload.msg_id, 7), ("subject", ChallengeResponsePayload.msg_id, 5)])
def test_verifications(wallets: Wallets, node: str, message: int, count: int) -> None:
    attestation_hash = wallets.simulation.wait_for(wallets.enrol())
    sent = lose(getattr(wallets, node), message, lambda number: number < count)
    begin = wallets.simulation.time
    assert wallets.simulation.wait_for(wallets.verify(attestation_hash)) == [1 - 0.5 ** 16, 0.0]
    assert len(sent) > count
    assert RESEND_SECONDS < wallets.simulation.time - begin < 3 * RESEND_SECONDS


def test_a_question_is_sent_again_after_its_own_time(wallets: Wallets) -> None:
    """Whenever it was asked, so that a verification ends only if five packets are lost one after another."""
    attestation_hash = wallets.simulation.wait_for(wallets.enrol())
    lose(wallets.subject, ChallengeResponsePayload.msg_id, lambda number: number >= 8)
    asked: dict[bytes, list[float]] = {}

    def note(_: int) -> bool:
        asked.setdefault(challenges[-1][CHALLENGE], []).append(wallets.simulation.time)
        return False

    challenges = lose(wallets.verifier, ChallengePayload.msg_id, note)
    with pytest.raises(TimeoutError):
        wallets.simulation.wait_for(wallets.verify(attestation_hash))
    begun = min(times[0] for times in asked.values())
    later = [times for times in asked.values() if len(times) > 2 and times[0] > begun]
    assert later
    for times in later:
        assert {round(after - before, 3) for before, after in pairwise(times)} == {RESEND_SECONDS}
    assert max(map(len, asked.values())) >= 5


def test_an_attestation_is_asked_for_twice_if_nothing_arrives(wallets: Wallets) -> None:
    sent = lose(wallets.verifier, VerifyAttestationRequestPayload.msg_id, lambda _: True)
    with pytest.raises(TimeoutError):
        wallets.simulation.wait_for(wallets.verify(bytes(20)))
    assert len(sent) == 2
    assert sent[0] == sent[1], "it is the same request, which the prover knows again"
    assert not wallets.verifier.request_cache._identifiers


def test_an_attestation_is_asked_for_again_as_long_as_it_comes_nearer(wallets: Wallets) -> None:
    attestation_hash = wallets.simulation.wait_for(wallets.enrol("id_metadata_big"))
    count = len(chunks_of(wallets.subject.database.get_attestation_by_hash(attestation_hash)[0]))
    lost = {0, 1, 2, count + 1, count + 2, 2 * count + 2}
    sent = lose(wallets.subject, AttestationChunkPayload.msg_id, lambda number: number in lost)
    certainty, _ = wallets.simulation.wait_for(wallets.verify(attestation_hash, "id_metadata_big"))
    assert certainty > 0.999
    assert len(sent) == 4 * count


@pytest.mark.parametrize("id_format", FORMATS)
def test_parts_of_a_new_attestation(wallets: Wallets, id_format: str) -> None:
    sent = lose(wallets.authority, AttestationChunkPayload.msg_id, lambda number: number == 0)
    attestation_hash = wallets.simulation.wait_for(wallets.enrol(id_format))
    assert attestation_hash in wallets.subject.attestation_keys
    assert len(sent) == 2 * len(set(sent)), "all is sent twice"
    assert wallets.asked == 1
    assert wallets.authority.drops == {}


def test_an_attestation_that_is_lost_several_times(wallets: Wallets) -> None:
    sent = lose(wallets.authority, AttestationChunkPayload.msg_id, lambda number: number % 2 == 0 and number < 6)
    requests = lose(wallets.subject, RequestAttestationPayload.msg_id, lambda _: False)
    assert wallets.simulation.wait_for(wallets.enrol())
    assert len(sent) == 8
    assert len(set(requests)) == 1
    assert len(requests) == 4
    assert wallets.asked == 1


def test_an_authority_that_makes_another_attestation(wallets: Wallets) -> None:
    """Those of other implementations ask their program again. They are asked to twice at most."""
    wallets.authority._is_new_request = lambda *_: True
    lose(wallets.authority, AttestationChunkPayload.msg_id, lambda number: number % 2 == 0)
    with pytest.raises(TimeoutError):
        wallets.simulation.wait_for(wallets.enrol())
    assert wallets.asked == 2
    assert not wallets.subject.request_cache._identifiers
    assert not wallets.subject.allowed_attestations


def test_a_request_is_not_sent_again_while_somebody_decides(wallets: Wallets) -> None:
    requests = lose(wallets.subject, RequestAttestationPayload.msg_id, lambda _: False)

    async def later(*_: Any) -> bytes:
        await asyncio.sleep(100.0)
        return VALUE

    wallets.authority.set_attestation_request_callback(later)
    assert wallets.simulation.wait_for(wallets.enrol())
    assert len(requests) == 1


def test_an_attestation_is_sent_again_only_to_where_it_was_sent_and_only_now_and_then(wallets: Wallets) -> None:
    (packet,) = lose_and_enrol(wallets)
    sent = lose(wallets.authority, AttestationChunkPayload.msg_id, lambda _: False)
    authority = wallets.nodes[1].address
    for node, expected in ((wallets.verifier, 0), (wallets.subject, 2), (wallets.subject, 2)):
        node.endpoint.send(authority, packet)
        wallets.simulation.run(0.5)
        assert len(sent) == expected
    wallets.simulation.run(121.0)
    wallets.subject.endpoint.send(authority, packet)
    wallets.simulation.run(1.0)
    assert len(sent) == 2, "after a while, nobody waits for it"
    assert wallets.asked == 1


def lose_and_enrol(wallets: Wallets) -> list[bytes]:
    """The requests of an enrolment, after the time in which nothing is sent again."""
    requests = lose(wallets.subject, RequestAttestationPayload.msg_id, lambda _: False)
    wallets.simulation.wait_for(wallets.enrol())
    wallets.simulation.run(INCOMPLETE_SECONDS)
    return requests


def test_lines_that_lose_repeat_and_reorder() -> None:
    link = Link(jitter=0.02, loss=0.02, duplication=0.1, reordering=0.1)
    with Simulation(seed=4, link=link) as simulation:
        wallets = Wallets(simulation)
        for id_format in FORMATS:
            attestation_hash = simulation.wait_for(wallets.enrol(id_format))
            right, wrong = simulation.wait_for(wallets.verify(attestation_hash, id_format))
            assert right > 0.999
            assert wrong == 0.0
        assert wallets.asked == len(FORMATS)
        simulation.run(130.0)
        for overlay in (wallets.subject, wallets.authority, wallets.verifier):
            assert not overlay.request_cache._identifiers
