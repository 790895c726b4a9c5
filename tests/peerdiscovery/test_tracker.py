"""The tracker: whom it introduces, whom it remembers, and what strangers cannot make it do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import clock
from ipv8.community import Community
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from ipv8.messaging.address import UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
    NewPunctureRequestPayload,
    PunctureRequestPayload,
)
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload, GlobalTimeDistributionPayload
from ipv8.messaging.serialization import default_serializer
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.peerdiscovery.tracker import PING_TIMEOUT, EndpointServer, TrackerChurn, TrackerLimits, TrackerPing
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from ipv8.verification import RateLimitedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TRACKER = UDPv4Address("130.161.119.206", 6421)
TRACKER6 = UDPv6Address("2001:db8::6421", 6421)
NOWHERE = ("0.0.0.0", 0)
SERVICE, OTHER_SERVICE = b"s" * 20, b"t" * 20


class Overlay(Community):
    community_id = SERVICE


class OtherOverlay(Community):
    community_id = OTHER_SERVICE


class SilentEndpoint(AutoMockEndpoint):
    """Is open and keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[Any, bytes]] = []
        self.open()

    def send(self, socket_address: Any, packet: bytes) -> None:
        self.sent.append((socket_address, packet))


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    """Make trackers that send nothing; they are unloaded after the test."""
    made: list[EndpointServer] = []

    def make(server_class: type[EndpointServer] = EndpointServer, **limits: Any) -> EndpointServer:
        made.append(server_class(SilentEndpoint(), TrackerLimits(**limits)))
        return made[-1]

    yield make
    for server in made:
        await server.unload()


def host(number: int) -> str:
    """An address in a subnet of its own."""
    return f"{20 + number % 200}.{number // 200}.7.1"


class Client:
    """Somebody with a key who asks a tracker, packet by packet."""

    def __init__(self, server: EndpointServer, address: Any = None, number: int = 1) -> None:
        self.key = default_eccrypto.generate_key("curve25519")
        self.server = server
        self.address = address or UDPv4Address(host(number), 1000 + number)
        self.lan = UDPv4Address("192.168.0.5", 8090)

    @property
    def known(self) -> Any:
        """What the tracker knows about this client."""
        return self.server.network.get_verified_by_public_key_bin(self.key.pub().key_to_bin())

    def send(self, payload: Any, service: bytes = SERVICE) -> list[tuple[Any, bytes]]:
        """Send a signed message, and return all that the tracker sent because of it."""
        packet = b"\x00\x02" + service + bytes((payload.msg_id,)) + default_serializer.pack_serializable_list([
            BinMemberAuthenticationPayload(self.key.pub().key_to_bin()), GlobalTimeDistributionPayload(1), payload])
        packet += self.key.signature(packet)
        sent: list[tuple[Any, bytes]] = self.server.endpoint.sent  # type: ignore[attr-defined]  # a SilentEndpoint
        sent.clear()
        self.server.on_packet((self.address, packet))
        return list(sent)

    def ask(self, service: bytes = SERVICE, new_style: bool = False, supports_new_style: bool = False) -> Any:
        """Ask for an introduction, and return the answer, if there is one."""
        wan = self.address if isinstance(self.address, UDPv4Address) else UDPv4Address(*NOWHERE)
        if new_style:
            tracker = TRACKER6 if isinstance(self.address, UDPv6Address) else TRACKER
            request: Any = NewIntroductionRequestPayload(tracker, self.lan, wan, 77, 0, 0, 0, 0, 0, 0, 0, 0, b"")
        else:
            request = IntroductionRequestPayload(TRACKER, self.lan, wan, True, "unknown", 77, b"",
                                                 supports_new_style=supports_new_style)
        self.sent = self.send(request, service)
        kind = NewIntroductionResponsePayload if new_style else IntroductionResponsePayload
        answers = [packet for target, packet in self.sent if target == self.address and packet[22] == kind.msg_id]
        assert len(answers) <= 1
        if not answers:
            return None
        assert answers[0].startswith(b"\x00\x02" + service)
        return signed_payload(self.server, answers[0], kind)

    def pings(self) -> list[Any]:
        """The identifiers of the pings among what the last request led to."""
        return [signed_payload(self.server, packet, kind).identifier
                for kind in (IntroductionRequestPayload, NewIntroductionRequestPayload)
                for target, packet in self.sent if target == self.address and packet[22] == kind.msg_id]

    def answer_ping(self, identifier: int, full: bool = False, new_style: bool = False,
                    service: bytes = SERVICE) -> list[tuple[Any, bytes]]:
        if new_style:
            return self.send(NewIntroductionResponsePayload(TRACKER, NOWHERE, NOWHERE, NOWHERE, NOWHERE, identifier,
                                                            0, 0, 0, 0, 0, 0, 0, 0, b""), service)
        return self.send(IntroductionResponsePayload(TRACKER, NOWHERE, NOWHERE, NOWHERE, NOWHERE, "unknown",
                                                     identifier, b"", peer_limit_reached=full), service)

    def prove(self, **kwargs: Any) -> None:
        """Ask, and answer the ping that follows."""
        self.ask(**kwargs)
        (identifier,) = self.pings()
        self.answer_ping(identifier, new_style=isinstance(self.address, UDPv6Address))
        assert self.known.proven


