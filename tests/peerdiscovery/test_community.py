"""The discovery community: similarity, pings, and introduction requests of two generations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import clock
from ipv8.community import Community
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress
from ipv8.messaging.payload import IntroductionResponsePayload, PunctureRequestPayload
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import default_serializer
from ipv8.peer import Peer
from ipv8.peerdiscovery.churn import RandomChurn
from ipv8.peerdiscovery.community import (
    MAX_LISTED_SERVICES,
    SIMILARITY_RESPONSES_AT_ONCE,
    DiscoveryCommunity,
    PeriodicSimilarity,
    PingRequestCache,
)
from ipv8.peerdiscovery.payload import (
    DiscoveryIntroductionRequestPayload,
    PingPayload,
    PongPayload,
    SimilarityRequestPayload,
    SimilarityResponsePayload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DISCOVERY_ID = bytes.fromhex("7e313685c1912a141279f8248fc8db5899c5df5a")
SOURCE = UDPv4Address("9.9.9.9", 999)


@pytest.fixture
def vectors(load_vectors: Callable[[str], Any]) -> Any:
    return load_vectors("discovery")


@pytest.fixture
def vector_overlay(make_overlay: Any, vectors: Any) -> Any:
    """The overlay with the key and the addresses of the vectors' A, which sends nothing."""
    a = vectors["keys"]["A"]
    overlay = make_overlay(DiscoveryCommunity, key=default_eccrypto.key_from_private_bin(
        bytes.fromhex(a["private_bin"])), lan=UDPv4Address("192.168.1.10", 8090),
        wan=UDPv4Address("130.161.10.1", 40001), deliver=False)
    overlay.network.service_overlays = {DISCOVERY_ID: overlay}
    return overlay


def vector(vectors: Any, name: str) -> dict[str, Any]:
    return next(packet for packet in vectors["packets"] if packet["name"] == name)


def make_peer(address: Any = SOURCE) -> Peer:
    return Peer(default_eccrypto.generate_key("curve25519"), address)


def known_peer(overlay: Any, address: Any = SOURCE) -> Peer:
    """A peer that the overlay has verified; its own key is a private one, so that it can sign."""
    peer = make_peer(address)
    overlay.network.add_verified_peer(peer)
    overlay.network.discover_services(peer, [overlay.community_id])
    return peer


def signed(overlay: Any, peer: Peer, payload: Any, global_time: int = 1) -> bytes:
    """A packet of ``peer`` to ``overlay``."""
    packed = overlay.get_prefix() + bytes((payload.msg_id,)) + default_serializer.pack_serializable_list([
        BinMemberAuthenticationPayload(peer.public_key.key_to_bin()), GlobalTimeDistributionPayload(global_time),
        payload])
    return packed + peer.key.signature(packed)  # type: ignore[attr-defined, no-any-return]  # peers of tests can sign


def decode(overlay: Any, packet: bytes, payload_class: Any) -> tuple[Peer, int, Any]:
    """Author, global time and payload of a signed packet."""
    found: list[Any] = []

    @lazy_wrapper(GlobalTimeDistributionPayload, payload_class)
    def trap(_: Any, peer: Peer, dist: GlobalTimeDistributionPayload, payload: Any) -> None:
        found.extend((peer, dist.global_time, payload))

    assert packet.startswith(overlay.get_prefix() + bytes((payload_class.msg_id,)))
    trap(overlay, SOURCE, packet)
    return found[0], found[1], found[2]


async def settle() -> None:
    """Let the mock network deliver everything."""
    for _ in range(30):
        await asyncio.sleep(0)


# -- bytes -----------------------------------------------------------------------------------------------------------

async def test_similarity_request_vector(vector_overlay: Any, vectors: Any, script_entropy: Any) -> None:
    vector_overlay.my_peer.update_clock(11)
    script_entropy(12)
    packet = vector_overlay.create_similarity_request(vector_overlay.my_peer)
    assert packet.hex() == vector(vectors, "similarity_request")["packet"]


