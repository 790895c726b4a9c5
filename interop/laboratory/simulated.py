"""All pairs in the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipv8 import clock
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.test.simulation import Firewall, Link, Simulation

from .matrix import DELAY, HEAD_START, PATIENCE, Outcome
from .meeting import Meeting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipv8.test.simulation import Node

    from .matrix import Pair
    from .meeting import Sight

__all__ = ["simulate", "simulate_all"]

PORT = 8090
LOOK_INTERVAL = 0.02


def simulate(pair: Pair, delay: float = DELAY, loss: float = 0.0, seed: int = 1) -> Outcome:
    """Let a pair meet."""
    link = Link(latency=delay / 2, loss=1 - (1 - loss) ** 0.5)  # a packet takes two lines
    with Simulation(seed, link=link, stand_in_signatures=True) as sim:
        introducer = sim.add_node(Meeting, name="introducer", ipv4=pair.ipv4, ipv6=pair.ipv6)
        addresses = [UDPv6Address(ip, PORT) if ":" in ip else UDPv4Address(ip, PORT) for ip in introducer.host.ips]
        nodes = []
        for kind in (pair.host, pair.walker):
            sim.run(HEAD_START)
            begin = clock.monotonic()
            nodes.append(sim.add_node(
                Meeting, nat=kind.simulated, firewall=None if kind.firewall is None else Firewall(), ipv4=pair.ipv4,
                ipv6=pair.ipv6, phase=0.0, introducers=addresses))
        host, walker = nodes

        def outcome() -> Outcome | None:
            for node in nodes:
                node.overlay.look()
            return Outcome.of(_sight(walker, host), _sight(host, walker), begin)

        try:
            sim.run_until(lambda: outcome() is not None, PATIENCE, LOOK_INTERVAL)
        except TimeoutError:
            return Outcome()
        return outcome() or Outcome()


def _sight(node: Node, other: Node) -> Sight | None:
    sights: dict[str, Sight] = node.overlay.sights
    return sights.get(other.my_peer.mid.hex())


def simulate_all(pairs: Iterable[Pair], delay: float = DELAY, loss: float = 0.0) -> dict[Pair, Outcome]:
    """Let pairs meet, each in a simulation of its own."""
    return {pair: simulate(pair, delay, loss) for pair in pairs}
