"""What answers hold."""

from __future__ import annotations

from typing import Any

from ipv8.dht.crawl import Crawl
from ipv8.dht.findings import Findings, merge_results
from ipv8.dht.routing import Node, RoutingTable
from ipv8.messaging.address import UDPv4Address

TARGET = bytes(20)

ENTRIES: dict[bytes, tuple[bytes, bytes | None, int] | None] = {
    b"\x00loose": (b"loose", None, 0), b"\x01old": (b"old", b"signer", 1), b"\x01new": (b"new", b"signer", 2),
    b"\x01other": (b"other", b"somebody", 1)}


def make(*answers: dict[str, Any]) -> tuple[Crawl, list[Node]]:
    """A finished lookup, with the answers of the nodes from the nearest one on."""
    nodes = sorted((Node(b"LibNaCLPK:" + bytes((n + 1,)) * 64, UDPv4Address(f"{20 + n}.1.1.1", 7))
                    for n in range(len(answers))), key=lambda node: node.distance(TARGET))
    table = RoutingTable(bytes(20))
    for node in nodes:
        table.add(node)
    crawl = Crawl(TARGET, table)
    crawl.responses = list(zip(nodes, answers, strict=True))
    return crawl, nodes


def test_valid_values_of_all_nodes_and_of_this_one() -> None:
    crawl, _ = make({"values": [b"\x00loose", b"", b"\x09new type"]}, {"values": [b"\x01old"]})
    findings = Findings([crawl], [b"\x01other", b"\x00loose"], ENTRIES.get)
    assert findings.values == [b"\x00loose", b"\x01old", b"\x01other"]
    assert Findings([], [], ENTRIES.get).values == []


def test_each_value_is_read_once() -> None:
    read: list[bytes] = []
    crawl, _ = make({"values": [b"\x00loose"]}, {"values": [b"\x00loose"]})
    Findings([crawl], [b"\x00loose"], read.append)
    assert read == [b"\x00loose"]


def test_who_sent_what_no_node_would_store() -> None:
    crawl, nodes = make({"values": [b"\x01bad"]}, {"values": [b"\x09new type"]}, {"values": [b""]}, {"nodes": []},
                        {"values": [b"\x00loose"]})
    assert list(Findings([crawl], [], ENTRIES.get).senders_of_invalid_values()) == [nodes[0], nodes[2]]


def test_who_lacks_which_values() -> None:
    crawl, nodes = make({"values": [b"\x01new", b"\x00loose"]}, {"values": [b"\x01old", b"\x01bad"]}, {"nodes": []},
                        {"nodes": []})
    values, lacking = Findings([crawl], [], ENTRIES.get).repair(crawl)
    assert set(values) == {b"\x01new", b"\x00loose"}
    assert lacking == [nodes[2], nodes[1]]


def test_values_of_this_node_are_not_spread_but_count_as_newer() -> None:
    crawl, nodes = make({"values": [b"\x01old"]})
    assert Findings([crawl], [b"\x01new"], ENTRIES.get).repair(crawl) == ([], [nodes[0]])


def test_merging() -> None:
    assert merge_results(([1], [2, 3])) == (1, 2, 3)
