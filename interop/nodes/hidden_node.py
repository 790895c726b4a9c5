"""A node with hidden services for tests. It reads commands and writes events, as one JSON object per line.

It runs with both libraries. The only argument is a JSON object, whose ``role`` is ``"native"`` for the native endpoint
of tunnels. The first event, ``started``, has the address of the node. The program ends when its standard input ends.

There is no DHT: introduction points that a node announces are reported as events, and the test tells nodes what their
lookups find.
"""

from __future__ import annotations

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

from interop.nodes.commands import close, make_endpoint, obey_commands
from interop.nodes.values import tell
from ipv8.dht.provider import DHTCommunityProvider
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.tunnel import PEER_SOURCE_DHT, IntroductionPoint
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

ZERO = ("0.0.0.0", 0)
PATIENCE = 60.0


class Provider(DHTCommunityProvider):
    """Finds what the test has told."""

    def __init__(self) -> None:
        super().__init__(None, 0)
        self.found: list[Any] = []

    async def lookup(self, info_hash: bytes) -> Any:
        return info_hash, list(self.found)

    async def announce(self, info_hash: bytes, intro_point: Any) -> None:
        tell("announced", info_hash=info_hash.hex(), address=list(intro_point.peer.address[:2]),
             key=intro_point.peer.public_key.key_to_bin().hex(), service=intro_point.seeder_pk.hex())

    async def peer_lookup(self, mid: bytes, peer: Any = None) -> None:
        return None


class Service:
    """What the overlay needs of the service that runs overlays."""

    def __init__(self) -> None:
        self.overlays: list[Any] = []
        self.strategies: list[Any] = []

    def add_strategy(self, overlay: Any, strategy: Any, target: int) -> None:
        overlay.bootstrappers = []
        if overlay not in self.overlays:
            self.overlays.append(overlay)
        self.strategies.append((strategy, target))


class Hidden(HiddenTunnelCommunity):
    """Counts the data that come out of connections."""

    received = 0

    def on_raw_data(self, circuit: Any, origin: Any, data: bytes) -> None:
        self.received += 1
        self.last = circuit


class Node:
    """A node on a socket."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    async def run(self) -> None:
        """Run commands until standard input ends."""
        get_providers().clear()
        endpoint = await make_endpoint(self.options["role"] == "native")
        self.address = UDPv4Address(*endpoint.get_address()[:2])
        me = Peer(default_eccrypto.generate_key("curve25519"), self.address)
        settings = Hidden.settings_class(my_peer=me, endpoint=endpoint, network=Network(), max_circuits=0,
                                         min_circuits=0, remove_tunnel_delay=0, dht_provider=Provider())
        settings.peer_flags = {1, 2, 8}  # pyipv8 ignores them as an argument
        self.overlay: Any = Hidden(settings)
        self.overlay.ipv8 = Service()
        self.overlay.my_estimated_wan = self.overlay.my_estimated_lan = self.address
        tell("started", address=list(self.address), mid=me.mid.hex(), key=me.public_key.key_to_bin().hex())
        await obey_commands(self.obey)
        await self.overlay.unload()
        await close(endpoint)
        tell("stopped")

    def peer(self, node: dict[str, Any]) -> Peer:
        """Another node."""
        return Peer(bytes.fromhex(node["key"]), UDPv4Address(*node["address"]))

    async def obey(self, do: str, **details: Any) -> Any:
        """Run one command, and return its result."""
        return await getattr(self, "do_" + do.replace(" ", "_"))(**details)

    async def do_know(self, nodes: list[dict[str, Any]]) -> None:
        """Know these nodes as relays that are exits, and no others."""
        self.overlay.candidates.clear()
        for node in nodes:
            peer = self.peer(node)
            self.overlay.network.add_verified_peer(peer)
            self.overlay.network.discover_services(peer, [self.overlay.community_id])
            self.overlay.candidates[peer] = [1, 2, 8]

    async def do_flags(self, flags: list[int]) -> None:
        """Offer something else."""
        self.overlay.settings.peer_flags = set(flags)

    async def do_serve(self, info_hash: str, hops: int, intro: dict[str, Any]) -> str:
        """Be a service; the result is its key."""
        swarm = bytes.fromhex(info_hash)
        self.overlay.join_swarm(swarm, hops, seeding=True)
        await self.do_more_introduction_points(info_hash, intro)
        key: str = self.overlay.swarms[swarm].seeder_sk.pub().key_to_bin().hex()
        return key

    async def do_more_introduction_points(self, info_hash: str, intro: dict[str, Any]) -> None:
        """Ask a node to introduce the service."""
        await asyncio.wait_for(self.overlay.create_introduction_point(bytes.fromhex(info_hash), self.peer(intro)),
                               PATIENCE)

    async def do_introduces(self) -> list[str]:
        """The services that the node introduces."""
        return [key.hex() for key in self.overlay.intro_point_for]

    async def do_found(self, points: list[dict[str, Any]]) -> None:
        """What lookups find from now on."""
        self.overlay.dht_provider.found = [IntroductionPoint(self.peer(point), bytes.fromhex(point["service"]),
                                                             PEER_SOURCE_DHT) for point in points]

    async def do_walk_in_swarm(self, info_hash: str, address: list[Any]) -> None:
        """Contact another introduction point."""
        overlay = self.overlay.pex[bytes.fromhex(info_hash)]
        overlay.my_estimated_wan = self.address
        overlay.walk_to(UDPv4Address(*address))

    async def do_circuit(self, hops: int) -> bool:
        """Build a circuit; whether that worked."""
        circuit = self.overlay.create_circuit(hops, exit_flags=[2])
        return await asyncio.wait_for(circuit.ready, PATIENCE) is circuit

    async def do_join(self, info_hash: str, hops: int) -> None:
        """Be a client."""
        self.overlay.join_swarm(bytes.fromhex(info_hash), hops,
                                lambda address: tell("connected", address=list(address)), seeding=False)

    async def do_discover(self) -> None:
        """Look for services, and connect to them."""
        await asyncio.wait_for(self.overlay.do_peer_discovery(), PATIENCE)

    async def do_look_up(self, info_hash: str, hops: int, target: dict[str, Any] | None = None) -> list[Any]:
        """Ask for introduction points."""
        asked = None if target is None else SimpleNamespace(peer=self.peer(target), seeder_pk=b"")
        found = await asyncio.wait_for(self.overlay.send_peers_request(bytes.fromhex(info_hash), asked, hops), PATIENCE)
        return sorted([[list(point.peer.address[:2]), point.seeder_pk.hex(), point.source] for point in found])

    async def do_received(self) -> int:
        """How many packets came by connections."""
        return int(self.overlay.received)

    async def do_speed_test(self) -> int | None:
        """The size of the answer to a speed test by the connection."""
        circuit, = self.connections("RP_DOWNLOADER")
        answer = await asyncio.wait_for(self.overlay.send_test_request(circuit, 100, 200), PATIENCE)
        return None if answer is None else len(answer[0])

    def connections(self, *types: str) -> list[Any]:
        """The circuits of connections."""
        return [circuit for circuit in self.overlay.circuits.values()
                if circuit.ctype in types and circuit.hs_session_keys is not None]

    async def do_send(self, count: int) -> int:
        """Send data to the other end of the connection."""
        circuit = self.connections("RP_DOWNLOADER", "RP_SEEDER")[-1]
        for number in range(count):
            self.overlay.send_data(circuit.hop.address, circuit.circuit_id, ZERO, ZERO, b"%1000d" % number)
        return count


if __name__ == "__main__":
    asyncio.run(Node(json.loads(sys.argv[1])).run())
