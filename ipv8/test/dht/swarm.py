"""Simulated networks of DHT nodes, honest and hostile, and what operations cost there.

Example::

    with Simulation(seed=1, link=Link(latency=0.025)) as simulation:
        swarm = Swarm(simulation, 100)
        writer, reader = swarm.pick(2)
        print(swarm.store(writer, key, b"value").seconds, swarm.find(reader, key).packets)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import entropy
from ...dht import DHTError
from ...dht.community import DHTCommunity
from ...dht.routing import Node as DHTNode, RoutingTable, calc_node_id, distance
from ...dht.storage import Storage
from ..simulation.node import Node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from ...peer import Peer
    from ..simulation.simulation import Simulation

__all__ = ["Cost", "PoisonCommunity", "Swarm", "SybilCommunity", "addresses_near"]

GET_ACQUAINTED_SECONDS = 6.0
AFTERMATH_SECONDS = 0.3
"""Packets that are sent so soon after an operation are counted for it."""


@dataclass
class Cost:
    """What an operation took, in virtual seconds and packets of all nodes, and its result."""

    seconds: float
    packets: int
    result: Any


class _JunkStorage(Storage):
    """Has the same three malformed values and an invented one for every key."""

    def page(self, key: bytes, starting_point: int, limit: int,  # noqa: ARG002 - the same for everything
             size: int) -> list[bytes]:  # noqa: ARG002
        """The junk, once."""
        return [] if starting_point else [b"", b"\x01\x00", b"\x01" + bytes(60), b"\x00invented"]


class PoisonCommunity(DHTCommunity):
    """A node that has values for every key, none of them stored by anybody."""

    def get_storage(self, node: Peer) -> Storage:  # noqa: ARG002 - the same for everybody
        """Junk."""
        return _JunkStorage()


class _LyingTable(RoutingTable):
    """Names the accomplices of a node as the nodes nearest to every id."""

    def closest_nodes(self, node_id: bytes, max_nodes: int = 8,
                      exclude_node: DHTNode | None = None) -> list[DHTNode]:  # noqa: ARG002 - lies to everybody
        """The nearest accomplices."""
        return sorted(SybilCommunity.accomplices, key=lambda node: node.distance(node_id))[:max_nodes]


class SybilCommunity(DHTCommunity):
    """A node that stores nothing and tells of its accomplices only."""

    accomplices: Sequence[DHTNode] = ()

    def add_value(self, key: bytes, value: bytes, storage: Storage,
                  max_age: float = 0.0) -> None:
        """Do nothing."""

    def get_routing_table(self, node: Peer) -> RoutingTable:
        """A table that lies."""
        family = self.get_address_class(node)
        if family not in self.routing_tables:
            self.routing_tables[family] = _LyingTable(self.get_my_node_id(node))
        return self.routing_tables[family]


class Swarm:
    """Nodes that each know some others.

    :param simulation: the simulation that they are part of.
    :param count: the number of nodes.
    :param acquaintances: the number of others that each is told of, and pings.
    :param hostile: the number of nodes that are of ``hostile_class``.
    """

    def __init__(self, simulation: Simulation, count: int, acquaintances: int = 20, hostile: int = 0,
                 hostile_class: type[DHTCommunity] = PoisonCommunity, **options: Any) -> None:
        self.simulation = simulation
        self.nodes: list[Node] = []
        self.hostile: list[Node] = []
        for number in range(count):
            node = simulation.add_node(hostile_class if number < hostile else DHTCommunity, walkers=(), **options)
            (self.hostile if number < hostile else self.nodes).append(node)
        everybody = [*self.nodes, *self.hostile]
        for node in everybody:
            self.prepare(node)
        for node in everybody:
            others = [other for other in everybody if other is not node]
            for other in entropy.sample(others, min(acquaintances, len(others))):
                self.acquaint(node, other)
        simulation.run(GET_ACQUAINTED_SECONDS)

    @staticmethod
    def prepare(node: Node) -> None:
        """Tell a node its public address, which it would learn from the first introduction."""
        node.overlay.my_estimated_wan = node.address
        node.my_peer.address = node.address

    def acquaint(self, node: Node, other: Node) -> None:
        """Tell ``node`` of ``other``."""
        self.wait_for(self._acquaint(node, other))

    async def _acquaint(self, node: Node, other: Node) -> None:
        node.run(node.overlay.on_node_discovered, other.my_peer.public_key.key_to_bin(), other.address)

    def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """Let time pass until something is done; its result, or the ``DHTError`` that it raised."""
        async def outcome() -> Any:
            try:
                return await awaitable
            except DHTError as e:
                return e

        return self.simulation.wait_for(outcome())

    def pick(self, count: int) -> list[Node]:
        """Some of the honest nodes that are running."""
        return entropy.sample([node for node in self.nodes if node.running], count)

    def kill(self, share: float) -> None:
        """Stop a share of the honest nodes; they send nothing more."""
        for node in self.pick(int(share * len(self.nodes))):
            self.simulation.crash(node)

    def measure(self, awaitable: Awaitable[Any]) -> Cost:
        """What something takes until it is done, and the packets until its effects have settled."""
        begin, sent = self.simulation.time, self.simulation.trace.sent
        result = self.wait_for(awaitable)
        seconds = self.simulation.time - begin
        self.simulation.run(AFTERMATH_SECONDS)
        return Cost(seconds, self.simulation.trace.sent - sent, result)

    def store(self, node: Node, key: bytes, data: bytes) -> Cost:
        """Store a value; the result are the nodes that confirmed."""
        return self.measure(node.overlay.store_value(key, data))

    def find(self, node: Node, key: bytes, **options: Any) -> Cost:
        """Find values."""
        return self.measure(node.overlay.find_values(key, **options))

    def holders(self, key: bytes) -> list[Node]:
        """The honest running nodes that keep values of ``key``."""
        return [node for node in self.nodes if node.running
                and any(storage.get(key) for storage in node.overlay.storages.values())]

    def nearest(self, key: bytes, count: int = 8) -> list[Node]:
        """The honest running nodes that are nearest to ``key``."""
        running = [node for node in self.nodes if node.running]
        return sorted(running, key=lambda node: distance(calc_node_id(node.address, node.my_peer.mid), key))[:count]

    def besiege(self, key: bytes, ips: Sequence[str], sybils_per_ip: int) -> None:
        """Add sybils at the given addresses, which should be near to ``key``, and make honest nodes know them."""
        first = len(self.hostile)
        for ip in ips:
            host = self.simulation.add_host(ipv4=ip)
            for number in range(sybils_per_ip):
                node = Node(host, port=9000 + number, phase=1000.0)
                node.add_overlay(SybilCommunity, ())
                self.simulation.nodes.append(node)
                self.simulation.start(node)
                self.prepare(node)
                self.hostile.append(node)
        sybils = self.hostile[first:]
        SybilCommunity.accomplices = [DHTNode(node.my_peer.public_key, node.address) for node in sybils]
        for sybil in sybils:
            for victim in self.nearest(key, 20):
                self.acquaint(sybil, victim)
        self.simulation.run(GET_ACQUAINTED_SECONDS)


def addresses_near(key: bytes, count: int, bits: int = 12) -> list[str]:
    """Public IPv4 addresses in different networks, whose nodes share at least ``bits`` bits with ``key``."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        ip = f"45.{number >> 8 & 255}.{number & 255}.{1 + (number >> 16) % 250}"
        if distance(calc_node_id((ip, 1), bytes(20))[:3], key[:3]) >> (24 - bits) == 0:
            found.append(ip)
        number += 1
    return found
