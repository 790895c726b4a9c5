"""Circuits and hidden services in a simulated network with hostile relays (doc/anonymity.md)."""

from __future__ import annotations

import pytest

from benchmarks.tunnel_network import KINDS, TunnelNetwork, run
from ipv8.messaging.anonymization.tunnel import CIRCUIT_TYPE_RP_SEEDER
from ipv8.test.simulation import Link, Simulation

NODES = 40


@pytest.mark.timeout(120)
def test_nothing_hostile() -> None:
    outcome = run(NODES, (), crowd=False, churn=False, origins=3, circuits=3, clients=3)
    assert outcome["ready"] == outcome["answered"] == 1.0
    assert outcome["connected"] == 3
    assert outcome["first hops"] <= 3
    assert outcome["same network"] == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_relays(kind: str) -> None:
    outcome = run(NODES, (kind,) * 2, crowd=False, churn=False, origins=4, circuits=4, clients=2)
    assert outcome["harmed cells"] > 0
    assert outcome["accepted twice"] == 0
    assert outcome["captured"] <= outcome["begun"] / 3
    assert outcome["ready"] >= 0.6
    assert outcome["connected"] >= 1


@pytest.mark.timeout(120)
def test_a_crowded_network() -> None:
    outcome = run(NODES, (), crowd=True, churn=True, origins=4, circuits=4, clients=0)
    assert outcome["crowd"] == outcome["same network"] == 0
    assert outcome["ready"] >= 0.8


@pytest.mark.timeout(120)
def test_strangers_cannot_draw_new_hops_of_a_service() -> None:
    """The circuits that clients make a service build have few first and second hops."""
    with Simulation(1, link=Link(latency=0.01), stand_in_signatures=True) as sim:
        network = TunnelNetwork(sim, NODES)
        overlay = network.honest[0].overlay

        async def build() -> list[tuple[bytes, ...]]:
            paths = []
            for _ in range(60):
                circuit = overlay.create_circuit(3, CIRCUIT_TYPE_RP_SEEDER, info_hash=b"i" * 20)
                if await circuit.ready:
                    paths.append(tuple(hop.public_key_bin for hop in circuit.hops))
                await overlay.remove_circuit(circuit.circuit_id, remove_now=True)
            return paths

        paths = sim.wait_for(build())
    assert len(paths) >= 55
    first, second, last = (len({path[place] for path in paths}) for place in range(3))
    assert first <= 3
    assert second <= 4
    assert last >= 5
