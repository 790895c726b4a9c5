"""What a DHT remembers of its lookups."""

from __future__ import annotations

from typing import Any

from ipv8.dht.crawl import Crawl
from ipv8.dht.lookup_log import ASKED, MAX_FINISHED, MAX_RUNNING, MAX_STEPS, LookupLog
from ipv8.dht.routing import Node, RoutingTable
from ipv8.messaging.address import UDPv4Address

TARGET = bytes(20)


def crawl_of(*nodes: Node) -> Crawl:
    table = RoutingTable(b"\xff" * 20)
    for node in nodes:
        table.add(node)
    return Crawl(TARGET, table)


def node(number: int = 1) -> Node:
    return Node(b"LibNaCLPK:" + bytes((number,)) * 64, UDPv4Address(f"{20 + number}.1.1.1", 7))


def test_a_record_counts_while_it_runs_and_afterwards(manual_clock: Any) -> None:
    told: list[str] = []
    log = LookupLog(lambda record: told.append(record.state))
    crawls = [crawl_of(node(1)), crawl_of(node(2))]
    record = log.begin(crawls)
    for number, crawl in enumerate(crawls):
        crawl.nodes_tried.add(node(number))
        crawl.responses += [(node(number), {"values": [b"same", bytes([number])]}), (node(number), {"nodes": []})]
    expected = {"id": 1, "target": TARGET.hex(), "kind": "values", "started": manual_clock.time(), "state": "started",
                "nodes_asked": 2, "values": 3, "seconds": None}
    assert record.to_dict() == expected
    manual_clock.advance(1.5)
    log.end(record)
    assert record.to_dict() == {**expected, "state": "finished", "seconds": 1.5}
    assert told == ["started", "finished"]


def test_only_so_much_is_remembered() -> None:
    log = LookupLog()
    records = [log.begin([crawl_of(node())]) for _ in range(MAX_RUNNING + 5)]
    assert [record.id for record in log.records()] == list(range(MAX_RUNNING + 5, 5, -1))
    for record in records:
        log.end(record)
    assert [record.id for record in log.records()] == list(range(MAX_RUNNING + 5, MAX_RUNNING + 5 - MAX_FINISHED, -1))
    for _ in range(MAX_STEPS + 5):
        records[0].note(node(), ASKED)
    assert len(records[0].course) == MAX_STEPS
