"""The scenarios of ``python -m ipv8.test.simulation``.

A scenario is a function that takes a running simulation and a number of nodes, and returns figures by name. It raises
``AssertionError`` if the network does not do what it should.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from ...community import Community
from ...peerdiscovery.churn import RandomChurn
from ...peerdiscovery.community import DiscoveryCommunity, PeriodicSimilarity
from .nat import NAT
from .node import DEFAULT_WALKERS, Walker
from .sybils import SybilAttacker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .node import Node
    from .simulation import Simulation

__all__ = ["SCENARIOS", "SERVICE_WALKERS", "SimulatedCommunity", "churn", "converge", "discovery", "eclipse", "nats",
           "partition", "service", "sybil"]

NAT_KINDS: dict[str, NAT | None] = {
    "none": None, "open": NAT.ONE_TO_ONE, "moderate": NAT.PORT_RESTRICTED, "strict": NAT.SYMMETRIC,
}

IDENTITIES = 35
"""The number of identities of the attacker for each honest node."""

FORMATION_SECONDS = 60.0
"""Seconds between the start of honest nodes and the start of attackers, or the other way round."""

SERVICE_WALKERS = (*DEFAULT_WALKERS, Walker(RandomChurn, -1), Walker(PeriodicSimilarity, -1))
"""The walkers that the default configuration of the service has for ``DiscoveryCommunity``."""


class SimulatedCommunity(Community):
    """An overlay without messages of its own."""

    community_id = b"a simulated overlay."


def converge(sim: Simulation, nodes: Sequence[Node], peers: int, timeout: float, share: float = 0.95) -> float:
    """The virtual time at which a share of the nodes has so many peers; ``TimeoutError`` after ``timeout`` seconds."""
    def has_converged() -> bool:
        return sum(len(node.get_peers()) >= peers for node in nodes) >= share * len(nodes)

    sim.run_until(has_converged, timeout)
    return sim.time


def discovery(sim: Simulation, count: int) -> dict[str, Any]:
    """One tracker and nodes that start at the same time: the time until 95 % of them have 1, 5, 10 and 20 peers."""
    sim.add_tracker()
    nodes = [sim.add_node(SimulatedCommunity) for _ in range(count)]
    figures: dict[str, Any] = {}
    for peers in (1, 5, 10, 20):
        if peers < count:
            figures[f"seconds to {peers} peers"] = round(converge(sim, nodes, peers, 300.0), 1)
            figures[f"messages per node to {peers} peers"] = round(sim.trace.sent / count, 1)
    return figures


def service(sim: Simulation, count: int) -> dict[str, Any]:
    """One virtual hour of ``DiscoveryCommunity`` with the walkers of the service. Every node must have peers."""
    sim.add_tracker()
    nodes = [sim.add_node(DiscoveryCommunity, walkers=SERVICE_WALKERS) for _ in range(count)]
    sim.run(3600.0)
    fewest = min(len(node.get_peers()) for node in nodes)
    assert fewest >= min(20, count - 1), f"a node has only {fewest} peers after an hour"
    return {"fewest peers": fewest}


def nats(sim: Simulation, count: int) -> dict[str, Any]:
    """One tracker and pairs behind each combination of NATs: how many of them find each other within a minute.

    :param count: the number of pairs for each combination.
    """
    figures: dict[str, Any] = {}
    for (one, mine), (other, theirs) in product(NAT_KINDS.items(), repeat=2):
        successes = 0
        for number in range(count):
            overlay = type("PairCommunity", (Community,), {"community_id": f"{one:8}{other:8}{number:4}".encode()})
            if not sim.trackers:
                sim.add_tracker()
            pair = sim.add_node(overlay, nat=mine), sim.add_node(overlay, nat=theirs)
            sim.run(60.0)
            successes += pair[0].knows(pair[1]) and pair[1].knows(pair[0])
            for node in pair:
                sim.stop(node)
        figures[f"{one} - {other}"] = f"{successes}/{count}"
    return figures


def churn(sim: Simulation, count: int) -> dict[str, Any]:
    """Nodes that stop and start at random for ten minutes: the running ones must have peers."""
    sim.add_tracker()
    nodes = [sim.add_node(DiscoveryCommunity, walkers=SERVICE_WALKERS) for _ in range(count)]
    sim.run(60.0)
    coming_and_going = sim.start_churn(nodes, mean_uptime=300.0, mean_downtime=60.0)
    sim.run(600.0)
    coming_and_going.stop()
    running = [node for node in nodes if node.running]
    lonely = sum(not node.get_peers() for node in running)
    assert lonely <= max(1, len(running) // 10), f"{lonely} of {len(running)} nodes have no peers"
    return {"departures": coming_and_going.departures, "running": len(running), "without peers": lonely}


def partition(sim: Simulation, count: int) -> dict[str, Any]:
    """A network that is cut in two for three minutes. Afterwards it must become one again."""
    sim.add_tracker()
    nodes = [sim.add_node(DiscoveryCommunity, walkers=SERVICE_WALKERS) for _ in range(count)]
    halves = nodes[::2], nodes[1::2]
    sim.run(60.0)
    sim.partition(*halves)
    sim.run(180.0)
    crossing = sum(one.knows(other) for one in halves[0] for other in halves[1])
    sim.heal()
    sim.run(300.0)
    healed = sum(any(one.knows(other) for other in halves[1]) for one in halves[0])
    assert healed >= len(halves[0]) * 0.9, f"only {healed} of {len(halves[0])} nodes know a node of the other half"
    return {"pairs of both halves that know each other": crossing, "nodes that know the other half again": healed}


def eclipse(sim: Simulation, count: int, first: str = "honest", times: Sequence[float] = (120.0, 600.0),
            identities: int = IDENTITIES, subnets: int = 3, hosts: int = 50) -> Iterator[tuple[float, list[int]]]:
    """One tracker and nodes of an overlay that a :class:`SybilAttacker` attacks.

    :param count: the number of honest nodes, each in a network of its own.
    :param first: which start a minute before the others: ``"honest"``, ``"sybils"``, or ``"nobody"``.
    :param times: the times at which to count, in seconds since all have started.
    :param identities: the number of identities of the attacker for each honest node.
    :param subnets: the number of subnets of the attacker.
    :param hosts: the number of addresses of the attacker in each subnet.
    :returns: each of the times, with the number of honest peers of each honest node.
    """
    sim.add_tracker()
    nodes: list[Node] = []
    if first == "honest":
        nodes += [sim.add_node(SimulatedCommunity) for _ in range(count)]
        sim.run(FORMATION_SECONDS)
    attacker = SybilAttacker(sim, SimulatedCommunity, identities * count, subnets, hosts)
    if first == "sybils":
        sim.run(FORMATION_SECONDS)
    if first != "honest":
        nodes += [sim.add_node(SimulatedCommunity) for _ in range(count)]
    begin = sim.time
    for seconds in times:
        sim.run(begin + seconds - sim.time)
        yield seconds, [len(attacker.honest(node)) for node in nodes]


def sybil(sim: Simulation, count: int) -> dict[str, Any]:
    """An attacker with 35 identities for each honest node, in three subnets: honest nodes must find one another."""
    figures: dict[str, Any] = {}
    wanted = min(10, count - 1)
    for seconds, honest in eclipse(sim, count, "nobody", (30.0, 120.0)):
        share = sum(peers >= wanted for peers in honest) / count
        figures[f"with {wanted} honest peers after {seconds:.0f} s"] = round(share, 3)
    assert share >= 0.95, f"only {share:.0%} of the nodes have {wanted} honest peers"
    return figures


SCENARIOS: dict[str, Callable[[Simulation, int], dict[str, Any]]] = {
    scenario.__name__: scenario for scenario in (discovery, service, nats, churn, partition, sybil)
}
