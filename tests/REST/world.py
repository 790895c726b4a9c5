"""Nodes without sockets for tests of the HTTP interface, and their state in the recorded exchanges."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

from ipv8.attestation.communication_manager import CommunicationManager
from ipv8.community import CommunitySettings
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.provider import DHTCommunityProvider, DHTIntroPointPayload
from ipv8.dht.routing import Node as DHTNode
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.exit_socket import TunnelExitSocket
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.introducing import HiddenTunnelSettings
from ipv8.messaging.anonymization.swarm import Swarm
from ipv8.messaging.anonymization.tunnel import (
    BACKWARD,
    PEER_SOURCE_DHT,
    PEER_SOURCE_PEX,
    Circuit,
    Hop,
    IntroductionPoint,
    RelayRoute,
)
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.serialization import default_serializer
from ipv8.peer import Peer
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from ipv8.test.mocking.ipv8 import MockTunnelEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ipv8.REST.root_endpoint import RootEndpoint

T0 = 1_700_000_000.0


def peer(number: int) -> Peer:
    key = default_eccrypto.key_from_private_bin(b"LibNaCLSK:" + bytes([number]) * 64)
    return Peer(key.pub(), UDPv4Address(f"10.0.0.{number}", 1000 + number))


class SilentEndpoint(AutoMockEndpoint):
    """Sends nothing."""

    def send(self, socket_address: Any, packet: bytes, *args: Any) -> None:
        self.sent = socket_address, packet


class Introductions:
    """In the place of an overlay of introduction points."""

    def __init__(self, point: IntroductionPoint) -> None:
        self.get_intro_points = lambda: [point]

    async def unload(self) -> None:
        """Nothing runs."""


class World:
    """What the endpoints see of a node."""

    def __init__(self, directory: Path, overlay_classes: Iterable[type[Any]] = (
            DiscoveryCommunity, HiddenTunnelCommunity, DHTDiscoveryCommunity)) -> None:
        inner = SilentEndpoint()
        inner.open()
        self.endpoint: Any = StatisticsEndpoint(inner)
        self.network = Network()
        self.my_peer = Peer(default_eccrypto.key_from_private_bin(b"LibNaCLSK:" + bytes([1]) * 64))
        self.configuration = {"working_directory": str(directory)}
        self.strategies: list[tuple[Any, int]] = []
        self.overlay_lock = threading.RLock()
        self.walk_interval = 0.5
        self.overlays: list[Any] = []
        self.trust: Any = None
        self.sessions: Any = None
        for overlay_class in overlay_classes:
            settings = HiddenTunnelSettings if overlay_class is HiddenTunnelCommunity else CommunitySettings
            overlay = overlay_class(settings(my_peer=self.my_peer, endpoint=self.endpoint, network=self.network))
            overlay.my_estimated_wan = UDPv4Address("1.2.3.4", 8090)
            overlay.my_estimated_lan = UDPv4Address("192.168.1.2", 8090)
            overlay.cancel_all_pending_tasks()
            self.endpoint.enable_community_statistics(overlay.get_prefix(), True)
            self.overlays.append(overlay)
        folder = directory / "pseudonyms"
        folder.mkdir(exist_ok=True)
        (folder / "alice").write_bytes(b"LibNaCLSK:" + bytes([9]) * 64)
        self.manager = CommunicationManager(self, str(folder), ":memory:", bootstrappers=[])

    def get_overlay(self, overlay_class: type[Any]) -> Any:
        return next((overlay for overlay in self.overlays if isinstance(overlay, overlay_class)), None)

    def add_strategy(self, overlay: Any, strategy: Any, target_peers: int) -> None:
        if overlay not in self.overlays:
            self.overlays.append(overlay)
        self.strategies.append((strategy, target_peers))

    async def unload_overlay(self, overlay: Any) -> None:
        self.overlays.remove(overlay)
        self.strategies = [entry for entry in self.strategies if entry[0].overlay is not overlay]
        await overlay.unload()

    async def produce_anonymized_endpoint(self) -> MockTunnelEndpoint:
        endpoint = MockTunnelEndpoint()
        endpoint.open()
        return endpoint

    async def stop(self) -> None:
        await self.manager.shutdown()
        for overlay in tuple(self.overlays):
            await overlay.unload()
        self.endpoint.close()

    def populate(self, root: RootEndpoint) -> None:
        """What there is in the second part of the recorded exchanges."""
        discovery, tunnels, dht = self.overlays[:3]
        for number, overlays in ((2, [discovery]), (3, [discovery, tunnels])):
            self.network.add_verified_peer(peer(number))
            self.network.discover_services(peer(number), [overlay.community_id for overlay in overlays])
        discovery.update_global_time(1)
        for counted in self.endpoint.statistics.values():
            counted.clear()
        self.endpoint.add_sent_stat(discovery.get_prefix(), 245, 1337, T0)
        self.endpoint.add_received_stat(discovery.get_prefix(), 69, 100, T0 + 2.5)
        self._make_tunnels(tunnels)
        self._fill_dht(dht)
        tunnels.dht_provider = DHTCommunityProvider(dht, 0)
        drift = root.endpoints["/asyncio"]
        drift.enable()
        drift.strategy.history.extend([(T0, 0.0), (T0 + 0.5, 0.001)])

    @staticmethod
    def _make_tunnels(tunnels: Any) -> None:
        ready, closing = Circuit(11, 2), Circuit(12, 1, "RP_DOWNLOADER")
        ready.add_hop(Hop(peer(2), flags=[1]))
        ready.add_hop(Hop(peer(3), flags=[1, 2]))
        closing.unverified_hop = Hop(peer(3))
        closing.close("no candidates")
        for made, circuit in enumerate((ready, closing)):
            circuit.creation_time, circuit.bytes_up, circuit.bytes_down = T0 + made, 100 + made, 200 + made
            tunnels.circuits[circuit.circuit_id] = circuit
        relay = RelayRoute(22, Hop(peer(2)), BACKWARD, True)
        ending = TunnelExitSocket(33, Hop(peer(3)), tunnels)
        for carried in (relay, ending):
            carried.creation_time, carried.bytes_up, carried.bytes_down = T0, 5, 6
        tunnels.relay_from_to[21], tunnels.exit_sockets[33] = relay, ending
        swarm = Swarm(b"\x11" * 20, 1, lambda *_: None)  # type: ignore[arg-type]
        swarm.add_intro_point(IntroductionPoint(peer(2), peer(3).public_key.key_to_bin(), PEER_SOURCE_DHT))
        swarm.add_intro_point(IntroductionPoint(peer(3), peer(2).public_key.key_to_bin(), PEER_SOURCE_PEX))
        swarm.last_lookup = T0
        tunnels.swarms[swarm.info_hash] = swarm
        tunnels.candidates[peer(2)] = [1, 2]
        point = IntroductionPoint(peer(3), peer(2).public_key.key_to_bin(), PEER_SOURCE_PEX)
        tunnels.pex[b"\x22" * 20] = Introductions(point)

    @staticmethod
    def _fill_dht(dht: Any) -> None:
        node = DHTNode(peer(4).key, peer(4).address)
        table = dht.get_routing_table(node)
        table.add(node)
        for bucket in table.trie.values():
            bucket.last_changed = T0
        storage = dht.get_storage(node)
        storage.put(hashlib.sha1(b"k", usedforsecurity=False).digest(), dht.serialize_value(b"unsigned", sign=False))
        point = DHTIntroPointPayload(peer(2).address, 0, peer(2).public_key.key_to_bin()[10:],
                                     peer(3).public_key.key_to_bin()[10:])
        storage.put(b"\x11" * 20, dht.serialize_value(default_serializer.pack_serializable(point), sign=False))
