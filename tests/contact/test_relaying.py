"""Packets that a peer of both carries between two peers who cannot reach each other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8 import clock
from ipv8.community import Community, CommunitySettings
from ipv8.contact.nat import PeerPath
from ipv8.contact.relaying import MAX_RELAYED_SIZE, RELAYED_PEERS_PER_CARRIER
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.address import RelayedAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.inet import RELAYED_PORT, overlay_host
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.gate import Route
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.payload_relay import RelayPayload
from ipv8.messaging.serialization import default_serializer
from ipv8.peer import Peer
from ipv8.test.clock import ManualClock
from ipv8.test.mocking.endpoint import MockEndpointListener

LATER = int((clock.time() + 3600) * 1e6)
"""A counter that no envelope of these tests has yet."""


class Word(VariablePayload):
    msg_id = 1
    format_list = ["varlenHutf8"]
    names = ["word"]
    word: str


class Unsigned(Word):
    msg_id = 2


class Talk(Community):
    community_id = b"talk through a third"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.heard: list[tuple[Any, str]] = []
        self.add_message_handler(Word, self.on_word)
        self.add_message_handler(Unsigned, self.on_unsigned)

    @lazy_wrapper(Word)
    def on_word(self, peer: Peer, payload: Word) -> None:
        self.heard.append((peer, payload.word))

    @lazy_wrapper_unsigned(Unsigned)
    def on_unsigned(self, source: Any, payload: Unsigned) -> None:
        self.heard.append((source, payload.word))
        self.endpoint.send(source, self.ezr_pack(Word.msg_id, Word("heard " + payload.word)))


async def settle(rounds: int = 20) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


def acquaint(one: Any, other: Any) -> None:
    """Make two overlays proven peers of each other."""
    for mine, theirs in ((one, other), (other, one)):
        peer = Peer(theirs.my_peer.public_key, theirs.endpoint.wan_address)
        peer.new_style_intro = True
        mine.network.add_verified_peer(peer)
        mine.network.discover_services(peer, [Talk.community_id])
        mine.network.mark_proven(peer)


def as_seen_by(overlay: Any, other: Any) -> Peer:
    """The peer object that ``overlay`` has for ``other``."""
    return overlay.network.verified_by_public_key_bin[other.my_peer.public_key.key_to_bin()]  # type: ignore[no-any-return]


@pytest.fixture
def three(make_overlay: Any) -> tuple[Any, Any, Any]:
    """Alice and Carol, who both know Bob, who told Alice of Carol."""
    alice, bob, carol = (make_overlay(Talk) for _ in range(3))
    acquaint(alice, bob)
    acquaint(bob, carol)
    alice.network.discover_address(as_seen_by(alice, bob), carol.endpoint.wan_address, Talk.community_id, True)
    return alice, bob, carol


def envelope(author: Any, destination: Any, packet: bytes, counter: int = 1) -> bytes:
    return author.ezr_pack(RelayPayload.msg_id, RelayPayload(destination, counter, packet))  # type: ignore[no-any-return]


def home(overlay: Any) -> UDPv6Address:
    return UDPv6Address(overlay_host(overlay.my_peer.mid), RELAYED_PORT)


async def connect(three: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    alice, _, carol = three
    alice.on_walk_failed(carol.endpoint.wan_address)
    await settle()
    return three


def test_the_envelope_on_the_wire() -> None:
    key = default_eccrypto.key_from_private_bin(b"LibNaCLSK:" + bytes(range(64)))
    payload = RelayPayload(UDPv6Address(overlay_host(key.pub().key_to_hash()), RELAYED_PORT), 7, b"packet")
    assert RelayPayload.msg_id == 230
    assert default_serializer.pack_serializable(payload).hex() == (
        "03" "20010021f37c16019b1ce0dff055275a" "0001" "0000000000000007" "7061636b6574")


async def test_a_peer_of_both_brings_two_together(three: tuple[Any, Any, Any]) -> None:
    alice, bob, carol = await connect(three)
    to_carol = as_seen_by(alice, carol)
    assert to_carol.path == PeerPath.RELAYED
    assert to_carol.proven
    assert to_carol.address == home(carol)
    assert isinstance(to_carol.address, RelayedAddress)
    assert as_seen_by(carol, alice).address == home(alice)
    assert carol.endpoint.wan_address not in {to for to, _ in alice.endpoint.sent}
    assert alice.endpoint.wan_address not in {to for to, _ in carol.endpoint.sent}
    assert not alice.drops
    assert not bob.drops
    assert not carol.drops


async def test_messages_of_all_kinds_cross_in_both_directions(three: tuple[Any, Any, Any]) -> None:
    alice, bob, carol = await connect(three)
    alice.ez_send(as_seen_by(alice, carol), Word("hello"))
    await settle()
    assert carol.heard == [(as_seen_by(carol, alice), "hello")]
    carol.ez_send(as_seen_by(carol, alice), Unsigned("hi"), sig=False)
    await settle()
    assert alice.heard == [(home(carol), "hi")]
    assert carol.heard[1:] == [(as_seen_by(carol, alice), "heard hi")]
    assert not bob.heard


async def test_the_carrier_sends_on_what_it_got_and_no_more(three: tuple[Any, Any, Any]) -> None:
    alice, bob, carol = await connect(three)
    before = len(bob.endpoint.sent)
    alice.endpoint.sent.clear()
    alice.ez_send(as_seen_by(alice, carol), Word("hello"))
    await settle()
    (packet,) = [packet for to, packet in alice.endpoint.sent if to == bob.endpoint.wan_address]
    assert bob.endpoint.sent[before:] == [(carol.endpoint.wan_address, packet)]


async def test_a_relayed_peer_is_not_introduced_to_others(three: tuple[Any, Any, Any]) -> None:
    alice, bob, _ = await connect(three)
    assert alice.get_peer_for_introduction(exclude=as_seen_by(alice, bob), new_style=True) is None


async def test_a_direct_answer_ends_the_detour(three: tuple[Any, Any, Any]) -> None:
    alice, _, carol = await connect(three)
    alice.walk_to(carol.endpoint.wan_address)
    await settle()
    peer = as_seen_by(alice, carol)
    assert peer.path == PeerPath.DIRECT
    assert peer.address == carol.endpoint.wan_address
    assert RelayedAddress not in peer.addresses


async def test_our_own_address_is_not_learned_from_relayed_answers(three: tuple[Any, Any, Any]) -> None:
    alice, _, _ = three
    wan, own = alice.my_estimated_wan, dict(alice.my_peer.addresses)
    await connect(three)
    assert alice.my_estimated_wan == wan
    assert dict(alice.my_peer.addresses) == own


async def test_nor_when_a_peer_that_was_reached_directly_answers_by_relay(three: tuple[Any, Any, Any]) -> None:
    alice, bob, carol = three
    acquaint(alice, carol)
    as_seen_by(alice, carol).address = UDPv4Address("44.4.4.4", 4)  # where she is no more
    wan, own = alice.my_estimated_wan, dict(alice.my_peer.addresses)
    alice.network.discover_address(as_seen_by(alice, bob), carol.endpoint.wan_address, Talk.community_id, True)
    await connect(three)
    assert as_seen_by(alice, carol).addresses[RelayedAddress] == home(carol)
    assert alice.my_estimated_wan == wan
    assert dict(alice.my_peer.addresses) == own


@pytest.mark.parametrize("who", [0, 1, 2])
async def test_everybody_may_switch_it_off(make_overlay: Any, who: int) -> None:
    overlays = [make_overlay(Talk, relay=number != who) for number in range(3)]
    alice, bob, carol = overlays
    acquaint(alice, bob)
    acquaint(bob, carol)
    alice.network.discover_address(as_seen_by(alice, bob), carol.endpoint.wan_address, Talk.community_id, True)
    await connect((alice, bob, carol))
    assert alice.get_peers() == [as_seen_by(alice, bob)]
    assert carol.get_peers() == [as_seen_by(carol, bob)]
    assert overlays[who].drops == ({DropCounter.UNKNOWN_ID: 1} if who else {})


def test_an_anonymous_overlay_is_not_relayed(make_overlay: Any) -> None:
    assert not make_overlay(Talk, anonymize=True).relay
    assert make_overlay(Talk).relay


def test_an_overlay_with_a_message_of_that_number_keeps_it(make_overlay: Any) -> None:
    class Taken(Talk):
        def __init__(self, settings: CommunitySettings) -> None:
            super().__init__(settings)
            self.add_message_handler(RelayPayload.msg_id, self.on_mine)

        def on_mine(self, source_address: Any, data: bytes) -> None:
            """Nothing."""

    overlay = make_overlay(Taken)
    assert overlay.decode_map[RelayPayload.msg_id] == overlay.on_mine
    assert not overlay.relay
    with pytest.raises(RuntimeError, match="does so already"):
        overlay.add_message_handler(RelayPayload.msg_id, overlay.on_packet)


class TestLimits:
    """What strangers, authors and carriers cannot do."""

    async def test_a_stranger_has_nothing_carried(self, three: tuple[Any, Any, Any], make_overlay: Any) -> None:
        _, bob, carol = three
        mallory = make_overlay(Talk)
        bob.on_packet((mallory.endpoint.wan_address, envelope(mallory, carol.endpoint.wan_address, b"packet")))
        assert bob.drops == {DropCounter.UNSOLICITED: 1}
        assert not bob.endpoint.sent

    async def test_nobody_else_s_envelope_is_carried(self, three: tuple[Any, Any, Any], make_overlay: Any) -> None:
        alice, bob, carol = three
        mallory = make_overlay(Talk)
        word = mallory.ezr_pack(Word.msg_id, Word("x"))
        bob.on_packet((alice.endpoint.wan_address, envelope(mallory, carol.endpoint.wan_address, word)))
        assert not bob.endpoint.sent
        assert bob.drops == {DropCounter.NO_ROUTE: 1}, "nor is it taken in"
        bob.on_packet((alice.endpoint.wan_address, envelope(mallory, home(bob), word, 2)))
        assert [word for _, word in bob.heard] == ["x"], "it is for Bob, brought by Alice"

    @pytest.mark.parametrize("knows_a_way", [True, False])
    async def test_a_first_request_is_good_with_the_carrier_that_was_asked_only(
            self, three: tuple[Any, Any, Any], make_overlay: Any, knows_a_way: bool) -> None:
        alice, bob, carol = three
        alice.on_walk_failed(carol.endpoint.wan_address)
        ((_, letter),) = alice.endpoint.sent
        mallory, dave = make_overlay(Talk), make_overlay(Talk, wan=UDPv4Address(carol.endpoint.wan_address[0], 7))
        acquaint(mallory, dave)
        if knows_a_way:
            acquaint(bob, dave)
            dave.on_packet((bob.endpoint.wan_address, envelope(alice, home(dave), b"packet", 1)))
        before = dict(dave.drops)
        dave.on_packet((mallory.endpoint.wan_address, letter))
        assert dave.drops[DropCounter.NO_ROUTE] == before.get(DropCounter.NO_ROUTE, 0) + 1
        assert alice.my_peer not in dave.network.verified_peers
        route = dave.contact.relaying.carrier_to(home(alice), clock.monotonic())
        assert route == (as_seen_by(dave, bob) if knows_a_way else None)

    async def test_an_unproven_destination_gets_nothing(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, _ = three
        victim = UDPv4Address("99.9.9.9", 99)
        peer = Peer(default_eccrypto.generate_key("curve25519").pub(), victim)
        bob.network.add_verified_peer(peer)
        bob.network.discover_services(peer, [Talk.community_id])
        for counter, destination in enumerate((victim, UDPv6Address(overlay_host(peer.mid), RELAYED_PORT))):
            bob.on_packet((alice.endpoint.wan_address, envelope(alice, destination, b"packet", counter)))
        assert not bob.endpoint.sent
        assert bob.drops == {DropCounter.NO_ROUTE: 2}

    async def test_a_forged_envelope_goes_nowhere(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = await connect(three)
        before = len(bob.endpoint.sent)
        good = envelope(alice, home(carol), b"packet", LATER)
        bob.on_packet((alice.endpoint.wan_address, good[:-80] + bytes((good[-80] ^ 1,)) + good[-79:]))
        assert bob.drops == {DropCounter.BAD_SIGNATURE: 1}
        assert len(bob.endpoint.sent) == before

    async def test_a_recorded_envelope_is_good_once(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = await connect(three)
        again = envelope(alice, home(carol), alice.ezr_pack(Word.msg_id, Word("pay me")), LATER)
        for _ in range(3):
            bob.on_packet((alice.endpoint.wan_address, again))
            carol.on_packet((bob.endpoint.wan_address, again))
            await settle()
        assert [word for _, word in carol.heard] == ["pay me"]
        assert bob.drops == {DropCounter.REPLAYED: 2}

    async def test_what_is_for_somebody_else_is_not_taken_in(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = three
        lost = envelope(alice, home(bob), alice.ezr_pack(Word.msg_id, Word("for Bob")))
        carol.on_packet((bob.endpoint.wan_address, lost))
        assert not carol.heard
        assert carol.drops == {DropCounter.NO_ROUTE: 1}

    async def test_envelopes_are_not_put_into_envelopes(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = await connect(three)
        inner = envelope(alice, home(carol), b"packet", LATER)
        bob.on_packet((alice.endpoint.wan_address, envelope(alice, home(carol), inner, LATER - 1)))
        assert bob.drops == {DropCounter.UNDECODABLE: 1}

    async def test_big_packets_are_not_carried(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = await connect(three)
        alice.endpoint.send(as_seen_by(alice, carol).address, bytes(MAX_RELAYED_SIZE + 1))
        assert alice.endpoint.drops == {DropCounter.SEND_NO_ROUTE: 1}
        bob.on_packet((alice.endpoint.wan_address, envelope(alice, home(carol), bytes(MAX_RELAYED_SIZE + 1), LATER)))
        assert bob.drops == {DropCounter.UNDECODABLE: 1}

    async def test_who_sends_a_lot_waits(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = await connect(three)
        before = len(bob.endpoint.sent)
        with clock.use(ManualClock(clock.time(), clock.monotonic())):
            for _ in range(200):
                alice.endpoint.send(as_seen_by(alice, carol).address, bytes(MAX_RELAYED_SIZE))
            await settle()
        assert bob.drops[DropCounter.RATE_LIMITED] > 100
        assert len(bob.endpoint.sent) - before < 100

    async def test_one_carrier_brings_few_new_peers(self, three: tuple[Any, Any, Any], make_overlay: Any) -> None:
        _, bob, carol = three
        for _ in range(RELAYED_PEERS_PER_CARRIER + 5):
            newcomer = make_overlay(Talk)
            acquaint(newcomer, bob)
            newcomer.network.discover_address(as_seen_by(newcomer, bob), carol.endpoint.wan_address, Talk.community_id)
            newcomer.on_walk_failed(carol.endpoint.wan_address)
            await settle()
        assert sum(isinstance(peer.address, RelayedAddress) for peer in carol.get_peers()) == RELAYED_PEERS_PER_CARRIER
        assert carol.drops == {DropCounter.RATE_LIMITED: 5}

    async def test_without_a_carrier_nothing_is_sent(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = await connect(three)
        alice.network.remove_peer(as_seen_by(alice, bob))
        alice.endpoint.sent.clear()
        peer = as_seen_by(alice, carol)
        alice.ez_send(peer, Word("hello"))
        await settle()
        assert alice.endpoint.drops == {DropCounter.SEND_NO_ROUTE: 1}
        assert [to for to, _ in alice.endpoint.sent] == [peer.address]
        assert not carol.heard

    async def test_who_is_reached_by_relay_is_no_carrier(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = await connect(three)
        carrier = as_seen_by(alice, bob)
        carrier.addresses.clear()
        carrier.address = RelayedAddress(*home(bob))
        alice.endpoint.sent.clear()
        alice.ez_send(as_seen_by(alice, carol), Word("hello"))
        alice.network.discover_address(carrier, UDPv4Address("88.8.8.8", 8), Talk.community_id, True)
        alice.on_walk_failed(UDPv4Address("88.8.8.8", 8))
        await settle()
        assert [to for to, _ in alice.endpoint.sent] == [home(carol)]
        assert alice.endpoint.drops == {DropCounter.SEND_NO_ROUTE: 1}
        assert not carol.heard

    async def test_strangers_and_private_addresses_are_not_asked_for(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, _ = three
        alice.on_walk_failed(UDPv4Address("77.7.7.7", 7))
        private = UDPv4Address("10.1.2.3", 4)
        alice.network.discover_address(as_seen_by(alice, bob), private, Talk.community_id, True)
        alice.on_walk_failed(private)
        assert not alice.endpoint.sent

    async def test_an_attempt_is_not_repeated_at_once(self, three: tuple[Any, Any, Any]) -> None:
        alice, _, carol = three
        alice.endpoint.deliver = False
        for _ in range(5):
            alice.on_walk_failed(carol.endpoint.wan_address)
        assert len(alice.endpoint.sent) == 1

    async def test_an_unsolicited_answer_by_relay_is_refused(self, three: tuple[Any, Any, Any]) -> None:
        alice, bob, carol = three
        answer = carol.create_introduction_response(home(alice), UDPv6Address(*home(alice)), 4711, new_style=True)
        alice.on_packet((bob.endpoint.wan_address, envelope(carol, home(alice), answer)))
        assert alice.drops == {DropCounter.UNSOLICITED: 1}
        assert alice.get_peers() == [as_seen_by(alice, bob)]


async def test_an_unloaded_overlay_carries_nothing(three: tuple[Any, Any, Any]) -> None:
    alice, _, carol = await connect(three)
    address = as_seen_by(alice, carol).address
    await alice.unload()
    alice.endpoint.sent.clear()
    alice.endpoint.send(address, alice.get_prefix() + b"packet")
    await settle()
    assert [to for to, _ in alice.endpoint.sent] == [address]
    assert alice.endpoint.drops == {DropCounter.SEND_NO_ROUTE: 1}


async def test_another_overlay_that_knows_the_way_has_packets_carried(three: tuple[Any, Any, Any]) -> None:
    alice, bob, carol = await connect(three)
    to_carol = as_seen_by(alice, carol).address
    foreign = b"\x00\x02" + bytes(20) + b"\x01 of a service without overlay"
    collector = MockEndpointListener(carol.endpoint)
    carol.endpoint.remove_listener(collector)
    carol.endpoint.add_prefix_listener(collector, foreign[:22])
    alice.endpoint.send(to_carol, foreign)
    await settle()
    assert collector.received_packets == [(home(alice), foreign)]
    assert not bob.drops


async def test_packets_of_relays_enter_by_the_gate(three: tuple[Any, Any, Any]) -> None:
    alice, _, carol = await connect(three)
    routes: list[Route] = []
    handle = carol.decode_map[Word.msg_id]

    def note_route(*packet: Any) -> Any:
        routes.append(carol.endpoint.gate.route)
        return handle(*packet)

    carol.decode_map[Word.msg_id] = note_route
    alice.ez_send(as_seen_by(alice, carol), Word("by relay"))
    await settle()
    assert routes == [Route.RELAY]
    assert [word for _, word in carol.heard] == ["by relay"]
    carol.endpoint.accept_routes(carol.get_prefix(), Route.SOCKET)
    alice.ez_send(as_seen_by(alice, carol), Word("again"))
    await settle()
    assert [word for _, word in carol.heard] == ["by relay"]
    assert carol.endpoint.drops == {DropCounter.WRONG_ROUTE: 1}


async def test_an_overlay_that_does_not_relay_gets_nothing_by_relay(three: tuple[Any, Any, Any],
                                                                    make_overlay: Any) -> None:
    alice, _, carol = await connect(three)

    class Silent(Talk):
        community_id = b"not through a third "
        relayable = False

    silent = Silent(CommunitySettings(my_peer=carol.my_peer, endpoint=carol.endpoint, network=carol.network))
    alice.endpoint.send(as_seen_by(alice, carol).address, silent.ezr_pack(Word.msg_id, Word("hello")))
    await settle()
    assert not silent.heard
    assert carol.endpoint.drops == {DropCounter.WRONG_ROUTE: 1}
    await silent.unload()


async def test_a_first_request_by_relay_goes_to_where_the_stranger_is_said_to_be(three: tuple[Any, Any, Any]) -> None:
    alice, bob, carol = three
    alice.on_walk_failed(carol.endpoint.wan_address)
    ((to, packet),) = alice.endpoint.sent
    assert to == bob.endpoint.wan_address
    received, _ = default_serializer.unpack_serializable(RelayPayload, packet[:-64], 23 + 2 + 74)
    assert received.destination == carol.endpoint.wan_address
    assert received.packet[22] == 234
    assert alice.contact.introductions.waits_for(carol.endpoint.wan_address, clock.monotonic())
    await settle()
    assert as_seen_by(alice, carol).path == PeerPath.RELAYED


async def test_a_request_that_was_not_relayed_is_not_answered_by_relay(three: tuple[Any, Any, Any]) -> None:
    alice, bob, carol = await connect(three)
    elsewhere = UDPv4Address("77.7.7.7", 7)
    identifier = alice.contact.introductions.ask(elsewhere, lambda: 4711, clock.monotonic())
    answer = carol.create_introduction_response(home(alice), home(alice), identifier, new_style=True)
    alice.on_packet((bob.endpoint.wan_address, envelope(carol, home(alice), answer, LATER)))
    assert alice.drops == {DropCounter.UNSOLICITED: 1}


@pytest.mark.parametrize("make_endpoint", [UDPEndpoint, UDPv6Endpoint,
                                           lambda: DispatcherEndpoint(["UDPIPv4", "UDPIPv6"])])
async def test_real_endpoints_have_packets_carried(make_endpoint: Any) -> None:
    class Overlay:
        def __init__(self) -> None:
            self.asked: list[tuple[Any, bytes]] = []

        def carry(self, address: Any, packet: bytes) -> bool:
            self.asked.append((address, packet))
            return True

    overlay, packet = Overlay(), bytes(range(22)) + b"packet"
    address = RelayedAddress("2001:21::1", RELAYED_PORT)
    endpoint = make_endpoint()
    endpoint.routes.carriers.register(packet[:22], overlay.carry)
    await endpoint.open()
    try:
        endpoint.send(address, packet)
        assert overlay.asked == [(address, packet)]
        assert not endpoint.drops
        for plain in (UDPv6Address(*address), tuple(address), ("2001:0021:0::1", 1), (*address, 0, 0)):
            endpoint.send(plain, packet)
        assert overlay.asked == [(address, packet)]
        assert sum(endpoint.drops.values()) == 4
        assert endpoint.bytes_up == 0
    finally:
        closing = endpoint.close()
        if closing is not None:
            await closing


def test_relays_can_be_left_out_by_a_setting() -> None:
    assert CommunitySettings().relay
    assert Community.relayable
