"""Storing on several nodes as a state machine: no network, no clock, every event by hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from ipv8.dht import DHTError
from ipv8.dht.driver import Driver
from ipv8.dht.replication import Replication, Replicator, StoreTargets
from ipv8.dht.routing import Node
from ipv8.dht.timing import Measurements
from ipv8.dht.tokens import ReceivedTokens
from ipv8.messaging.address import UDPv4Address, UDPv6Address

KEY = bytes(20)


def nodes_of(count: int, ipv6: bool = False) -> list[Node]:
    made = [Node(b"LibNaCLPK:" + bytes((n + 1,)) * 64, UDPv6Address(f"2a00:{n:x}::1", 7) if ipv6 else
                 UDPv4Address(f"{20 + n}.1.1.1", 7)) for n in range(count)]
    return sorted(made, key=lambda node: node.distance(KEY))


class Run:
    """A replication on nodes of one family."""

    def __init__(self, nodes: list[Node], copies: int) -> None:
        self.measurements = Measurements()
        self.machine = Replication([(nodes, copies)], self.measurements)
        self.groups: dict[Node, Any] = {}

    def asked(self, now: float = 0.0) -> list[Node]:
        deliveries = self.machine.poll(now)
        self.groups.update(deliveries)
        return [node for node, _ in deliveries]

    def answer(self, node: Node, confirmed: bool = True) -> None:
        self.groups[node].on_answer(node, confirmed)


def test_the_nearest_nodes_are_asked() -> None:
    nodes = nodes_of(5)
    run = Run(nodes, copies=3)
    assert run.asked() == nodes[:3]
    assert run.machine.deadline == 0.5
    for node in nodes[:3]:
        assert not run.machine.finished
        run.answer(node)
        assert run.asked() == []
    assert run.machine.finished
    assert run.machine.confirmed == nodes[:3]


def test_others_take_the_place_of_nodes_that_refuse() -> None:
    nodes = nodes_of(5)
    run = Run(nodes, copies=3)
    run.asked()
    run.answer(nodes[1], confirmed=False)
    assert run.asked() == nodes[3:4]
    for node in (nodes[0], nodes[2], nodes[3]):
        run.answer(node)
    run.asked()
    assert run.machine.finished
    assert set(run.machine.confirmed) == {nodes[0], nodes[2], nodes[3]}


def test_others_take_the_place_of_late_nodes_which_may_still_confirm() -> None:
    nodes = nodes_of(4)
    run = Run(nodes, copies=2)
    assert run.asked(0.0) == nodes[:2]
    assert run.asked(0.4) == []
    assert run.asked(0.5) == nodes[2:4]
    run.answer(nodes[0])
    run.answer(nodes[2])
    run.asked(0.6)
    assert run.machine.finished
    assert run.machine.confirmed == [nodes[0], nodes[2]]


def test_late_nodes_are_waited_for_when_there_are_no_others() -> None:
    nodes = nodes_of(2)
    run = Run(nodes, copies=2)
    run.asked(0.0)
    assert run.machine.deadline is None
    assert run.asked(3.0) == []
    run.answer(nodes[0])
    run.asked(4.0)
    assert not run.machine.finished
    run.answer(nodes[1], confirmed=False)
    run.asked(5.0)
    assert run.machine.finished
    assert run.machine.confirmed == nodes[:1]


def test_nodes_that_were_asked_too_often_are_asked_later() -> None:
    nodes = nodes_of(2)
    run = Run(nodes, copies=2)
    for _ in range(9):
        run.measurements.pacer.note(nodes[0], 0.0)
    assert run.asked(1.0) == nodes[1:]
    run.answer(nodes[1])
    assert run.asked(1.1) == []
    assert run.machine.deadline == 6.0
    assert not run.machine.finished
    assert run.asked(6.0) == nodes[:1]


def test_address_families_do_not_share_their_copies() -> None:
    four, six = nodes_of(2), nodes_of(2, ipv6=True)
    machine = Replication([(four, 1), (six, 1)], Measurements())
    deliveries = machine.poll(0.0)
    assert [delivery.node for delivery in deliveries] == [four[0], six[0]]
    deliveries[0].group.on_answer(four[0], True)
    machine.poll(0.1)
    assert not machine.finished
    deliveries[1].group.on_answer(six[0], True)
    machine.poll(0.2)
    assert machine.finished
    assert machine.confirmed == [four[0], six[0]]


def test_targets_by_family() -> None:
    four, six = nodes_of(10), nodes_of(3, ipv6=True)
    targets = StoreTargets.nearest([*four, *six], 8)
    assert targets == [*four[:8], *six]
    assert targets.spares == four[8:]
    families = targets.families(lambda node: type(node.address))
    assert [(list(family), family.spares) for family in families] == [(four[:8], four[8:]), (six, [])]
    assert StoreTargets().families(lambda node: type(node.address)) == []


def test_which_node_stores_a_value_itself() -> None:
    nodes = nodes_of(10)
    assert StoreTargets(nodes[:7]).include(b"\xff" * 20, KEY)
    assert not StoreTargets(nodes[:8]).include(b"\xff" * 20, KEY)
    assert StoreTargets(nodes[:8]).include(bytes(19) + b"\x01", KEY)


class Requests:
    """Stands in for what sends requests: answers are given by hand."""

    def __init__(self) -> None:
        self.sent: list[tuple[Node, bytes, bytes, list[bytes]]] = []
        self.futures: list[asyncio.Future[Node]] = []

    def store(self, node: Node, token: bytes, key: bytes, values: list[bytes]) -> asyncio.Future[Node]:
        self.sent.append((node, token, key, values))
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


def make_replicator(nodes: list[Node]) -> tuple[Replicator, Requests, ReceivedTokens]:
    requests, tokens = Requests(), ReceivedTokens()
    for node in nodes:
        tokens.note(node.id, b"t" * 20)
    return Replicator(Driver(), cast("Any", requests), tokens, Measurements()), requests, tokens


async def test_values_are_sent_with_tokens() -> None:
    nodes = nodes_of(3)
    replicator, requests, tokens = make_replicator(nodes)
    del tokens[nodes[0].id]
    replication = replicator.begin([StoreTargets(nodes[:2], spares=nodes[2:])])
    storing = asyncio.ensure_future(replicator.finish(replication, KEY, [b"v"]))
    await asyncio.sleep(0)
    assert requests.sent == [(node, b"t" * 20, KEY, [b"v"]) for node in nodes[1:]]
    requests.futures[0].set_exception(DHTError("Timeout"))
    requests.futures[1].set_result(nodes[2])
    assert await storing == [nodes[2]]


async def test_a_token_may_expire_meanwhile(two_clocks: Any) -> None:
    nodes = nodes_of(1)
    replicator, requests, _ = make_replicator(nodes)
    replication = replicator.begin([StoreTargets(nodes)])
    two_clocks.advance(300)
    assert await replicator.finish(replication, KEY, [b"v"]) == []
    assert not requests.sent


def test_nothing_to_store_on() -> None:
    replicator, _, tokens = make_replicator(nodes_of(1))
    with pytest.raises(DHTError, match="No nodes found for storing the key-value pairs"):
        replicator.begin([])
    tokens.clear()
    with pytest.raises(DHTError, match="Value was not stored"):
        replicator.begin([StoreTargets(nodes_of(1))])