def signed_payload(server: EndpointServer, packet: bytes, payload_class: Any) -> Any:
    found: list[Any] = []

    @lazy_wrapper(GlobalTimeDistributionPayload, payload_class)
    def trap(_: Any, peer: Peer, dist: Any, payload: Any) -> None:
        found.extend((peer, payload))

    trap(server, TRACKER, packet)
    assert found[0] == server.my_peer
    return found[1]


def puncture_requests(sent: list[tuple[Any, bytes]]) -> list[tuple[Any, Any]]:
    """Targets and payloads of the puncture requests among packets."""
    found: list[tuple[Any, Any]] = []
    for target, packet in sent:
        for payload_class in (PunctureRequestPayload, NewPunctureRequestPayload):
            if packet[22] == payload_class.msg_id:
                @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, payload_class)
                def trap(_: Any, to: Any, dist: Any, payload: Any) -> None:
                    found.append((to, payload))
                trap(Trap(), target, packet)
    return found


class Trap:
    serializer = default_serializer


# -- introducing -----------------------------------------------------------------------------------------------------

async def test_real_overlays_meet_through_a_tracker(make_overlay: Any) -> None:
    endpoint = AutoMockEndpoint()
    endpoint.open()
    server = EndpointServer(endpoint)
    first, second, stranger = make_overlay(Overlay), make_overlay(Overlay), make_overlay(OtherOverlay)
    for overlay in (first, second, stranger):
        overlay.network.blacklist.append(endpoint.wan_address)
        overlay.walk_to(endpoint.wan_address)
        for _ in range(20):
            await asyncio.sleep(0)
    assert all(peer.proven for peer in server.network.verified_peers)
    assert len(server.network.verified_peers) == 3
    assert second.get_walkable_addresses() == [first.endpoint.wan_address]
    assert stranger.get_walkable_addresses() == []
    for address in second.get_walkable_addresses():
        second.walk_to(address)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (first.get_peers(), second.get_peers()) == ([second.my_peer], [first.my_peer])
    assert not server.drops.get("bad_signature")
    await server.unload()


async def test_first_one_is_introduced_to_nobody(serve: Any) -> None:
    answer = Client(serve()).ask()
    assert answer.identifier == 77
    assert answer.wan_introduction_address == answer.lan_introduction_address == NOWHERE
    assert answer.destination_address == (host(1), 1001)
    assert answer.source_wan_address == TRACKER
    assert answer.supports_new_style
    assert not answer.peer_limit_reached


async def test_second_one_is_introduced_to_the_first(serve: Any) -> None:
    server = serve()
    first, second = Client(server, number=1), Client(server, number=2)
    first.ask()
    answer = second.ask()
    assert answer.wan_introduction_address == first.address
    assert answer.lan_introduction_address == NOWHERE  # not behind the same NAT, so none of the business of the second
    ((target, puncture),) = puncture_requests(second.sent)
    assert target == first.address
    assert puncture.wan_walker_address == second.address
    assert puncture.lan_walker_address == NOWHERE
    assert puncture.identifier == 77


