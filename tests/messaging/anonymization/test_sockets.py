"""Circuits over real sockets on loopback, where many packets take one system call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.community import TunnelCommunity, TunnelSettings
from ipv8.messaging.anonymization.scheduler import TURN
from ipv8.messaging.interfaces.meter import TrafficMeter
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOWHERE = ("0.0.0.0", 0)


class Sink(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr))

    async def take(self, count: int) -> list[tuple[bytes, Any]]:
        return [await asyncio.wait_for(self.received.get(), 50) for _ in range(count)]


class Net:
    """Four nodes and two sinks."""

    def __init__(self, nodes: list[TunnelCommunity], sinks: list[tuple[Any, Sink]]) -> None:
        self.nodes = nodes
        self.sinks = sinks
        self.peers = [Peer(node.my_peer.public_key, UDPv4Address("127.0.0.1", node.endpoint.get_address()[1]))
                      for node in nodes]

    def address(self, number: int) -> UDPv4Address:
        return UDPv4Address(*self.sinks[number][0].get_extra_info("sockname"))

    async def circuit(self, hops: int) -> Any:
        circuit = self.nodes[0].create_circuit(hops, required_exit=self.peers[hops])
        assert circuit is not None
        assert await asyncio.wait_for(circuit.ready, 50) is circuit
        while self.nodes[0].request_cache._identifiers:  # noqa: ASYNC110 - until the first ping is answered
            await asyncio.sleep(0.001)
        return circuit

    def send(self, circuit: Any, destination: Any, data: bytes) -> None:
        self.nodes[0].send_data(circuit.hop.address, circuit.circuit_id, destination, NOWHERE, data)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    nodes = []
    for _ in range(4):
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        settings = TunnelSettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint,
                                  network=Network(), min_circuits=0, max_circuits=0, remove_tunnel_delay=0,
                                  allow_same_network=True, ready_circuits=0,
                                  hybrid_keys=False)  # their cells would be counted, too
        settings.peer_flags = {1, 2, 8}
        nodes.append(TunnelCommunity(settings))
    loop = asyncio.get_running_loop()
    sinks: list[Any] = [await loop.create_datagram_endpoint(Sink, local_addr=("127.0.0.1", 0)) for _ in range(2)]
    net = Net(nodes, sinks)
    for node in nodes:
        for peer in net.peers[1:]:
            if peer != node.my_peer:
                node.network.add_verified_peer(peer)
                node.network.discover_services(peer, [node.community_id])
                node.candidates[peer] = [1, 2, 8]
    yield net
    for transport, _ in sinks:
        transport.close()
    for node in nodes:
        await node.unload()
        node.endpoint.close()


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_bursts_arrive_in_order(net: Net, hops: int) -> None:
    circuit = await net.circuit(hops)
    first, second = net.address(0), net.address(1)
    net.send(circuit, first, b"dhelloe")
    await net.sinks[0][1].take(1)
    packets = [b"d%03d%se" % (number, b"x" * (number % 3)) for number in range(60)]
    for number, packet in enumerate(packets):
        net.send(circuit, second if number % 10 == 9 else first, packet)
    others = packets[9::10]
    assert [data for data, _ in await net.sinks[1][1].take(len(others))] == others
    mine = [packet for packet in packets if packet not in others]
    received = await net.sinks[0][1].take(len(mine))
    assert [data for data, _ in received] == mine
    back: asyncio.Queue[bytes] = asyncio.Queue()
    net.nodes[0].on_raw_data = lambda _, source, data: back.put_nowait(data)  # type: ignore[method-assign,assignment]
    for packet in packets:
        net.sinks[0][0].sendto(packet, received[0][1])
    assert [await asyncio.wait_for(back.get(), 50) for _ in packets] == packets
    assert circuit.bytes_up > sum(map(len, packets)) < circuit.bytes_down


@pytest.mark.parametrize("which", [0, 1, 2], ids=["origin", "relay", "exit"])
async def test_a_meter_counts_all_cells(net: Net, which: int) -> None:
    """Those that are handled one by one, and those that are kept for later."""
    circuit = await net.circuit(2)
    net.send(circuit, net.address(0), b"dhelloe")
    (_, source), = await net.sinks[0][1].take(1)
    by_mid = {node.my_peer.mid: node for node in net.nodes}
    node = [net.nodes[0], *(by_mid[hop.mid] for hop in circuit.hops)][which]
    prefix = node.get_prefix()
    node.endpoint.gate.meter = meter = TrafficMeter()
    back: asyncio.Queue[bytes] = asyncio.Queue()
    net.nodes[0].on_raw_data = lambda _, source, data: back.put_nowait(data)  # type: ignore[method-assign,assignment]
    for number in range(40):
        net.send(circuit, net.address(0), b"d%03de" % number)
    await net.sinks[0][1].take(40)
    for number in range(30):
        net.sinks[0][0].sendto(b"d%03de" % number, source)
    for _ in range(30):
        await asyncio.wait_for(back.get(), 50)
    counted = meter.counts[prefix + b"\0"]
    arriving, leaving = [(30, 40), (70, 70), (40, 30)][which]
    assert (counted.packets_down, counted.packets_up) == (arriving, leaving)
    assert counted.bytes_down > 30 * arriving
    assert meter.totals().packets_down == arriving
    node.endpoint.gate.meter = None


async def test_what_may_not_leave_is_dropped_among_what_may(net: Net) -> None:
    circuit = await net.circuit(1)
    exiting = net.nodes[1]
    destination = net.address(0)
    net.send(circuit, destination, b"dhelloe")
    await net.sinks[0][1].take(1)
    for packet in (b"done1e", b"\xff\xff\xff\xffnothing that an exit lets out", b"dtwoe"):
        net.send(circuit, destination, packet)
    net.send(circuit, UDPv4Address("255.255.255.255", 1), b"dnowheree")
    net.send(circuit, UDPv4Address("127.0.0.1", 0), b"dnoporte")
    net.send(circuit, destination, b"dthreee")
    assert [data for data, _ in await net.sinks[0][1].take(3)] == [b"done1e", b"dtwoe", b"dthreee"]
    assert exiting.drops[DropCounter.EXIT_REFUSED] == 1
    assert exiting.drops[DropCounter.BAD_TARGET] == 2


async def test_a_program_that_replaces_a_method_sees_all_data(net: Net) -> None:
    circuit = await net.circuit(1)
    exiting = net.nodes[1]
    seen: asyncio.Queue[Any] = asyncio.Queue()
    original = exiting.on_data

    def on_data(*arguments: Any) -> None:
        seen.put_nowait(arguments)
        original(*arguments)

    exiting.decode_map_private[1] = on_data
    net.send(circuit, net.address(0), b"dhelloe")
    await net.sinks[0][1].take(1)
    assert seen.qsize() == 1


async def test_a_program_that_replaces_a_method_sees_all_data_that_come_back(net: Net) -> None:
    circuit = await net.circuit(2)
    origin = net.nodes[0]
    seen: asyncio.Queue[Any] = asyncio.Queue()
    origin.decode_map_private[1] = lambda *arguments: seen.put_nowait(arguments)
    net.send(circuit, net.address(0), b"dhelloe")
    [(_, exit_address)] = await net.sinks[0][1].take(1)
    net.sinks[0][0].sendto(b"danswer1e", exit_address)
    source, message, circuit_id = await asyncio.wait_for(seen.get(), 50)
    assert (source, circuit_id) == (circuit.hop.address, circuit.circuit_id)
    assert message.endswith(b"danswer1e")


async def test_data_leave_before_the_circuit_is_closed(net: Net) -> None:
    circuit = await net.circuit(1)
    origin = net.nodes[0]
    sent: list[int] = []
    origin.endpoint.send = lambda _, packet: sent.append(packet[22])  # type: ignore[method-assign,assignment]
    for _ in range(3):
        net.send(circuit, net.address(0), b"dhelloe")
    await origin.remove_circuit(circuit.circuit_id, remove_now=True, destroy=1)
    assert sent == [0, 0, 0, 8]


@pytest.mark.parametrize("is_watched", [False, True])
async def test_a_small_cell_goes_before_many_that_arrived_with_it(net: Net, is_watched: bool) -> None:
    bulk, small = await net.circuit(1), await net.circuit(1)
    endpoint: Any = net.nodes[1].endpoint
    for circuit in (bulk, small):
        net.send(circuit, net.address(0), b"dhelloe")
        await net.sinks[0][1].take(1)
    endpoint._transport.pause_reading()
    for number in range(200):
        net.send(bulk, net.address(0), b"d%03de" % number)
    net.send(small, net.address(0), b"dsmalle")
    for _ in range(5):
        await asyncio.sleep(0)
    if is_watched:  # then each packet is delivered by itself
        endpoint.trace = lambda _: None
    endpoint._transport.resume_reading()
    received = [data for data, _ in await net.sinks[0][1].take(201)]
    assert sorted(received) == sorted([b"dsmalle", *(b"d%03de" % number for number in range(200))])
    assert [data for data in received if data != b"dsmalle"] == sorted(received)[:-1]
    if not is_watched:
        assert received.index(b"dsmalle") < TURN
