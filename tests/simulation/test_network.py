"""Lines, routers, segments: what becomes of packets between hosts."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.endpoint import EndpointClosedException, EndpointListener
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.test.simulation import (
    NAT,
    PERFECT,
    Dependence,
    Firewall,
    Host,
    Link,
    SimulatedEndpoint,
    SimulatedIPv6Endpoint,
    Simulation,
)
from ipv8.test.simulation.links import HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipv8.messaging.address import Address

HAIRPINNING = NAT(hairpinning=True)


class Socket(EndpointListener):
    """An open endpoint on a host, that keeps what it gets: the time, the source and the data."""

    def __init__(self, sim: Simulation, host: Host, port: int = 1500, ipv6: bool = False) -> None:
        endpoint = (SimulatedIPv6Endpoint if ipv6 else SimulatedEndpoint)(host, port)
        assert endpoint.open_now()
        super().__init__(endpoint)
        self.endpoint: SimulatedEndpoint = endpoint
        self.sim = sim
        self.port = endpoint.get_address()[1]
        self.host = host
        self.got: list[tuple[float, Address, bytes]] = []
        endpoint.add_listener(self)

    @property
    def public(self) -> Address:
        ipv6 = isinstance(self.endpoint, SimulatedIPv6Endpoint)
        return self.host.public_address(self.port, ipv6)

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        self.got.append((self.sim.time, *packet))

    def send(self, to: Any, data: bytes = b"data") -> None:
        self.endpoint.send(to, data)

    @property
    def sources(self) -> list[Address]:
        return [source for _, source, _ in self.got]


@pytest.fixture
def sim() -> Iterator[Simulation]:
    with Simulation(seed=1, link=PERFECT) as simulation:
        yield simulation


def sockets(sim: Simulation, *hosts: Host) -> list[Socket]:
    return [Socket(sim, host) for host in hosts]


def line(sim: Simulation, link: Link) -> tuple[Socket, Socket]:
    """A sender on a line of that kind and a receiver on a perfect one."""
    return Socket(sim, sim.add_host(link=link)), Socket(sim, sim.add_host())


def test_latencies_of_both_lines_add_up(sim: Simulation) -> None:
    a, b = sockets(sim, sim.add_host(link=Link(latency=0.3)), sim.add_host(link=Link(latency=0.2)))
    a.send(b.public)
    assert b.got == []
    sim.run(1)
    [(when, source, data)] = b.got
    assert (source, data) == (a.public, b"data")
    assert when == pytest.approx(0.5)
    assert type(source) is UDPv4Address


def test_nothing_arrives_while_it_is_sent(sim: Simulation) -> None:
    a, b = sockets(sim, sim.add_host(), sim.add_host())
    a.send(b.public)
    assert not b.got
    sim.run(0)
    assert b.got


def test_loss(sim: Simulation) -> None:
    a, b = line(sim, Link(latency=0, loss=0.2))
    for _ in range(5000):
        a.send(b.public)
    sim.run(1)
    assert len(b.got) == pytest.approx(4000, abs=150)
    assert sim.trace.drops == {"lost": 5000 - len(b.got)}


def test_jitter_is_uniform(sim: Simulation) -> None:
    a, b = line(sim, Link(latency=0.1, jitter=0.2))
    for _ in range(5000):
        a.send(b.public)
    sim.run(1)
    times = [when for when, _, _ in b.got]
    assert 0.1 <= min(times) < max(times) <= 0.3
    assert fmean(times) == pytest.approx(0.2, abs=0.005)
    assert pstdev(times) == pytest.approx(0.2 / 12 ** 0.5, abs=0.005)


def test_duplication(sim: Simulation) -> None:
    a, b = line(sim, Link(duplication=0.1))
    for _ in range(5000):
        a.send(b.public)
    sim.run(1)
    assert len(b.got) == pytest.approx(5500, abs=100)


def test_reordering(sim: Simulation) -> None:
    a, b = line(sim, Link(latency=0.01, reordering=0.1, reordering_delay=0.05))
    for number in range(1000):
        a.send(b.public, number.to_bytes(2, "big"))
        sim.run(0.01)
    sim.run(1)
    numbers = [int.from_bytes(data, "big") for _, _, data in b.got]
    assert sorted(numbers) == list(range(1000))
    overtaken = sum(after < before for before, after in pairwise(numbers))
    assert overtaken == pytest.approx(100, abs=35)


def test_without_trouble_packets_stay_in_order(sim: Simulation) -> None:
    a, b = line(sim, Link(latency=0.01, bandwidth=10_000))
    for number in range(50):
        a.send(b.public, bytes([number]))
    sim.run(10)
    assert [data[0] for _, _, data in b.got] == list(range(50))


@pytest.mark.parametrize("upstream", [True, False])
def test_bandwidth_paces_packets(sim: Simulation, upstream: bool) -> None:
    narrow, wide = sim.add_host(link=Link(latency=0.1, bandwidth=1000)), sim.add_host()
    a, b = sockets(sim, *((narrow, wide) if upstream else (wide, narrow)))
    for _ in range(10):
        a.send(b.public, bytes(100 - HEADER_SIZE))
    sim.run(5)
    assert [when for when, _, _ in b.got] == pytest.approx([0.1 + 0.1 * number for number in range(1, 11)])


def test_full_buffer_drops(sim: Simulation) -> None:
    a, b = line(sim, Link(bandwidth=1000, buffer=500))
    for _ in range(10):
        a.send(b.public, bytes(100 - HEADER_SIZE))
    sim.run(5)
    assert len(b.got) == 5
    assert sim.trace.drops == {"queue_full": 5}


@pytest.mark.parametrize("arguments", [{"loss": 1.1}, {"jitter": -1}, {"bandwidth": 0}])
def test_impossible_links(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"probabilities|seconds|bandwidth"):
        Link(**arguments)


def test_nat_shows_one_source_and_filters(sim: Simulation) -> None:
    inside, outside, stranger = sockets(sim, sim.add_host(nat=NAT.PORT_RESTRICTED), sim.add_host(), sim.add_host())
    stranger.send(inside.public)
    inside.send(outside.public)
    sim.run(1)
    assert outside.sources == [inside.public]
    outside.send(outside.sources[0])
    stranger.send(outside.sources[0])
    sim.run(1)
    assert inside.sources == [outside.public]
    assert sim.trace.drops == {"filtered": 2}
    assert inside.host.ips[0] != inside.public[0]


def test_symmetric_nat_shows_other_ports_to_others(sim: Simulation) -> None:
    inside, one, two = sockets(sim, sim.add_host(nat=NAT.SYMMETRIC), sim.add_host(), sim.add_host())
    inside.send(one.public)
    inside.send(two.public)
    sim.run(1)
    assert one.sources[0][0] == two.sources[0][0]
    assert one.sources[0] != two.sources[0]


def test_mapping_timeout(sim: Simulation) -> None:
    inside, outside = sockets(sim, sim.add_host(nat=NAT(timeout=60)), sim.add_host())
    inside.send(outside.public)
    for pause in (50, 5, 10):
        sim.run(pause)
        outside.send(inside.public)
    sim.run(1)
    assert len(inside.got) == 2


@pytest.mark.parametrize(("behaviour", "passes"), [(NAT.FULL_CONE, False), (HAIRPINNING, True)])
def test_hairpinning(sim: Simulation, behaviour: NAT, passes: bool) -> None:
    home = sim.add_router(behaviour)
    a, b = Socket(sim, sim.add_host(nat=home)), Socket(sim, sim.add_host(nat=home), port=2000)
    for _ in range(2):  # the first ones open the filters
        a.send(b.public)
        b.send(a.public)
        sim.run(1)
    assert bool(b.got) is passes
    assert set(b.sources) <= {a.public}


def test_neighbours_reach_each_other_inside(sim: Simulation) -> None:
    home = sim.add_router(NAT.SYMMETRIC)
    a, b = sockets(sim, sim.add_host(nat=home), sim.add_host(nat=home))
    a.send((b.host.ips[0], 1500))
    sim.run(1)
    assert b.sources == [(a.host.ips[0], 1500)]


def test_private_addresses_lead_nowhere_outside(sim: Simulation) -> None:
    a, b = sockets(sim, sim.add_host(), sim.add_host(nat=NAT.FULL_CONE, ipv4="192.168.1.2"))
    a.send(("192.168.1.2", 1500))
    sim.run(1)
    assert not b.got
    assert sim.trace.drops == {"unroutable": 1}


def test_double_nat(sim: Simulation) -> None:
    carrier = sim.add_router(NAT.SYMMETRIC)
    home = sim.add_router(NAT.PORT_RESTRICTED, behind=carrier)
    inside, outside = sockets(sim, sim.add_host(nat=home), sim.add_host())
    inside.send(outside.public)
    sim.run(1)
    assert outside.sources[0][0] == carrier.external_ip != home.external_ip
    assert home.external_ip.startswith("100.64.")
    outside.send(outside.sources[0])
    sim.run(1)
    assert inside.sources == [outside.public]


def test_one_to_one_nat_lets_strangers_in(sim: Simulation) -> None:
    inside, outside = sockets(sim, sim.add_host(nat=NAT.ONE_TO_ONE), sim.add_host())
    outside.send(inside.public)
    sim.run(1)
    assert inside.sources == [outside.public]


def test_ipv6_passes_the_nat_by_but_not_the_firewall(sim: Simulation) -> None:
    host = sim.add_host(nat=NAT.SYMMETRIC, ipv6=True, firewall=Firewall(Dependence.ADDRESS_AND_PORT_DEPENDENT))
    inside, outside = Socket(sim, host, ipv6=True), Socket(sim, sim.add_host(ipv4=False, ipv6=True), ipv6=True)
    outside.send(inside.public)
    sim.run(1)
    assert not inside.got
    inside.send(outside.public)
    sim.run(1)
    outside.send(inside.public)
    sim.run(1)
    assert outside.sources == [inside.public]
    assert inside.sources == [outside.public]
    assert type(inside.sources[0]) is UDPv6Address


def test_cables_partitions_and_broken_links(sim: Simulation) -> None:
    nodes = [sim.add_node() for _ in range(3)]
    a, b, c = (Socket(sim, node.host, 2000) for node in nodes)

    def exchange() -> tuple[bool, bool]:
        b.got.clear()
        c.got.clear()
        a.send(b.public)
        a.send(c.public)
        sim.run(1)
        return bool(b.got), bool(c.got)

    assert exchange() == (True, True)
    sim.partition(nodes[:2])
    assert exchange() == (True, False)
    sim.heal()
    sim.sever(nodes[0], nodes[1])
    assert exchange() == (False, True)
    sim.mend(nodes[0], nodes[1])
    nodes[2].host.disconnect()
    assert exchange() == (True, False)
    nodes[2].host.reconnect()
    assert exchange() == (True, True)
    assert sim.trace.drops == {"partitioned": 2, "disconnected": 1}


def test_what_is_under_way_when_the_cable_is_pulled_is_lost(sim: Simulation) -> None:
    a, b = sockets(sim, sim.add_host(link=Link(latency=1)), sim.add_host())
    a.send(b.public)
    sim.run(0.5)
    b.host.disconnect()
    sim.run(1)
    assert not b.got


def test_moving(sim: Simulation) -> None:
    nodes = sim.add_node(), sim.add_node(nat=NAT.FULL_CONE)
    other = Socket(sim, sim.add_host())
    for node in nodes:
        mover = Socket(sim, node.host)
        mover.send(other.public)
        before = node.address
        after = sim.move(node)
        assert after != before
        mover.send(other.public)
        sim.run(1)
        assert [source[0] for source in other.sources[-2:]] == [before[0], after[0]]
    with pytest.raises(ValueError, match="no IPv4"):
        sim.move(sim.add_node(ipv4=False, ipv6=True))


def test_endpoint_contract(sim: Simulation) -> None:
    host = sim.add_host()
    a, taken = Socket(sim, host), Socket(sim, host)
    assert taken.endpoint.get_address() == ("0.0.0.0", 1501)
    assert not SimulatedIPv6Endpoint(host).open_now()
    for wrong in [("0.0.0.0", 0), ("1.2.3.4", 0), ("::1", 1), ("name", 1), None]:
        a.send(wrong)
    assert a.endpoint.drops == {DropCounter.SEND_FAILED: 2, DropCounter.SEND_MALFORMED: 3}
    a.send(("127.0.0.1", 1501))
    sim.run(0)
    assert taken.sources == [("127.0.0.1", 1500)]
    assert (a.endpoint.bytes_up, taken.endpoint.bytes_down) == (4, 4)
    a.endpoint.reset_byte_counters()
    assert a.endpoint.bytes_up == 0
    a.send(taken.public, bytes(70_000))
    taken.endpoint.close()
    a.send(taken.public)
    sim.run(1)
    assert sim.trace.drops == {"too_big": 1, "no_socket": 1}
    taken.send(a.public)
    assert taken.endpoint.drops == {DropCounter.SEND_CLOSED: 1}
    with pytest.raises(EndpointClosedException):
        taken.endpoint.get_address()


def test_listeners_see_the_addresses_of_their_own_host(sim: Simulation) -> None:
    host = sim.add_host(nat=NAT.FULL_CONE, ipv4="192.168.7.9")
    listener = host.run(Socket, sim, host)
    assert host.run(lambda: listener.my_estimated_lan) == ("192.168.7.9", 1500)
    assert host.run(listener.address_is_lan, "192.168.7.9")
    assert not sim.add_host().run(listener.address_is_lan, "192.168.7.9")


def test_hosts_need_addresses_of_their_own(sim: Simulation) -> None:
    host = sim.add_host()
    with pytest.raises(ValueError, match="taken"):
        sim.add_host(ipv4=host.ips[0])
    with pytest.raises(ValueError, match="needs an address"):
        sim.add_host(ipv4=False)
    with pytest.raises(ValueError, match="no IPv6"):
        host.public_address(1, ipv6=True)