async def test_neighbours_behind_one_nat_get_inside_addresses(serve: Any) -> None:
    server = serve()
    first, second = Client(server, UDPv4Address("5.5.5.5", 1)), Client(server, UDPv4Address("5.5.5.5", 2))
    second.lan = UDPv4Address("192.168.0.6", 8090)
    first.ask()
    answer = second.ask()
    assert (answer.lan_introduction_address, answer.wan_introduction_address) == (first.lan, first.address)
    ((_, puncture),) = puncture_requests(second.sent)
    assert (puncture.lan_walker_address, puncture.wan_walker_address) == (second.lan, second.address)


async def test_loopback_needs_no_inside_addresses(serve: Any) -> None:
    server = serve()
    first, second = Client(server, UDPv4Address("127.0.0.1", 1)), Client(server, UDPv4Address("127.0.0.1", 2))
    first.ask()
    answer = second.ask()
    assert (answer.lan_introduction_address, answer.wan_introduction_address) == (NOWHERE, first.address)


async def test_nobody_is_introduced_to_oneself_or_to_another_service(serve: Any) -> None:
    server = serve()
    client = Client(server)
    Client(server, number=2).ask(OTHER_SERVICE)
    for _ in range(5):
        assert client.ask().wan_introduction_address == NOWHERE


async def test_everybody_is_introduced_sooner_or_later(serve: Any) -> None:
    server = serve()
    clients = [Client(server, number=number) for number in range(1, 6)]
    for client in clients:
        client.ask()
    seen = {clients[0].ask().wan_introduction_address for _ in range(200)}
    assert seen == {client.address for client in clients[1:]}


async def test_whoever_has_answered_is_preferred(serve: Any, manual_clock: Any) -> None:
    server = serve()
    clients = [Client(server, number=number) for number in range(1, 7)]
    for client in clients:
        client.ask()
    clients[3].answer_ping(clients[3].pings()[0])
    for _ in range(20):
        manual_clock.advance(2.0)
        assert clients[0].ask().wan_introduction_address == clients[3].address


async def test_a_crowd_is_spread_over_those_who_are_there(serve: Any, manual_clock: Any) -> None:
    server = serve()
    clients = [Client(server, number=number) for number in range(1, 7)]
    for client in clients:
        client.ask()
    clients[3].answer_ping(clients[3].pings()[0])
    manual_clock.advance(2.0)
    seen = [clients[0].ask().wan_introduction_address for _ in range(6)]
    assert seen[0] == clients[3].address
    assert set(seen) == {client.address for client in clients[1:]}, "newcomers may yet answer"
    assert seen[5] == clients[3].address, "when all had their turn, whoever has answered has another one"
    manual_clock.advance(PING_TIMEOUT + 1)
    assert {clients[0].ask().wan_introduction_address for _ in range(6)} == {clients[3].address}


async def test_any_prefix_is_served_under_its_own_name(serve: Any) -> None:
    server = serve()
    Client(server, number=1).ask(bytes(range(20)))
    assert list(server.services()) == [bytes(range(20))]
    assert server.get_peer_for_introduction() is None


async def test_new_style_is_answered_in_new_style(serve: Any) -> None:
    server = serve()
    old, new = Client(server, number=1), Client(server, number=2)
    old.ask()
    answer = new.ask(new_style=True)
    assert answer.wan_introduction_address == old.address
    assert not answer.intro_supports_new_style
    ((target, puncture),) = puncture_requests(new.sent)
    assert (target, puncture.msg_id) == (old.address, PunctureRequestPayload.msg_id)  # understood by both generations
    answer = old.ask()
    assert answer.wan_introduction_address == new.address
    assert answer.intro_supports_new_style


async def test_who_says_so_supports_the_new_style(serve: Any) -> None:
    server = serve()
    Client(server, number=1).ask(supports_new_style=True)
    assert Client(server, number=2).ask().intro_supports_new_style


