"""Whole networks of the DHT: what operations cost, and what dead and hostile nodes achieve.

Each figure has its threshold here; larger networks are measured by ``python -m benchmarks dht``.
"""

from __future__ import annotations

from statistics import median

import pytest

from ipv8.dht.community import DHTCommunity, LookupOptions
from ipv8.test.dht.swarm import PoisonCommunity, Swarm, addresses_near
from ipv8.test.simulation import NAT, Link, Simulation

LINE = Link(latency=0.025)
"""Two of them make 50 ms each way."""


def key_of(number: int) -> bytes:
    return bytes((number * 37 % 256, number)) * 10


def simulation(seed: int) -> Simulation:
    return Simulation(seed=seed, link=LINE, stand_in_signatures=True)


def test_costs_in_a_healthy_network() -> None:
    with simulation(1) as sim:
        swarm = Swarm(sim, 60)
        stores, finds = [], []
        for number in range(6):
            writer, reader = swarm.pick(2)
            stores.append(swarm.store(writer, key_of(number), b"x" * 80))
            assert len(stores[-1].result) == 8
            assert len({*swarm.holders(key_of(number))} & {*swarm.nearest(key_of(number))}) >= 7
            sim.run(3)
            finds.append(swarm.find(reader, key_of(number)))
            assert finds[-1].result == ((b"x" * 80, None),)
            sim.run(3)
        assert median(cost.seconds for cost in stores) <= 0.5
        assert median(cost.seconds for cost in finds) <= 0.31
        assert median(cost.packets for cost in finds) <= 48


def test_dead_nodes() -> None:
    with simulation(2) as sim:
        swarm = Swarm(sim, 60)
        swarm.kill(0.25)
        seconds = []
        for number in range(6):
            writer, reader = swarm.pick(2)
            stored = swarm.store(writer, key_of(number), b"x" * 80)
            assert len(stored.result) == 8
            assert all(node.running for node in swarm.holders(key_of(number)))
            seconds.append(stored.seconds)
            sim.run(3)
            found = swarm.find(reader, key_of(number))
            assert found.result
            seconds.append(found.seconds)
            sim.run(3)
        assert median(seconds) < 1


def test_churn() -> None:
    with simulation(3) as sim:
        swarm = Swarm(sim, 60)
        sim.run(15)
        for number in range(5):
            swarm.store(swarm.pick(1)[0], key_of(number), b"value")
            sim.run(3)
        swarm.kill(0.2)
        costs = []
        for number in range(5):
            costs.append(swarm.find(swarm.pick(1)[0], key_of(number)))
            sim.run(3)
        assert all(cost.result for cost in costs)
        assert median(cost.seconds for cost in costs) < 0.5


def test_lost_packets() -> None:
    with Simulation(seed=4, link=Link(latency=0.025, loss=0.05), stand_in_signatures=True) as sim:
        swarm = Swarm(sim, 40)
        copies = []
        for number in range(8):
            writer, reader = swarm.pick(2)
            copies.append(len(swarm.store(writer, key_of(number), b"value").result))
            sim.run(3)
            assert swarm.find(reader, key_of(number)).result
            sim.run(3)
    assert min(copies) >= 4
    assert sum(copies) >= 6.5 * len(copies)


@pytest.mark.parametrize("paths", [1, 2])
def test_poisoned_values(paths: int) -> None:
    """With 20 % of the nodes answering everything with junk, at least nine of ten values are found."""
    with simulation(5) as sim:
        swarm = Swarm(sim, 60, hostile=12, hostile_class=PoisonCommunity)
        found = 0
        for number in range(10):
            writer, reader = swarm.pick(2)
            swarm.store(writer, key_of(number), b"value")
            sim.run(3)
            result = swarm.find(reader, key_of(number), options=LookupOptions(paths=paths)).result
            found += (b"value", None) in result
            assert set(result) <= {(b"value", None), (b"invented", None)}
            sim.run(3)
        assert found >= 9


def test_eclipse_from_three_addresses() -> None:
    """Whoever has three well-chosen IP addresses and any number of keys hides no value."""
    with simulation(6) as sim:
        swarm = Swarm(sim, 60)
        key = key_of(7)
        swarm.besiege(key, addresses_near(key, 3), sybils_per_ip=8)
        for _ in range(5):
            writer, reader = swarm.pick(2)
            swarm.store(writer, key, b"value")
            assert len({*swarm.holders(key)} & {*swarm.nearest(key)}) >= 2
            for storage in reader.overlay.storages.values():
                storage.items.clear()
            sim.run(6)
            assert (b"value", None) in swarm.find(reader, key).result
            sim.run(6)


def test_nodes_behind_nats() -> None:
    """Nodes that nobody reaches without a puncture hold values all the same."""
    with simulation(7) as sim:
        swarm = Swarm(sim, 4)
        hidden = [sim.add_node(DHTCommunity, walkers=(), nat=NAT.PORT_RESTRICTED) for _ in range(12)]
        for node in hidden:
            swarm.prepare(node)
            for helper in swarm.nodes:
                swarm.acquaint(node, helper)
        swarm.nodes += hidden
        sim.run(30)
        for number in range(3):
            assert len(swarm.store(hidden[number], key_of(number), b"value").result) >= 6
            assert {*swarm.holders(key_of(number))} - {*swarm.nodes[:4]} - {hidden[number]}
            sim.run(6)
            assert swarm.find(hidden[-1 - number], key_of(number)).result == ((b"value", None),)
            sim.run(6)
