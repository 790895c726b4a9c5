"""NAT-PMP: the datagrams of RFC 6886, and gateways that answer, refuse, lie or are silent."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.interfaces.portmapping import natpmp
from ipv8.messaging.interfaces.portmapping.gateway import PortMapping, PortMappingError
from ipv8.messaging.interfaces.portmapping.natpmp import (
    NatPmpGateway,
    decode_external_ip,
    decode_mapping,
    encode_external_ip_request,
    encode_mapping_request,
    parse_routes,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def test_datagrams() -> None:
    assert encode_external_ip_request() == b"\x00\x00"
    assert encode_mapping_request(8090, 8091, 3600) == bytes.fromhex("0001 0000 1f9a 1f9b 00000e10")
    assert decode_external_ip(bytes.fromhex("0080 0000 00000001 82a10101")) == "130.161.1.1"
    assert decode_mapping(bytes.fromhex("0081 0000 00000001 1f9a 1f9b 00000e10")) == (8090, 8091, 3600)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 77])
def test_refusals(code: int) -> None:
    with pytest.raises(PortMappingError, match=r"the gateway \w+"):
        decode_external_ip(struct.pack(">BBHI", 0, 128, code, 1))


@given(st.binary(max_size=20))
@settings(deadline=None, max_examples=200)
def test_any_datagram_is_decoded_or_refused(data: bytes) -> None:
    for decode in (decode_external_ip, decode_mapping):
        try:
            decoded: Any = decode(data)
        except PortMappingError:
            continue
        assert decoded is None or len(data) in {12, 16}


def test_routes() -> None:
    table = ("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
             "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\n"
             "eth1\t00000000\t0101A8C0\t0003\t0\t0\t9\t00000000\n"
             "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
             "eth2\t00000000\t00000000\t0001\t0\t0\t0\t00000000\n"
             "garbage\n"
             "eth3\tx\ty\tz\n")
    little_endian = parse_routes(table)
    assert little_endian == (["192.168.1.1"] if socket.htonl(1) != 1 else ["1.1.168.192"])
    assert parse_routes("") == []


def test_default_gateways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(natpmp, "ROUTES_FILE", str(tmp_path / "missing"))
    assert natpmp.default_gateways() == []
    (tmp_path / "route").write_text("head\neth0\t00000000\t0101A8C0\t0003\n", encoding="ascii")
    monkeypatch.setattr(natpmp, "ROUTES_FILE", str(tmp_path / "route"))
    assert len(natpmp.default_gateways()) == 1


class FakeGateway(asyncio.DatagramProtocol):
    """A gateway that forwards ports, from the wanted one on, or answers as a test says."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.ignored = 0
        self.result = 0
        self.answers: list[bytes] | None = None
        self.port_shift = 1
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.requests.append(data)
        if len(self.requests) <= self.ignored:
            return
        if self.answers is not None:
            answers = self.answers
        elif data[1] == 0:
            answers = [struct.pack(">BBHI4s", 0, 128, self.result, 9, bytes((130, 161, 1, 1)))]
        else:
            internal, external, lifetime = struct.unpack_from(">HHI", data, 4)
            external = external + self.port_shift if lifetime else 0
            answers = [struct.pack(">BBHIHHI", 0, 129, self.result, 9, internal, external, lifetime)]
        for answer in answers:
            self.transport.sendto(answer, addr)


@pytest.fixture
async def fake() -> AsyncIterator[tuple[FakeGateway, NatPmpGateway]]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        FakeGateway, local_addr=("127.0.0.1", 0))
    yield protocol, NatPmpGateway("127.0.0.1", 10.0, transport.get_extra_info("sockname")[1])
    transport.close()


async def test_mapping(fake: tuple[FakeGateway, NatPmpGateway]) -> None:
    server, gateway = fake
    assert await gateway.external_ip() == "130.161.1.1"
    mapping = await gateway.add(8090, 8090, 3600)
    assert mapping == PortMapping("NAT-PMP", "130.161.1.1", 8091, 8090, 3600)
    await gateway.remove(mapping)
    assert server.requests[-1] == encode_mapping_request(8090, 0, 0)


async def test_lost_requests_are_repeated(fake: tuple[FakeGateway, NatPmpGateway],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natpmp, "FIRST_RETRY", 0.001)
    server, gateway = fake
    server.ignored = 2
    assert await gateway.external_ip() == "130.161.1.1"
    assert server.requests == [encode_external_ip_request()] * len(server.requests)


async def test_silence(fake: tuple[FakeGateway, NatPmpGateway]) -> None:
    server, gateway = fake
    server.ignored = 1000
    gateway.timeout = 0.01
    with pytest.raises(PortMappingError, match="does not answer"):
        await gateway.external_ip()


async def test_refusal(fake: tuple[FakeGateway, NatPmpGateway]) -> None:
    server, gateway = fake
    server.result = 2
    with pytest.raises(PortMappingError, match="refuses to forward"):
        await gateway.add(8090, 8090, 3600)


@pytest.mark.parametrize("answer", ["0081 0000 00000009 1f9b 1f9a 00000e10", "0081 0000 00000009 1f9a 0000 00000e10",
                                    "0081 0000 00000009 1f9a"])
async def test_answers_that_do_not_fit(fake: tuple[FakeGateway, NatPmpGateway], answer: str) -> None:
    server, gateway = fake
    server.answers = [b"", b"\x00\x80\x00", struct.pack(">BBHI", 0, 128, 0, 9), bytes.fromhex(answer)]
    with pytest.raises(PortMappingError, match="does not fit"):
        await gateway.add(8090, 8090, 3600)


async def test_short_address(fake: tuple[FakeGateway, NatPmpGateway]) -> None:
    server, gateway = fake
    server.answers = [struct.pack(">BBHI", 0, 128, 0, 9)]
    with pytest.raises(PortMappingError, match="cannot be read"):
        await gateway.external_ip()


async def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(PortMappingError, match="NAT-PMP"):
        await NatPmpGateway("127.0.0.1", 0.05, port).external_ip()


async def test_no_such_host() -> None:
    with pytest.raises(PortMappingError, match="cannot be asked"):
        await NatPmpGateway("256.1.1.1").external_ip()
