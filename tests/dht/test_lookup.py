"""The lookup as a state machine: no network, no clock, every event by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.dht import DHTError
from ipv8.dht.crawl import Crawl
from ipv8.dht.lookup import Ask, Lookup, LookupOptions, OpenWay, Repeat, Surroundings
from ipv8.dht.routing import Node, RoutingTable
from ipv8.dht.timing import Measurements
from ipv8.messaging.address import UDPv4Address, UDPv6Address

TARGET = bytes(20)


def make_nodes(count: int) -> list[Node]:
    """Nodes in different networks, the nearest one to the target first."""
    nodes = [Node(b"LibNaCLPK:" + bytes((number + 1,)) * 64, UDPv4Address(f"{20 + number}.1.1.1", 1000))
             for number in range(count)]
    return sorted(nodes, key=lambda node: node.distance(TARGET))


class Run:
    """A lookup with everything that it needs, and a table of the given nodes."""

    def __init__(self, known: list[Node], force_nodes: bool = True, **options: Any) -> None:
        self.table = RoutingTable(b"\xff" * 20)
        for node in known:
            self.table.add(node)
        self.crawl = Crawl(TARGET, self.table, force_nodes)
        self.surroundings = Surroundings(b"me" * 10, Measurements())
        self.lookup = Lookup(self.crawl, self.surroundings, [todo.node_to_contact for todo in self.crawl.nodes_todo],
                             LookupOptions(**options))

    def poll(self, now: float = 0.0) -> list[Any]:
        return self.lookup.poll(now)

    def asked(self, now: float = 0.0) -> list[Node]:
        return [action.node for action in self.poll(now) if isinstance(action, Ask)]


def test_no_nodes() -> None:
    with pytest.raises(DHTError, match="No nodes found in the routing table"):
        Crawl(TARGET, RoutingTable(TARGET))


def test_four_at_a_time_the_nearest_first() -> None:
    nodes = make_nodes(12)
    run = Run(nodes)
    assert run.asked() == nodes[:4]
    assert run.asked() == []
    run.lookup.on_response(nodes[2], {"nodes": []})
    assert run.asked() == nodes[4:5]
    assert run.crawl.nodes_tried == {*nodes[:5]}


def test_it_converges() -> None:
    nodes = make_nodes(20)
    run = Run(nodes[10:14])
    asked = run.asked()
    rounds = 0
    while not run.lookup.finished:
        for node in asked:
            run.lookup.on_response(node, {"nodes": nodes[:8]})
        asked = run.asked()
        rounds += 1
    assert run.lookup.responders()[:8] == nodes[:8]
    assert len(run.crawl.nodes_tried) == 12
    assert rounds <= 4


def test_late_nodes_free_their_place_and_may_still_answer() -> None:
    nodes = make_nodes(12)
    run = Run(nodes)
    assert run.asked() == nodes[:4]
    assert run.lookup.deadline == 0.5
    assert run.asked(0.5) == nodes[4:8]
    run.lookup.on_response(nodes[0], {"nodes": []})
    run.lookup.on_failure(nodes[0])
    assert run.lookup.responders() == nodes[:1]


def test_it_ends_without_the_dead() -> None:
    nodes = make_nodes(12)
    run = Run(nodes[1:9])
    run.asked()
    for node in nodes[1:9]:
        run.lookup.on_response(node, {"nodes": [nodes[0]]})
        run.poll()
    assert not run.lookup.finished
    run.poll(5)
    assert run.lookup.finished


def test_it_waits_for_late_nodes_if_there_are_no_others() -> None:
    node, = make_nodes(1)
    run = Run([node])
    run.poll()
    run.poll(1)
    assert not run.lookup.finished
    assert run.lookup.deadline is None
    run.lookup.on_failure(node)
    run.poll(2)
    assert run.lookup.finished
    assert run.lookup.responders() == []


@pytest.mark.parametrize(("answers", "finished"), [
    ([[b"\x00a"], [b"\x00a"], [b"\x00a"]], True),
    ([[b"\x00a"], [b"\x00b"], [b"\x00c"]], False),
    ([[b"\x00a"], [b"\x00b"], [b"\x00c"], [b"\x00d"]], True),
    ([[b"\x00a"], [b""], [b"bad"]], False),
])
def test_enough_values(answers: list[list[bytes]], finished: bool) -> None:
    nodes = make_nodes(8)
    run = Run(nodes, force_nodes=False)
    run.surroundings.is_valid = lambda value: value[:1] == b"\x00"
    run.asked()
    for node, values in zip(nodes, answers):  # noqa: B905 - fewer answers than nodes
        run.lookup.on_response(node, {"values": values})
    run.poll()
    assert run.lookup.finished == finished


def test_values_of_far_nodes_do_not_count() -> None:
    nodes = make_nodes(20)
    run = Run(nodes[12:], force_nodes=False)
    asked = run.asked()
    run.lookup.on_response(asked[0], {"nodes": nodes[:8]})
    for node in asked[1:]:
        run.lookup.on_response(node, {"values": [b"\x00junk"]})
    assert run.asked() == nodes[:4]
    assert not run.lookup.finished


def test_unacceptable_nodes() -> None:
    nodes = make_nodes(3)
    run = Run(nodes[:1])
    run.poll()
    bad = [Node(b"LibNaCLPK:" + bytes((100 + number,)) * 64, address) for number, address in enumerate([
        UDPv4Address("224.0.0.1", 5), UDPv4Address("0.0.0.0", 5), UDPv4Address("50.1.1.1", 0),
        UDPv4Address("192.168.1.1", 5), UDPv6Address("2a00::1", 5)])]
    me = Node(b"LibNaCLPK:" + bytes(64), UDPv4Address("60.1.1.1", 5))
    run.surroundings.my_mid = me.mid
    run.surroundings.is_distrusted = lambda node: node == nodes[2]
    run.lookup.on_response(nodes[0], {"nodes": [*bad, me, nodes[2], nodes[1]]})
    assert run.asked() == [nodes[1]]


def test_only_so_many_nodes_of_an_answer_and_of_a_network() -> None:
    start, = make_nodes(1)
    crowd = [Node(b"LibNaCLPK:" + bytes((number, 9)) * 32, UDPv4Address("8.8.8.8", 1 + number)) for number in range(99)]
    run = Run([start])
    run.poll()
    run.lookup.on_response(start, {"nodes": crowd})
    assert len(run.lookup._candidates) == 17
    assert len(run.asked()) == 2


def test_it_does_not_ask_for_more_than_others_answer() -> None:
    node, = make_nodes(1)
    run = Run([node])
    for _ in range(9):
        run.surroundings.measurements.pacer.note(node, 0.0)
    assert run.asked(1.0) == []
    assert run.lookup.deadline == 6.0
    assert not run.lookup.finished
    assert run.asked(6.0) == [node]


def test_the_way_is_opened_when_a_node_is_late() -> None:
    nodes = make_nodes(2)
    run = Run(nodes[1:])
    run.poll()
    run.lookup.on_response(nodes[1], {"nodes": nodes[:1]})
    assert run.poll(0.1) == [Ask(nodes[0])]
    assert run.poll(1.0) == [OpenWay(nodes[0], nodes[1])]
    assert not run.lookup.finished
    run.lookup.on_way_opened(nodes[0])
    assert run.poll(1.1) == [Repeat(nodes[0])]
    run.lookup.on_response(nodes[0], {"nodes": []})
    run.lookup.on_way_opened(nodes[0])
    assert run.poll(1.2) == []
    assert run.lookup.finished
    assert run.lookup.responders() == nodes


def test_the_way_is_opened_at_once_where_that_is_needed() -> None:
    nodes = make_nodes(3)
    run = Run(nodes[2:])
    for _ in range(20):
        run.surroundings.measurements.open_ways.tried(answered=False)
    run.surroundings.measurements.open_ways.heard(nodes[1].address, 0.0)
    run.poll()
    run.lookup.on_response(nodes[2], {"nodes": nodes[:2]})
    assert run.poll(0.1) == [Ask(nodes[0]), OpenWay(nodes[0], nodes[2]), Ask(nodes[1])]


def test_disjoint_paths_share_no_node() -> None:
    nodes = make_nodes(10)
    run = Run(nodes[8:])
    paths = [Lookup(run.crawl, run.surroundings, [start]) for start in nodes[8:]]
    for path, start in zip(paths, nodes[8:]):  # noqa: B905 - equally long
        path.poll(0)
        path.on_response(start, {"nodes": nodes[:8]})
    asked = [[action.node for action in path.poll(0)] for path in paths]
    assert asked == [nodes[:4], nodes[4:8]]


def test_it_ends_sometime() -> None:
    """Somebody who invents nearer nodes for ever is not followed for ever."""
    start, = make_nodes(1)
    run = Run([start])
    invented = iter(range(10 ** 6))
    asked, contacts = run.asked(), 0
    while not run.lookup.finished:
        for node in asked:
            number = next(invented)
            liar = Node(b"LibNaCLPK:" + number.to_bytes(4, "big") * 16, UDPv4Address(f"{20 + number}.2.2.2", 7))
            liar._id_of = (liar.address, bytes(16) + (10 ** 6 - number).to_bytes(4, "big"))
            run.lookup.on_response(node, {"nodes": [liar]})
            contacts += 1
        asked = run.asked()
    assert contacts <= 48


def test_own_addresses_are_not_contacted() -> None:
    start, = make_nodes(1)
    run = Run([start])
    own = UDPv4Address("53.1.2.3", 4000)
    run.surroundings.own_addresses = (own,)
    impostor = Node(b"LibNaCLPK:" + bytes(64), own)
    neighbour = Node(b"LibNaCLPK:" + bytes(63) + b"1", UDPv4Address("53.1.2.3", 4001))
    assert run.asked() == [start]
    run.lookup.on_response(start, {"nodes": [impostor, neighbour]})
    assert run.asked() == [neighbour]
