"""Networks of nodes in one process, on virtual time. Runs with the same seed are the same.

Example::

    with Simulation(seed=1) as sim:
        sim.add_tracker()
        nodes = [sim.add_node(MyCommunity, nat=NAT.PORT_RESTRICTED) for _ in range(100)]
        sim.run(60.0)
        assert all(node.get_peers() for node in nodes)
"""

from __future__ import annotations

from .churn import Churn
from .endpoint import SimulatedEndpoint, SimulatedIPv6Endpoint
from .host import Host
from .links import PERFECT, Link
from .loop import StalledError, VirtualClock, VirtualTimeLoop
from .nat import NAT, Dependence, Firewall, PortAllocation, Translator
from .network import Router
from .node import DEFAULT_WALKERS, Node, Tracker, Walker
from .simulation import Simulation, SimulationError
from .trace import Packet, Trace

__all__ = [
    "DEFAULT_WALKERS",
    "NAT",
    "PERFECT",
    "Churn",
    "Dependence",
    "Firewall",
    "Host",
    "Link",
    "Node",
    "Packet",
    "PortAllocation",
    "Router",
    "SimulatedEndpoint",
    "SimulatedIPv6Endpoint",
    "Simulation",
    "SimulationError",
    "StalledError",
    "Trace",
    "Tracker",
    "Translator",
    "VirtualClock",
    "VirtualTimeLoop",
    "Walker",
]
