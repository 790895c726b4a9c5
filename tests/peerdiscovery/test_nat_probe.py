"""What answers of several servers say about a NAT, and which answers count."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.messaging.payload import IntroductionResponsePayload
from ipv8.peer import Peer
from ipv8.peerdiscovery.nat_probe import (
    NatKind,
    NatReport,
    Observation,
    Reachability,
    ReachabilityProbe,
    classify,
    is_carrier_grade,
    judge,
)
from ipv8.peerdiscovery.network import Network
from ipv8.peerdiscovery.tracker import EndpointServer
from ipv8.test.mocking.endpoint import MockEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ipv8.messaging.address import Address

OUTSIDE = "130.161.1.1"
OWN = "192.168.1.2"
PORT = 8090


def seen(*answers: tuple[str, int, int | None]) -> list[Observation]:
    """Servers by the last number of their address and their port, and the outside port that they saw."""
    return [Observation(UDPv4Address(f"10.0.0.{host}", port),
                        None if mapped is None else UDPv4Address(OUTSIDE, mapped), 0.1)
            for host, port, mapped in answers]


@pytest.mark.parametrize(("answers", "kind"), [
    ([], NatKind.UNKNOWN),
    ([("1", 1, None)], NatKind.UNKNOWN),
    ([("1", 1, 7)], NatKind.UNKNOWN),
    ([("1", 1, 7), ("1", 2, 7)], NatKind.UNKNOWN),
    ([("1", 1, 7), ("2", 1, 7)], NatKind.ENDPOINT_INDEPENDENT),
    ([("1", 1, 7), ("2", 1, 7), ("3", 1, None)], NatKind.ENDPOINT_INDEPENDENT),
    ([("1", 1, 7), ("2", 1, 8)], NatKind.DEPENDENT),
    ([("1", 1, 7), ("1", 2, 7), ("2", 1, 8)], NatKind.ADDRESS_DEPENDENT),
    ([("1", 1, 7), ("1", 2, 9)], NatKind.ADDRESS_AND_PORT_DEPENDENT),
    ([("1", 1, 7), ("1", 2, 9), ("2", 1, 8)], NatKind.ADDRESS_AND_PORT_DEPENDENT),
    ([("1", 1, 7), ("2", 1, 7), ("3", 1, 8)], NatKind.DEPENDENT),
])
def test_mapping(answers: Any, kind: NatKind) -> None:
    report = classify(seen(*answers), [OWN], PORT)
    assert report.kind is kind
    assert not report.contradicted_by
    assert not report.port_kept


def test_one_liar_does_not_change_the_kind() -> None:
    report = classify(seen(("1", 1, 7), ("2", 1, 7), ("3", 1, 7), ("4", 5, 8)), [OWN], PORT)
    assert report == (NatKind.ENDPOINT_INDEPENDENT, (OUTSIDE, 7), False, (("10.0.0.4", 5),))


def test_one_host_with_many_ports_has_one_vote() -> None:
    liars = [("9", port, 8) for port in range(1, 20)]
    report = classify(seen(("1", 1, 7), ("2", 1, 7), ("3", 1, 7), *liars), [OWN], PORT)
    assert (report.kind, report.mapped) == (NatKind.ENDPOINT_INDEPENDENT, (OUTSIDE, 7))
    assert len(report.contradicted_by) == 19


@pytest.mark.parametrize("host", [OUTSIDE, "127.0.0.1"])
def test_no_nat(host: str) -> None:
    answers = [Observation(UDPv4Address("10.0.0.1", 1), UDPv4Address(host, PORT), 0.1)]
    assert classify(answers, [OUTSIDE], PORT) == (NatKind.NONE, (host, PORT), True, ())


def test_servers_in_one_ipv6_subnet_have_one_vote() -> None:
    own, lie = UDPv6Address("2001:db8::1", PORT), UDPv6Address("2001:db8::bad", PORT)
    answers = [Observation(UDPv6Address(f"2001:db8:6::{number}", 1), lie, 0.1) for number in range(1, 6)]
    answers += [Observation(UDPv6Address(f"2001:db8:{number}::1", 1), own, 0.1) for number in range(1, 3)]
    assert classify(answers, [], PORT).mapped == own
    assert classify(answers[::-1], [], PORT).mapped == own


def test_own_address_with_another_port_is_a_nat() -> None:
    report = classify(seen(("1", 1, 7), ("2", 1, 7)), [OUTSIDE], PORT)
    assert report.kind is NatKind.ENDPOINT_INDEPENDENT


def test_ipv6() -> None:
    own = "2001:db8::1"
    answers = [Observation(UDPv6Address("2001:db8::9", 1), UDPv6Address(own, PORT), 0.1)]
    assert classify(answers, [own], PORT).kind is NatKind.NONE


@given(st.lists(st.tuples(st.integers(1, 4).map(str), st.integers(1, 3), st.none() | st.integers(1, 3)), max_size=12))
@settings(deadline=None, max_examples=200)
def test_order_of_answers_does_not_change_the_kind(answers: Any) -> None:
    answers = list({answer[:2]: answer for answer in answers}.values())
    kinds = {classify(seen(*order), [], PORT).kind for order in (answers, answers[::-1], sorted(answers, key=str))}
    assert len(kinds) == 1


@pytest.mark.parametrize(("has_address", "answered", "nat", "mappable", "expected"), [
    (False, False, NatReport(NatKind.UNKNOWN), None, Reachability.NO_ADDRESS),
    (True, False, NatReport(NatKind.UNKNOWN), None, Reachability.SILENT),
    (True, True, NatReport(NatKind.NONE, ("1.1.1.1", 1)), None, Reachability.OPEN),
    (True, True, NatReport(NatKind.UNKNOWN), None, Reachability.UNKNOWN),
    (True, True, NatReport(NatKind.ENDPOINT_INDEPENDENT, ("1.1.1.1", 1)), None, Reachability.PUNCHED),
    (True, True, NatReport(NatKind.ENDPOINT_INDEPENDENT, ("1.1.1.1", 1)), "2.2.2.2", Reachability.PUNCHED),
    (True, True, NatReport(NatKind.DEPENDENT, ("1.1.1.1", 1)), "1.1.1.1", Reachability.MAPPED),
    (True, True, NatReport(NatKind.ADDRESS_DEPENDENT, ("1.1.1.1", 1)), None, Reachability.HARD),
])
def test_reachability(has_address: bool, answered: bool, nat: NatReport, mappable: str | None,
                      expected: Reachability) -> None:
    assert judge(has_address, answered, nat, mappable) is expected


def test_carrier_grade() -> None:
    assert is_carrier_grade("100.64.0.1")
    assert not is_carrier_grade("100.63.0.1")
    assert not is_carrier_grade("2001:db8::1")


class Server(Community):
    """Somebody who is asked, and answers as a test says."""

    community_id = b"l" * 20

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.endpoint.remove_listener(self)
        self.endpoint.add_listener(self)
        self.asked = 0
        self.reply: Callable[[Address, int], list[bytes]] = lambda *_: []

    def on_packet(self, packet: Any, warn_unknown: bool = True) -> None:
        source, data = packet
        self._prefix = data[:22]
        self.asked += 1
        for reply in self.reply(source, int.from_bytes(data[-66:-64], "big")):  # in front of the signature
            self.endpoint.send(source, reply)

    def answer(self, to: Any, identifier: int) -> bytes:
        nobody = UDPv4Address("0.0.0.0", 0)
        return self._pack_timed(IntroductionResponsePayload(to, nobody, nobody, nobody, nobody, "unknown", identifier,
                                                            b""), 1)


SERVER = UDPv4Address("2.2.2.2", 2)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[ReachabilityProbe, Server]]:
    ends = [MockEndpoint(address, address) for address in (UDPv4Address("1.1.1.1", 1), SERVER)]
    for end in ends:
        end.open()
    probe = ReachabilityProbe(ends[0])
    server = Server(CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=ends[1],
                                      network=Network()))
    yield probe, server
    await probe.unload()
    await server.unload()


async def test_answer(pair: tuple[ReachabilityProbe, Server]) -> None:
    probe, server = pair
    server.reply = lambda source, identifier: [server.answer(source, identifier)]
    observation = await probe.observe(SERVER, 10.0)
    assert observation is not None
    assert observation[:2] == (SERVER, ("1.1.1.1", 1))
    assert observation.rtt >= 0
    assert server.asked == 1


async def test_silent_server_is_asked_again(pair: tuple[ReachabilityProbe, Server]) -> None:
    probe, server = pair
    assert await probe.observe(SERVER, 0.03) is None
    assert server.asked == 3


async def test_lost_packet(pair: tuple[ReachabilityProbe, Server]) -> None:
    probe, server = pair
    server.reply = lambda source, identifier: [server.answer(source, identifier)] if server.asked == 2 else []
    assert await probe.observe(SERVER, 0.3) is not None


@pytest.mark.parametrize("mapped", [("0.0.0.0", 5), ("224.0.0.1", 5), ("9.9.9.9", 0)])
async def test_nonsense_is_no_address(pair: tuple[ReachabilityProbe, Server], mapped: tuple[str, int]) -> None:
    probe, server = pair
    server.reply = lambda _, identifier: [server.answer(UDPv4Address(*mapped), identifier)]
    observation = await probe.observe(SERVER, 10.0)
    assert observation is not None
    assert observation.mapped is None


async def test_answers_that_do_not_count(pair: tuple[ReachabilityProbe, Server]) -> None:
    probe, server = pair
    wrong = UDPv4Address("6.6.6.6", 6)
    stranger = MockEndpoint(UDPv4Address("3.3.3.3", 3), UDPv4Address("3.3.3.3", 3))
    stranger.open()

    def reply(source: Address, identifier: int) -> list[bytes]:
        true_answer = server.answer(source, identifier)
        stranger.send(source, server.answer(wrong, identifier))
        tampered = bytearray(server.answer(wrong, identifier))
        tampered[-1] ^= 1
        return [server.answer(wrong, identifier ^ 1), bytes(tampered), true_answer[:50], true_answer,
                server.answer(wrong, identifier)]

    server.reply = reply
    observation = await probe.observe(SERVER, 10.0)
    assert observation is not None
    assert observation.mapped == ("1.1.1.1", 1)
    last = asyncio.Event()

    def note(*_: Any) -> list[bytes]:
        last.set()
        return []

    server.reply = note
    probe.endpoint.send(SERVER, bytes(100))
    await last.wait()
    assert probe.drops[DropCounter.UNSOLICITED] == 3
    assert probe.drops[DropCounter.BAD_SIGNATURE] == 1
    assert probe.drops[DropCounter.UNDECODABLE] == 1


@pytest.mark.parametrize(("endpoint_class", "address_class", "host"), [
    (UDPEndpoint, UDPv4Address, "127.0.0.1"), (UDPv6Endpoint, UDPv6Address, "::1")])
async def test_with_trackers_on_sockets(endpoint_class: Any, address_class: Any, host: str) -> None:
    endpoints = [endpoint_class(0, host) for _ in range(3)]
    if not all([await endpoint.open() for endpoint in endpoints]):
        pytest.skip(f"this machine has no {host}")
    trackers = [EndpointServer(endpoint) for endpoint in endpoints[1:]]
    probe = ReachabilityProbe(endpoints[0])
    address, *servers = [address_class(*endpoint.get_address()[:2]) for endpoint in endpoints]
    observations = [await probe.observe(server, 10.0) for server in servers]
    report = classify([observation for observation in observations if observation], [], address[1])
    assert report == (NatKind.NONE, address, True, ())
    for overlay in (probe, *trackers):
        await overlay.unload()
    for endpoint in endpoints:
        endpoint.close()
