"""Carrying out lookups: requests are answered by a table instead of a network."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from ipv8.dht.crawl import Crawl
from ipv8.dht.driver import Driver
from ipv8.dht.finder import Finder
from ipv8.dht.lookup import LookupOptions
from ipv8.dht.routing import Node, RoutingTable
from ipv8.dht.timing import Measurements
from ipv8.messaging.address import UDPv4Address

TARGET = bytes(20)


def make_nodes(count: int) -> list[Node]:
    nodes = [Node(b"LibNaCLPK:" + bytes((n + 1,)) * 64, UDPv4Address(f"{20 + n}.1.1.1", 7)) for n in range(count)]
    return sorted(nodes, key=lambda node: node.distance(TARGET))


class Net:
    """Answers requests by what each node knows; nodes that know nothing do not answer."""

    def __init__(self, nodes: list[Node], values: dict[Node, list[bytes]] | None = None) -> None:
        self.nodes = nodes
        self.values = values or {}
        self.silent: set[Node] = set()
        self.asked: list[tuple[Node, bytes, int]] = []
        self.repeated = 0

    def find(self, node: Node, target: bytes, force_nodes: bool, offset: int = 0) -> Any:
        self.asked.append((node, target, offset))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if node in self.silent:
            return SimpleNamespace(future=future)
        page = self.values.get(node, [])[offset:offset + 8]
        answer: dict[str, Any] = {"nodes": [other for other in self.nodes if other != node][:8]}
        if page and not force_nodes:
            answer = {"values": page}
        elif offset:
            answer = {"nodes": []}
        asyncio.get_running_loop().call_soon(future.set_result, answer)
        return SimpleNamespace(future=future)

    def send_again(self, _: Any) -> None:
        self.repeated += 1


def table_of(nodes: list[Node]) -> RoutingTable:
    table = RoutingTable(b"\xff" * 20)
    for node in nodes:
        table.add(node)
    return table


def make_finder(net: Net, driver: Driver | None = None) -> Finder:
    return Finder(driver or Driver(), cast("Any", net), Measurements(), b"m" * 20,
                  lambda value: (value, None, 0) if value else None)


async def test_the_nodes_that_answered_are_found() -> None:
    nodes = make_nodes(12)
    net = Net(nodes)
    finder = make_finder(net)
    crawls = finder.begin(TARGET, [table_of(nodes[10:]), RoutingTable(bytes(20))], True, 0)
    assert len(crawls) == 1
    found = await finder.finish(crawls, LookupOptions(), on_public_internet=False)
    assert list(found[:8]) == nodes[:8]
    assert {node for node, _, _ in net.asked} == set(found)


async def test_several_paths_find_the_same_and_share_no_node() -> None:
    nodes = make_nodes(12)
    net = Net(nodes)
    finder = make_finder(net)
    found = await finder.finish(finder.begin(TARGET, [table_of(nodes[9:])], True, 0), LookupOptions(paths=2), False)
    assert list(found) == sorted(set(found), key=lambda node: node.distance(TARGET))
    assert len(net.asked) == len({node for node, _, _ in net.asked})


async def test_further_values_are_asked_for() -> None:
    (node,) = nodes = make_nodes(1)
    values = [b"%d" % number for number in range(20)]
    net = Net(nodes, {node: values})
    finder = make_finder(net)
    (crawl,) = finder.begin(TARGET, [table_of(nodes)], False, 0)
    await finder.finish([crawl], LookupOptions(), False)
    assert set(crawl.values) == set(values)
    assert [offset for _, _, offset in net.asked] == [0, 8, 16]


async def test_who_reads_pages_itself_gets_one() -> None:
    (node,) = nodes = make_nodes(1)
    net = Net(nodes, {node: [b"%d" % number for number in range(20)]})
    finder = make_finder(net)
    crawls = finder.begin(TARGET, [table_of(nodes)], False, 8)
    await finder.finish(crawls, LookupOptions(), False)
    assert [offset for _, _, offset in net.asked] == [8]


def test_empty_tables_are_left_out() -> None:
    assert Finder.begin(TARGET, [], True) == []
    full = table_of(make_nodes(1))
    crawls = Finder.begin(TARGET, [RoutingTable(bytes(20)), full], True)
    assert [crawl.routing_table for crawl in crawls] == [full]


async def test_distrusted_nodes_are_left_out_for_ten_minutes(two_clocks: Any) -> None:
    nodes = make_nodes(4)
    net = Net(nodes)
    finder = make_finder(net)
    finder.distrust(nodes[:1])
    found = await finder.finish(finder.begin(TARGET, [table_of(nodes[2:])], True, 0), LookupOptions(), False)
    assert list(found) == nodes[1:]
    two_clocks.wall += 86400
    assert finder.is_distrusted(nodes[0])
    two_clocks.advance(600)
    assert not finder.is_distrusted(nodes[0])


async def test_stopping_ends_a_lookup_with_what_it_has() -> None:
    nodes = make_nodes(4)
    net, driver = Net(nodes), Driver()
    net.silent = {nodes[3]}
    finder = make_finder(net, driver)
    looking = asyncio.ensure_future(finder.finish([Crawl(TARGET, table_of(nodes[2:]), True)], LookupOptions(), False))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not looking.done()
    await driver.stop()
    assert list(await looking) == nodes[:3]
