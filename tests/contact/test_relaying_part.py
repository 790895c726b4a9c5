"""Relaying without sockets, clocks and communities: which envelopes are carried, taken in or dropped."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipv8.contact.carriage import ATTEMPT_PAUSE, BYTES_AT_ONCE, DIRECT_PAUSE
from ipv8.contact.parts import Contact
from ipv8.contact.relaying import (
    MAX_RELAYED_SIZE,
    RELAYED_PEERS,
    RELAYED_PEERS_PER_CARRIER,
    CarryOn,
    Deliver,
    Dropped,
    Relaying,
    carrier_in_request,
    naming_carrier,
    overlay_address,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import RelayedAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.inet import RELAYED_PORT, overlay_host
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.payload import NewIntroductionRequestPayload
from ipv8.messaging.payload_relay import RelayPayload
from ipv8.messaging.serialization import default_serializer
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

SERVICE = b"s" * 20
WALL, NOW = 1_700_000_000.0, 100.0
COUNTER = int(WALL * 1e6)
WAN, LAN = UDPv4Address("9.9.9.9", 9), UDPv4Address("192.168.1.5", 9)
ELSEWHERE = UDPv4Address("8.8.8.8", 8)


def make_peer(number: int, proven: bool = True) -> Peer:
    peer = Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address(f"20.{number}.1.1", 1))
    peer.proven = proven
    return peer


class Host:
    """All that relaying needs of an overlay."""

    community_id = SERVICE
    max_peers = 30
    my_estimated_wan: Any = WAN
    my_estimated_lan: Any = LAN

    def __init__(self) -> None:
        self.network = Network()
        self.my_peer = Peer(default_eccrypto.generate_key("curve25519"))

    def get_peers(self) -> list[Peer]:
        return self.network.get_peers_for_service(SERVICE)

    def join(self, *peers: Peer) -> None:
        for peer in peers:
            self.network.add_verified_peer(peer)
            self.network.discover_services(peer, [SERVICE])


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def neighbour(host: Host) -> Peer:
    peer = make_peer(1)
    host.join(peer)
    return peer


@pytest.fixture
def other(host: Host) -> Peer:
    peer = make_peer(2)
    host.join(peer)
    return peer


def home(peer: Peer) -> UDPv6Address:
    return UDPv6Address(overlay_host(peer.mid), RELAYED_PORT)


def receive(relaying: Relaying, neighbour: Peer, author: Peer, destination: Any, packet: bytes = b"packet",
            counter: int = COUNTER, now: float = NOW) -> CarryOn | Deliver | Dropped:
    payload = RelayPayload(destination, counter, packet)
    return relaying.on_envelope(neighbour, author.mid, payload, 200 + len(packet), WALL, now)


def request(author: Peer, told_lan: Any = LAN) -> bytes:
    """An introduction request in the new style, with a signature that nobody looks at here."""
    payload = NewIntroductionRequestPayload(WAN, told_lan, ELSEWHERE, 7, 0, 0, 0, 0, 0, 0, 0, 0, b"")
    return (bytes(22) + b"\xea" + pack(">H", len(author.key_bin)) + author.key_bin + bytes(8)
            + default_serializer.pack_serializable(payload) + bytes(64))


def test_it_is_a_part_that_is_made_on_first_use(host: Host) -> None:
    contact = Contact(host)
    assert contact.relaying is contact.relaying
    assert not hasattr(contact.relaying, "__dict__")


class TestCarrying:
    def test_an_envelope_of_a_peer_goes_on_to_another_one(self, host: Host, neighbour: Peer, other: Peer) -> None:
        relaying = Relaying(host)
        assert receive(relaying, neighbour, neighbour, other.address) == CarryOn(other)
        assert receive(relaying, neighbour, neighbour, home(other), counter=COUNTER + 1) == CarryOn(other)

    @pytest.mark.parametrize("proven", [True, False])
    def test_it_goes_to_nobody_who_may_not_want_it(self, host: Host, neighbour: Peer, proven: bool) -> None:
        relaying, stranger, relayed = Relaying(host), make_peer(3), make_peer(4)
        unproven = make_peer(5, proven=False)
        relayed.addresses.clear()
        relayed.add_address(overlay_address(relayed.mid))
        host.join(relayed, unproven)
        for number, destination in enumerate([home(stranger), home(neighbour), home(relayed), home(unproven),
                                              unproven.address, ELSEWHERE]):
            assert receive(relaying, neighbour, neighbour, destination, counter=COUNTER + number) == Dropped(
                DropCounter.NO_ROUTE)

    def test_it_goes_once(self, host: Host, neighbour: Peer, other: Peer) -> None:
        relaying = Relaying(host)
        assert receive(relaying, neighbour, neighbour, home(other)) == CarryOn(other)
        assert receive(relaying, neighbour, neighbour, home(other)) == Dropped(DropCounter.REPLAYED)

    def test_one_author_uses_up_nothing_of_others(self, host: Host, neighbour: Peer, other: Peer) -> None:
        relaying, third = Relaying(host), make_peer(3)
        host.join(third)
        results = [receive(relaying, neighbour, neighbour, home(other), bytes(1400), COUNTER + number)
                   for number in range(300)]
        assert results[-1] == Dropped(DropCounter.RATE_LIMITED)
        assert results.count(CarryOn(other)) <= BYTES_AT_ONCE / 1600
        assert receive(relaying, third, third, home(other)) == CarryOn(other)

    @pytest.mark.parametrize("packet", [bytes(MAX_RELAYED_SIZE + 1), bytes(22) + b"\xe6" + b"envelope"])
    def test_big_packets_and_envelopes_are_not_carried(self, host: Host, neighbour: Peer, other: Peer,
                                                       packet: bytes) -> None:
        relaying = Relaying(host)
        assert receive(relaying, neighbour, neighbour, home(other), packet) == Dropped(DropCounter.UNDECODABLE)
        assert receive(relaying, neighbour, neighbour, home(other)) == CarryOn(other), "the counter is not used"

    def test_the_cost_of_a_look_up_does_not_grow(self, host: Host, neighbour: Peer) -> None:
        target = make_peer(7)
        host.join(*(make_peer(number % 200) for number in range(8, 300)), target)
        asked: list[str] = []

        class Watched(dict[bytes, Peer]):
            def __iter__(self) -> Any:
                asked.append("a scan")
                return super().__iter__()

        assert host.network.get_verified_by_mid(bytes(20)) is None  # from here on there is an index
        host.network._by_short_mid = Watched(host.network._by_short_mid or {})
        host.get_peers = lambda: asked.append("all peers") or []  # type: ignore[method-assign,func-returns-value]
        assert receive(Relaying(host), neighbour, neighbour, home(target)) == CarryOn(target)
        assert not asked


class TestTakingIn:
    def test_what_is_for_this_key_is_delivered(self, host: Host, neighbour: Peer) -> None:
        relaying, author = Relaying(host), make_peer(3)
        source = overlay_address(author.mid)
        assert receive(relaying, neighbour, author, home(host.my_peer)) == Deliver(source, b"packet")
        assert type(source) is RelayedAddress
        assert relaying.carrier_to(source, NOW) is neighbour

    def test_what_is_for_another_key_is_not(self, host: Host, neighbour: Peer, other: Peer) -> None:
        relaying, author = Relaying(host), make_peer(3)
        assert receive(relaying, neighbour, author, home(other)) == Dropped(DropCounter.NO_ROUTE)
        assert relaying.carrier_to(overlay_address(author.mid), NOW) is None

    @pytest.mark.parametrize("address", [WAN, UDPv4Address(WAN.ip, 77), LAN, UDPv4Address("7.7.7.7", 7)])
    def test_a_first_request_to_an_own_address_is_delivered(self, host: Host, neighbour: Peer, address: Any) -> None:
        host.my_peer.address = UDPv4Address("7.7.7.7", 7)
        author = make_peer(3)
        for number, packet in enumerate([request(author), request(author, naming_carrier(neighbour))]):
            assert receive(Relaying(host), neighbour, author, address, packet, COUNTER + number) == Deliver(
                overlay_address(author.mid), packet)

    def test_it_must_be_brought_by_the_carrier_that_it_names(self, host: Host, neighbour: Peer, other: Peer) -> None:
        relaying, author = Relaying(host), make_peer(3)
        packet = request(author, naming_carrier(other))
        assert receive(relaying, neighbour, author, WAN, packet) == Dropped(DropCounter.NO_ROUTE)
        assert receive(relaying, other, author, WAN, packet) == Deliver(overlay_address(author.mid), packet)
        assert relaying.carrier_to(overlay_address(author.mid), NOW) is other

    def test_it_must_be_for_an_own_address(self, host: Host, neighbour: Peer) -> None:
        author = make_peer(3)
        assert receive(Relaying(host), neighbour, author, ELSEWHERE, request(author)) == Dropped(DropCounter.NO_ROUTE)

    @pytest.mark.parametrize("packet", [b"", b"packet", bytes(22) + b"\xf9" + bytes(200)])
    def test_nothing_but_a_first_request_is_for_an_address(self, host: Host, neighbour: Peer, packet: bytes) -> None:
        assert receive(Relaying(host), neighbour, make_peer(3), WAN, packet) == Dropped(DropCounter.UNDECODABLE)

    def test_an_envelope_for_an_address_changes_no_route(self, host: Host, neighbour: Peer, other: Peer) -> None:
        relaying, author = Relaying(host), make_peer(3)
        source = overlay_address(author.mid)
        receive(relaying, neighbour, author, home(host.my_peer))
        assert isinstance(receive(relaying, other, author, WAN, request(author), COUNTER + 1), Deliver)
        assert relaying.carrier_to(source, NOW) is neighbour
        receive(relaying, other, author, home(host.my_peer), counter=COUNTER + 2)
        assert relaying.carrier_to(source, NOW) is other, "this one was made for us"

    def test_what_is_refused_uses_no_counter(self, host: Host, neighbour: Peer) -> None:
        relaying, author = Relaying(host), make_peer(3)
        receive(relaying, neighbour, author, ELSEWHERE)
        assert isinstance(receive(relaying, neighbour, author, home(host.my_peer)), Deliver)

    @given(st.binary(max_size=300))
    def test_any_packet_is_looked_at_without_an_error(self, packet: bytes) -> None:
        for start in (b"", bytes(22) + b"\xea"):
            carrier_in_request(start + packet)


class TestSending:
    def test_an_answer_goes_back_by_the_same_way(self, host: Host, neighbour: Peer) -> None:
        relaying, author = Relaying(host), make_peer(3)
        source = overlay_address(author.mid)
        assert relaying.wrap(source, b"answer", WALL, NOW) == Dropped(DropCounter.SEND_NO_ROUTE)
        receive(relaying, neighbour, author, home(host.my_peer))
        counters = []
        for wall in (WALL, WALL, WALL - 1000.0, WALL + 1):
            wrapped = relaying.wrap(source, b"answer", wall, NOW)
            assert not isinstance(wrapped, Dropped)
            envelope = wrapped[1]
            assert wrapped[0] is neighbour
            assert (envelope.destination, envelope.packet) == (source, b"answer")
            counters.append(envelope.counter)
        assert counters == [COUNTER, COUNTER + 1, COUNTER + 2, COUNTER + 1_000_000]

    def test_what_cannot_be_carried_is_not_wrapped(self, host: Host, neighbour: Peer) -> None:
        relaying, author = Relaying(host), make_peer(3)
        source = overlay_address(author.mid)
        receive(relaying, neighbour, author, home(host.my_peer))
        assert isinstance(relaying.wrap(source, bytes(MAX_RELAYED_SIZE + 1), WALL, NOW), Dropped)
        host.network.remove_peer(neighbour)
        assert isinstance(relaying.wrap(source, b"answer", WALL, NOW), Dropped)

    def test_an_introducer_is_asked_to_carry(self, host: Host, neighbour: Peer) -> None:
        relaying = Relaying(host)
        assert relaying.may_ask_to_carry(neighbour, ELSEWHERE, NOW)
        wrapped = relaying.wrap(ELSEWHERE, b"request", WALL, NOW)
        assert not isinstance(wrapped, Dropped)
        assert wrapped[0] is neighbour
        assert wrapped[1].destination == ELSEWHERE
        assert not relaying.may_ask_to_carry(neighbour, ELSEWHERE, NOW + 1), "so soon again"
        assert relaying.may_ask_to_carry(neighbour, ELSEWHERE, NOW + ATTEMPT_PAUSE)

    def test_not_everybody_is_asked(self, host: Host, neighbour: Peer) -> None:
        relaying, relayed = Relaying(host), make_peer(4)
        relayed.addresses.clear()
        relayed.add_address(overlay_address(relayed.mid))
        host.join(relayed)
        neighbour.proven = False
        for peer in (None, relayed, neighbour):
            assert not relaying.may_ask_to_carry(peer, ELSEWHERE, NOW)
        assert isinstance(relaying.wrap(ELSEWHERE, b"request", WALL, NOW), Dropped)


class TestRelayedPeers:
    def join(self, host: Host, relaying: Relaying, number: int, carrier: Peer) -> Peer:
        """A peer that ``carrier`` brings."""
        peer = make_peer(number)
        peer.addresses.clear()
        peer.add_address(overlay_address(peer.mid))
        receive(relaying, carrier, peer, home(host.my_peer))
        host.join(peer)
        relaying.note_peer(peer)
        return peer

    def test_there_is_room_for_few(self, host: Host) -> None:
        relaying, carriers = Relaying(host), [make_peer(number) for number in range(4)]
        host.join(*carriers)
        newcomer = make_peer(99)
        joined: list[Peer] = []
        for carrier in carriers:
            for _ in range(RELAYED_PEERS_PER_CARRIER):
                receive(relaying, carrier, newcomer, home(host.my_peer), counter=COUNTER + len(joined))
                assert relaying.has_room(overlay_address(newcomer.mid), NOW) is (len(joined) < RELAYED_PEERS)
                if len(joined) < RELAYED_PEERS:
                    joined.append(self.join(host, relaying, 100 + len(joined), carrier))
            receive(relaying, carrier, newcomer, home(host.my_peer), counter=COUNTER + 100 + len(joined))
            assert not relaying.has_room(overlay_address(newcomer.mid), NOW)
        host.network.remove_peer(joined[0])
        receive(relaying, carriers[3], newcomer, home(host.my_peer), counter=COUNTER + 1000)
        assert relaying.has_room(overlay_address(newcomer.mid), NOW)
        joined[1].add_address(ELSEWHERE)
        assert len(relaying._relayed_addresses()) == RELAYED_PEERS - 2, "one left, and one is reached directly"

    def test_who_answered_by_relay_is_met(self, host: Host, neighbour: Peer) -> None:
        relaying = Relaying(host)
        peer = self.join(host, relaying, 5, neighbour)
        assert not relaying.is_met(ELSEWHERE, NOW)
        relaying.note_answer(ELSEWHERE, peer, NOW)
        assert relaying.is_met(ELSEWHERE, NOW)
        assert not relaying.is_met(ELSEWHERE, NOW + DIRECT_PAUSE), "it is tried directly now and then"
        host.network.remove_peer(peer)
        assert not relaying.is_met(ELSEWHERE, NOW)
