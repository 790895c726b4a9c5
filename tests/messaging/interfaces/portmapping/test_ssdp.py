from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from ipv8.messaging.interfaces.portmapping import ssdp
from ipv8.messaging.interfaces.portmapping.gateway import PortMappingError
from ipv8.messaging.interfaces.portmapping.ssdp import MAX_ANSWER, MAX_ANSWERS_PER_HOST, decode_answer, encode_search

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TARGET = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
LOCATION = "http://192.168.1.1:5000/root.xml"


def answer(location: str = LOCATION, target: str = TARGET, status: str = "HTTP/1.1 200 OK") -> bytes:
    return (f"{status}\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLocation: {location}\r\nSERVER: x UPnP/1.1 y\r\n"
            f"St: {target}\r\nUSN: uuid:1::{target}\r\n\r\n").encode()


def test_a_search() -> None:
    assert encode_search(TARGET, 2) == (
        b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 2\r\nST: ' + TARGET.encode()
        + b"\r\n\r\n")


@pytest.mark.parametrize(("data", "expected"), [
    (answer(), LOCATION), (answer(target=TARGET[:-1] + "2"), LOCATION), (answer(status="HTTP/1.0 200 OK"), LOCATION),
    (answer(target="upnp:rootdevice"), None), (answer(status="HTTP/1.1 404 No"), None), (answer(""), None),
    (answer(status="NOTIFY * HTTP/1.1"), None), (answer("http://é/"), None), (b"", None), (b"HTTP/1.1 200", None),
    (answer() + b"x" * MAX_ANSWER, None), (b"HTTP/1.1 200 OK\r\nST: " + TARGET.encode(), None),
])
def test_answers(data: bytes, expected: str | None) -> None:
    assert decode_answer(data) == expected


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    assert decode_answer(data) is None
    decode_answer(answer()[:40] + data)


class Responder(asyncio.DatagramProtocol):
    """Answers each search as often as is wanted."""

    def __init__(self) -> None:
        self.questions: list[bytes] = []
        self.answers: list[bytes] = [answer()]
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.questions.append(data)
        for reply in self.answers:
            self.transport.sendto(reply, addr)


@pytest.fixture
async def responder(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Responder]:
    transport, responder = await asyncio.get_running_loop().create_datagram_endpoint(
        Responder, local_addr=("127.0.0.1", 0))
    monkeypatch.setattr(ssdp, "GROUP", transport.get_extra_info("sockname"))
    yield responder
    transport.close()


async def test_searching(responder: Responder) -> None:
    responder.answers.append(b"nonsense")
    assert await ssdp.search(0.2) == [("127.0.0.1", LOCATION)]
    assert len(responder.questions) == 4
    assert {question.split(b"\r\nST: ")[1] for question in responder.questions} == {
        target.encode() + b"\r\n\r\n" for target in ssdp.TARGETS}
    assert await ssdp.search(0.1, "127.0.0.1") == [("127.0.0.1", LOCATION)]


async def test_answers_are_limited(responder: Responder) -> None:
    responder.answers = [answer(f"http://192.168.1.1/{number}") for number in range(50)]
    assert len(await ssdp.search(0.2)) == MAX_ANSWERS_PER_HOST


async def test_without_a_network() -> None:
    with pytest.raises(PortMappingError, match="cannot be searched"):
        await ssdp.search(0.1, "192.0.2.1")
