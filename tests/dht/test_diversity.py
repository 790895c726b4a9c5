"""Limits on what one host or one network may occupy."""

from __future__ import annotations

import pytest

from ipv8.dht.diversity import PlaceCounter, has_room, is_contactable, source_of, spread
from ipv8.dht.routing import Node
from ipv8.messaging.address import UDPv4Address, UDPv6Address


@pytest.mark.parametrize(("host", "port", "source", "expected"), [
    ("8.8.8.8", 5, "9.9.9.9", True),
    ("8.8.8.8", 0, "9.9.9.9", False),
    ("8.8.8.8", 65536, "9.9.9.9", False),
    ("224.0.0.1", 5, "9.9.9.9", False),
    ("0.0.0.0", 5, "9.9.9.9", False),
    ("255.255.255.255", 5, "192.168.1.1", False),
    ("192.168.1.1", 5, "9.9.9.9", False),
    ("192.168.1.1", 5, "192.168.1.2", True),
    ("127.0.0.1", 5, "9.9.9.9", False),
    ("127.0.0.1", 5, "127.0.0.2", True),
    ("2a00::1", 5, "2a00::2", True),
    ("ff02::1", 5, "2a00::2", False),
    ("::", 5, "::1", False),
    ("::ffff:192.168.1.1", 5, "9.9.9.9", False),
    ("example.org", 5, "9.9.9.9", False),
])
def test_contactable_addresses(host: str, port: int, source: str, expected: bool) -> None:
    family = UDPv6Address if ":" in host else UDPv4Address
    assert is_contactable(family(host, port), UDPv4Address(source, 1)) == expected


@pytest.mark.parametrize(("host", "bucket", "table", "expected"), [
    ("8.8.8.8", [], [], True),
    ("8.8.8.8", ["8.8.8.1", "8.8.8.2"], ["8.8.8.1", "8.8.8.2"], False),
    ("8.8.8.8", [], ["8.8.8.8"], True),
    ("8.8.8.8", [], ["8.8.8.8"] * 2, False),
    ("8.8.8.8", [], [f"8.8.8.{n}" for n in range(7)], True),
    ("8.8.8.8", [], [f"8.8.8.{n}" for n in range(8)], False),
    ("8.8.9.9", ["8.8.8.1"] * 2, ["8.8.8.1"] * 8, True),
    ("192.168.1.1", ["192.168.1.1"] * 8, ["192.168.1.1"] * 20, True),
    ("2a00:1:2:3::9", [], ["2a00:1:2:3::1", "2a00:1:2:3::2"], False),
    ("2a00:1:2:4::9", [], ["2a00:1:2:3::1", "2a00:1:2:3::2"], True),
    ("2a00:1:2:4::9", ["2a00:1:2:3::1", "2a00:1:2:5::2"], [], False),
    ("2a00:1:3:4::9", ["2a00:1:2:3::1", "2a00:1:2:5::2"], [], True),
])
def test_room_in_a_table(host: str, bucket: list[str], table: list[str], expected: bool) -> None:
    assert has_room(host, bucket, table) == expected


def test_contacts_of_a_lookup() -> None:
    counter = PlaceCounter.for_contacts()
    assert [counter.take("8.8.8.8") for _ in range(3)] == [True, True, False]
    assert [counter.take("8.8.8.9") for _ in range(2)] == [True, False]
    assert counter.take("8.8.9.9")
    assert all(counter.take("10.0.0.1") for _ in range(9))
    assert [counter.take(f"2a00:1:2:3::{n}") for n in range(3)] == [True, True, False]
    assert [counter.take(f"2a00:1:2:{n}::1") for n in (4, 5)] == [True, False]


def test_places_of_a_key() -> None:
    counter = PlaceCounter.for_places()
    assert [counter.take(f"8.8.8.{n}") for n in range(3)] == [True, False, False]
    assert [counter.take(f"8.8.9.{n}") for n in range(3)] == [True, False, False]
    assert not counter.take("8.8.10.1")
    assert counter.take("8.9.1.1")
    assert all(counter.take("10.0.0.1") for _ in range(9))
    assert [counter.take(f"2a00:1:{n}::1") for n in (1, 1, 2, 3)] == [True, False, True, False]
    assert counter.take("2a00:2::1")


def test_nodes_are_spread_over_networks_if_there_are_enough() -> None:
    def nodes(*hosts: str) -> list[Node]:
        return [Node(b"LibNaCLPK:" + bytes((n,)) * 64, UDPv4Address(host, 7)) for n, host in enumerate(hosts)]

    crowd = nodes("8.8.8.1", "8.8.8.2", "8.8.9.1", "8.8.10.1", "9.1.1.1", "9.2.1.1")
    assert spread(crowd, 4) == [crowd[n] for n in (0, 2, 4, 5)]
    assert spread(crowd, 3) == [crowd[n] for n in (0, 2, 4)]
    assert spread(crowd, 5) == [crowd[n] for n in (0, 1, 2, 4, 5)]
    for count in (6, 7):
        assert spread(crowd, count) == crowd
    private = nodes(*(f"192.168.1.{n}" for n in range(9)))
    assert spread(private, 4) == private[:4]
    assert spread([], 4) == []


def test_sources() -> None:
    one, other = source_of("8.8.8.8"), source_of("8.8.8.9")
    assert one.network == other.network != source_of("8.8.9.8").network
    assert one.host != other.host
    one, other = source_of("2a00:1:2:3::1"), source_of("2a00:1:2:3::2")
    assert one == other
    assert one.network == source_of("2a00:1:2:4::1").network != source_of("2a00:1:3:3::1").network
    assert one.host != source_of("2a00:1:2:4::1").host
    for private in ("192.168.1.1", "127.0.0.1", "fd00:1:2:3::1"):
        assert source_of(private).network == source_of(private).host
    assert source_of("192.168.1.1").network != source_of("192.168.1.2").network
    assert source_of("") == source_of("")
