"""What answers hold."""

from __future__ import annotations

from typing import Any

from ipv8.dht.crawl import Crawl
from ipv8.dht.findings import Findings, merge_results
from ipv8.dht.routing import Node, RoutingTable
from ipv8.dht.values import key_for
from ipv8.messaging.address import UDPv4Address

TARGET = bytes(20)


def as_unsigned(value: bytes) -> tuple[bytes, bytes | None, int]:
    return value[1:], None, 0


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


def test_who_sent_what_no_node_can_read() -> None:
    """Not so who sent a value with a bad signature or a key that cannot be loaded: others may be able to."""
    unloadable = b"\x01" + bytes(6) + b"\x00\x03key" + bytes(64)
    crawl, nodes = make({"values": [b"\x01bad"]}, {"values": [b"\x09new type"]}, {"values": [b""]}, {"nodes": []},
                        {"values": [b"\x00loose"]}, {"values": [unloadable]})
    assert list(Findings([crawl], [], ENTRIES.get).senders_of_malformed_values()) == [nodes[0], nodes[2]]


def allow(_: Node) -> bool:
    return True


def test_who_lacks_which_values() -> None:
    crawl, nodes = make({"values": [b"\x01new", b"\x00loose"]}, {"values": [b"\x01old", b"\x01bad"]}, {"nodes": []},
                        {"nodes": []})
    crawl.responses[2][1]["nodes"] = nodes
    assert Findings([crawl], [], ENTRIES.get).repairs(crawl, allow) == [([b"\x01new"], [nodes[1], nodes[2]])]


def test_values_of_this_node_are_not_spread() -> None:
    crawl, _ = make({"values": [b"\x01old"]})
    assert Findings([crawl], [b"\x01new"], ENTRIES.get).repairs(crawl, allow) == []


def test_what_one_node_says_is_cached_only_once() -> None:
    junk = [b"\x00%d" % number for number in range(8)]
    crawl, nodes = make({"values": junk}, {"nodes": []})
    crawl.responses[1][1]["nodes"] = nodes[:1]
    assert Findings([crawl], [], as_unsigned).repairs(crawl, allow) == [([junk[0]], [nodes[1]])]
    asked: list[Node] = []

    def refuse(node: Node) -> bool:
        asked.append(node)
        return False

    assert Findings([crawl], [], as_unsigned).repairs(crawl, refuse) == []
    assert asked == [nodes[0]] * 8


def test_nothing_is_cached_on_a_node_that_did_not_tell_of_the_sender() -> None:
    crawl, _ = make({"values": [b"\x00junk"]}, {"nodes": []})
    assert Findings([crawl], [], as_unsigned).repairs(crawl, allow) == []


def test_what_nodes_of_several_networks_say_is_cached() -> None:
    values = [b"\x00%d" % number for number in range(4)]
    crawl, nodes = make({"values": values[:3]}, {"values": values[1:]}, {"nodes": []})
    ((cached, where),) = Findings([crawl], [], as_unsigned).repairs(crawl, allow)
    assert where == [nodes[2]]
    assert set(cached) == set(values[1:3])


def test_accomplices_in_one_network_are_one() -> None:
    values = [b"\x00%d" % number for number in range(4)]
    crawl, nodes = make({"values": values}, {"values": values}, {"nodes": []})
    crawl.responses[2][1]["nodes"] = nodes[:2]
    for number, (node, _) in enumerate(crawl.responses[:2]):
        node.address = UDPv4Address(f"30.1.1.{number + 1}", 7)
    ((cached, _),) = Findings([crawl], [], as_unsigned).repairs(crawl, allow)
    assert len(cached) == 1


def test_the_value_of_the_owner_of_the_key_is_always_cached() -> None:
    crawl, nodes = make({"values": [b"\x00one", b"\x00two", b"\x01mine"]}, {"nodes": []})
    owner = b"owner"
    crawl.target = key_for(owner)
    entries = {b"\x01mine": (b"mine", owner, 1)}
    ((cached, _),) = Findings([crawl], [], lambda value: entries.get(value) or as_unsigned(value)).repairs(
        crawl, lambda _: False)
    assert cached == [b"\x01mine"]
    assert nodes


def test_merging() -> None:
    assert merge_results(([1], [2, 3])) == (1, 2, 3)
