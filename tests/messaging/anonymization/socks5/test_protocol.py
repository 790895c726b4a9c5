from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv6Address
from ipv8.messaging.anonymization.socks5.protocol import (
    Command,
    Destination,
    Negotiation,
    ProtocolError,
    Reply,
    Request,
    pack_datagram,
    pack_reply,
    read_datagram,
)

GREETING = bytes.fromhex("050100")
WITH_PASSWORD = bytes.fromhex("05020002")
ALICE = bytes.fromhex("0105") + b"alice" + b"\x03key"
TO_IPV4 = bytes.fromhex("05010001 01020304 0050")
TO_IPV6 = bytes.fromhex("05010004 20010db8000000000000000000000001 1ae1")
TO_NAME = bytes.fromhex("05010003 0b") + b"example.org" + bytes.fromhex("01bb")

ADDRESSES = st.one_of(
    st.builds(UDPv4Address, st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.builds(UDPv6Address, st.ip_addresses(v=6).map(str), st.integers(0, 65535)),
    st.builds(DomainAddress, st.from_regex(r"[a-z][a-z0-9-]{0,30}\.org", fullmatch=True), st.integers(0, 65535)))


@pytest.mark.parametrize(("request_bytes", "destination"), [
    (TO_IPV4, UDPv4Address("1.2.3.4", 80)),
    (TO_IPV6, UDPv6Address("2001:db8::1", 6881)),
    (TO_NAME, DomainAddress("example.org", 443)),
    (bytes.fromhex("05010003 07") + b"1.2.3.4" + b"\x00\x50", UDPv4Address("1.2.3.4", 80)),
    (bytes.fromhex("05010003 03") + b"::1" + b"\x00\x50", UDPv6Address("::1", 80)),
    (bytes.fromhex("05010003 05") + b"[::1]" + b"\x00\x50", UDPv6Address("::1", 80)),
])
def test_requests(request_bytes: bytes, destination: Destination) -> None:
    negotiation = Negotiation()
    assert negotiation.receive(GREETING) is None
    assert negotiation.take_output() == b"\x05\x00"
    request = negotiation.receive(request_bytes + b"early")
    assert request == Request(Command.CONNECT, destination, None)
    assert type(request.destination) is type(destination)
    assert negotiation.rest == b"early"
    assert negotiation.take_output() == b""


def test_byte_by_byte() -> None:
    negotiation = Negotiation()
    data = WITH_PASSWORD + ALICE + TO_NAME
    results = [negotiation.receive(data[i:i + 1]) for i in range(len(data))]
    assert results[:-1] == [None] * (len(data) - 1)
    assert results[-1] == Request(Command.CONNECT, DomainAddress("example.org", 443), (b"alice", b"key"))
    assert negotiation.take_output() == b"\x05\x02\x01\x00"


def test_all_at_once() -> None:
    assert Negotiation().receive(GREETING + TO_IPV4) == Request(1, UDPv4Address("1.2.3.4", 80), None)


@pytest.mark.parametrize("data", [
    b"\x04\x01\x00\x50\x01\x02\x03\x04\x00",  # SOCKS4
    b"GET / HTTP/1.1\r\n",
    GREETING + b"\x04\x01\x00\x01",
    WITH_PASSWORD + b"\x05",
])
def test_other_protocols(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Negotiation().receive(data)


def test_no_method() -> None:
    negotiation = Negotiation()
    with pytest.raises(ProtocolError):
        negotiation.receive(b"\x05\x01\x01")
    assert negotiation.take_output() == b"\x05\xff"


@pytest.mark.parametrize(("said", "accepted"), [(ALICE, True), (ALICE[:-1] + b"?", False),
                                                (b"\x01\x00\x00", False)])
def test_passwords(said: bytes, accepted: bool) -> None:
    negotiation = Negotiation({b"alice": b"key"})
    negotiation.receive(WITH_PASSWORD)
    negotiation.take_output()
    if accepted:
        negotiation.receive(said)
    else:
        with pytest.raises(ProtocolError):
            negotiation.receive(said)
    assert negotiation.take_output() == (b"\x01\x00" if accepted else b"\x01\x01")


def test_no_password_is_shown() -> None:
    assert "secret" not in repr(Request(1, None, (b"name", b"secret")))


def test_passwords_are_asked_for() -> None:
    negotiation = Negotiation({b"alice": b"key"})
    with pytest.raises(ProtocolError):
        negotiation.receive(GREETING)
    assert negotiation.take_output() == b"\x05\xff"


def test_unknown_kinds_of_addresses() -> None:
    assert Negotiation().receive(GREETING + b"\x05\x01\x00\x07\x00") == Request(1, None, None)
    assert Negotiation().receive(GREETING + b"\x05\x01\x00\x03\x01\xff\x00\x50") == Request(1, None, None)


def test_replies() -> None:
    assert pack_reply(Reply.SUCCEEDED) == bytes.fromhex("05000001000000000000")
    assert pack_reply(Reply.REFUSED, ("::1", 258)) == bytes.fromhex("05050004" + "00" * 15 + "010102")


@given(ADDRESSES, st.binary(max_size=50))
def test_datagrams_come_back(address: tuple[str, int], data: bytes) -> None:
    assert read_datagram(pack_datagram(address, data)) == (address, data)


@given(ADDRESSES)
def test_cut_datagrams(address: tuple[str, int]) -> None:
    packed = pack_datagram(address, b"")
    for length in range(len(packed)):
        assert read_datagram(packed[:length]) is None


@given(st.binary(max_size=300))
def test_any_datagram(data: bytes) -> None:
    found = read_datagram(data)
    assert found is None or data.endswith(found[1])


def test_fragments_are_not_passed_on() -> None:
    packed = bytearray(pack_datagram(("1.2.3.4", 5), b"data"))
    packed[2] = 1
    assert read_datagram(bytes(packed)) is None


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes(chunks: list[bytes]) -> None:
    negotiation = Negotiation()
    try:
        for chunk in chunks:
            if negotiation.receive(chunk) is not None:
                break
    except ProtocolError:
        pass
    assert len(negotiation.rest) <= sum(map(len, chunks))
