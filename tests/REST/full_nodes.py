"""Real nodes on loopback that run every overlay with a page of its own, for tests of the pages and their pictures."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ipv8.attestation.communication_manager import CommunicationChannel, CommunicationManager
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.listener import FunctionListener
from ipv8.configuration import ConfigBuilder
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.dht.routing import Node
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.tunnel import PEER_FLAG_EXIT_BT, PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.service import IPv8

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ipv8.messaging.anonymization.tunnel import Circuit

__all__ = ["FullNode", "acquaint", "full_nodes", "until"]

OVERLAYS = ("DHTDiscoveryCommunity", "HiddenTunnelCommunity", "TrustChainCommunity")
FLAGS = {PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST, PEER_FLAG_EXIT_BT}
SECONDS = 20.0
INTERVAL = 0.02


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, and give what it found."""
    async def wait() -> Any:
        while not (found := condition()):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(INTERVAL)
        return found

    try:
        return await asyncio.wait_for(wait(), SECONDS)
    except asyncio.TimeoutError:
        raise AssertionError(f"this did not come in {SECONDS} s: {what}") from None


class ClearPseudonyms(CommunicationManager):
    """Pseudonyms that send in clear: on loopback, nobody could be reached through an exit."""

    def _tunnels(self) -> None:
        return None


class FullNode(IPv8):
    """A node with tunnels, DHT, TrustChain, a trust graph and pseudonyms."""

    def __init__(self, directory: Path) -> None:
        builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me")
        builder.set_address("127.0.0.1").set_port(0).set_working_directory(str(directory))
        settings: dict[str, dict[str, Any]] = {"TrustChainCommunity": {"working_directory": ":memory:"}}
        settings["HiddenTunnelCommunity"] = {
            "peer_flags": FLAGS, "min_circuits": 0, "max_circuits": 0, "ready_circuits": 0, "allow_same_network": True,
            "exit_to_private": True}
        for name in OVERLAYS:
            builder.add_overlay(name, "me", [], [], settings.get(name, {}), [])
        configuration = {**builder.finalize(), "trust": {}, "sessions": {}}
        super().__init__(configuration)
        self.pseudonyms = ClearPseudonyms(self, str(directory / "pseudonyms"), ":memory:", bootstrappers=[])

    @property
    def dht(self) -> DHTDiscoveryCommunity:
        """The DHT of the node."""
        found = self.get_overlay(DHTDiscoveryCommunity)
        assert found is not None
        return found

    @property
    def tunnels(self) -> HiddenTunnelCommunity:
        """The tunnels of the node."""
        found = self.get_overlay(HiddenTunnelCommunity)
        assert found is not None
        return found

    @property
    def chain(self) -> TrustChainCommunity:
        """The TrustChain of the node."""
        found = self.get_overlay(TrustChainCommunity)
        assert found is not None
        return found

    async def produce_anonymized_endpoint(self) -> UDPEndpoint:
        """A socket for a pseudonym."""
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        return endpoint

    def known_as(self) -> Peer:
        """What other nodes know of this one."""
        return Peer(self.keys["me"].public_key, UDPv4Address(*self.endpoint.get_address()))

    def meet(self, other: FullNode) -> None:
        """Know another node in all overlays."""
        peer = other.known_as()
        self.network.add_verified_peer(peer)
        self.network.discover_services(peer, [overlay.community_id for overlay in self.overlays])
        self.tunnels.candidates[peer] = list(FLAGS)
        node = Node(peer.public_key, peer.address)
        self.dht.get_routing_table(node).add(node)

    async def make_circuit(self, hops: int) -> Circuit:
        """Build a circuit that carries data."""
        circuit = self.tunnels.create_circuit(hops, exit_flags=(PEER_FLAG_EXIT_BT,))
        assert circuit is not None
        assert await asyncio.wait_for(circuit.ready, SECONDS) is circuit
        return circuit

    def agree(self, block_type: bytes) -> None:
        """Counter-sign all blocks of a type."""
        self.chain.add_listener(FunctionListener(lambda _: None, sign=True), [block_type])

    async def stop(self) -> None:
        """Stop the pseudonyms as well."""
        await self.pseudonyms.shutdown()
        await super().stop()


def acquaint(*channels: CommunicationChannel) -> None:
    """Let pseudonyms know one another."""
    for channel in channels:
        network = channel.identity_overlay.network
        for other in channels:
            if other is not channel:
                overlay = other.identity_overlay
                peer = Peer(overlay.my_peer.public_key, UDPv4Address(*overlay.endpoint.get_address()))
                network.add_verified_peer(peer)
                network.discover_services(peer, [overlay.community_id, other.attestation_overlay.community_id])


@asynccontextmanager
async def full_nodes(directory: Path, count: int) -> AsyncIterator[list[FullNode]]:
    """So many nodes that know one another."""
    nodes = []
    try:
        for number in range(count):
            folder = directory / str(number)
            folder.mkdir()
            nodes.append(FullNode(folder))
            await nodes[-1].start()
        for node in nodes:
            for other in nodes:
                if node is not other:
                    node.meet(other)
        yield nodes
    finally:
        for node in nodes:
            await node.stop()