async def test_ipv6(serve: Any) -> None:
    server = serve()
    first = Client(server, UDPv6Address("2001:db8:1::1", 1))
    second = Client(server, UDPv6Address("2001:db8:2::1", 2))
    first.prove(new_style=True)
    answer = second.ask(new_style=True)
    assert answer.wan_introduction_address == first.address
    assert answer.source_wan_address == TRACKER6
    assert answer.intro_supports_new_style
    ((target, puncture),) = puncture_requests(second.sent)
    assert (target, puncture.msg_id) == (first.address, NewPunctureRequestPayload.msg_id)
    assert puncture.wan_walker_address == second.address


async def test_families_are_kept_apart(serve: Any) -> None:
    server = serve()
    four, six = Client(server, number=1), Client(server, UDPv6Address("2001:db8:1::1", 1))
    four.ask()
    assert six.ask(new_style=True).wan_introduction_address == NOWHERE
    assert four.ask(new_style=True).wan_introduction_address == NOWHERE


async def test_node_with_both_families_is_introduced_in_each(serve: Any) -> None:
    server = serve()
    both = Client(server, number=1)
    ipv4 = both.address
    both.prove()
    both.address = UDPv6Address("2001:db8:1::1", 1)
    both.ask(new_style=True)
    (identifier,) = both.pings()
    assert both.known.address == ipv4
    both.answer_ping(identifier, new_style=True)
    assert both.known.address == both.address
    assert Client(server, number=2).ask().wan_introduction_address == ipv4
    six = Client(server, UDPv6Address("2001:db8:2::1", 2))
    assert six.ask(new_style=True).wan_introduction_address == both.address


async def test_old_style_has_no_room_for_ipv6(serve: Any) -> None:
    server = serve()
    assert Client(server, UDPv6Address("2001:db8:1::1", 1)).ask() is None
    assert server.drops == {"undecodable": 1}


async def test_inside_address_of_another_family(serve: Any) -> None:
    server = serve()
    first, second = Client(server, UDPv4Address("5.5.5.5", 1)), Client(server, UDPv4Address("5.5.5.5", 2))
    first.ask()
    second.lan = UDPv6Address("fe80::1", 8090)  # type: ignore[assignment]  # what a new style message may say
    assert second.ask(new_style=True).wan_introduction_address == first.address


async def test_hook(serve: Any) -> None:
    class Reporter(EndpointServer):
        seen: Any = None

        def on_peer_introduction_request(self, peer: Peer, source_address: Any, service_id: bytes) -> None:
            self.seen = (peer.mid, source_address, service_id)

    server = serve(Reporter)
    client = Client(server)
    client.ask()
    assert server.seen == (client.known.mid, client.address, SERVICE)


# -- liveness --------------------------------------------------------------------------------------------------------

async def test_newcomers_are_asked_back_once(serve: Any) -> None:
    server = serve()
    client = Client(server)
    client.ask()
    assert len(client.pings()) == 1
    client.ask()
    assert client.pings() == []  # the first one is still pending
    assert not client.known.proven
    assert server.counters["pings"] == 1


async def test_answer_proves(serve: Any, manual_clock: Any) -> None:
    server = serve()
    client = Client(server)
    client.ask()
    manual_clock.advance(0.5)
    client.answer_ping(client.pings()[0])
    assert client.known.proven
    assert list(client.known.pings) == [0.5]
    assert client.known.last_response == manual_clock.now
    client.ask()
    assert client.pings() == []
    assert not server._pending_pings


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_a_clock_that_is_set_changes_nothing(serve: Any, step: float) -> None:
    class SetClock:
        now, wall = 100.0, 1_700_000_000.0

        def time(self) -> float:
            return self.wall + self.now

        def monotonic(self) -> float:
            return self.now

    with clock.use(SetClock()) as set_clock:
        moment: Any = set_clock
        server = serve()
        answering, newcomer, requester = (Client(server, number=number) for number in range(1, 4))
        answering.ask()
        moment.wall += step
        moment.now += 0.5
        answering.answer_ping(answering.pings()[0])
        assert list(answering.known.pings) == [0.5]
        newcomer.ask()
        moment.wall += step
        assert {requester.ask().wan_introduction_address for _ in range(2)} == {answering.address, newcomer.address}, (
            "a newcomer may yet answer, and is introduced while others rest")
        moment.now += PING_TIMEOUT + 0.1
        moment.wall -= 2 * step
        assert {requester.ask().wan_introduction_address for _ in range(5)} == {answering.address}, (
            "now it has not answered in time")


