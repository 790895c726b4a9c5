"""PCP: the messages of RFC 6887, and gateways that answer, refuse, speak another version, lie or are silent."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.interfaces.portmapping import exchange
from ipv8.messaging.interfaces.portmapping.gateway import PortMapping, PortMappingError
from ipv8.messaging.interfaces.portmapping.pcp import (
    MAX_LENGTH,
    PcpGateway,
    UnsupportedVersionError,
    decode_announcement,
    decode_mapping,
    encode_announce_request,
    encode_mapping_request,
)

NONCE = bytes(range(12))
MAPPED = bytes.fromhex(
    "02 81 00 00 00000e10 00000007 000000000000000000000000"
    "000102030405060708090a0b 11 000000 1f9a 1f9b 00000000000000000000ffff82a10101")


def test_requests() -> None:
    assert encode_announce_request("192.168.1.2") == bytes.fromhex(
        "02 00 0000 00000000 00000000000000000000ffffc0a80102")
    assert encode_mapping_request("192.168.1.2", NONCE, 8090, 8091, 3600) == bytes.fromhex(
        "02 01 0000 00000e10 00000000000000000000ffffc0a80102"
        "000102030405060708090a0b 11 000000 1f9a 1f9b 00000000000000000000ffff00000000")
    assert encode_mapping_request("192.168.1.2", NONCE, 8090, 0, 0, "130.161.1.1")[-4:] == bytes((130, 161, 1, 1))


def test_requests_of_ipv6_open_the_firewall() -> None:
    request = encode_mapping_request("2001:db8::2", NONCE, 8090, 8090, 3600)
    assert request[8:24] == IPv6Address("2001:db8::2").packed
    assert request[-16:] == bytes(16)


def test_answers() -> None:
    assert decode_mapping(MAPPED, NONCE, 8090) == (7, 3600, "130.161.1.1", 8091)
    assert decode_mapping(MAPPED[:-16] + IPv6Address("2001:db8::2").packed, NONCE, 8090) == (
        7, 3600, "2001:db8::2", 8091)
    assert decode_announcement(bytes.fromhex("0280000000000000 00000007 000000000000000000000000")) == 7


def test_options_behind_an_answer_are_ignored() -> None:
    assert decode_mapping(MAPPED + b"\x03\x00\x00\x00", NONCE, 8090) is not None


@pytest.mark.parametrize("code", [1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 77])
def test_refusals(code: int) -> None:
    with pytest.raises(PortMappingError, match=r"the gateway \w+"):
        decode_mapping(MAPPED[:3] + bytes((code,)) + MAPPED[4:], NONCE, 8090)


@pytest.mark.parametrize(("data", "version"), [
    (bytes.fromhex("0081 0001 00000007"), 0),  # NAT-PMP's format
    (bytes.fromhex("0181 0001 00000000 00000007 000000000000000000000000"), 1),
])
def test_other_versions(data: bytes, version: int) -> None:
    with pytest.raises(UnsupportedVersionError) as caught:
        decode_mapping(data, NONCE, 8090)
    assert caught.value.version == version


@pytest.mark.parametrize("data", [
    b"", MAPPED[:-4], MAPPED[:-1], MAPPED + b"\x00", MAPPED + bytes(MAX_LENGTH), MAPPED[:24],
    b"\x02\x01" + MAPPED[2:],  # a request
    b"\x02\x80" + MAPPED[2:],  # an answer to another question
    b"\x00" + MAPPED[1:], b"\x03" + MAPPED[1:],  # another version
    b"\x00\x81\x00\x02" + bytes(4), b"\x00\x81\x00\x01",
    MAPPED[:24] + b"\xff" + MAPPED[25:],  # another nonce
    MAPPED[:36] + b"\x06" + MAPPED[37:],  # TCP
    MAPPED[:40] + b"\x00\x01" + MAPPED[42:],  # another port
    bytes.fromhex("028100") + b"\x02" + MAPPED[4:24] + b"\xff" + MAPPED[25:],  # not a refusal of what was asked
])
def test_no_answers(data: bytes) -> None:
    assert decode_mapping(data, NONCE, 8090) is None


def test_no_announcements() -> None:
    for data in (b"", MAPPED, bytes(24), b"\x02\x00" + bytes(22), b"\x02\x80\x00\x02" + bytes(20)):
        assert decode_announcement(data) is None
    # Who does not know the question speaks PCP all the same.
    assert decode_announcement(b"\x02\x80\x00\x04" + bytes(20)) == 0


ports = st.integers(0, 65535)
numbers = st.integers(0, 2**32 - 1)


@given(st.ip_addresses(), st.binary(min_size=12, max_size=12), ports, ports, numbers, st.ip_addresses())
@settings(deadline=None, max_examples=100)
def test_requests_have_their_values_where_the_protocol_wants_them(
        own: Any, nonce: bytes, internal: int, external: int, lifetime: int, wanted: Any) -> None:
    request = encode_mapping_request(str(own), nonce, internal, external, lifetime, str(wanted))
    assert len(request) == 60
    fields = struct.unpack(">BBHI16s12sB3sHH16s", request)
    assert fields[:4] + fields[5:10] == (2, 1, 0, lifetime, nonce, 17, bytes(3), internal, external)
    for packed, ip in ((fields[4], own), (fields[10], wanted)):
        assert packed == (bytes(10) + b"\xff\xff" + ip.packed if ip.version == 4 else ip.packed)


@given(numbers, numbers, ports, st.ip_addresses())
@settings(deadline=None, max_examples=100)
def test_answers_are_read(epoch: int, lifetime: int, external: int, ip: Any) -> None:
    packed = bytes(10) + b"\xff\xff" + ip.packed if ip.version == 4 else ip.packed
    answer = struct.pack(">BBHII12x12sB3xHH16s", 2, 129, 0, lifetime, epoch, NONCE, 17, 8090, external, packed)
    decoded = decode_mapping(answer, NONCE, 8090)
    assert decoded is not None
    assert decoded[:2] == (epoch, lifetime)
    assert decoded.external_port == external
    assert IPv6Address(decoded.external_ip if ":" in decoded.external_ip else f"::ffff:{decoded.external_ip}").packed \
        == packed


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer with some bytes changed, and shortened or lengthened."""
    data = bytearray(MAPPED)
    for index, value in draw(st.dictionaries(st.integers(0, 59), st.integers(0, 255), max_size=6)).items():
        data[index] = value
    return bytes(data[:draw(st.integers(0, 60))] + draw(st.binary(max_size=12)))


