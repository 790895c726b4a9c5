"""Memory of nodes: a service with one overlay that knows 30 peers."""

from __future__ import annotations

import asyncio
from os import urandom
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, resident_memory
from benchmarks.messages import MeasuredCommunity
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8_service import IPv8

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = 120
PEERS = 30


def measure() -> Iterator[Figure]:
    """Yield the resident memory of a process with one node, and what each further node adds."""
    yield from asyncio.run(_measure())


async def _measure() -> list[Figure]:
    nodes = [await _start(0)]
    first = resident_memory()
    nodes.extend([await _start(number) for number in range(1, NODES + 1)])
    last = resident_memory()
    for node in nodes:
        await node.stop()
    return [Figure("process with one node", first / 1024, "MiB"),
            Figure("each further node", (last - first) / NODES, "KiB")]


async def _start(number: int) -> IPv8:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("my peer")
    builder.set_address("127.0.0.1").set_port(20_000 + number).set_log_level("ERROR")
    builder.add_overlay("MeasuredCommunity", "my peer", [WalkerDefinition(Strategy.RandomWalk, PEERS, {})], [], {}, [])
    node = IPv8(builder.finalize(), extra_communities={"MeasuredCommunity": MeasuredCommunity})
    await node.start()
    for index in range(PEERS):
        peer = Peer(b"LibNaCLPK:" + urandom(64), UDPv4Address(f"127.1.{number}.{index + 1}", 9))
        node.network.add_verified_peer(peer)
        node.network.discover_services(peer, [MeasuredCommunity.community_id])
    return node
