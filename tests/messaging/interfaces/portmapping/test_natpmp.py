"""NAT-PMP: the datagrams of RFC 6886, and gateways that answer, refuse, lie or are silent."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.interfaces.portmapping import exchange
from ipv8.messaging.interfaces.portmapping.gateway import PortMapping, PortMappingError
from ipv8.messaging.interfaces.portmapping.natpmp import (
    NatPmpGateway,
    decode_external_ip,
    decode_mapping,
    encode_external_ip_request,
    encode_mapping_request,
)


def test_datagrams() -> None:
    assert encode_external_ip_request() == b"\x00\x00"
    assert encode_mapping_request(8090, 8091, 3600) == bytes.fromhex("0001 0000 1f9a 1f9b 00000e10")
    assert decode_external_ip(bytes.fromhex("0080 0000 00000001 82a10101")) == (1, "130.161.1.1")
    assert decode_mapping(bytes.fromhex("0081 0000 00000001 1f9a 1f9b 00000e10")) == (1, 8090, 8091, 3600)


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


@pytest.fixture
async def router(make_router: Any) -> Any:
    return await make_router(0)


@pytest.fixture
def gateway(router: Any) -> NatPmpGateway:
    return NatPmpGateway("127.0.0.1", 10.0, router.port)


async def test_mapping(router: Any, gateway: NatPmpGateway) -> None:
    assert await gateway.external_ip() == "130.161.1.1"
    mapping = await gateway.add(8090, 8090, 3600)
    assert mapping == PortMapping("NAT-PMP", "130.161.1.1", 8091, 8090, 3600)
    await gateway.remove(mapping)
    assert router.requests[-1] == encode_mapping_request(8090, 0, 0)
    assert router.mappings == {}


async def test_lost_requests_are_repeated(router: Any, gateway: NatPmpGateway,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FIRST_RETRY", 0.001)
    router.ignored = 2
    assert await gateway.external_ip() == "130.161.1.1"
    assert {*router.requests} == {encode_external_ip_request()}


async def test_refusal(router: Any, gateway: NatPmpGateway) -> None:
    router.result = 2
    with pytest.raises(PortMappingError, match="refuses to forward"):
        await gateway.add(8090, 8090, 3600)


async def test_gateway_with_another_version_only(make_router: Any) -> None:
    router = await make_router(2)
    with pytest.raises(PortMappingError, match="no answer"):
        await NatPmpGateway("127.0.0.1", 0.01, router.port).external_ip()


@pytest.mark.parametrize("lie", [
    "", "008100", "0080 0000 00000009", "0081 0000 00000009 1f9b 1f9a 00000e10", "0081 0000 00000009 1f9a",
    "0081 0000 00000009 1f9a 0000 00000e10", "0081 0000 00000009 1f9a 1f9a 00000000"])
async def test_answers_that_do_not_fit_are_ignored(router: Any, gateway: NatPmpGateway,
                                                   monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    monkeypatch.setattr(exchange, "FIRST_RETRY", 0.001)
    lies = [bytes.fromhex(lie)]
    router.edit = lambda answer: lies.pop() if lies else answer
    assert (await gateway.add(8090, 8090, 3600)).external_port == 8091
    assert lies == []


async def test_no_such_host() -> None:
    with pytest.raises(PortMappingError, match="cannot be asked"):
        await NatPmpGateway("256.1.1.1").external_ip()


async def test_announcements(manual_clock: Any, router: Any, gateway: NatPmpGateway) -> None:
    here = ("127.0.0.1", router.port)
    manual_clock.advance(1000)
    await gateway.add(8090, 8090, 3600)
    manual_clock.advance(1000)

    def announcement(epoch: int, result: int = 0) -> bytes:
        return struct.pack(">BBHI4s", 0, 128, result, epoch, bytes((130, 161, 1, 1)))

    assert not gateway.announces_loss(announcement(2000), here)
    assert gateway.announces_loss(announcement(0), here)
    assert not gateway.announces_loss(announcement(0), ("127.0.0.2", router.port))
    assert not gateway.announces_loss(announcement(0, 3), here)
    assert not gateway.announces_loss(b"", here)