async def test_a_ping_that_cannot_be_made_is_not_waited_for(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    client = Client(server)
    monkeypatch.setattr("ipv8.requestcache.MAX_CACHES", 0)
    client.ask()
    assert client.pings() == []
    assert not server._pending_pings
    monkeypatch.undo()
    client.ask()
    assert len(client.pings()) == 1


async def test_pings_take_no_tasks(serve: Any) -> None:
    server = serve()
    Client(server, number=1).ask()
    before = len(asyncio.all_tasks())
    Client(server, number=2).ask()
    assert len(server._pending_pings) == 2
    assert len(asyncio.all_tasks()) == before


async def test_newcomer_that_does_not_answer_stays_for_a_while(serve: Any) -> None:
    server = serve()
    client = Client(server)
    with server.request_cache.passthrough():
        client.ask()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not server._pending_pings
    assert client.known is not None
    client.ask()
    assert len(client.pings()) == 1


@pytest.mark.parametrize("identifier_shift", [1, 65535])
async def test_answer_with_another_identifier(serve: Any, identifier_shift: int) -> None:
    server = serve()
    client = Client(server)
    client.ask()
    client.answer_ping((client.pings()[0] + identifier_shift) % 65536)
    assert not client.known.proven
    assert server.drops == {"unsolicited": 1}


async def test_answer_by_somebody_else(serve: Any) -> None:
    server = serve()
    client, thief = Client(server, number=1), Client(server, number=1)
    client.ask()
    thief.answer_ping(client.pings()[0])
    assert not client.known.proven
    assert thief.known is None


async def test_answer_from_elsewhere_is_not_even_verified(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    client = Client(server)
    client.ask()
    (identifier,) = client.pings()
    client.address = UDPv4Address("6.6.6.6", 6)
    monkeypatch.setattr("ipv8.peerdiscovery.tracker.try_receive", lambda *_: pytest.fail("verified"))
    client.answer_ping(identifier)
    assert server.drops == {"unsolicited": 1}


async def test_peer_that_moved_is_introduced_there_once_it_answers(serve: Any) -> None:
    server = serve()
    mover, other = Client(server, number=1), Client(server, number=2)
    mover.prove()
    old, mover.address = mover.address, UDPv4Address(host(9), 9)
    answer = mover.ask()
    assert answer.destination_address == mover.address
    assert other.ask().wan_introduction_address == old
    mover.answer_ping(mover.pings()[0])
    assert other.ask().wan_introduction_address == mover.address
    assert len(server.network.verified_peers) == 2


async def test_recorded_request_does_not_move_a_proven_peer(serve: Any) -> None:
    server = serve()
    victim = Client(server)
    victim.prove()
    old, victim.address = victim.address, UDPv4Address("6.6.6.6", 6)
    victim.ask()
    assert victim.known.address == old


async def test_ping_in_the_name_of_a_service(serve: Any) -> None:
    server = serve()
    client = Client(server)
    client.prove()
    server.my_peer.update_clock(65535 * 2)
    server.endpoint.sent.clear()
    server.send_ping(client.known)
    client.sent = list(server.endpoint.sent)
    ((target, packet),) = client.sent
    assert (target, packet[:22]) == (client.address, b"\x00\x02" + SERVICE)
    client.answer_ping(client.pings()[0])
    assert len(client.known.pings) == 2


async def test_unanswered_ping_takes_the_service_then_the_peer(serve: Any) -> None:
    server = serve()
    client = Client(server)
    client.prove()
    client.ask(OTHER_SERVICE)
    peer = client.known
    for left in (1, 0):
        with server.request_cache.passthrough():
            server.send_ping(peer)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(server.network.get_services_for_peer(peer)) == left
    assert client.known is None
    server.network.add_verified_peer(peer)
    server.send_ping(peer)
    assert client.known is None  # without services it is of no use


async def test_full_peer_is_not_introduced_any_more(serve: Any) -> None:
    server = serve()
    client = Client(server)
    client.ask()
    client.answer_ping(client.pings()[0], full=True)
    assert client.known is None
    assert Client(server, number=2).ask().wan_introduction_address == NOWHERE


async def test_tracker_ping() -> None:
    from ipv8.requestcache import RequestCache

    network, cache = Network(), RequestCache()
    peer = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("1.2.3.4", 5))
    network.add_verified_peer(peer)
    network.discover_services(peer, [SERVICE])
    ping = TrackerPing(cache, 65536 + 3, network, peer, SERVICE)
    assert (ping.prefix, ping.number, ping.timeout_delay) == ("tracker-ping", 3, 5.0)
    ping.on_timeout()
    assert not network.verified_peers
    await cache.shutdown()


async def test_churn_forgets_the_oldest(manual_clock: Any) -> None:
    class Pinging:
        network = Network()
        pinged: list[Any] = []

        def send_ping(self, peer: Peer) -> None:
            self.pinged.append(peer)

    overlay = Pinging()
    peers = []
    for number in range(5):
        manual_clock.advance(1.0)
        peers.append(Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("1.2.3.4", number + 1)))
        overlay.network.add_verified_peer(peers[-1])
    TrackerChurn(overlay, max_peers=3).take_step()
    assert overlay.network.verified_peers == set(peers[2:])
    assert TrackerChurn(overlay).max_peers == 100


