"""Limits for requests, and proofs of addresses: without a network."""

from __future__ import annotations

from typing import Any

from ipv8.dht import admission as admission_module
from ipv8.dht.admission import Admission
from ipv8.dht.routing import Node, RoutingTable
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer

ADDRESS = UDPv4Address("1.2.3.4", 5)


def peer(number: int = 1, address: Any = ADDRESS) -> Peer:
    return Peer(b"LibNaCLPK:" + bytes((number,)) * 64, address)


def make() -> tuple[Admission, RoutingTable]:
    return Admission(74 + 64), RoutingTable(bytes(20))


def test_ten_requests_in_five_seconds_of_a_node_in_the_table(two_clocks: Any) -> None:
    admission, table = make()
    for _ in range(10):
        assert admission.allows(peer().key_bin, ADDRESS, table)
        assert admission.take(peer(), table, table.add) == peer()
    assert not admission.allows(peer().key_bin, ADDRESS, table)
    assert admission.take(peer(), table, table.add) is None
    (node,) = table.nodes()
    assert node.blocked
    assert admission.allows(peer(2).key_bin, ADDRESS, table)
    two_clocks.advance(5)
    assert admission.allows(peer().key_bin, ADDRESS, table)
    assert admission.take(peer(), table, table.add) is node


def test_ten_requests_in_five_seconds_of_others(two_clocks: Any) -> None:
    admission, table = make()
    for admit in (None, lambda _: None):
        for _ in range(10):
            assert admission.take(peer(), table, admit) == peer()
        assert admission.take(peer(), table, admit) is None
        assert not admission.allows(peer().key_bin, ADDRESS, None)
        two_clocks.advance(5)
    assert not list(table.nodes())


def test_another_port_is_no_fresh_start() -> None:
    admission, table = make()
    for port in range(1, 11):
        assert admission.take(peer(address=UDPv4Address("1.2.3.4", port)), table)
    assert admission.take(peer(address=UDPv4Address("1.2.3.4", 99)), table) is None


def test_a_visitor_is_admitted_at_its_present_address() -> None:
    admission, table = make()
    admission.take(peer(), table)
    moved = peer(address=UDPv4Address("4.3.2.1", 9))
    node = admission.take(moved, table, table.add)
    assert node is not None
    assert (node.address, len(node.last_queries)) == (moved.address, 2)


def test_steps_of_the_wall_clock_block_nobody_and_free_nobody(two_clocks: Any) -> None:
    admission, table = make()
    for _ in range(10):
        admission.take(peer(), table)
    two_clocks.wall += 3600
    assert admission.take(peer(), table) is None
    two_clocks.wall -= 2 * 3600
    assert admission.take(peer(), table) is None
    two_clocks.advance(5)
    assert admission.take(peer(), table) is not None


def test_visitors_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(admission_module, "MAX_VISITORS", 2)
    admission, table = make()
    for number in (1, 1, 1, 2, 3):
        admission.take(peer(number), table)
    counted = [admission.take(peer(number), table) for number in (2, 1)]
    assert [len(node.last_queries) for node in counted if node is not None] == [2, 1]


def test_one_host_has_one_budget(two_clocks: Any) -> None:
    admission, table = make()
    for number in range(500):
        admission.charge(UDPv6Address(f"2a00:1:2:3::{number:x}", 5))
    assert not admission.allows(peer().key_bin, UDPv6Address("2a00:1:2:3::ffff", 5), table)
    assert admission.allows(peer().key_bin, UDPv6Address("2a00:1:2:4::1", 5), table)
    two_clocks.advance(0.02)
    assert admission.allows(peer().key_bin, UDPv6Address("2a00:1:2:3::ffff", 5), table)


def test_proofs_last_half_an_hour(two_clocks: Any) -> None:
    admission, _ = make()
    assert not admission.is_proven(ADDRESS)
    admission.prove(ADDRESS)
    two_clocks.wall += 10 ** 6
    assert admission.is_proven(ADDRESS)
    assert not admission.is_proven(UDPv4Address("1.2.3.4", 6))
    assert admission.room(ADDRESS, 100).size > 1000
    two_clocks.advance(1800)
    assert not admission.is_proven(ADDRESS)
    assert admission.room(ADDRESS, 100).size == 300 - 25 - 138


def test_a_node_without_a_table_of_its_family() -> None:
    admission, _ = make()
    assert admission.allows(peer().key_bin, UDPv6Address("2a00::1", 5), None)
    assert isinstance(admission.take(peer(address=UDPv6Address("2a00::1", 5)), RoutingTable(bytes(20))), Node)
