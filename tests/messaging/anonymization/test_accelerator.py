"""The endpoint of ``ipv8_rust_tunnels``: counters that are never used twice, and circuits through it."""

from __future__ import annotations

import asyncio
from collections import UserDict
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.anonymization.accelerator import (
    COUNTER_STEP,
    LAST_NATIVE_COUNTER,
    SMALLEST_CELL,
    AdvancingTable,
    _keys_of_circuit,
    _keys_of_hop,
    advance,
    guard_counters,
    make_native_endpoint,
)
from ipv8.messaging.anonymization.community import TunnelCommunity, TunnelSettings
from ipv8.messaging.anonymization.session_keys import CryptoException
from ipv8.messaging.anonymization.tunnel import Circuit, Hop, RelayRoute
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from tests.messaging.anonymization.helpers import numbered_keys

needs_library = pytest.mark.skipif(find_spec("ipv8_rust_tunnels") is None, reason="ipv8_rust_tunnels is not installed")


class Copies(UserDict[int, Any]):
    """A table that copies counters as the library does."""

    def __init__(self) -> None:
        super().__init__()
        self.copied: list[int] = []

    def copy_of(self, entry: Any) -> None:
        hops = entry._hops if hasattr(entry, "_hops") else [entry.hop]
        self.copied += [hop.keys.salt_explicit_forward for hop in hops]

    def __setitem__(self, key: int, entry: Any) -> None:
        super().__setitem__(key, entry)
        self.copy_of(entry)

    def __getitem__(self, key: int) -> Any:
        entry = super().__getitem__(key)
        if getattr(entry, "dirty", False):
            entry.dirty = False
            self.copy_of(entry)
        return entry


def hop(number: int) -> Hop:
    return Hop(Peer(default_eccrypto.generate_key("curve25519").pub()), numbered_keys(number))


def test_each_copy_of_a_circuit_begins_later() -> None:
    copies = Copies()
    table: AdvancingTable[Circuit] = AdvancingTable(copies, _keys_of_circuit)
    circuit = Circuit(1, 2)
    table[1] = circuit
    circuit.add_hop(hop(1))
    assert table[1] is circuit
    assert table.get(1) is circuit
    circuit.bytes_up = 10 * SMALLEST_CELL
    circuit.add_hop(hop(2))
    assert table[1] is circuit
    first, second, other = copies.copied
    assert first == 1 + COUNTER_STEP
    assert second == first + COUNTER_STEP + 10
    assert other == 1 + COUNTER_STEP + 10
    circuit.hs_session_keys = numbered_keys(3)
    assert table[1].hs_session_keys is not None
    assert circuit.hs_session_keys.salt_explicit_backward == 1 + COUNTER_STEP + 10
    assert (list(table), len(table), 1 in table, 2 in table) == ([1], 1, True, False)
    del table[1]
    assert table.get(1) is None


def test_an_exit_that_becomes_a_relay() -> None:
    exits: AdvancingTable[Any] = AdvancingTable(Copies(), _keys_of_hop)
    copies = Copies()
    relays: AdvancingTable[RelayRoute] = AdvancingTable(copies, _keys_of_hop, exits)
    end = hop(1)
    exits[5] = SimpleNamespace(hop=end, bytes_up=0, bytes_down=0)
    exits[5].bytes_up = 100 * SMALLEST_CELL
    relays[5] = RelayRoute(6, end, 0)
    assert copies.copied == [1 + 2 * COUNTER_STEP + 100]


def test_tables_are_replaced_once() -> None:
    endpoint = SimpleNamespace(circuits=Copies(), relays=Copies(), exit_sockets=Copies())
    guard_counters(endpoint)
    tables = endpoint.circuits, endpoint.relays, endpoint.exit_sockets
    assert [type(table) for table in tables] == [AdvancingTable] * 3
    guard_counters(endpoint)
    assert (endpoint.circuits, endpoint.relays, endpoint.exit_sockets) == tables
    others = SimpleNamespace(circuits={}, relays={}, exit_sockets={})
    guard_counters(others)
    assert others.circuits == {}


def test_counters_stay_within_32_bits() -> None:
    keys = numbered_keys(1)
    for _ in range(LAST_NATIVE_COUNTER // COUNTER_STEP - 1):
        advance(keys, 0)
    assert keys.salt_explicit_forward < LAST_NATIVE_COUNTER
    with pytest.raises(CryptoException, match="all counters"):
        advance(keys, 0)


@pytest.mark.skipif(find_spec("ipv8_rust_tunnels") is not None, reason="ipv8_rust_tunnels is installed")
def test_without_the_library() -> None:
    with pytest.raises(ImportError, match=r"ipv8\[tunnels-rust\]"):
        make_native_endpoint()


class Sink(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr))


async def make_node(native: bool) -> TunnelCommunity:
    endpoint: Any = make_native_endpoint(0, "127.0.0.1", 1) if native else UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    settings = TunnelSettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint,
                              network=Network(), min_circuits=0, max_circuits=0, remove_tunnel_delay=0,
                              allow_same_network=True, ready_circuits=0)
    settings.peer_flags = {1, 2, 8}
    return TunnelCommunity(settings)


@needs_library
@pytest.mark.parametrize("natives", [(True, True, True, True), (False, True, False, True), (True, False, True, False)],
                         ids=["all", "relays", "origin"])
@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_circuits(natives: tuple[bool, ...], hops: int) -> None:
    nodes = [await make_node(native) for native in natives]
    peers = [Peer(node.my_peer.public_key, UDPv4Address("127.0.0.1", node.endpoint.get_address()[1])) for node in nodes]
    for node in nodes:
        for peer in peers[1:]:
            if peer != node.my_peer:
                node.network.add_verified_peer(peer)
                node.network.discover_services(peer, [node.community_id])
                node.candidates[peer] = [1, 2, 8]
    loop = asyncio.get_running_loop()
    transport, sink = await loop.create_datagram_endpoint(Sink, local_addr=("127.0.0.1", 0))
    destination = UDPv4Address(*transport.get_extra_info("sockname"))
    try:
        origin = nodes[0]
        circuit = origin.create_circuit(hops, required_exit=peers[hops])
        assert circuit is not None
        assert await asyncio.wait_for(circuit.ready, 50) is circuit
        answer = await asyncio.wait_for(origin.send_test_request(circuit, 30, 40), 50)
        assert answer is not None
        assert len(answer[0]) == 40
        received: asyncio.Queue[bytes] = asyncio.Queue()
        origin.on_raw_data = lambda circuit, source, data: received.put_nowait(data)  # type: ignore[method-assign,assignment]
        assert circuit.hop is not None
        origin.send_data(circuit.hop.address, circuit.circuit_id, destination, ("0.0.0.0", 0), b"d4:pinge")
        data, source = await asyncio.wait_for(sink.received.get(), 50)
        assert data == b"d4:pinge"
        transport.sendto(b"d4:ponge", source)
        assert await asyncio.wait_for(received.get(), 50) == b"d4:ponge"
    finally:
        transport.close()
        for node in nodes:
            await node.unload()
            closing = node.endpoint.close()
            if closing is not None:
                await closing