async def test_everybody_is_looked_at_regularly(serve: Any, manual_clock: Any) -> None:
    server = serve()
    clients = [Client(server, number=number) for number in range(1, 31)]
    for client in clients:
        client.prove()
    for _ in range(100):
        manual_clock.advance(1.0)
        server._take_churn_step()
    assert not server.network.verified_peers


# -- limits ----------------------------------------------------------------------------------------------------------

async def test_requests_of_one_address_are_limited(serve: Any, manual_clock: Any) -> None:
    server = serve(requests_per_address=0.1, requests_per_subnet=1000)
    client = Client(server)
    assert [client.ask() is not None for _ in range(3)] == [True, True, False]
    assert server.drops == {"rate_limited": 1}
    assert Client(server, UDPv4Address(host(1)[:-1] + "2", 5)).ask() is not None
    manual_clock.advance(11)
    assert client.ask() is not None


async def test_requests_of_one_subnet_are_limited(serve: Any, manual_clock: Any) -> None:
    server = serve(requests_per_subnet=0.1)
    answers = [Client(server, UDPv4Address(f"5.5.5.{number}", 5)).ask() for number in range(1, 4)]
    assert [answer is not None for answer in answers] == [True, True, False]
    assert Client(server, UDPv4Address("5.5.6.1", 5)).ask() is not None


async def test_ipv6_addresses_of_one_network_count_as_one(serve: Any, manual_clock: Any) -> None:
    server = serve(requests_per_address=0.1, requests_per_subnet=1000)
    answers = [Client(server, UDPv6Address(f"2001:db8:0:1:{number}::1", 5)).ask(new_style=True)
               for number in range(1, 4)]
    assert [answer is not None for answer in answers] == [True, True, False]
    assert Client(server, UDPv6Address("2001:db8:0:2::1", 5)).ask(new_style=True) is not None


async def test_odd_source_names_are_limited_too(serve: Any, manual_clock: Any) -> None:
    server = serve(requests_per_address=0.05)
    for name in ("fe80::1%eth0", "::nonsense::", "name", ""):
        server.on_packet((UDPv6Address(name, 1), b"\x00\x02" + SERVICE + b"\xea"))
        server.on_packet((UDPv6Address(name, 1), b"\x00\x02" + SERVICE + b"\xea"))
    assert server.drops["rate_limited"] == 4


