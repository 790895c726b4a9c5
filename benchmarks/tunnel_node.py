"""A node of the case ``tunnels``: takes commands as lines of JSON on standard input, and answers with lines of JSON.

It is run as ``tunnel_node KIND FLAG...``: KIND is ``python`` or, to use the endpoint of ``ipv8_rust_tunnels``,
``native``; the numbers are the flags of what the node offers.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from importlib import import_module
from time import perf_counter, process_time
from typing import Any

from benchmarks.sender import shared_counter
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.community import TunnelCommunity, TunnelSettings
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

NOWHERE = ("0.0.0.0", 0)
BATCH = 16
LOST_SECONDS = 0.2
LOOK_SECONDS = 0.005


async def open_endpoint(kind: str) -> Any:
    """An open endpoint on loopback."""
    endpoint: Any
    if kind == "native":
        try:
            accelerator = import_module("ipv8.messaging.anonymization.accelerator")
        except ImportError:  # the library is another one
            endpoint = import_module("ipv8_rust_tunnels").Endpoint(0, "127.0.0.1", 2)
        else:
            endpoint = accelerator.make_native_endpoint(0, "127.0.0.1", 2)
    else:
        endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    return endpoint


class Node:
    """A tunnel community and what is done with it."""

    def __init__(self, endpoint: Any, flags: list[int]) -> None:
        settings = TunnelSettings(
            my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint, network=Network(),
            min_circuits=0, max_circuits=0, remove_tunnel_delay=0, max_joined_circuits=5000,
            allow_same_network=True, ready_circuits=0)
        settings.peer_flags = set(flags)
        self.overlay = TunnelCommunity(settings)
        self.peers: list[Peer] = []
        self.circuits: list[Any] = []
        self.acknowledged = asyncio.Event()

    def key(self) -> dict[str, Any]:
        """Where the node is."""
        return {"port": self.overlay.endpoint.get_address()[1],
                "key": self.overlay.my_peer.public_key.key_to_bin().hex()}

    def know(self, nodes: list[dict[str, Any]]) -> None:
        """Learn about other nodes."""
        for node in nodes:
            peer = Peer(bytes.fromhex(node["key"]), UDPv4Address("127.0.0.1", node["port"]))
            self.overlay.network.add_verified_peer(peer)
            self.overlay.network.discover_services(peer, [self.overlay.community_id])
            self.overlay.candidates[peer] = node["flags"]
            self.peers.append(peer)

    async def build(self, hops: int, exit_number: int) -> float:
        """Build a circuit; the milliseconds that it took."""
        start = perf_counter()
        circuit = self.overlay.create_circuit(hops, required_exit=self.peers[exit_number])
        assert circuit is not None
        assert await asyncio.wait_for(circuit.ready, 30) is not None
        self.circuits.append(circuit)
        return (perf_counter() - start) * 1e3

    def listen(self) -> int:
        """The port of a socket to which the sink sends something when packets have arrived."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))

        def acknowledge() -> None:
            sock.recv(1)
            self.acknowledged.set()

        asyncio.get_running_loop().add_reader(sock, acknowledge)
        port: int = sock.getsockname()[1]
        return port

    async def send(self, number: int, count: int, size: int, port: int, counter_file: str, window: int) -> int:
        """Send packets to a sink on loopback, with at most ``window`` on their way; how many of them arrived.

        What has not arrived while nothing arrived for a while counts as lost.
        """
        loop = asyncio.get_running_loop()
        counter = shared_counter(counter_file)
        before = counter.value
        circuit = self.circuits[number]
        destination = UDPv4Address("127.0.0.1", port)
        data = b"d" + bytes(size - 2) + b"e"
        sent = lost = seen = 0
        progress = perf_counter()
        while sent < count or seen + lost < sent:
            arrived = counter.value - before
            if arrived != seen:
                seen, progress = arrived, perf_counter()
            elif perf_counter() > progress + LOST_SECONDS:
                lost, progress = sent - seen, perf_counter()
            if sent < count and sent - seen - lost + BATCH <= window:
                for _ in range(BATCH):
                    self.overlay.send_data(circuit.hop.address, circuit.circuit_id, destination, NOWHERE, data)
                sent += BATCH
                await asyncio.sleep(0)
            else:
                self.acknowledged.clear()
                timer = loop.call_later(LOOK_SECONDS, self.acknowledged.set)
                await self.acknowledged.wait()
                timer.cancel()
        return seen

    async def burst(self, number: int, count: int, size: int, port: int) -> None:
        """Send packets without a pause. In the end, none of them waits for others."""
        circuit = self.circuits[number]
        destination = UDPv4Address("127.0.0.1", port)
        for _ in range(count):
            self.overlay.send_data(circuit.hop.address, circuit.circuit_id, destination, NOWHERE,
                                   b"d" + bytes(size - 2) + b"e")
        await asyncio.sleep(0.001)

    async def handle(self, name: str, *arguments: Any) -> Any:
        """Do what a command says."""
        if name == "processor":
            return process_time()
        result = getattr(self, name)(*arguments)
        return await result if asyncio.iscoroutine(result) else result

    async def stop(self) -> None:
        """End everything."""
        await self.overlay.unload()
        closing = self.overlay.endpoint.close()
        if asyncio.iscoroutine(closing):
            await closing


async def main() -> None:
    """Handle commands until standard input is closed."""
    kind, *flags = sys.argv[1:]
    node = Node(await open_endpoint(kind), [int(flag) for flag in flags])
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await node.handle(*json.loads(line))), flush=True)
    await node.stop()


if __name__ == "__main__":
    asyncio.run(main())
