"""Nodes of a DHT on mock endpoints, with addresses that do not depend on chance."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.community import CommunitySettings
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.routing import Node
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import MockEndpoint, internet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ipv8.messaging.address import Address


class LossyEndpoint(MockEndpoint):
    """A mock endpoint that keeps what it sends, and does not mind destinations that are not there."""

    def __init__(self, lan_address: Address, wan_address: Address) -> None:
        super().__init__(lan_address, wan_address)
        self.sent: list[tuple[Address, bytes]] = []

    def send(self, socket_address: Address, packet: bytes) -> None:
        self.sent.append((socket_address, packet))
        if socket_address in internet:
            super().send(socket_address, packet)

    def sent_ids(self) -> list[int]:
        return [packet[22] for _, packet in self.sent]


def address_of(number: int, ipv6: bool = False) -> Address:
    if ipv6:
        return UDPv6Address(f"2a00:{number:x}:1::1", 4000 + number)
    return UDPv4Address(f"{20 + number % 100}.{number // 100 + 1}.7.9", 4000 + number)


def as_node(overlay: Any) -> Node:
    """An overlay as others see it."""
    return Node(overlay.my_peer.public_key, overlay.endpoint.wan_address)


def introduce(*overlays: Any) -> None:
    """Make nodes known to each other, without a packet."""
    for one in overlays:
        for other in overlays:
            if one is not other:
                one.get_routing_table(as_node(other)).add(as_node(other))
                one.admission.prove(other.endpoint.wan_address)


class TwoClocks:
    """A wall clock and a monotonic one, which a test moves together or apart."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.since_start = 5_000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.since_start

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.since_start += seconds


@pytest.fixture
def two_clocks() -> Iterator[TwoClocks]:
    """Clocks that only the test moves."""
    clocks = TwoClocks()
    with clock.use(clocks):
        yield clocks


@pytest.fixture
async def make_nodes() -> AsyncIterator[Callable[..., list[Any]]]:
    """Build nodes; they are unloaded after the test."""
    made: list[Any] = []

    def make(count: int, overlay_class: type[Any] = DHTDiscoveryCommunity, ipv6: bool = False,
             curve: str = "curve25519", **settings: Any) -> list[Any]:
        nodes = []
        for _ in range(count):
            number = len(made) + 1
            wan = address_of(number, ipv6)
            lan = UDPv6Address(f"fd00::{number:x}", 4000) if ipv6 else UDPv4Address(f"192.168.1.{number}", 4000)
            endpoint = LossyEndpoint(lan, wan)
            endpoint.open()
            peer = Peer(default_eccrypto.generate_key(curve), wan)
            overlay = overlay_class(CommunitySettings(my_peer=peer, endpoint=endpoint, network=Network(), **settings))
            overlay.my_estimated_wan, overlay.my_estimated_lan = wan, lan
            made.append(overlay)
            nodes.append(overlay)
        return nodes

    yield make
    for overlay in made:
        await overlay.unload()


async def settle(rounds: int = 60) -> None:
    """Let everything happen that needs no time."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@pytest.fixture
def dht() -> Any:
    """The helpers of this file."""
    class Helpers:
        address_of = staticmethod(address_of)
        as_node = staticmethod(as_node)
        introduce = staticmethod(introduce)
        settle = staticmethod(settle)

    return Helpers