async def test_an_ipv4_address_counts_as_one_however_it_is_written(serve: Any, manual_clock: Any) -> None:
    server = serve(requests_per_address=0.05)
    source, mapped = UDPv4Address("5.5.5.5", 5), UDPv6Address("::ffff:5.5.5.5", 5)
    answers = [Client(server, address).ask(new_style=True) for address in (source, mapped)]
    assert [answer is not None for answer in answers] == [True, False]


async def test_own_machine_is_not_limited(serve: Any, manual_clock: Any) -> None:
    server = serve(requests_per_address=0.05, peers_per_address=2)
    clients = [Client(server, UDPv4Address("127.0.0.1", number)) for number in range(1, 9)]
    assert all(client.ask() is not None for client in clients)
    assert len(server.network.verified_peers) == 8


@pytest.mark.parametrize(("limits", "addresses"), [
    ({"peers_per_address": 2}, ["5.5.5.5", "5.5.5.5", "5.5.5.5"]),
    ({"peers_per_subnet": 2}, ["5.5.5.1", "5.5.5.2", "5.5.5.3"]),
])
async def test_crowds_are_answered_but_not_remembered(serve: Any, limits: dict[str, int],
                                                      addresses: list[str]) -> None:
    server = serve(**limits)
    clients = [Client(server, UDPv4Address(address, number)) for number, address in enumerate(addresses, 1)]
    answers = [client.ask() for client in clients]
    assert answers[2].wan_introduction_address != NOWHERE
    assert [client.known is not None for client in clients] == [True, True, False]
    assert server.counters["unlisted"] == 1
    server.network.remove_peer(clients[0].known)
    clients[2].ask()
    assert clients[2].known is not None


async def test_full_service_makes_room_for_newcomers_by_dropping_who_never_answered(serve: Any,
                                                                                    manual_clock: Any) -> None:
    server = serve(peers_per_service=2)
    silent, proven, newcomer, last = (Client(server, number=number) for number in range(1, 5))
    silent.ask()
    proven.prove()
    newcomer.ask()
    assert newcomer.known is None  # the silent one still has time to answer
    manual_clock.advance(11)
    newcomer.ask()
    assert newcomer.known is not None
    assert silent.known is None
    newcomer.answer_ping(newcomer.pings()[0])
    manual_clock.advance(11)
    assert last.ask().wan_introduction_address != NOWHERE
    assert last.known is None
    assert server.network.verified_peers == {proven.known, newcomer.known}


async def test_full_tracker_forgets_the_oldest_that_never_answered(serve: Any) -> None:
    server = serve(peers=3)
    clients = [Client(server, number=number) for number in range(1, 5)]
    clients[0].prove()
    for client in clients[1:]:
        client.ask()
    assert [client.known is not None for client in clients] == [True, False, True, True]
    for client in clients[2:]:
        client.answer_ping(client.pings()[0])
    newcomer = Client(server, number=9)
    newcomer.ask()
    assert clients[0].known is None  # all have answered: the oldest goes
    assert newcomer.known is not None
    assert server.counters["evictions"] == 2


async def test_services_of_one_peer_are_limited(serve: Any) -> None:
    server = serve(services_per_peer=3)
    client = Client(server)
    for number in range(6):
        client.ask(bytes((number,)) * 20)
    assert len(server.network.get_services_for_peer(client.known)) == 3
    assert bytes((5,)) * 20 in server.network.get_services_for_peer(client.known)


