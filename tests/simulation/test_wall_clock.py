"""Wall clocks that are set while a network runs, of all machines or of some. Nothing else changes."""

from __future__ import annotations

import pytest

from ipv8 import clock
from ipv8.community import Community, CommunitySettings
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_lan_addresses
from ipv8.test.simulation import Simulation
from ipv8.test.simulation.loop import EPOCH


class WatchingCommunity(Community):
    """Records its clocks once a second."""

    community_id = b"w" * 20

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.seen: list[tuple[float, float]] = []
        self.register_task("look", self.look, interval=1.0)

    def look(self) -> None:
        self.seen.append((clock.time() - EPOCH, clock.monotonic()))


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 0.25])
def test_all_machines(seconds: float) -> None:
    with Simulation(seed=1) as sim:
        nodes = [sim.add_node(WatchingCommunity, walkers=()) for _ in range(2)]
        sim.run(2.5)
        sim.step_wall_clock(seconds)
        late = sim.add_node(WatchingCommunity, walkers=())
        sim.run(2.25)
        for node in nodes:
            assert node.overlay.seen == [(1, 1), (2, 2), (3 + seconds, 3), (4 + seconds, 4)]
        assert late.overlay.seen == [(3.5 + seconds, 3.5), (4.5 + seconds, 4.5)]
        assert (clock.time(), clock.monotonic(), sim.time) == (EPOCH + 4.75 + seconds, 4.75, 4.75)


def test_some_machines() -> None:
    with Simulation(seed=1) as sim:
        one, other, third = (sim.add_node(WatchingCommunity, walkers=()) for _ in range(3))
        neighbour = sim.add_node(WatchingCommunity, walkers=(), host=one.host, port=8091)
        sim.step_wall_clock(100, one, neighbour)  # the same machine, which is set once
        sim.step_wall_clock(-5, other)
        other.host.step_wall_clock(2)
        sim.step_wall_clock(1000)
        sim.run(1.5)
        assert one.overlay.seen == neighbour.overlay.seen == [(1101, 1)]
        assert other.overlay.seen == [(998, 1)]
        assert third.overlay.seen == [(1001, 1)]
        assert one.run(clock.time) == EPOCH + 1101.5
        assert clock.time() == EPOCH + 1001.5


def test_a_clock_that_was_set_stays_so_when_a_node_starts_again() -> None:
    with Simulation(seed=1) as sim:
        node = sim.add_node(WatchingCommunity, walkers=())
        sim.step_wall_clock(50, node)
        sim.stop(node)
        sim.start(node)
        sim.run(1.5)
        assert [wall - monotonic for wall, monotonic in node.overlay.seen] == [50]


def test_overlays_are_unloaded_with_the_clock_of_their_machine() -> None:
    class Farewell(WatchingCommunity):
        async def unload(self) -> None:
            await super().unload()
            at_unload.append((clock.time(), get_lan_addresses()))

    at_unload: list[tuple[float, list[str]]] = []
    with Simulation(seed=1) as sim:
        node = sim.add_node(Farewell, walkers=())
        sim.step_wall_clock(50, node)
        sim.stop(node)
        assert at_unload == [(EPOCH + 50 + sim.time, node.host.ips)]


def test_same_seed_same_packets_with_clocks_that_are_set() -> None:
    def trace() -> str:
        with Simulation(seed=5) as sim:
            sim.add_tracker()
            nodes = [sim.add_node(WatchingCommunity) for _ in range(5)]
            sim.run(10)
            sim.step_wall_clock(-600, nodes[0])
            sim.run(10)
            return sim.trace.hexdigest()

    assert trace() == trace()


def test_the_next_simulation_begins_with_clocks_that_are_right() -> None:
    with Simulation(seed=1) as sim:
        sim.step_wall_clock(500)
    with Simulation(seed=1):
        assert clock.time() == EPOCH