async def test_similarity_response_vector(vector_overlay: Any, vectors: Any) -> None:
    vector_overlay.my_peer.update_clock(11)
    packet = vector_overlay.create_similarity_response(12, vector_overlay.my_peer)
    assert packet.hex() == vector(vectors, "similarity_response")["packet"]


async def test_ping_and_pong_vectors(vector_overlay: Any, vectors: Any, script_entropy: Any) -> None:
    vector_overlay.my_peer.update_clock(20)
    peer = make_peer()
    script_entropy(21)
    vector_overlay.send_ping(peer)
    vector_overlay.my_peer.update_clock(30)
    ping = bytes.fromhex(vector(vectors, "ping")["packet"])
    vector_overlay.on_packet((UDPv4Address("1.2.3.4", 5), ping))
    assert vector_overlay.endpoint.sent == [
        (SOURCE, ping), (("1.2.3.4", 5), bytes.fromhex(vector(vectors, "pong")["packet"]))]


# -- pings -----------------------------------------------------------------------------------------------------------

async def test_pong_measures_the_time(make_overlay: Any, manual_clock: Any, script_entropy: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = known_peer(overlay)
    script_entropy(700)
    overlay.send_ping(peer)
    assert overlay.request_cache.get(PingRequestCache, 700).peer is peer
    manual_clock.advance(0.25)
    overlay.on_packet((SOURCE, overlay.create_pong(700)))
    assert list(peer.pings) == [0.25]
    assert peer.last_response == manual_clock.now
    assert not overlay.request_cache.has(PingRequestCache, 700)


class SetClock:
    """Monotonic time that a test moves, and wall time that somebody sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wall = 1_700_000_000.0

    def time(self) -> float:
        return self.wall + self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def set_clock() -> Iterator[SetClock]:
    clock_of_test = SetClock()
    with clock.use(clock_of_test):
        yield clock_of_test


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_a_clock_that_is_set_changes_no_round_trip(make_overlay: Any, set_clock: SetClock, script_entropy: Any,
                                                         step: float) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = known_peer(overlay)
    script_entropy(700)
    overlay.send_ping(peer)
    set_clock.wall += step
    set_clock.now += 0.25
    overlay.on_packet((SOURCE, overlay.create_pong(700)))
    assert list(peer.pings) == [0.25]
    assert peer.last_response == set_clock.time()


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_a_clock_that_is_set_changes_no_interval(make_overlay: Any, set_clock: SetClock, step: float) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    known_peer(overlay)
    strategy = PeriodicSimilarity(overlay)
    asked = []
    for seconds in (0.0, 0.5, 0.5):
        set_clock.now += seconds
        strategy.take_step()
        asked.append(len(overlay.endpoint.sent))
        set_clock.wall += step
    assert asked == [1, 1, 2]


async def test_a_ping_may_have_been_sent_earlier(make_overlay: Any, set_clock: SetClock) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = make_peer()
    for start_time in (set_clock.time() - 2.0, set_clock.time() + 5.0):
        PingRequestCache(overlay.request_cache, 1, peer, start_time).finish()
    assert list(peer.pings) == [2.0, 0.0]


async def test_nothing_is_sent_for_a_ping_that_cannot_be_answered(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    await overlay.request_cache.shutdown()
    overlay.send_ping(make_peer())
    assert not overlay.endpoint.sent


async def test_pings_take_no_tasks(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    overlay.send_ping(make_peer())
    before = len(asyncio.all_tasks())
    overlay.send_ping(make_peer())
    assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize(("source", "identifier"), [(("9.9.9.9", 998), 700), (("8.8.8.8", 999), 700), (SOURCE, 701)])
async def test_only_the_pinged_address_can_answer(make_overlay: Any, manual_clock: Any, script_entropy: Any,
                                                  source: Any, identifier: int) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = known_peer(overlay)
    script_entropy(700)
    overlay.send_ping(peer)
    manual_clock.advance(0.25)
    overlay.on_packet((UDPv4Address(*source), overlay.create_pong(identifier)))
    assert not peer.pings
    assert peer.last_response == 0
    assert overlay.drops == {"unsolicited": 1}
    assert overlay.request_cache.has(PingRequestCache, 700)


async def test_pings_work_for_ever(make_overlay: Any) -> None:
    first, second = make_overlay(DiscoveryCommunity), make_overlay(DiscoveryCommunity)
    peer = known_peer(first, second.endpoint.wan_address)
    first.my_peer.update_clock(65535 * 3)
    first.send_ping(peer)
    await settle()
    assert len(peer.pings) == 1


async def test_ping_identifiers_cannot_be_guessed_from_the_clock(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = make_peer()
    for _ in range(20):
        overlay.send_ping(peer)
    identifiers = [int.from_bytes(packet[-2:], "big") for _, packet in overlay.endpoint.sent]
    assert len(set(identifiers)) == 20
    assert identifiers != sorted(identifiers)


async def test_ping_that_is_not_answered(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = known_peer(overlay)
    with overlay.request_cache.passthrough(PingRequestCache):
        overlay.send_ping(peer)
    await settle()
    assert not peer.pings
    assert peer in overlay.network.verified_peers
    assert not overlay.request_cache.get_tasks()


async def test_ping_cache(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    cache = PingRequestCache(overlay.request_cache, 65536 + 5, make_peer(), 1.0)
    assert (cache.prefix, cache.number, cache.timeout_delay, cache.address) == ("discoverypingcache", 5, 5.0, SOURCE)


async def test_answers_are_not_larger_than_pings(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    ping = overlay.create_ping(1)
    overlay.on_packet((SOURCE, ping))
    ((target, pong),) = overlay.endpoint.sent
    assert target == SOURCE
    assert len(pong) <= len(ping)


async def test_churn_keeps_who_answers_and_drops_who_does_not(make_overlay: Any, manual_clock: Any) -> None:
    overlay, other = make_overlay(DiscoveryCommunity), make_overlay(DiscoveryCommunity)
    present = known_peer(overlay, other.endpoint.wan_address)
    silent = known_peer(overlay, make_overlay(DiscoveryCommunity, deliver=False).endpoint.wan_address)
    churn = overlay.get_available_strategies()["RandomChurn"](overlay, ping_interval=0)
    assert isinstance(churn, RandomChurn)
    for _ in range(3):
        manual_clock.advance(30)
        churn.take_step()
        await settle()
    assert overlay.network.verified_peers == {present}
    assert silent not in overlay.network.verified_peers
    assert present.last_response == manual_clock.now


# -- similarity ------------------------------------------------------------------------------------------------------

class OtherCommunity(Community):
    community_id = b"o" * 20


class ThirdCommunity(Community):
    community_id = b"t" * 20


def add_overlay(overlay: Any, overlay_class: type[Community], my_peer: Peer) -> Community:
    """Another overlay on the same node."""
    return overlay_class(overlay_class.settings_class(my_peer=my_peer, endpoint=overlay.endpoint,
                                                      network=overlay.network))


async def test_introductions_are_followed_by_a_question(make_overlay: Any) -> None:
    first, second = make_overlay(DiscoveryCommunity), make_overlay(DiscoveryCommunity)
    first.walk_to(second.endpoint.wan_address)
    await settle()
    assert first.network.get_services_for_peer(second.my_peer) == {DISCOVERY_ID}
    assert second.network.get_services_for_peer(first.my_peer) == {DISCOVERY_ID}
    assert SimilarityRequestPayload.msg_id in {packet[22] for _, packet in first.endpoint.sent}


async def test_each_key_tells_its_own_overlays(make_overlay: Any) -> None:
    first, second = make_overlay(DiscoveryCommunity), make_overlay(DiscoveryCommunity)
    alias = Peer(default_eccrypto.generate_key("curve25519"), first.endpoint.wan_address)
    others = [add_overlay(first, OtherCommunity, alias), add_overlay(first, ThirdCommunity, first.my_peer)]

    assert first.get_my_overlays(alias) == [b"o" * 20]
    assert first.get_my_overlays(first.my_peer) == [DISCOVERY_ID, b"t" * 20]
    first.send_similarity_request(second.endpoint.wan_address)
    await settle()
    network = second.network
    assert network.get_services_for_peer(first.my_peer) == {DISCOVERY_ID, b"t" * 20}
    assert network.get_services_for_peer(alias) == {b"o" * 20}
    assert not network.verified_peers  # asking alone makes nobody a peer
    assert first.network.verified_peers == {second.my_peer}  # answering does

    network.discover_services(first.my_peer, [])
    second.send_similarity_request(first.endpoint.wan_address)
    await settle()
    assert network.verified_peers == {first.my_peer, alias}
    for other in others:
        await other.unload()


async def test_similarity_response_when_there_is_no_room(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False, max_peers=0)
    inside, outside = known_peer(overlay), make_peer(UDPv4Address("9.9.9.8", 1))
    for peer in (inside, outside):
        overlay.on_packet((peer.address, signed(overlay, peer, SimilarityResponsePayload(1, [b"x" * 20], []))))
    assert overlay.network.get_services_for_peer(inside) == {DISCOVERY_ID, b"x" * 20}
    assert overlay.network.verified_peers == {inside}
    assert not overlay.network.get_services_for_peer(outside)


async def test_similarity_does_not_move_a_proven_peer(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = known_peer(overlay)
    overlay.network.mark_proven(peer)
    elsewhere = UDPv4Address("6.6.6.6", 6)
    packet = signed(overlay, Peer(peer.key), SimilarityResponsePayload(1, [], []))
    overlay.on_packet((elsewhere, packet))
    assert peer.address == SOURCE
    assert overlay.network.get_verified_by_address(elsewhere) is None


async def test_similarity_lists_are_bounded(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = make_peer()
    many = [number.to_bytes(20, "big") for number in range(3000)]
    overlay.on_packet((SOURCE, signed(overlay, peer, SimilarityRequestPayload(1, SOURCE, SOURCE, "unknown", many))))
    assert len(overlay.network.get_services_for_peer(peer)) == 200

    overlay.network.service_overlays.update(dict.fromkeys(many, overlay))
    _, _, payload = decode(overlay, overlay.create_similarity_request(overlay.my_peer), SimilarityRequestPayload)
    assert len(payload.preference_list) == MAX_LISTED_SERVICES
    assert len(overlay.create_similarity_response(1, overlay.my_peer)) < 1472


async def test_similarity_responses_to_one_address_are_limited(make_overlay: Any, manual_clock: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    packet = signed(overlay, make_peer(), SimilarityRequestPayload(1, SOURCE, SOURCE, "unknown", []))
    for _ in range(int(SIMILARITY_RESPONSES_AT_ONCE) + 5):
        overlay.on_packet((SOURCE, packet))
    assert len(overlay.endpoint.sent) == SIMILARITY_RESPONSES_AT_ONCE
    assert overlay.drops == {"rate_limited": 5}
    manual_clock.advance(1.0)
    overlay.on_packet((SOURCE, packet))
    assert len(overlay.endpoint.sent) > SIMILARITY_RESPONSES_AT_ONCE


async def test_similarity_responses_to_proven_peers_are_not_limited(make_overlay: Any, manual_clock: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = known_peer(overlay)
    overlay.network.mark_proven(peer)
    packet = signed(overlay, peer, SimilarityRequestPayload(1, SOURCE, SOURCE, "unknown", []))
    for _ in range(int(SIMILARITY_RESPONSES_AT_ONCE) + 5):
        overlay.on_packet((SOURCE, packet))
    assert not overlay.drops
    assert len(overlay.endpoint.sent) == SIMILARITY_RESPONSES_AT_ONCE + 5


async def test_response_goes_to_the_sender_with_its_identifier(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peer = make_peer()
    overlay.on_packet((SOURCE, signed(overlay, peer, SimilarityRequestPayload(77, SOURCE, SOURCE, "unknown", []))))
    ((target, packet),) = overlay.endpoint.sent
    author, _, payload = decode(overlay, packet, SimilarityResponsePayload)
    assert (target, author, payload.identifier, payload.preference_list) == (SOURCE, overlay.my_peer, 77,
                                                                             [DISCOVERY_ID])


async def test_periodic_similarity(make_overlay: Any, manual_clock: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    strategy = overlay.get_available_strategies()["PeriodicSimilarity"](overlay)
    assert isinstance(strategy, PeriodicSimilarity)
    strategy.take_step()
    assert not overlay.endpoint.sent
    known_peer(overlay)
    asked = []
    for _ in range(5):
        strategy.take_step()
        asked.append(len(overlay.endpoint.sent))
        manual_clock.advance(0.5)
    assert asked == [1, 1, 2, 2, 3]
    assert {target for target, _ in overlay.endpoint.sent} == {SOURCE}


# -- introduction requests -------------------------------------------------------------------------------------------

async def test_normal_request_is_verified_once(make_overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay, other = make_overlay(DiscoveryCommunity, deliver=False), make_overlay(DiscoveryCommunity, deliver=False)
    packet = other.create_introduction_request(overlay.endpoint.wan_address)
    key_class = type(other.my_peer.public_key)
    verified: list[bytes] = []
    original = key_class.verify
    monkeypatch.setattr(key_class, "verify", lambda self, signature, data: (
        verified.append(data) or original(self, signature, data)))  # type: ignore[func-returns-value]  # a spy
    overlay.on_packet((other.endpoint.wan_address, packet))
    assert len(verified) == 1
    ((target, response),) = overlay.endpoint.sent
    assert target == other.endpoint.wan_address
    assert response[22] == IntroductionResponsePayload.msg_id
    (peer,) = overlay.network.verified_peers
    assert peer == other.my_peer
    assert peer.addresses[UDPv4LANAddress] == other.my_estimated_lan


@pytest.mark.parametrize("host", ["89.1.2.3", "88.1.2.3"])
@pytest.mark.parametrize("extra", [0, 1, 20, 21, 40])
async def test_destinations_and_extra_bytes_do_not_make_a_request_a_legacy_one(make_overlay: Any, host: str,
                                                                              extra: int) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    other = make_overlay(DiscoveryCommunity, deliver=False)
    packet = other.create_introduction_request(UDPv4Address(host, 5), extra_bytes=bytes(extra))
    overlay.on_packet((other.endpoint.wan_address, packet))
    assert overlay.network.verified_peers == {other.my_peer}
    _, _, payload = decode(overlay, overlay.endpoint.sent[-1][1], IntroductionResponsePayload)
    assert payload.destination_address == other.endpoint.wan_address


async def test_legacy_vector(make_overlay: Any, vectors: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    packet = vector(vectors, "discovery_introduction_request_2014")
    overlay.on_packet((SOURCE, bytes.fromhex(packet["packet"])))
    (peer,) = overlay.network.verified_peers
    assert peer.public_key.key_to_bin().hex() == packet["public_key"]
    _, _, payload = decode(overlay, overlay.endpoint.sent[-1][1], IntroductionResponsePayload)
    assert payload.identifier == 41


async def test_legacy_request_introduces_whom_it_asks_for(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    peers = [known_peer(overlay, UDPv4Address(f"7.7.7.{number}", 7)) for number in range(1, 20)]
    requester = make_peer()
    for wanted in (peers[3], peers[-1]):
        payload = DiscoveryIntroductionRequestPayload(wanted.mid, overlay.endpoint.wan_address, SOURCE, SOURCE, True,
                                                      "unknown", 5, b"", supports_new_style=False)
        overlay.endpoint.sent.clear()
        overlay.on_packet((SOURCE, signed(overlay, requester, payload)))
        (puncture_target, puncture), (target, response) = overlay.endpoint.sent
        assert (puncture_target, puncture[22]) == (wanted.address, PunctureRequestPayload.msg_id)
        assert target == SOURCE
        _, _, answer = decode(overlay, response, IntroductionResponsePayload)
        assert (answer.wan_introduction_address, answer.identifier) == (wanted.address, 5)


async def test_legacy_request_for_somebody_unknown_gets_anybody(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    anybody = known_peer(overlay, UDPv4Address("7.7.7.7", 7))
    requester = make_peer()
    for mid in (b"?" * 20, requester.mid):
        payload = DiscoveryIntroductionRequestPayload(mid, overlay.endpoint.wan_address, SOURCE, SOURCE, True,
                                                      "unknown", 5, b"", supports_new_style=False)
        overlay.on_packet((SOURCE, signed(overlay, requester, payload)))
        _, _, answer = decode(overlay, overlay.endpoint.sent[-1][1], IntroductionResponsePayload)
        assert answer.wan_introduction_address == anybody.address


async def test_requests_beyond_the_capacity_are_not_answered(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False, max_peers=0)
    overlay.network.mark_proven(known_peer(overlay))
    other = make_overlay(DiscoveryCommunity, deliver=False)
    overlay.on_packet((SOURCE, other.create_introduction_request(overlay.endpoint.wan_address)))
    assert IntroductionResponsePayload.msg_id not in {packet[22] for _, packet in overlay.endpoint.sent}
    assert len(overlay.network.verified_peers) == 1


# -- strangers -------------------------------------------------------------------------------------------------------

async def test_forged_packets_change_nothing(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    for payload in (SimilarityRequestPayload(1, SOURCE, SOURCE, "unknown", [b"x" * 20]),
                    SimilarityResponsePayload(1, [b"x" * 20], [])):
        packet = bytearray(signed(overlay, make_peer(), payload))
        packet[-1] ^= 1
        overlay.on_packet((SOURCE, bytes(packet)))
    assert overlay.drops == {"bad_signature": 2}
    assert not overlay.network.services_per_peer
    assert not overlay.network.verified_peers
    assert not overlay.endpoint.sent


@settings(deadline=None, max_examples=60)
@given(msg_id=st.sampled_from([1, 2, 3, 4, 246]), body=st.binary(max_size=120))
def test_any_bytes_are_survived(msg_id: int, body: bytes) -> None:
    async def receive() -> None:
        from ipv8.peerdiscovery.network import Network
        from ipv8.test.mocking.endpoint import AutoMockEndpoint

        endpoint = AutoMockEndpoint()
        endpoint.open()
        overlay = DiscoveryCommunity(DiscoveryCommunity.settings_class(my_peer=make_peer(), endpoint=endpoint,
                                                                       network=Network()))
        overlay.endpoint.send = lambda *_: None  # type: ignore[method-assign]  # pongs to nowhere
        overlay.logger.error = pytest.fail  # type: ignore[method-assign, assignment]  # never a traceback
        overlay.on_packet((SOURCE, overlay.get_prefix() + bytes((msg_id,)) + body))
        await overlay.unload()

    asyncio.run(receive())


async def test_unload_ends_all_tasks(make_overlay: Any) -> None:
    overlay = make_overlay(DiscoveryCommunity, deliver=False)
    overlay.send_ping(make_peer())
    await overlay.unload()
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_ids() -> None:
    assert (PingPayload.msg_id, PongPayload.msg_id) == (3, 4)
    assert issubclass(PongPayload, PingPayload)
