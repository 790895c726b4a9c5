"""How soon nodes find each other, and through which NATs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipv8.community import Community
from ipv8.contact.nat import AddressMapping, PeerPath
from ipv8.test.simulation import NAT, Simulation

if TYPE_CHECKING:
    from ipv8.test.simulation import Node


class Walkers(Community):
    community_id = b"nodes that find peer"


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_nodes_have_twenty_peers_in_five_seconds(seed: int) -> None:
    with Simulation(seed, stand_in_signatures=True) as sim:
        sim.add_tracker()
        nodes = [sim.add_node(Walkers) for _ in range(100)]
        seconds = sim.run_until(lambda: sum(len(node.get_peers()) >= 20 for node in nodes) >= 95, 30.0)
        assert seconds < 5.0
        assert sim.trace.sent / 100 <= 88


def test_where_all_are_known_nobody_hurries() -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        sim.add_tracker()
        for _ in range(3):
            sim.add_node(Walkers)
        sim.run(10.0)
        before = sim.trace.sent
        sim.run(60.0)
        assert sim.trace.sent - before <= 3 * 120 * 4, "a step each half second, four packets each"


def meet(sim: Simulation, mine: NAT | None, theirs: NAT | None, timeout: float) -> tuple[Node, Node]:
    """A pair with one tracker that must become acquainted."""
    sim.add_tracker()
    pair = sim.add_node(Walkers, nat=mine, phase=0.1), sim.add_node(Walkers, nat=theirs, phase=0.3)
    sim.run_until(lambda: pair[0].knows(pair[1]) and pair[1].knows(pair[0]), timeout)
    return pair


CONES = [None, NAT.ONE_TO_ONE, NAT.FULL_CONE, NAT.ADDRESS_RESTRICTED, NAT.PORT_RESTRICTED]


@pytest.mark.parametrize("mine", CONES)
@pytest.mark.parametrize("theirs", CONES)
def test_one_introduction_is_enough(mine: NAT | None, theirs: NAT | None) -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        meet(sim, mine, theirs, 2.0)


@pytest.mark.parametrize("cone", CONES[:-1])
@pytest.mark.parametrize("strict", [NAT.SYMMETRIC, NAT.SYMMETRIC_SEQUENTIAL])
@pytest.mark.parametrize("walker_is_strict", [False, True])
def test_a_strict_nat_and_one_that_filters_by_host(cone: NAT | None, strict: NAT, walker_is_strict: bool) -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        kinds = (cone, strict) if walker_is_strict else (strict, cone)
        first, second = meet(sim, kinds[0], kinds[1], 2.0)
        if not walker_is_strict:
            sim.run(5.0)
            assert second.get_peers()[0].path in (PeerPath.OBSERVED, PeerPath.PREDICTED)
        assert first.get_peers()


def test_consecutive_ports_are_predicted() -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        _, walker = meet(sim, NAT.SYMMETRIC_SEQUENTIAL, NAT.PORT_RESTRICTED, 2.0)
        assert walker.get_peers()[0].path == PeerPath.PREDICTED


def path(node: Node, other: Node) -> str:
    """How ``node`` reaches ``other``."""
    found: str = node.run(lambda: next(peer.path for peer in node.get_peers() if peer == other.my_peer))
    return found


KINDS = {"none": None, "open": NAT.ONE_TO_ONE, "moderate": NAT.PORT_RESTRICTED, "strict": NAT.SYMMETRIC}
HARD = {("moderate", "strict"), ("strict", "moderate"), ("strict", "strict")}
"""The pairs between which there is no way: nobody can tell the port that a strict translator will use."""


@pytest.mark.parametrize("mine", KINDS)
@pytest.mark.parametrize("theirs", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_whom_there_is_no_way_to_is_reached_through_a_peer_of_both(mine: str, theirs: str, seed: int) -> None:
    with Simulation(seed, stand_in_signatures=True) as sim:
        sim.add_tracker()
        sim.add_node(Walkers)
        pair = (sim.add_node(Walkers, nat=KINDS[mine], phase=0.1), sim.add_node(Walkers, nat=KINDS[theirs], phase=0.3))
        is_hard = (mine, theirs) in HARD
        sim.run_until(lambda: pair[0].knows(pair[1]) and pair[1].knows(pair[0]), 30.0 if is_hard else 2.0)
        sim.run(30.0)
        paths = {path(*pair), path(*reversed(pair))}
        if is_hard:
            assert paths == {PeerPath.RELAYED}
        else:
            assert paths <= {PeerPath.DIRECT, PeerPath.OBSERVED}


def test_a_relayed_peer_is_not_walked_to_all_the_time() -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        sim.add_tracker()
        sim.add_node(Walkers)
        pair = [sim.add_node(Walkers, nat=NAT.SYMMETRIC) for _ in range(2)]
        sim.run_until(lambda: pair[0].knows(pair[1]) and pair[1].knows(pair[0]), 30.0)
        sim.run(10.0)
        before = sim.trace.sent
        sim.run(60.0)
        assert sim.trace.sent - before <= 3 * 120 * 5, "a step each half second, of four or five packets"


def test_without_the_relay_there_is_no_way() -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        sim.add_tracker()
        sim.add_node(Walkers)
        pair = [sim.add_node(Walkers, nat=NAT.SYMMETRIC, relay=False) for _ in range(2)]
        sim.run(60.0)
        assert not pair[0].knows(pair[1])
        assert not pair[1].knows(pair[0])


@pytest.mark.parametrize(("nat", "mapping", "nat_type"), [
    (None, AddressMapping.NONE, "public"), (NAT.PORT_RESTRICTED, AddressMapping.ENDPOINT_INDEPENDENT, "unknown"),
    (NAT.SYMMETRIC, AddressMapping.ENDPOINT_DEPENDENT, "symmetric-NAT"),
])
def test_nodes_learn_their_own_mapping(nat: NAT | None, mapping: str, nat_type: str) -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        sim.add_tracker()
        node = sim.add_node(Walkers, nat=nat)
        for _ in range(5):
            sim.add_node(Walkers)
        assert node.run(lambda: node.overlay.mapping) == AddressMapping.UNKNOWN
        sim.run(10.0)
        assert node.run(lambda: node.overlay.mapping) == mapping
        assert node.run(lambda: node.overlay.nat_type) == nat_type
