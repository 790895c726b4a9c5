"""The DHT: in how many networks somebody needs well-chosen addresses to hide the values of a key (doc/security.md).

The addresses are chosen so that their node ids are nearer to the key than all others, as many nodes run at each as
lookups contact, and all other nodes know them. They confirm what they are asked to store, and tell of one another only.
Lookups and the choice of the nodes that store a value are those of the library; packets are function calls.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NODES = 1000
KEYS = 40
START_NODES = 8
SYBILS_PER_ADDRESS = 2
NETWORKS = (1, 2, 4, 6, 8, 12, 16)
"""Networks of the attacker: a /24 each, or a /48 of IPv6."""


@dataclass
class World:
    """All nodes, and those among them that are the attacker's."""

    node_class: Any
    chance: random.Random
    honest: list[Any] = field(default_factory=list)
    sybils: list[Any] = field(default_factory=list)

    def add(self, node_id: bytes, host: str, hostile: bool) -> None:
        """Add a node."""
        key = b"LibNaCLPK:" + self.chance.randbytes(64)
        (self.sybils if hostile else self.honest).append(self.node_class(key, host, node_id))

    def nearest(self, target: bytes, nodes: Sequence[Any], count: int) -> list[Any]:
        """The nearest of some nodes."""
        return sorted(nodes, key=lambda node: node.distance(target))[:count]


def make_node_class() -> Any:
    """Nodes whose ids are given, instead of computed from their keys."""
    from ipv8.dht.routing import Node
    from ipv8.messaging.address import UDPv4Address

    class Placed(Node):
        def __init__(self, key: bytes, host: str, node_id: bytes) -> None:
            super().__init__(key, UDPv4Address(host, 7000))
            self._placed_id = node_id

        @property
        def id(self) -> bytes:
            return self._placed_id

    return Placed


def make_world(key: bytes, networks: int, per_region: int, chance: random.Random) -> World:
    """Honest nodes anywhere, and some of the attacker beside ``key``."""
    world = World(make_node_class(), chance)
    for _ in range(NODES):
        host = f"{chance.randint(20, 99)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.{chance.randint(1, 250)}"
        world.add(chance.randbytes(20), host, hostile=False)
    for number in range(networks):
        host = f"150.{number // per_region}.{number % per_region}"
        for copy in range(2 * SYBILS_PER_ADDRESS):
            # The first three bytes follow from the address; the others are chosen.
            node_id = key[:3] + bytes((number, copy)) + chance.randbytes(15)
            world.add(node_id, f"{host}.{1 + copy // SYBILS_PER_ADDRESS}", hostile=True)
    return world


def look_up(world: World, key: bytes, values: dict[Any, list[bytes]] | None) -> tuple[list[Any], list[bytes]]:
    """A lookup of nodes, or of values: the nodes that answered, and the values that were found."""
    from ipv8.dht.crawl import Crawl
    from ipv8.dht.lookup import Ask, Lookup, LookupOptions, Surroundings
    from ipv8.dht.routing import RoutingTable
    from ipv8.dht.timing import Measurements

    table = RoutingTable(bytes(20))
    for node in world.chance.sample(world.honest, START_NODES):
        table.add(node)
    crawl = Crawl(key, table, force_nodes=values is None)
    start = [todo.node_to_contact for todo in crawl.nodes_todo]
    lookup = Lookup(crawl, Surroundings(b"", Measurements(), on_public_internet=True), start, LookupOptions())
    now = 0.0
    while not lookup.finished:
        for action in lookup.poll(now):
            if isinstance(action, Ask):
                lookup.on_response(action.node, answer(world, action.node, key, values))
        now += 1.0
    return lookup.responders(), crawl.values


class Table:
    """The table of a node that knows everybody, within the limits of routing tables for one network."""

    def __init__(self, world: World) -> None:
        from ipv8.dht.diversity import MAX_PER_NETWORK_IN_BUCKET
        from ipv8.messaging.inet import network_of

        counts: dict[bytes, int] = {}
        self._nodes = list(world.honest)
        for node in world.sybils:
            network = network_of(node.address[0])
            counts[network] = counts.get(network, 0) + 1
            if counts[network] <= MAX_PER_NETWORK_IN_BUCKET:
                self._nodes.append(node)

    def closest_nodes(self, target: bytes, max_nodes: int, exclude_node: Any) -> list[Any]:  # noqa: ARG002 - see RoutingTable
        """The nearest nodes."""
        return sorted(self._nodes, key=lambda node: node.distance(target))[:max_nodes]


def answer(world: World, node: Any, key: bytes, values: dict[Any, list[bytes]] | None) -> dict[str, list[Any]]:
    """What a node says."""
    from ipv8.dht.answers import Room, find_answer
    from ipv8.dht.payload import FindRequestPayload

    if node in world.sybils:
        return {"nodes": world.nearest(key, world.sybils, 8)}
    if values and node in values:
        return {"values": values[node]}
    request = FindRequestPayload(1, ("0.0.0.0", 0), key, 0, True)
    table: Any = Table(world)
    return {"nodes": find_answer(request, node, None, table, Room(1400, True)).nodes}


def hidden_share(networks: int, per_region: int) -> float:
    """The share of keys whose value is not found after it was stored."""
    from ipv8.dht.replication import StoreTargets

    chance = random.Random(networks)
    hidden = 0
    for _ in range(KEYS):
        key = chance.randbytes(20)
        world = make_world(key, networks, per_region, chance)
        found, _ = look_up(world, key, None)
        values = {node: [b"\x00value"] for node in StoreTargets.nearest(found, 8) if node not in world.sybils}
        _, read = look_up(world, key, values)
        hidden += b"\x00value" not in read
    return hidden / KEYS


def measure() -> Iterator[Figure]:
    """Yield the share of hidden keys for each number of networks."""
    try:
        from ipv8.dht.diversity import spread as spread
    except ImportError:
        return
    for per_region, where in ((256, "in one /16"), (1, "in a /16 each")):
        for networks in NETWORKS:
            yield Figure(f"hidden by 4 nodes in each of {networks} networks {where}",
                         100 * hidden_share(networks, per_region), "%")
