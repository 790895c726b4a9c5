"""Limits on what one host or one network may occupy."""

from __future__ import annotations

import pytest

from ipv8.dht.diversity import PlaceCounter, has_room, is_contactable
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
    counter = PlaceCounter()
    assert [counter.take("8.8.8.8") for _ in range(3)] == [True, True, False]
    assert [counter.take("8.8.8.9") for _ in range(2)] == [True, False]
    assert counter.take("8.8.9.9")
    assert all(counter.take("10.0.0.1") for _ in range(9))
    assert [counter.take(f"2a00:1:2:3::{n}") for n in range(3)] == [True, True, False]
    assert [counter.take(f"2a00:1:2:{n}::1") for n in (4, 5)] == [True, False]
