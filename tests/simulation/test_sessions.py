"""Encrypted sessions in simulated networks: all kinds of NAT, nodes of all policies, restarts."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8 import Community, Peer, message
from ipv8.sessions import SessionService
from ipv8.test.simulation import NAT, Simulation

NATS = [None, NAT.FULL_CONE, NAT.ADDRESS_RESTRICTED, NAT.PORT_RESTRICTED, NAT.SYMMETRIC]
POLICIES = ["prefer", "prefer", "accept", "off"]


class Talk(Community):
    community_id = b"sessions in simulati"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.heard: dict[Peer, bool] = {}

    def begin(self) -> None:
        self.register_task("talk", self.talk, interval=1.0)

    def talk(self) -> None:
        for peer in self.get_peers():
            self.say.send(peer, "hello")

    @message(1)
    def say(self, peer: Peer, text: str) -> None:
        self.heard[peer] = self.delivery is not None


def network(simulation: Simulation, count: int) -> list[Any]:
    simulation.add_tracker()
    nodes = [simulation.add_node(Talk, nat=NATS[number % len(NATS)], encryption=POLICIES[number % len(POLICIES)])
             for number in range(count)]
    for node in nodes:
        node.overlay.begin()
    return nodes


@pytest.mark.timeout(240)
def test_every_capable_pair_that_talks_gets_a_session() -> None:
    with Simulation(seed=1) as simulation:
        nodes = network(simulation, 20)
        simulation.run(60.0)
        policies = {node.my_peer: node.overlay.encryption for node in nodes}
        for node in nodes:
            assert node.overlay.heard, "a node that hears nobody"
            for peer, sealed in node.overlay.heard.items():
                mine, other = policies[node.my_peer], policies[peer]
                if peer not in node.overlay.get_peers():
                    continue
                assert sealed == ("off" not in {mine, other} and "prefer" in {mine, other}), (mine, other)


@pytest.mark.timeout(240)
def test_sessions_follow_nodes_that_move_and_restart() -> None:
    with Simulation(seed=2) as simulation:
        nodes = network(simulation, 8)
        simulation.run(40.0)
        moved, restarted = nodes[0], nodes[1]
        simulation.move(moved)
        simulation.stop(restarted)
        simulation.start(restarted)
        restarted.overlay.begin()
        for node in nodes:
            node.overlay.heard.clear()
        simulation.run(60.0)
        for node in (moved, restarted):
            assert any(node.overlay.heard.values())
            heard_of = [other.overlay.heard[node.my_peer] for other in nodes if node.my_peer in other.overlay.heard]
            assert any(heard_of)


def test_a_run_with_sessions_can_be_repeated() -> None:
    def run() -> str:
        with Simulation(seed=3) as simulation:
            network(simulation, 4)
            simulation.run(20.0)
            return simulation.trace.hexdigest()

    assert run() == run()
    assert not SessionService.repeatable_keys
