"""The DHT: what storing and finding cost among 100 nodes that are 50 ms apart, all alive and with a quarter dead.

This part runs in real time, on any library. Larger networks, with churn and attacks, run on the virtual time of
``ipv8.test.simulation`` where that exists.
"""

from __future__ import annotations

import asyncio
import logging
import random
from hashlib import sha1
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure
from ipv8.community import CommunitySettings
from ipv8.dht.community import DHTCommunity
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import MockEndpoint, internet

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = 100
ACQUAINTANCES = 20
ONE_WAY_SECONDS = 0.05
OPERATIONS = 10
PAUSE_SECONDS = 1.0
VALUE = bytes(80)

LARGE = 1000
LARGE_OPERATIONS = 100


class Counting(MockEndpoint):
    """Counts, delays and, to the dead, loses packets."""

    packets = 0

    def send(self, socket_address: Any, packet: bytes) -> None:
        if not self.is_open():
            return
        Counting.packets += 1
        target = internet.get(socket_address)
        if target is not None:
            asyncio.get_running_loop().call_later(ONE_WAY_SECONDS, deliver, target, (self.wan_address, packet))


def deliver(target: Any, packet: Any) -> None:
    if target.is_open():
        target.notify_listeners(packet)


def make_node(chance: random.Random) -> Any:
    address = UDPv4Address(f"{chance.randint(20, 99)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.7", 7000)
    endpoint = Counting(address, address)
    endpoint.open()
    me = Peer(default_eccrypto.generate_key("curve25519"), address)
    node = DHTCommunity(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network()))
    node.my_estimated_wan = node.my_estimated_lan = address
    return node


async def small_network(dead: float) -> list[Figure]:
    """Times and packets of stores and lookups, and how many nodes confirmed."""
    get_providers().clear()
    internet.clear()
    chance = random.Random(1)
    nodes = [make_node(chance) for _ in range(NODES)]
    for node in nodes:
        for other in chance.sample([other for other in nodes if other is not node], ACQUAINTANCES):
            node.on_node_discovered(other.my_peer.public_key.key_to_bin(), other.endpoint.wan_address)
    await asyncio.sleep(6)
    for node in nodes[:int(dead * NODES)]:
        node.endpoint.close()
    alive = nodes[int(dead * NODES):]
    stores, finds, copies, found = [], [], [], 0
    for number in range(OPERATIONS):
        key = sha1(bytes((number,))).digest()
        writer, reader = chance.sample(alive, 2)
        before, begin = Counting.packets, perf_counter()
        stored = await writer.store_value(key, VALUE)
        stores.append((perf_counter() - begin, Counting.packets - before))
        copies.append(len(stored))
        await asyncio.sleep(PAUSE_SECONDS)
        before, begin = Counting.packets, perf_counter()
        found += bool(await reader.find_values(key))
        duration = perf_counter() - begin
        await asyncio.sleep(0.3)
        finds.append((duration, Counting.packets - before))
        await asyncio.sleep(PAUSE_SECONDS)
    for node in nodes:
        await node.unload()
    where = f"{NODES} nodes" + (f", {dead:.0%} dead" if dead else "")
    return [
        Figure(f"store, {where}", 1000 * median(seconds for seconds, _ in stores), "ms"),
        Figure(f"packets of a store, {where}", median(packets for _, packets in stores), "packets"),
        Figure(f"copies, {where}", median(copies), "nodes", more_is_better=True),
        Figure(f"find, {where}", 1000 * median(seconds for seconds, _ in finds), "ms"),
        Figure(f"packets of a find, {where}", median(packets for _, packets in finds), "packets"),
        Figure(f"found, {where}", 100 * found / OPERATIONS, "%", more_is_better=True),
    ]


def large_network() -> Iterator[Figure]:
    """A thousand simulated nodes, of which a fifth is replaced while values are stored and looked for."""
    try:
        from ipv8.test.dht.swarm import PoisonCommunity, Swarm, addresses_near
        from ipv8.test.simulation import Link, Simulation
    except ImportError:
        return
    line = Link(latency=ONE_WAY_SECONDS / 2)

    with Simulation(seed=1, link=line, stand_in_signatures=True) as simulation:
        swarm = Swarm(simulation, LARGE)
        simulation.run(60)
        finds, stores, found = [], [], 0
        for number in range(LARGE_OPERATIONS):
            key = sha1(bytes((number,))).digest()
            stored = swarm.store(swarm.pick(1)[0], key, VALUE)
            stores.append(stored.seconds)
            swarm.kill(0.2 / LARGE_OPERATIONS)
            lookup = swarm.find(swarm.pick(1)[0], key)
            finds.append(lookup.seconds)
            found += (VALUE, None) in lookup.result
            simulation.run(1)
        yield Figure(f"store, {LARGE} nodes, 20% churn", 1000 * median(stores), "ms")
        yield Figure(f"find, {LARGE} nodes, 20% churn", 1000 * median(finds), "ms")
        yield Figure(f"found, {LARGE} nodes, 20% churn", 100 * found / LARGE_OPERATIONS, "%", more_is_better=True)

    with Simulation(seed=2, link=line, stand_in_signatures=True) as simulation:
        swarm = Swarm(simulation, 200, hostile=40, hostile_class=PoisonCommunity)
        found = 0
        for number in range(50):
            key = sha1(bytes((number,))).digest()
            swarm.store(swarm.pick(1)[0], key, VALUE)
            found += (VALUE, None) in swarm.find(swarm.pick(1)[0], key).result
            simulation.run(1)
        yield Figure("found, 200 nodes, 20% poison", 100 * found / 50, "%", more_is_better=True)

    with Simulation(seed=3, link=line, stand_in_signatures=True) as simulation:
        swarm = Swarm(simulation, 200)
        key, found = sha1(b"besieged").digest(), 0
        swarm.besiege(key, addresses_near(key, 3), sybils_per_ip=8)
        for _ in range(20):
            writer, reader = swarm.pick(2)
            swarm.store(writer, key, VALUE)
            found += (VALUE, None) in swarm.find(reader, key).result
            simulation.run(5)
        yield Figure("found, 200 nodes, 24 sybils at 3 addresses", 100 * found / 20, "%", more_is_better=True)


def measure() -> Iterator[Figure]:
    """Yield all of it."""
    logging.disable(logging.ERROR)
    for dead in (0.0, 0.25):
        yield from asyncio.run(small_network(dead))
    yield from large_network()
