"""Limits for requests, and proofs of addresses: without a network."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8 import clock
from ipv8.dht import admission as admission_module
from ipv8.dht.admission import MAX_REMEMBERED_REQUESTS, Admission
from ipv8.dht.routing import Node, RoutingTable
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.peer import Peer

ADDRESS = UDPv4Address("1.2.3.4", 5)


def peer(number: int = 1, address: Any = ADDRESS) -> Peer:
    return Peer(b"LibNaCLPK:" + bytes((number,)) * 64, address)


def make() -> tuple[Admission, RoutingTable]:
    return Admission(74 + 64), RoutingTable(bytes(20))


def looked_at(admission: Admission, table: RoutingTable | None, number: int = 1, address: Any = ADDRESS,
              data: bytes = b"", has_token: bool = False) -> bool:
    return admission.refusal(peer(number).key_bin, address, data, table, lambda _: has_token) is None


def test_ten_requests_in_five_seconds_of_a_node_in_the_table(two_clocks: Any) -> None:
    admission, table = make()
    for _ in range(10):
        assert looked_at(admission, table)
        assert admission.take(peer(), table, table.add) == peer()
    assert not looked_at(admission, table)
    assert admission.take(peer(), table, table.add) is None
    (node,) = table.nodes()
    assert node.blocked
    assert looked_at(admission, table, 2)
    two_clocks.advance(5)
    assert looked_at(admission, table)
    assert admission.take(peer(), table, table.add) is node


def test_ten_requests_in_five_seconds_of_others(two_clocks: Any) -> None:
    admission, table = make()
    for admit in (None, lambda _: None):
        for _ in range(10):
            assert admission.take(peer(), table, admit) == peer()
        assert admission.take(peer(), table, admit) is None
        assert not looked_at(admission, None)
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
    moved = peer(address=UDPv4Address("1.2.3.4", 9))
    node = admission.take(moved, table, table.add)
    assert node is not None
    assert (node.address, len(node.last_queries)) == (moved.address, 2)


@pytest.mark.parametrize("admit", [True, False])
@pytest.mark.parametrize("elsewhere", ["4.3.2.1", "5.2.3.4"])  # the second one has the same prefix of node ids
def test_requests_from_elsewhere_count_for_elsewhere(admit: bool, elsewhere: str) -> None:
    admission, table = make()
    add = table.add if admit else None
    node = admission.take(peer(), table, add)
    assert node is not None
    node.last_response = clock.time()
    away = UDPv4Address(elsewhere, 5)
    for _ in range(10):
        assert admission.take(peer(address=away), table, lambda other: table.admit(other, diverse=False)) is not node
    assert admission.take(peer(address=away), table) is None
    assert not looked_at(admission, table, address=away)
    assert looked_at(admission, table)
    assert len(node.last_queries) == 1


@pytest.mark.parametrize("admit", [True, False])
def test_the_same_request_is_looked_at_once(admit: bool, two_clocks: Any) -> None:
    admission, table = make()
    assert admission.take(peer(), table, table.add if admit else None) is not None
    admission.charge(peer().key_bin, ADDRESS, b"request")
    assert admission.refusal(peer().key_bin, ADDRESS, b"request", table) == DropCounter.REPLAYED
    assert admission.refusal(peer().key_bin, UDPv4Address("1.2.3.4", 77), b"request", table) == DropCounter.REPLAYED
    assert looked_at(admission, table, address=UDPv4Address("1.2.3.5", 5), data=b"request")
    assert looked_at(admission, table, data=b"another")
    for number in range(MAX_REMEMBERED_REQUESTS - 1):
        two_clocks.advance(0.5)
        admission.charge(peer().key_bin, ADDRESS, b"%d" % number)
    assert not looked_at(admission, table, data=b"request")
    admission.charge(peer().key_bin, ADDRESS, b"one more")
    assert looked_at(admission, table, data=b"request")
    assert len(admission._accepted) == MAX_REMEMBERED_REQUESTS


def test_requests_of_one_network_do_not_make_those_of_others_count_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(admission_module, "MAX_REMEMBERED_REQUESTS", 20)
    admission, table = make()
    for number in range(10):
        admission.charge(peer().key_bin, ADDRESS, b"%d" % number)
    for number in range(200):
        admission.charge(peer(number).key_bin, UDPv4Address(f"66.6.6.{number}", 5), b"flood %d" % number)
    assert not any(looked_at(admission, table, data=b"%d" % number) for number in range(10))


def test_requests_with_a_token_are_counted_for_themselves(two_clocks: Any) -> None:
    admission, table = make()
    for _ in range(10):
        admission.take(peer(), table, table.add)
    assert not looked_at(admission, table)
    for _ in range(10):
        assert looked_at(admission, table, has_token=True)
        assert admission.take(peer(), table, table.add) is None
        assert admission.take_with_token(peer())
    assert not looked_at(admission, table, has_token=True)
    assert not admission.take_with_token(peer())
    two_clocks.advance(0.5)
    assert looked_at(admission, table, has_token=True)
    assert not looked_at(admission, table)


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
        admission.charge(peer().key_bin, UDPv6Address(f"2a00:1:2:3::{number:x}", 5), b"%d" % number)
    assert not looked_at(admission, table, address=UDPv6Address("2a00:1:2:3::ffff", 5))
    assert looked_at(admission, table, address=UDPv6Address("2a00:1:2:4::1", 5))
    two_clocks.advance(0.02)
    assert looked_at(admission, table, address=UDPv6Address("2a00:1:2:3::ffff", 5))


def test_one_network_does_not_displace_the_proofs_of_others(monkeypatch: Any) -> None:
    monkeypatch.setattr(admission_module, "MAX_PROVEN_ADDRESSES", 20)
    monkeypatch.setattr(admission_module, "MAX_VISITORS", 20)
    admission, table = make()
    others = [UDPv4Address(f"{20 + number}.1.1.1", 5) for number in range(10)]
    for number, other in enumerate(others):
        admission.prove(other, b"key")
        admission.take(peer(number, other), table)
    for port in range(1, 200):
        admission.prove(UDPv4Address("66.6.6.6", port), b"%d" % port)
        admission.take(peer(port, UDPv4Address(f"66.6.6.{port}", 5)), table)
    assert all(map(admission.is_proven, others))
    assert all(len(admission.take(peer(number, other), table).last_queries) == 2  # type: ignore[union-attr]  # not None
               for number, other in enumerate(others))


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
    assert looked_at(admission, None, address=UDPv6Address("2a00::1", 5))
    assert isinstance(admission.take(peer(address=UDPv6Address("2a00::1", 5)), RoutingTable(bytes(20))), Node)
