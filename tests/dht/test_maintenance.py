"""What is due when: no node is asked anything here."""

from __future__ import annotations

from typing import Any

from ipv8.dht import DHTError
from ipv8.dht.maintenance import Exploration, Publications, silent_nodes, stale_buckets
from ipv8.dht.moments import Moment
from ipv8.dht.routing import Node, RoutingTable
from ipv8.messaging.address import UDPv4Address

KEY = b"k" * 20


def table_of(count: int) -> RoutingTable:
    table = RoutingTable(bytes(20))
    for number in range(count):
        table.add(Node(b"LibNaCLPK:" + bytes((number + 1,)) * 64, UDPv4Address(f"{20 + number}.1.1.1", 7)))
    return table


def test_buckets_are_stale_after_a_quarter_of_an_hour(two_clocks: Any) -> None:
    tables = [table_of(1), table_of(1)]
    assert stale_buckets(tables) == []
    two_clocks.wall += 86400
    assert stale_buckets(tables) == []
    two_clocks.wall -= 2 * 86400
    two_clocks.advance(901)
    assert stale_buckets(tables) == [[table.trie[""] for table in tables]]
    tables[0].trie[""].last_changed = Moment.now()
    assert stale_buckets(tables) == [[tables[1].trie[""]]]
    assert stale_buckets([RoutingTable(bytes(20))])


def test_the_nodes_that_were_silent_the_longest_are_pinged(two_clocks: Any) -> None:
    table = table_of(6)
    nodes = list(table.nodes())
    for node in nodes:
        node.last_response = Moment.now()
        two_clocks.advance(10)
    assert silent_nodes(table) == []
    two_clocks.wall += 86400
    assert silent_nodes(table) == []
    two_clocks.wall -= 2 * 86400
    two_clocks.advance(35)
    assert silent_nodes(table) == nodes[:4]
    nodes[0].last_ping_sent = Moment.now()
    two_clocks.advance(25)
    assert silent_nodes(table) == nodes[1:5]
    two_clocks.advance(1)
    assert silent_nodes(table) == nodes[:4]


def test_new_ids_are_explored_at_once_and_old_ones_again(two_clocks: Any) -> None:
    exploration, table, empty = Exploration(), table_of(1), RoutingTable(b"\x01" * 20)
    assert exploration.due([table, empty]) == [table]
    assert exploration.due([table, empty]) == []
    moved = table.around(b"\x02" * 20)
    assert exploration.due([moved]) == [moved]
    two_clocks.wall += 86400
    assert exploration.due([moved]) == []
    two_clocks.advance(901)
    assert exploration.due([moved]) == [moved]


class Store:
    """Notes what it is asked to store, and may fail."""

    def __init__(self) -> None:
        self.stored: list[tuple[bytes, bytes]] = []
        self.fails = False

    async def __call__(self, key: bytes, value: bytes) -> None:
        self.stored.append((key, value))
        if self.fails:
            raise DHTError("no")


async def test_publications_are_stored_again(two_clocks: Any) -> None:
    publications, store = Publications(), Store()
    publications.add(KEY, b"data", b"\x00data")
    await publications.store_due(store)
    two_clocks.wall += 86400
    await publications.store_due(store)
    assert not store.stored
    two_clocks.wall -= 2 * 86400
    two_clocks.advance(2701)
    await publications.store_due(store)
    await publications.store_due(store)
    assert store.stored == [(KEY, b"\x00data")]
    publications.remove(KEY, b"data")
    two_clocks.advance(2701)
    await publications.store_due(store)
    assert len(store.stored) == 1


async def test_failures_are_tried_again_in_a_minute(two_clocks: Any) -> None:
    publications, store = Publications(), Store()
    publications.add(KEY, b"one", b"\x00one")
    publications.add(KEY, b"two", b"\x00two")
    store.fails = True
    two_clocks.advance(2701)
    await publications.store_due(store)
    assert store.stored == [(KEY, b"\x00one"), (KEY, b"\x00two")]
    store.fails = False
    two_clocks.advance(59)
    await publications.store_due(store)
    assert len(store.stored) == 2
    two_clocks.advance(1)
    await publications.store_due(store)
    assert len(store.stored) == 4
    await publications.store_due(store)
    assert len(store.stored) == 4


async def test_a_new_value_replaces_the_one_with_the_same_content(two_clocks: Any) -> None:
    publications, store = Publications(), Store()
    publications.add(KEY, b"data", b"\x01first")
    publications.add(KEY, b"data", b"\x01second")
    two_clocks.advance(2701)
    await publications.store_due(store)
    assert store.stored == [(KEY, b"\x01second")]


async def test_what_is_removed_or_replaced_meanwhile_is_not_stored_again(two_clocks: Any) -> None:
    publications, stored = Publications(), []

    async def store(_: bytes, value: bytes) -> None:
        stored.append(value)
        publications.remove(KEY, b"two")
        publications.add(KEY, b"three", b"\x01new")

    for data in (b"one", b"two", b"three"):
        publications.add(KEY, data, b"\x00" + data)
    two_clocks.advance(2701)
    await publications.store_due(store)
    assert stored == [b"\x00one"]
