"""The kind of NAT that is found out is the kind that is there, for every mapping of the simulator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipv8.peerdiscovery.nat_probe import NatKind, Observation, ReachabilityProbe, classify
from ipv8.test.simulation import NAT, Simulation
from ipv8.test.simulation.nat import Dependence
from ipv8.test.simulation.node import Tracker

ADDRESS_DEPENDENT = NAT(mapping=Dependence.ADDRESS_DEPENDENT)


@pytest.mark.parametrize(("nat", "kind", "kind_by_single_ports"), [
    (None, NatKind.NONE, NatKind.NONE),
    (NAT.ONE_TO_ONE, NatKind.ENDPOINT_INDEPENDENT, NatKind.ENDPOINT_INDEPENDENT),
    (NAT.FULL_CONE, NatKind.ENDPOINT_INDEPENDENT, NatKind.ENDPOINT_INDEPENDENT),
    (NAT.PORT_RESTRICTED, NatKind.ENDPOINT_INDEPENDENT, NatKind.ENDPOINT_INDEPENDENT),
    (ADDRESS_DEPENDENT, NatKind.ADDRESS_DEPENDENT, NatKind.DEPENDENT),
    (NAT.SYMMETRIC, NatKind.ADDRESS_AND_PORT_DEPENDENT, NatKind.DEPENDENT),
    (NAT.SYMMETRIC_SEQUENTIAL, NatKind.ADDRESS_AND_PORT_DEPENDENT, NatKind.DEPENDENT),
])
def test_kind(nat: NAT | None, kind: NatKind, kind_by_single_ports: NatKind) -> None:
    with Simulation(1) as simulation:
        servers = [simulation.add_tracker(), simulation.add_tracker()]
        node = simulation.add_node(nat=nat, bootstrap=False)
        another_port = Tracker(servers[0].host, port=7000)
        simulation.nodes.append(another_port)
        simulation.start(another_port)

        async def observe() -> list[Any]:
            probe = node.run(ReachabilityProbe, node.endpoint)
            node.overlays.append(probe)
            addresses = [server.address for server in (*servers, another_port)]
            return await asyncio.gather(*(probe.observe(address, 5.0) for address in addresses))

        observations: list[Observation] = simulation.wait_for(observe())
        own = node.host.ips
        assert classify(observations, own, node.port).kind is kind
        assert classify(observations[:2], own, node.port).kind is kind_by_single_ports
