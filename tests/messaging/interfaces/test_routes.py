from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from ipv8.messaging.address import (
    KINDS_WITHOUT_NETWORK_ADDRESS,
    DomainAddress,
    RelayedAddress,
    UDPv4Address,
    UDPv4LANAddress,
    UDPv6Address,
    has_network_address,
)
from ipv8.messaging.inet import ipv6_to_bytes, is_orchid
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.routes import DEFAULT_ROUTES, Carriers, Route, RouteTable
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from ipv8.messaging.interfaces.endpoint import Endpoint

ONE = b"\x00\x02" + b"A" * 20
OTHER = b"\x00\x02" + b"B" * 20
SOMEBODY = RelayedAddress("2001:21::1", 1)


class Overlay:
    """Carries to the addresses that it knows."""

    def __init__(self, *known: Any) -> None:
        self.known = known
        self.asked: list[bytes] = []

    def carry(self, address: Any, packet: bytes) -> bool:
        self.asked.append(packet)
        return address in self.known


def test_a_relayed_address_is_a_plain_value() -> None:
    assert SOMEBODY == ("2001:21::1", 1) == UDPv6Address("2001:21::1", 1)
    assert hash(SOMEBODY) == hash(("2001:21::1", 1))
    assert not isinstance(SOMEBODY, UDPv6Address)
    host, port = SOMEBODY
    assert (host, port) == (SOMEBODY.ip, SOMEBODY.port)


def test_which_addresses_are_on_a_network() -> None:
    assert not has_network_address(SOMEBODY)
    for address in (UDPv4Address("1.2.3.4", 5), UDPv4LANAddress("1.2.3.4", 5), UDPv6Address(*SOMEBODY),
                    DomainAddress("a.b", 5), ("1.2.3.4", 5), None):
        assert has_network_address(address)


@pytest.mark.parametrize(("host", "expected"), [
    ("2001:20::", True), ("2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", True), ("2001:21:1::", True), ("2001:2A::9", True),
    ("2001:1f:ffff::", False), ("2001:30::", False), ("2001:200::", False), ("2001:2::", False), ("2002:20::", False),
    ("2001:2000::", False), ("::1", False)])
def test_addresses_of_hashes(host: str, expected: bool) -> None:
    assert is_orchid(ipv6_to_bytes(host)) is expected


def test_routes_combine() -> None:
    assert DEFAULT_ROUTES == Route.SOCKET | Route.RELAY
    assert Route.RELAY in DEFAULT_ROUTES
    assert Route.SESSION not in DEFAULT_ROUTES
    assert Route.CIRCUIT not in DEFAULT_ROUTES
    assert len({route.value for route in Route}) == len(Route)


def test_the_overlay_of_the_packet_is_asked_first_and_others_only_if_need_be() -> None:
    drops = DropCounter()
    carriers = Carriers(drops)
    knowing, other, last = Overlay(SOMEBODY), Overlay(), Overlay(SOMEBODY)
    carriers.register(OTHER, other.carry)
    carriers.register(ONE, knowing.carry)
    carriers.register(bytes(22), last.carry)
    carriers.send(SOMEBODY, ONE + b"\x01")
    assert (knowing.asked, other.asked, last.asked) == ([ONE + b"\x01"], [], [])
    carriers.send(SOMEBODY, OTHER + b"\x02")
    assert (len(knowing.asked), len(other.asked), len(last.asked)) == (2, 1, 0)
    assert not drops
    carriers.send(RelayedAddress("2001:21::2", 1), ONE + b"\x01")
    assert (len(knowing.asked), len(other.asked), len(last.asked)) == (3, 2, 1)
    assert drops == {DropCounter.SEND_NO_ROUTE: 1}


def test_overlays_leave_and_are_not_held_alive() -> None:
    drops = DropCounter()
    carriers = Carriers(drops)
    first, second, third = Overlay(SOMEBODY), Overlay(SOMEBODY), Overlay(SOMEBODY)
    for overlay in (first, second, third):
        carriers.register(ONE, overlay.carry)
    carriers.unregister(ONE, first.carry)
    carriers.unregister(OTHER, first.carry)
    carriers.send(SOMEBODY, ONE)
    assert (len(first.asked), len(second.asked)) == (0, 1)
    gone = ref(second)
    del second
    gc.collect()
    assert gone() is None
    carriers.send(SOMEBODY, ONE)
    assert len(third.asked) == 1
    carriers.unregister(ONE, third.carry)
    carriers.send(SOMEBODY, ONE)
    assert len(third.asked) == 1
    assert not carriers._carriers
    assert drops == {DropCounter.SEND_NO_ROUTE: 1}


def test_every_kind_without_network_address_has_a_route_from_the_start() -> None:
    routes = RouteTable(DropCounter())
    assert routes.keys() >= KINDS_WITHOUT_NETWORK_ADDRESS
    assert routes.route_to(SOMEBODY) is Route.RELAY
    assert routes.route_to(UDPv6Address(*SOMEBODY)) is routes.route_to(None) is Route.SOCKET


class CircuitAddress(tuple[Any, ...]):
    """A further kind of address, equal to plain ones."""

    __slots__ = ()


@pytest.mark.parametrize("make", [AutoMockEndpoint, lambda: UDPEndpoint(0, "127.0.0.1"),
                                  lambda: UDPv6Endpoint(0, "::1")])
@pytest.mark.usefixtures("ipv6_loopback")
async def test_endpoints_send_by_the_route_of_the_exact_class(make: Any) -> None:
    endpoint: Endpoint = make()
    opening: Any = endpoint.open()
    if opening is not None:
        await opening
    sent: list[tuple[Any, bytes]] = []
    own = tuple(endpoint.get_address()[:2])
    endpoint.send(own, b"plain")  # type: ignore[arg-type]  # as short as any address
    before = endpoint.bytes_up
    assert before == 5
    endpoint.routes.register(CircuitAddress, Route.CIRCUIT, lambda *packet: sent.append(packet))
    circuit: Any = CircuitAddress(own)
    assert circuit == own
    endpoint.send(circuit, b"hidden")
    assert sent == [(circuit, b"hidden")]
    assert type(sent[0][0]) is CircuitAddress
    assert endpoint.bytes_up == before
    assert endpoint.routes.route_to(circuit) is Route.CIRCUIT
    closing = endpoint.close()
    if closing is not None:
        await closing