@given(st.one_of(st.binary(max_size=1200), damaged()))
@settings(deadline=None, max_examples=300)
def test_any_datagram_is_decoded_or_refused(data: bytes) -> None:
    for decode in (decode_announcement, lambda data: decode_mapping(data, NONCE, 8090)):
        try:
            decoded = decode(data)
        except PortMappingError:
            continue
        assert decoded is None or (data[0] == 2 and len(data) in range(24, MAX_LENGTH + 1, 4))


async def test_mapping(make_router: Any) -> None:
    router = await make_router(2)
    gateway = PcpGateway("127.0.0.1", 10.0, router.port)
    assert await gateway.external_ip() == ""
    mapping = await gateway.add(8090, 8090, 3600)
    assert mapping == PortMapping("PCP", "130.161.1.1", 8091, 8090, 3600)
    assert mapping.is_public
    assert await gateway.add(8090, 8091, 3600) == mapping
    assert router.requests[-1] == encode_mapping_request(
        "127.0.0.1", router.mappings[8090].nonce, 8090, 8091, 3600, "130.161.1.1")
    await gateway.remove(mapping)
    assert router.mappings == {}


async def test_each_gateway_has_its_own_secret(make_router: Any) -> None:
    router = await make_router(2)
    mapping = await PcpGateway("127.0.0.1", 10.0, router.port).add(8090, 8090, 3600)
    stranger = PcpGateway("127.0.0.1", 10.0, router.port)
    for attempt in (stranger.add(8090, 1, 3600), stranger.remove(mapping)):
        with pytest.raises(PortMappingError, match="another program's mapping"):
            await attempt
    assert 8090 in router.mappings