async def test_search_for_somebody_is_bounded(serve: Any) -> None:
    server = serve()
    network = server.network
    for number in range(300):
        peer = Peer(default_eccrypto.generate_key("curve25519"), UDPv6Address(f"2001:db8:{number:x}::1", 1))
        network.add_verified_peer(peer)
        network.discover_services(peer, [SERVICE])
    looks = 0

    class Peers(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            nonlocal looks
            looks += 1
            return super().__getitem__(index)

    network.get_peers_for_service = lambda _: Peers(network.verified_peers)
    requester = Peer(default_eccrypto.generate_key("curve25519"), UDPv4Address("1.2.3.4", 5))
    assert server._find_introduction(SERVICE, requester, UDPv4Address) is None
    assert looks <= 64


async def test_nobody_gets_three_times_what_was_sent(serve: Any) -> None:
    server = serve()
    for number in range(1, 10):
        client = Client(server, number=number)
        client.ask()
        request_size = 192
        assert sum(len(packet) for target, packet in client.sent if target == client.address) <= 3 * request_size
        assert sum(len(packet) for target, packet in client.sent if target != client.address) <= request_size


# -- strangers -------------------------------------------------------------------------------------------------------

async def test_other_packets_are_counted_and_dropped(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve()
    source = UDPv4Address("1.2.3.4", 5)
    for packet in (b"", b"\x00" * 22, b"\x00" * 23, b"\x00\x02" + SERVICE + b"\xfa" + bytes(30)):
        server.on_packet((source, packet))
    assert server.drops == {"short": 2, "unknown_id": 2}
    assert server.network.service_overlays == {server.community_id: server}
    assert server.endpoint._listeners == [server]
    server.on_packet((source, b"\x00\x02" + SERVICE + b"\xf6" + bytes(100)))
    assert sum(server.drops.values()) == 5
    assert not caplog.records
    assert not server.endpoint.sent


async def test_forged_request(serve: Any) -> None:
    server = serve()
    client = Client(server)
    real = client.key
    client.key = type("Forger", (), {"pub": real.pub, "signature": lambda _, data: bytes(64)})()
    assert client.ask() is None
    assert server.drops == {"bad_signature": 1}
    assert not server.network.services_per_peer


@pytest.mark.parametrize("size", [0, 20])
async def test_signed_nonsense(serve: Any, caplog: pytest.LogCaptureFixture, size: int) -> None:
    class Nonsense(VariablePayload):
        msg_id = IntroductionRequestPayload.msg_id
        format_list = ["raw"]
        names = ["bytes"]

    server = serve()
    client = Client(server)
    assert client.send(Nonsense(bytes(size))) == []
    assert server.drops == {"undecodable": 1}
    assert not caplog.records
    assert client.known is None


async def test_what_a_subclass_refuses_is_counted(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Picky(EndpointServer):
        def on_peer_introduction_request(self, peer: Peer, source_address: Any, service_id: bytes) -> None:
            raise RateLimitedError(source_address[0])

    server = serve(Picky)
    assert Client(server).ask() is None
    assert server.drops == {"rate_limited": 1}
    assert not caplog.records


async def test_bug_of_a_subclass_is_logged(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Buggy(EndpointServer):
        def on_peer_introduction_request(self, peer: Peer, source_address: Any, service_id: bytes) -> None:
            raise LookupError("a bug")

    assert Client(serve(Buggy)).ask() is None
    assert "a bug" in caplog.text


@settings(deadline=None, max_examples=60)
@given(msg_id=st.sampled_from([246, 245, 234, 233]), body=st.binary(max_size=200))
def test_any_bytes_are_survived(msg_id: int, body: bytes) -> None:
    async def receive() -> None:
        server = EndpointServer(SilentEndpoint())
        server.logger.error = pytest.fail  # type: ignore[method-assign, assignment]  # never a traceback
        server.on_packet((UDPv4Address("1.2.3.4", 5), b"\x00\x02" + SERVICE + bytes((msg_id,)) + body))
        assert not server.network.verified_peers
        await server.unload()

    asyncio.run(receive())


async def test_old_inside_address_is_kept_by_class(serve: Any) -> None:
    server = serve()
    client = Client(server)
    client.ask()
    assert client.known.addresses[UDPv4LANAddress] == client.lan
    client.lan = UDPv4Address(*NOWHERE)
    client.ask()
    assert client.known.addresses[UDPv4LANAddress] == ("192.168.0.5", 8090)


async def test_unload_leaves_nothing() -> None:
    endpoint = SilentEndpoint()
    server = EndpointServer(endpoint)
    Client(server).ask()
    await server.unload()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not endpoint._listeners
    assert not endpoint._prefix_map


async def test_own_identity() -> None:
    me = Peer(default_eccrypto.generate_key("curve25519"))
    server = EndpointServer(SilentEndpoint(), my_peer=me)
    assert server.my_peer is me
    assert server.limits == TrackerLimits()
    assert isinstance(server, Community)
    await server.unload()
