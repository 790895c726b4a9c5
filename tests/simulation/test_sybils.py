"""An attacker with many identities on few subnets must not be all that honest nodes know."""

from __future__ import annotations

import pytest

from ipv8.test.simulation import Simulation
from ipv8.test.simulation.scenarios import SCENARIOS, SimulatedCommunity, eclipse
from ipv8.test.simulation.sybils import SybilAttacker


@pytest.mark.parametrize("first", ["honest", "nobody"])
def test_honest_nodes_keep_honest_peers(first: str) -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        ((seconds, peers),) = eclipse(sim, 14, first, times=(90.0,), identities=20, hosts=40)
        assert sim.time == seconds + 60.0 * (first == "honest")
        assert len(sim.nodes) == 14 + 280
    assert sum(count >= 10 for count in peers) >= 13, "one of them may be unlucky"


def test_one_machine_of_an_attacker_does_not_fill_a_node() -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        sim.add_tracker()
        attacker = SybilAttacker(sim, SimulatedCommunity, 60, subnets=1, hosts=1, interval=5.0)
        node = sim.add_node(SimulatedCommunity)
        sim.run(60.0)
        assert {peer.address[0] for peer in node.get_peers()} == {"150.0.0.1"}
        assert len(node.get_peers()) == len(node.network.verified_peers) == 25
        assert attacker.honest(node) == []
        assert list(attacker.victims) == [node.address]
        with pytest.raises(ValueError, match="give 1 to 250"):
            SybilAttacker(sim, SimulatedCommunity, 60, hosts=300)


def test_scenario() -> None:
    with Simulation(1, stand_in_signatures=True) as sim:
        figures = SCENARIOS["sybil"](sim, 8)
    assert set(figures) == {"with 7 honest peers after 30 s", "with 7 honest peers after 120 s"}
