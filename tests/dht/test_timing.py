"""What is measured about other nodes."""

from __future__ import annotations

import pytest

from ipv8.dht import timing
from ipv8.dht.routing import Node
from ipv8.dht.timing import OpenWays, Pacer, RoundTrips
from ipv8.messaging.address import UDPv4Address


def node(number: int = 1) -> Node:
    return Node(b"LibNaCLPK:" + bytes((number,)) * 64, UDPv4Address(f"{20 + number}.1.1.1", 7))


def test_measured_patience() -> None:
    trips, other = RoundTrips(), node()
    assert trips.patience(other) == 0.5
    for _ in range(50):
        trips.add(0.1)
    assert trips.patience(other) == 0.2
    other.rtt = 0.4
    assert trips.patience(other) == pytest.approx(1.2)


def test_nine_requests_in_six_seconds() -> None:
    pacer = Pacer()
    for number in range(9):
        assert pacer.free_at(node(), 100.0) == 100.0
        pacer.note(node(), 100.0 + number / 10)
    assert pacer.free_at(node(), 101.0) == 106.0
    assert pacer.free_at(node(2), 101.0) == 101.0
    pacer.note(node(), 106.0)
    assert pacer.free_at(node(), 106.0) == pytest.approx(106.1)


def test_the_node_that_was_asked_the_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MAX_PACED", 2)
    pacer = Pacer()
    for number in (1, 2, 1, 3):
        for _ in range(9):
            pacer.note(node(number), 0.0)
    assert [pacer.free_at(node(number), 1.0) for number in (1, 2, 3)] == [6.0, 1.0, 6.0]


def test_punctures_are_needed_where_most_nodes_do_not_answer_without() -> None:
    ways, address = OpenWays(), node().address
    assert not ways.needs_puncture(address, 0.0)
    for _ in range(20):
        ways.tried(answered=False)
    assert ways.needs_puncture(address, 0.0)
    ways.heard(address, 10.0)
    assert not ways.needs_puncture(address, 39.9)
    assert ways.needs_puncture(address, 40.0)
    assert ways.needs_puncture(UDPv4Address("9.9.9.9", 9), 10.0)
    for _ in range(20):
        ways.tried(answered=True)
    assert not ways.needs_puncture(address, 99.0)
