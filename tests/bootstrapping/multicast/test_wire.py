from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.bootstrapping.multicast.wire import ANNOUNCEMENT, ANSWER, Datagram, decode, encode

PREFIX, NONCE = bytes(range(22)), b"n" * 8


def test_layout() -> None:
    assert encode(Datagram(ANNOUNCEMENT, PREFIX, NONCE)) == b"\x00\x00IPv8\x01" + PREFIX + NONCE + bytes(18)
    assert encode(Datagram(ANSWER, PREFIX, NONCE, 0x1234, "2001:db8::1")) == (
        b"\x00\x00IPv8\x02" + PREFIX + NONCE + b"\x12\x34" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01")


datagrams = st.builds(Datagram, st.sampled_from([ANNOUNCEMENT, ANSWER]), st.binary(min_size=22, max_size=22),
                      st.binary(min_size=8, max_size=8), st.integers(0, 65535),
                      st.just("") | st.ip_addresses(v=6).filter(int).map(str))


@settings(deadline=None)
@given(datagrams)
def test_round_trip(datagram: Datagram) -> None:
    data = encode(datagram)
    assert decode(data) == datagram
    for cut in range(len(data)):
        assert decode(data[:cut]) is None
    assert decode(data + b"\x00") is None


@settings(deadline=None)
@given(st.binary() | st.binary(min_size=48, max_size=48).map(b"\x00\x00IPv8\x01".__add__))
def test_anything_can_be_received(data: bytes) -> None:
    decoded = decode(data)
    assert decoded is None or encode(decoded) == data


@pytest.mark.parametrize("position", range(7))
def test_foreign_headers(position: int) -> None:
    data = bytearray(encode(Datagram(ANNOUNCEMENT, PREFIX, NONCE)))
    data[position] ^= 0x80
    assert decode(bytes(data)) is None
