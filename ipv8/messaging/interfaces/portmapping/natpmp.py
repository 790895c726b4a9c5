"""The NAT Port Mapping Protocol (RFC 6886): small datagrams between a machine and its gateway."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from .gateway import Gateway, PortMapping, PortMappingError

if TYPE_CHECKING:
    from asyncio import DatagramTransport, Future

__all__ = ["NatPmpGateway", "decode_external_ip", "decode_mapping", "default_gateways", "encode_external_ip_request",
           "encode_mapping_request", "parse_routes"]

PORT = 5351
"""Where gateways listen (section 1.1)."""

FIRST_RETRY = 0.25
"""Seconds until a question is repeated; the pause doubles each time (section 3.1)."""

ROUTES_FILE = "/proc/net/route"
ROUTE_GATEWAY_FLAG = 0x2

_EXTERNAL_IP, _MAP_UDP = 0, 1
_ANSWER = 128
_RESULTS = {
    1: "does not speak this version of NAT-PMP",
    2: "refuses to forward ports: that is switched off, or not allowed to this machine",
    3: "has no connection to the internet itself",
    4: "has no more ports to forward",
    5: "does not forward UDP ports",
}
"""Section 3.5."""

_HEADER = struct.Struct(">BBHI")
_REQUEST = struct.Struct(">BBHHHI")
_MAPPED = struct.Struct(">HHI")


class MappedPort(NamedTuple):
    """What a gateway granted; the lifetime is in seconds."""

    internal_port: int
    external_port: int
    lifetime: int


def encode_external_ip_request() -> bytes:
    """The question for the outside address (section 3.2)."""
    return bytes((0, _EXTERNAL_IP))


def encode_mapping_request(internal_port: int, external_port: int, lifetime: int) -> bytes:
    """The wish to forward a UDP port (section 3.3); both the outside port and the lifetime 0 end that (section 3.4)."""
    return _REQUEST.pack(0, _MAP_UDP, 0, internal_port, external_port, lifetime)


def _decode(data: bytes, operation: int, body_size: int) -> bytes | None:
    """The body of an answer to ``operation``; ``None`` if the data is no such answer."""
    if len(data) < _HEADER.size:
        return None
    version, answered, result, _ = _HEADER.unpack_from(data)
    if version or answered != _ANSWER + operation:
        return None
    if result:
        raise PortMappingError("the gateway " + _RESULTS.get(result, f"refuses for reason {result}"))
    return data[_HEADER.size:] if len(data) == _HEADER.size + body_size else None


def decode_external_ip(data: bytes) -> str | None:
    """The outside address in an answer, ``None`` if it is no such answer; a refusal raises ``PortMappingError``."""
    body = _decode(data, _EXTERNAL_IP, 4)
    return None if body is None else str(IPv4Address(body))


def decode_mapping(data: bytes) -> MappedPort | None:
    """What an answer grants, ``None`` if it is no such answer; a refusal raises ``PortMappingError``."""
    body = _decode(data, _MAP_UDP, _MAPPED.size)
    return None if body is None else MappedPort(*_MAPPED.unpack(body))


def parse_routes(table: str) -> list[str]:
    """The gateways of the default routes in a routing table in the format of Linux."""
    gateways = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        with suppress(ValueError, IndexError):
            if int(fields[1], 16) == 0 and int(fields[3], 16) & ROUTE_GATEWAY_FLAG:
                gateways.append(str(IPv4Address(socket.htonl(int(fields[2], 16)).to_bytes(4, "big"))))
    return list(dict.fromkeys(gateways))


def default_gateways() -> list[str]:
    """The gateways to the internet, as far as this machine tells (Linux does)."""
    try:
        with open(ROUTES_FILE, encoding="ascii") as file:
            return parse_routes(file.read())
    except OSError:
        return []


class _Conversation(asyncio.DatagramProtocol):
    """Waits for the first datagram of the gateway that answers the question."""

    def __init__(self, operation: int) -> None:
        self.operation = operation
        self.answer: Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the socket is connected
        if len(data) >= _HEADER.size and data[1] == _ANSWER + self.operation and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(PortMappingError(f"the gateway does not speak NAT-PMP ({exc})"))


class NatPmpGateway(Gateway):
    """A gateway that speaks NAT-PMP.

    :param host: its IPv4 address.
    :param timeout: seconds until it counts as one that does not.
    """

    protocol = "NAT-PMP"

    def __init__(self, host: str, timeout: float = 2.0, port: int = PORT) -> None:
        self.host = host
        self.timeout = timeout
        self.port = port

    async def external_ip(self) -> str:
        """The outside IPv4 address."""
        ip = decode_external_ip(await self._ask(encode_external_ip_request(), _EXTERNAL_IP))
        if ip is None:
            raise PortMappingError("the gateway gave an answer that cannot be read")
        return ip

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        """Forward a UDP port of this machine."""
        mapped = await self._map(internal_port, external_port, lifetime)
        return PortMapping(self.protocol, await self.external_ip(), mapped.external_port, internal_port,
                           mapped.lifetime)

    async def remove(self, mapping: PortMapping) -> None:
        """Forward it no more."""
        await self._map(mapping.internal_port, 0, 0)

    async def _map(self, internal_port: int, external_port: int, lifetime: int) -> MappedPort:
        request = encode_mapping_request(internal_port, external_port, lifetime)
        mapped = decode_mapping(await self._ask(request, _MAP_UDP))
        if mapped is None or mapped.internal_port != internal_port or (lifetime and not mapped.external_port):
            raise PortMappingError("the gateway gave an answer that does not fit the question")
        return mapped

    async def _ask(self, request: bytes, operation: int) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            transport, conversation = await loop.create_datagram_endpoint(
                lambda: _Conversation(operation), remote_addr=(self.host, self.port))
        except OSError as e:
            raise PortMappingError(f"the gateway {self.host} cannot be asked: {e}") from e
        try:
            return await self._wait(transport, conversation, request)
        finally:
            transport.close()
            conversation.answer.cancel()

    async def _wait(self, transport: DatagramTransport, conversation: _Conversation, request: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + self.timeout, FIRST_RETRY
        while (left := end - loop.time()) > 0:
            transport.sendto(request)
            await asyncio.wait([conversation.answer], timeout=min(pause, left))
            if conversation.answer.done():
                return conversation.answer.result()
            pause *= 2
        raise PortMappingError(f"the gateway {self.host} does not answer: it does not speak NAT-PMP, or that is "
                               "switched off")