async def test_nonce_is_from_the_source_of_chance(script_entropy: Any, make_router: Any) -> None:
    script_entropy(int.from_bytes(NONCE, "big"))
    router = await make_router(2)
    await PcpGateway("127.0.0.1", 10.0, router.port).add(8090, 8090, 3600)
    assert router.mappings[8090].nonce == NONCE


async def test_gateway_with_natpmp_only(make_router: Any) -> None:
    router = await make_router(0)
    gateway = PcpGateway("127.0.0.1", 10.0, router.port)
    for attempt in (gateway.add(8090, 8090, 3600), gateway.external_ip()):
        with pytest.raises(UnsupportedVersionError, match="NAT-PMP only"):
            await attempt
    assert len(router.requests) == 2  # it was understood at once


async def test_gateway_of_another_version(make_router: Any) -> None:
    router = await make_router(3)
    with pytest.raises(UnsupportedVersionError, match=r"another version of PCP \(3\)"):
        await PcpGateway("127.0.0.1", 10.0, router.port).add(8090, 8090, 3600)


async def test_silence(make_router: Any) -> None:
    router = await make_router()
    with pytest.raises(PortMappingError, match="no answer"):
        await PcpGateway("127.0.0.1", 0.01, router.port).external_ip()


async def test_lost_requests_are_repeated(make_router: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FIRST_RETRY", 0.001)
    router = await make_router(2)
    router.ignored = 2
    mapping = await PcpGateway("127.0.0.1", 10.0, router.port).add(8090, 8090, 3600)
    assert mapping.external_port == 8091
    assert len({*router.requests}) == 1


@pytest.mark.parametrize("changes", [{40: b"\x00\x01"}, {42: b"\x00\x00"}, {4: bytes(4)}, {24: bytes(12)},
                                     {44: b"\x20\x01" + bytes(14)}])
async def test_lies_are_ignored(make_router: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[int, bytes]) -> None:
    monkeypatch.setattr(exchange, "FIRST_RETRY", 0.001)
    router = await make_router(2)
    lies = 2

    def lie(answer: bytes) -> bytes:
        nonlocal lies
        if not lies:
            return answer
        lies -= 1
        for index, value in changes.items():
            answer = answer[:index] + value + answer[index + len(value):]
        return answer

    router.edit = lie
    mapping = await PcpGateway("127.0.0.1", 10.0, router.port).add(8090, 8090, 3600)
    assert mapping.external_port == 8091
    assert lies == 0


async def test_firewall_of_ipv6(make_router: Any) -> None:
    try:
        router = await make_router(2, host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    router.outside, router.port_shift = IPv6Address("2001:db8::2"), 0
    mapping = await PcpGateway("::1", 10.0, router.port).add(8090, 8090, 3600)
    assert mapping == PortMapping("PCP", "2001:db8::2", 8090, 8090, 3600)
    assert router.requests[0][8:24] == IPv6Address("::1").packed


async def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(PortMappingError):
        await PcpGateway("127.0.0.1", 0.05, port).external_ip()


async def test_source_that_this_machine_does_not_have(make_router: Any) -> None:
    router = await make_router(2)
    with pytest.raises(PortMappingError, match="cannot be asked"):
        await PcpGateway("127.0.0.1", 10.0, router.port, "192.0.2.77").external_ip()


def announcement(epoch: int) -> bytes:
    return struct.pack(">BBHII12x", 2, 128, 0, 0, epoch)


async def test_announcements(make_router: Any, manual_clock: Any) -> None:
    router = await make_router(2)
    gateway = PcpGateway("127.0.0.1", 10.0, router.port)
    here = ("127.0.0.1", router.port)
    assert not gateway.announces_loss(announcement(5), here)  # nothing is known of the time before
    manual_clock.advance(1000)
    await gateway.add(8090, 8090, 3600)
    manual_clock.advance(1000)
    assert not gateway.announces_loss(announcement(2000), here)
    assert gateway.announces_loss(announcement(0), here)
    assert not gateway.announces_loss(announcement(0), ("127.0.0.2", router.port))
    assert not gateway.announces_loss(announcement(0), ("127.0.0.1", 1))
    assert not gateway.announces_loss(b"\x00\x80\x00\x01" + bytes(4), here)
    assert not gateway.announces_loss(b"garbage", here)
