"""Hidden services over loopback, all nodes in this process: how long a connection takes, and what goes through it."""

from __future__ import annotations

import asyncio
import statistics
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 5
"""As many as a service accepts from one host at once."""
PACKETS = 4000
SIZE = 1000
WINDOW = 20
"""Packets that are sent before the event loop runs."""
INFO_HASH = b"benchmarked swarm..."
ZERO = ("0.0.0.0", 0)
PATIENCE = 10.0


def make_classes() -> tuple[type[Any], type[Any]]:
    """An overlay that counts data, and a DHT that finds what was announced in this process."""
    from ipv8.dht.provider import DHTCommunityProvider
    from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity

    class Counting(HiddenTunnelCommunity):
        received = 0

        def on_raw_data(self, circuit: Any, origin: Any, data: bytes) -> None:  # noqa: ARG002 - as in the base
            self.received += 1

    class Provider(DHTCommunityProvider):
        found: list[Any] = []  # noqa: RUF012 - shared by all nodes

        async def lookup(self, info_hash: bytes) -> Any:
            return info_hash, list(self.found)

        async def announce(self, info_hash: bytes, intro_point: Any) -> None:  # noqa: ARG002 - there is one swarm
            self.found.append(intro_point)

    return Counting, Provider


async def make_node(overlay_class: type[Any], provider: type[Any], flags: set[int]) -> Any:
    """A node on a socket."""
    from ipv8.keyvault.crypto import default_eccrypto
    from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
    from ipv8.peer import Peer
    from ipv8.peerdiscovery.network import Network

    endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    address = UDPv4Address(*endpoint.get_address()[:2])
    settings = overlay_class.settings_class(
        my_peer=Peer(default_eccrypto.generate_key("curve25519"), address), endpoint=endpoint, network=Network(),
        max_circuits=0, min_circuits=0, remove_tunnel_delay=0, dht_provider=provider(None, 0), peer_flags=flags)
    overlay = overlay_class(settings)
    overlay.my_estimated_wan = overlay.my_estimated_lan = address
    return overlay


async def connect(client: Any, hops: int) -> float:
    """Milliseconds from the lookup of a service to the connection."""
    connected = asyncio.get_running_loop().create_future()
    client.join_swarm(INFO_HASH, hops, connected.set_result, seeding=False)
    begin = perf_counter()
    await client.do_peer_discovery()
    await asyncio.wait_for(connected, PATIENCE)
    return 1000 * (perf_counter() - begin)


async def carry(client: Any, service: Any) -> tuple[float, float]:
    """Megabytes a second from a client to a service, and microseconds of processor time a packet in all nodes."""
    circuit = next(circuit for circuit in client.circuits.values() if circuit.ctype == "RP_DOWNLOADER")
    data, before = bytes(SIZE), service.received
    begin, worked = perf_counter(), process_time()
    for number in range(PACKETS):
        client.send_data(circuit.hop.address, circuit.circuit_id, ZERO, ZERO, data)
        while number - (service.received - before) >= WINDOW and perf_counter() - begin < PATIENCE:  # noqa: ASYNC110
            await asyncio.sleep(0)
    return PACKETS * SIZE / 1e6 / (perf_counter() - begin), 1e6 * (process_time() - worked) / PACKETS


async def run(hops: int) -> tuple[float, float, float]:
    """The figures for one length of circuits."""
    overlay_class, provider = make_classes()
    relays = [await make_node(overlay_class, provider, {1, 2, 8}) for _ in range(hops + 1)]
    client, service = [await make_node(overlay_class, provider, {8}) for _ in range(2)]
    everybody = [*relays, client, service]
    for overlay in everybody:
        for relay in relays:
            if relay is not overlay:
                overlay.network.add_verified_peer(relay.my_peer)
                overlay.network.discover_services(relay.my_peer, [overlay.community_id])
                overlay.candidates[relay.my_peer] = [1, 2, 8]
    service.join_swarm(INFO_HASH, hops, seeding=True)
    await service.create_introduction_point(INFO_HASH)
    while not provider.found:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    circuit = client.create_circuit(hops, exit_flags=[2])
    await asyncio.wait_for(circuit.ready, PATIENCE)
    times = []
    for number in range(CONNECTIONS):
        if number:
            client.leave_swarm(INFO_HASH)
            await asyncio.sleep(0.02)
        times.append(await connect(client, hops))
    speed, cost = await carry(client, service)
    for overlay in everybody:
        await overlay.unload()
        closing = overlay.endpoint.close()
        if closing is not None:
            await closing
    return statistics.median(times), speed, cost


def measure() -> Iterator[Figure]:
    """Yield the figures for circuits of one and of two hops."""
    for hops in (1, 2):
        milliseconds, speed, cost = asyncio.run(run(hops))
        yield Figure(f"time to connect, {hops} hops", milliseconds, "ms")
        yield Figure(f"client to service, {hops} hops", speed, "MB/s", more_is_better=True)
        yield Figure(f"processor time of all nodes, {hops} hops", cost, "µs")
