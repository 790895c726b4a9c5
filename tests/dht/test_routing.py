"""Nodes, buckets and routing tables (doc/protocol/dht.md section 6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import entropy
from ipv8.dht.moments import Moment
from ipv8.dht.routing import (
    NODE_STATUS_BAD,
    NODE_STATUS_GOOD,
    NODE_STATUS_UNKNOWN,
    Bucket,
    Node,
    RoutingTable,
    calc_node_id,
    distance,
    id_to_binary_string,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address

KEY = default_eccrypto.generate_key("curve25519")


class FakeNode(Node):
    """A node with an id of its own choice, as tests of applications have them."""

    def __init__(self, node_id: bytes, rtt: float = 0, status: int = NODE_STATUS_GOOD) -> None:
        super().__init__(KEY, ("1.2.3.4", 5))
        self._id = node_id
        self._status = status
        self.rtt = rtt

    @property
    def id(self) -> bytes:
        return self._id

    @property
    def status(self) -> int:
        return self._status


def test_ids_follow_the_address() -> None:
    node = Node(KEY, UDPv4Address("1.2.3.4", 5))
    first = node.id
    assert first == calc_node_id(UDPv4Address("1.2.3.4", 999), node.mid)
    node.address = UDPv4Address("99.2.3.4", 5)
    assert node.id == calc_node_id(("99.2.3.4", 5), node.mid) != first
    node.address = UDPv6Address("2a00::1", 5)
    assert node.id == calc_node_id(UDPv6Address("2a00::ffff", 1), node.mid)


def test_distance_takes_ids_of_any_length() -> None:
    assert distance(b"\x01", b"\x00\x03") == 2
    with pytest.raises(ValueError, match="at least one byte"):
        distance(b"", b"\x01")
    assert len(id_to_binary_string(b"\x01")) == 160
    assert len(id_to_binary_string(b"\xff" * 21)) == 168


def test_status(manual_clock: Any) -> None:
    node = Node(KEY, ("1.2.3.4", 5))
    assert node.status == NODE_STATUS_UNKNOWN
    node.last_queries.append(manual_clock.now)
    assert node.status == NODE_STATUS_UNKNOWN
    node.last_response = manual_clock.now - 900
    assert node.status == NODE_STATUS_GOOD
    node.last_queries.clear()
    assert node.status == NODE_STATUS_UNKNOWN
    node.last_response += 1
    assert node.status == NODE_STATUS_GOOD
    node.failed = 2
    assert node.status == NODE_STATUS_BAD


def test_blocked(manual_clock: Any) -> None:
    node = Node(KEY, ("1.2.3.4", 5), intro=False)
    assert node.last_response == 0
    for _ in range(10):
        assert not node.blocked
        node.last_queries.append(manual_clock.now)
    assert node.blocked
    assert node.last_contact == node.last_query == manual_clock.now
    manual_clock.advance(5)
    assert not node.blocked


def test_bucket_adds_what_it_owns(manual_clock: Any) -> None:
    bucket = Bucket(id_to_binary_string(b"\x01" * 20)[:8], max_size=2)
    assert not bucket.add(FakeNode(b"\xff" * 20))
    assert bucket.add(FakeNode(b"\x01" * 20))
    assert bucket.last_changed == manual_clock.now
    known = bucket.nodes[b"\x01" * 20]
    again = FakeNode(b"\x01" * 20)
    again.address = ("5.6.7.8", 9)
    assert bucket.add(again)
    assert bucket.get(b"\x01" * 20) is known
    assert known.address == ("5.6.7.8", 9)
    assert bucket.add(FakeNode(b"\x01\x02" + bytes(18)))
    assert not bucket.add(FakeNode(b"\x01\x03" + bytes(18)))
    assert bucket.get(b"\x09") is None


@pytest.mark.parametrize(("first", "second", "gone"), [
    (FakeNode(b"\x01", status=NODE_STATUS_BAD), FakeNode(b"\x02", rtt=9), b"\x01"),
    (FakeNode(b"\x01", rtt=1), FakeNode(b"\x02", rtt=2), b"\x02"),
    (FakeNode(b"\x01", rtt=1), FakeNode(b"\x02", rtt=1.9), None),
])
def test_full_buckets_part_with_one_node(first: FakeNode, second: FakeNode, gone: bytes | None) -> None:
    bucket = Bucket("", max_size=2)
    bucket.add(first)
    bucket.add(second)
    assert bucket.add(FakeNode(b"\x03", rtt=1)) == (gone is not None)
    assert len(bucket.nodes) == 2
    assert gone not in bucket.nodes


def test_split() -> None:
    bucket = Bucket("", max_size=2)
    bucket.add(FakeNode(bytes(20)))
    assert bucket.split() is None
    bucket.add(FakeNode(b"\xff" * 20))
    zero, one = bucket.split() or (bucket, bucket)
    assert (zero.prefix_id, list(zero.nodes), one.prefix_id, list(one.nodes)) == ("0", [bytes(20)], "1", [b"\xff" * 20])
    assert len(bucket.nodes) == 2


@settings(deadline=None, max_examples=50)
@given(st.text("01", max_size=160))
def test_generated_ids_hit_their_bucket(prefix: str) -> None:
    bucket = Bucket(prefix)
    node_id = bucket.generate_id()
    assert len(node_id) == 20
    assert bucket.owns(node_id)


@settings(deadline=None, max_examples=50)
@given(st.sets(st.binary(min_size=20, max_size=20), max_size=80), st.binary(min_size=20, max_size=20),
       st.integers(1, 20))
def test_closest_nodes_are_the_closest_ones(ids: set[bytes], target: bytes, count: int) -> None:
    table = RoutingTable(bytes(20))
    kept = [node_id for node_id in sorted(ids) if table.add(FakeNode(node_id)) is not None]
    assert {node.id for node in table.nodes()} == set(kept)
    expected = sorted(kept, key=lambda node_id: distance(node_id, target))
    assert [node.id for node in table.closest_nodes(target, max_nodes=count)] == expected[:count]
    if expected:
        nearest = FakeNode(expected[0])
        assert [node.id for node in table.closest_nodes(target, max_nodes=count, exclude_node=nearest)
                ] == expected[1:count + 1]


def test_short_ids() -> None:
    table = RoutingTable(b"\x00")
    nodes = [FakeNode(bytes((number,))) for number in (1, 2, 7)]
    assert [table.add(node) for node in nodes] == nodes
    assert table.closest_nodes(b"\x03", max_nodes=2) == nodes[1::-1]
    assert table.has(b"\x07")
    assert table.get(b"\x08") is None
    assert RoutingTable(b"\x01").closest_nodes(b"\x01") == []


def test_bad_nodes_are_left_out_and_removed() -> None:
    table = RoutingTable(bytes(20))
    good, bad = FakeNode(b"\x01" * 20), FakeNode(b"\x02" * 20, status=NODE_STATUS_BAD)
    table.add(good)
    table.add(bad)
    assert [node.id for node in table.closest_nodes(b"\x02" * 20)] == [good.id]
    assert table.remove_bad_nodes() == [bad]
    assert table.remove_bad_nodes() == []
    assert list(table.nodes()) == [good]


def test_the_table_splits_where_it_is_itself() -> None:
    table = RoutingTable(bytes(20))
    far = [table.add(FakeNode(bytes((0x80 + number,)) + bytes(19))) for number in range(9)]
    near = [table.add(FakeNode(bytes((number,)) + bytes(19))) for number in range(9)]
    assert far.count(None) == 1
    assert near.count(None) == 0
    assert table.get_bucket(b"\xff" * 20).prefix_id == "1"


def test_unproven_nodes_make_room() -> None:
    bucket = Bucket("")
    proven, unproven = FakeNode(b"\x01"), FakeNode(b"\x02")
    proven.last_response = 1
    bucket.add(proven)
    assert not bucket.drop_unproven()
    bucket.add(unproven)
    assert bucket.drop_unproven()
    assert list(bucket.nodes) == [b"\x01"]


def node_at(number: int, host: str, answered: bool = False, rtt: float = 0.0) -> Node:
    node = Node(b"LibNaCLPK:" + bytes((number,)) * 64, UDPv4Address(host, 1000 + number))
    node.last_response = Moment.now() if answered else 0
    node.rtt = rtt
    return node


def test_a_node_that_answered_moves_when_it_answers_from_elsewhere() -> None:
    table = RoutingTable(bytes(20))
    known = table.admit(node_at(1, "1.2.3.4", answered=True), diverse=True)
    assert known is not None
    elsewhere = node_at(1, "1.2.3.4")
    elsewhere.address = UDPv4Address("1.2.3.4", 9)
    assert table.admit(elsewhere, diverse=True) is known
    assert known.address == ("1.2.3.4", 1001)
    elsewhere.last_response = Moment.now()
    assert table.admit(elsewhere, diverse=True) is known
    assert known.address == ("1.2.3.4", 9)


def test_a_node_that_answered_replaces_one_that_never_did() -> None:
    table = RoutingTable(b"\xff" * 20)
    added = [table.admit(node_at(n, f"{n}.2.3.4"), diverse=True) for n in range(1, 60)]
    full = node_at(60, "20.2.3.4")
    while table.get_bucket(full.id).owns(table.my_node_id) or len(table.get_bucket(full.id).nodes) < 8:
        full = node_at(entropy.randint(61, 255), f"{entropy.randint(60, 99)}.2.3.4")
    assert None in added
    assert table.admit(full, diverse=True) is None
    full.rtt = 0.001
    for other in table.get_bucket(full.id).nodes.values():
        other.rtt = 9.0
    assert table.admit(full, diverse=True) is None
    full.last_response = Moment.now()
    assert table.admit(full, diverse=True) is full
    assert full.rtt == 0.001


def test_limits_of_hosts_are_an_option() -> None:
    for diverse, count in ((True, 2), (False, 5)):
        table = RoutingTable(bytes(20))
        admitted = [table.admit(node_at(n, "8.8.8.8"), diverse) for n in range(1, 6)]
        assert sum(node is not None for node in admitted) == count


def test_nodes_around_another_id() -> None:
    table = RoutingTable(bytes(20))
    nodes = [table.add(node_at(n, f"{n}.2.3.4", answered=n % 2 == 0)) for n in range(1, 9)]
    moved = table.around(b"\xff" * 20)
    assert moved.my_node_id == b"\xff" * 20
    assert set(moved.nodes()) == set(nodes)
    assert [bool(node.last_response) for node in moved.nodes()] == [True] * 4 + [False] * 4


def test_steps_of_the_wall_clock_change_no_status(two_clocks: Any) -> None:
    node = node_at(1, "1.2.3.4", answered=True)
    for step in (86400, -2 * 86400):
        two_clocks.wall += step
        assert node.status == NODE_STATUS_GOOD
    two_clocks.advance(900)
    assert node.status == NODE_STATUS_UNKNOWN
    node.last_queries.append(Moment.now())
    two_clocks.wall += 86400
    assert node.status == NODE_STATUS_GOOD
    assert node.last_contact == node.last_query


def test_a_stranger_replaces_nobody_but_bad_nodes() -> None:
    table = RoutingTable(b"\xff" * 20)
    nodes = [FakeNode(bytes((number,)) * 20) for number in range(1, 9)]
    assert all(table.add(node) for node in nodes)
    stranger = FakeNode(b"\x09" * 20)
    assert table.admit(stranger, diverse=False) is None
    bucket = table.get_bucket(stranger.id)
    assert (bucket.prefix_id, bucket.is_closed) == ("0", True)
    nodes[2]._status = NODE_STATUS_BAD
    assert not bucket.is_closed
    assert table.admit(stranger, diverse=False) is stranger
    assert table.get(nodes[2].id) is None
