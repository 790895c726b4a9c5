from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging import inet
from ipv8.messaging.inet import (
    HOST_BITS,
    classic_ipv4_to_bytes,
    ipv4_to_bytes,
    ipv4_to_text,
    ipv6_to_bytes,
    ipv6_to_text,
    is_global,
    network_of,
    parse_host,
)

LONG = ["1" * 5000, "1." * 5000, "0" * 5000 + ".1.1.1", "::" * 5000, "1.2.3.4" + " " * 300, "host." * 60,
        "1%" + "e" * 300]
WORDS = st.sampled_from([b"\0\0", b"\0\0", b"\0\0", b"\0\1", b"\xff\xff", b"\x20\x01", b"\x0d\xb8", b"\x01\x00"])


@settings(deadline=None, max_examples=200)
@given(st.binary(min_size=4, max_size=4))
def test_ipv4_like_the_socket_module(packed: Any) -> None:
    assert ipv4_to_text(packed) == socket.inet_ntoa(packed)
    assert ipv4_to_bytes(ipv4_to_text(packed)) == packed
    assert classic_ipv4_to_bytes(ipv4_to_text(packed)) == packed


@settings(deadline=None, max_examples=500)
@given(st.one_of(st.lists(WORDS, min_size=8, max_size=8).map(b"".join), st.binary(min_size=16, max_size=16)))
def test_ipv6_like_the_socket_module(packed: Any) -> None:
    assert ipv6_to_text(packed) == socket.inet_ntop(socket.AF_INET6, packed)
    assert ipv6_to_bytes(ipv6_to_text(packed)) == packed


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("127.1", "7f000001"),
        ("1.2.3", "01020003"),
        ("0x7f.1", "7f000001"),
        ("0X7F.0.0.1", "7f000001"),
        ("01.2.3.4", "01020304"),
        ("010.0.0.1", "08000001"),
        ("4294967295", "ffffffff"),
        ("1.16777215", "01ffffff"),
        ("1.2.65535", "0102ffff"),
        ("0", "00000000"),
    ],
)
def test_classic_forms(text: Any, packed: Any) -> None:
    assert classic_ipv4_to_bytes(text).hex() == packed == socket.inet_aton(text).hex()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "::1",
        "08.1",
        "1.2.3.4.5",
        "1.2.3.256",
        "256.1",
        "1.16777216",
        "4294967296",
        "1..2",
        "1.2.3.-4",
        "+1.2",
        "1_0.2.3.4",
        "1.2.3.4 x",
        "1.2.3.4\n",
        "٣.1.1.1",
        "0x",
        "0xg.1",
        "9" * 5000,
    ],
)
def test_classic_refuses(text: Any) -> None:
    if text == "0x":  # the C library reads this as zero
        assert classic_ipv4_to_bytes(text) == bytes(4)
        return
    with pytest.raises(OSError, match="not an IPv4 address"):
        classic_ipv4_to_bytes(text)


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "127.1", "01.2.3.4", "1.2.3.256", "1.2.3.4 ", " 1.2.3.4", "1.2.3.+4", "a.b.c.d"]
)
def test_strict_ipv4_refuses(text: Any) -> None:
    with pytest.raises(OSError, match="not a dotted quad"):
        ipv4_to_bytes(text)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("::", "00" * 16),
        ("::1", "00" * 15 + "01"),
        ("2001:DB8::1", "20010db8000000000000000000000001"),
        ("::ffff:1.2.3.4", "00" * 10 + "ffff01020304"),
        ("1:2:3:4:5:6:7:8", "00010002000300040005000600070008"),
    ],
)
def test_ipv6_forms(text: Any, packed: Any) -> None:
    assert ipv6_to_bytes(text).hex() == packed


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4", "host", ":::", "1::2::3", "fe80::1%eth0", "12345::", "::1 ", "::1.2.3.256"]
)
def test_ipv6_refuses(text: Any) -> None:
    with pytest.raises(OSError, match="not an IPv6 address"):
        ipv6_to_bytes(text)


@pytest.mark.parametrize(("one", "other", "bits", "same"), [
    ("1.2.3.4", "1.2.3.255", (24, 48), True),
    ("1.2.3.4", "1.2.4.4", (24, 48), False),
    ("1.2.3.4", "1.2.4.4", (16, 32), True),
    ("1.2.3.4", "::ffff:1.2.3.9", (24, 48), True),
    ("1.2.3.4", "1.2.3.5", HOST_BITS, False),
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", HOST_BITS, True),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", HOST_BITS, False),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", (24, 48), True),
    ("2001:db8:1::1", "2001:db8:2::1", (24, 48), False),
    ("fe80::1%eth0", "fe80::1", HOST_BITS, True),
    ("example.org", "example.org", (24, 48), True),
    ("example.org", "example.com", (24, 48), False),
    ("0.0.0.0", "::", (0, 0), False),
])
def test_hosts_of_one_network(one: str, other: str, bits: tuple[int, int], same: bool) -> None:
    assert (network_of(one, *bits) == network_of(other, *bits)) == same


@pytest.mark.parametrize(("host", "expected"), [
    ("8.8.8.8", True), ("2a00::1", True), ("::ffff:8.8.8.8", True), ("10.0.0.1", False), ("224.0.0.1", False),
    ("ff02::1", False), ("fe80::1%eth0", False), ("127.0.0.1", False), ("100.64.0.1", False), ("localhost", False),
])
def test_what_is_global(host: str, expected: bool) -> None:
    assert is_global(host) == expected


@pytest.mark.parametrize("text", LONG, ids=lambda text: f"{text[:8]} {len(text)}")
def test_long_texts_are_no_addresses(text: str) -> None:
    for parse in (ipv4_to_bytes, classic_ipv4_to_bytes, ipv6_to_bytes):
        with pytest.raises(OSError, match="not a") as caught:
            parse(text)
        assert len(str(caught.value)) < 100
    assert parse_host(text) is None
    assert not is_global(text)
    assert network_of(text) == text.encode()


def test_results_for_long_texts_are_not_kept() -> None:
    before = inet._parse_host.cache_info().currsize, inet._network_of.cache_info().currsize
    for number in range(10):
        text = f"{number:0{inet.LONGEST_HOST + 1}}"
        assert parse_host(text) is None
        assert network_of(text) == text.encode()
    assert (inet._parse_host.cache_info().currsize, inet._network_of.cache_info().currsize) == before
