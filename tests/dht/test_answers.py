"""What answers hold: bytes are counted, nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.dht.answers import AMPLIFICATION, MAX_ANSWER, PUNCTURE_COST, Room, connect_answer, find_answer
from ipv8.dht.payload import (
    ConnectPeerResponsePayload,
    FindRequestPayload,
    FindResponsePayload,
    NodePacker,
)
from ipv8.dht.routing import Node, RoutingTable
from ipv8.dht.storage import Storage
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.serialization import ListOf, Serializer

TARGET = b"t" * 20
SIGNER_SIZE = 74 + 64
SERIALIZER = Serializer()
SERIALIZER.add_packer("node-list", ListOf(NodePacker(SERIALIZER)))


def node(number: int, ipv6: bool = False) -> Node:
    address: Any = UDPv6Address(f"2a00:{number:x}::1", 7) if ipv6 else UDPv4Address(f"{20 + number}.1.1.1", 7)
    return Node(b"LibNaCLPK:" + bytes((number,)) * 64, address)


def table_of(nodes: list[Node]) -> RoutingTable:
    table = RoutingTable(bytes(20))
    for each in nodes:
        table.add(each)
    return table


def find_request(force_nodes: bool = False, target: bytes = TARGET) -> FindRequestPayload:
    return FindRequestPayload(1, UDPv4Address("192.168.1.1", 7), target, 0, force_nodes)


def size_of(payload: Any) -> int:
    return 25 + SIGNER_SIZE + len(SERIALIZER.pack_serializable(payload))


@settings(deadline=None, max_examples=60)
@given(st.integers(150, 400), st.booleans(), st.booleans(), st.booleans(),
       st.lists(st.binary(max_size=170), max_size=9))
def test_find_answers_keep_their_size(request_size: int, proven: bool, ipv6: bool, by_id: bool,
                                      values: list[bytes]) -> None:
    nodes = [node(number, ipv6) for number in range(1, 13)]
    storage = Storage()
    for value in values:
        storage.put(TARGET, value)
    target = nodes[5].id if by_id else TARGET
    answer = find_answer(find_request(target=target), node(99), storage, table_of(nodes),
                         Room.of(request_size, proven, SIGNER_SIZE))
    size = size_of(FindResponsePayload(1, bytes(20), answer.values, answer.nodes))
    if proven:
        assert size <= MAX_ANSWER
    else:
        size += PUNCTURE_COST * (answer.puncturing is not None)
        # An answer without content is sent in any case.
        assert size <= max(AMPLIFICATION * request_size, size_of(FindResponsePayload(1, bytes(20), [], [])))
    assert not (answer.values and answer.nodes)


def test_values_come_before_nodes() -> None:
    storage, table = Storage(), table_of([node(1), node(2)])
    storage.put(TARGET, b"\x00value")
    room = Room.of(1000, True, SIGNER_SIZE)
    assert find_answer(find_request(), node(9), storage, table, room) == ([b"\x00value"], [], None)
    forced = find_answer(find_request(force_nodes=True), node(9), None, table, room)
    assert forced.values == []
    assert set(forced.nodes) == {node(1), node(2)}
    assert forced.puncturing == forced.nodes[0]


def test_who_asks_is_not_told_of_itself() -> None:
    answer = find_answer(find_request(), node(1), None, table_of([node(1), node(2)]), Room.of(1000, True, SIGNER_SIZE))
    assert answer.nodes == [node(2)]


def test_nodes_that_have_answered_are_told_first() -> None:
    nodes = sorted((node(number) for number in range(1, 17)), key=lambda each: each.distance(TARGET))
    for each in nodes[8:]:
        each.last_response = 1
    table = RoutingTable(TARGET)
    for each in nodes:
        table.add(each)
    answer = find_answer(find_request(), node(99), None, table, Room.of(1000, True, SIGNER_SIZE))
    assert answer.nodes == nodes[8:]
    wanted = find_answer(find_request(target=nodes[0].id), node(99), None, table, Room.of(1000, True, SIGNER_SIZE))
    assert wanted.puncturing == nodes[0]


def test_strangers_get_a_puncture_only_for_the_id_that_they_ask_for() -> None:
    table, room = table_of([node(1), node(2)]), Room.of(199, False, SIGNER_SIZE)
    assert find_answer(find_request(), node(9), None, table, room).puncturing is None
    asked = find_answer(find_request(target=node(2).id), node(9), None, table, room)
    assert asked.puncturing == node(2)


@pytest.mark.parametrize(("request_size", "proven", "count"), [
    (1000, True, 8), (194, True, 8), (194, False, 1), (100, False, 0)])
def test_connect_answers(request_size: int, proven: bool, count: int) -> None:
    nodes = connect_answer([node(number) for number in range(1, 11)], Room.of(request_size, proven, SIGNER_SIZE))
    assert nodes == [node(number) for number in range(1, count + 1)]
    if count and not proven:
        assert size_of(ConnectPeerResponsePayload(1, nodes)) + count * PUNCTURE_COST <= AMPLIFICATION * request_size


def test_ipv6_nodes_take_more_room() -> None:
    room = Room.of(194, False, SIGNER_SIZE)
    free = room.size - 5 - PUNCTURE_COST
    assert len(connect_answer([node(1)], Room(5 + PUNCTURE_COST + 83, False))) == 1
    assert connect_answer([node(1, ipv6=True)], Room(5 + PUNCTURE_COST + 94, False)) == []
    assert len(connect_answer([node(1, ipv6=True)], Room(5 + PUNCTURE_COST + 95, False))) == 1
    assert free >= 83
