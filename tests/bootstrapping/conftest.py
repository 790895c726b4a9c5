"""An overlay that notes what a bootstrapper makes it do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.gate import Route
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.taskmanager import TaskManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ipv8.messaging.address import Address

PREFIX = b"\x00\x02" + bytes(range(20))


class Entrance:
    """The endpoint of an overlay, and its gate, as far as packets enter there."""

    def __init__(self, overlay: BootstrappedOverlay) -> None:
        self.overlay = overlay
        self.gate = self

    def is_open(self) -> bool:
        return True

    def receive(self, packet: tuple[Address, bytes], route: Route) -> None:
        assert route is Route.SOCKET
        self.overlay.on_packet(packet)


class BootstrappedOverlay(TaskManager):
    """What bootstrappers use of a community."""

    def __init__(self, port: int = 8090) -> None:
        super().__init__()
        self.network = Network()
        self.endpoint: Any = None
        self.my_peer = Peer(b"LibNaCLPK:" + b"0" * 64)
        self.my_estimated_lan = UDPv4Address("192.168.1.1", port)
        self.ipv6_address: Address | None = None
        self.own_hosts: set[str] = set()
        self.peers: list[Peer] = []
        self.walks: list[Address] = []
        self.packets: list[tuple[Address, bytes]] = []
        self.endpoint = Entrance(self)
        self.wanted: Callable[[], None] = lambda: None

    def get_prefix(self) -> bytes:
        return PREFIX

    def get_peers(self) -> list[Peer]:
        return self.peers

    def ensure_blacklisted(self, address: Address) -> None:
        self.network.blacklist.append(address)

    def walk_to(self, address: Address) -> None:
        self.walks.append(address)
        self.wanted()

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        self.packets.append(packet)
        self.wanted()

    def address_is_lan(self, host: str) -> bool:
        return host in self.own_hosts

    def guess_address(self, interface: str) -> Address | None:
        assert interface == "UDPIPv6"
        return self.ipv6_address


@pytest.fixture
async def make_bootstrapped() -> AsyncIterator[Callable[..., Any]]:
    """Build overlays for bootstrappers; their tasks end with the test."""
    made: list[BootstrappedOverlay] = []

    def make(port: int = 8090) -> Any:
        made.append(BootstrappedOverlay(port))
        return made[-1]

    yield make
    for overlay in made:
        await overlay.shutdown_task_manager()


@pytest.fixture
async def overlay(make_bootstrapped: Callable[..., Any]) -> Any:
    """One overlay for bootstrappers."""
    return make_bootstrapped()
