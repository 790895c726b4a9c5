"""The NAT Port Mapping Protocol (RFC 6886): small datagrams between a machine and its gateway."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

from .exchange import PORT, Server, ask
from .gateway import EpochTracker, Gateway, PortMapping, PortMappingError

__all__ = ["MappedPort", "NatPmpGateway", "OutsideAddress", "decode_external_ip", "decode_mapping",
           "encode_external_ip_request", "encode_mapping_request"]

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


class OutsideAddress(NamedTuple):
    """The outside address of a gateway that has kept its mappings for ``epoch`` seconds."""

    epoch: int
    ip: str


class MappedPort(NamedTuple):
    """What a gateway granted, and for how many seconds it has kept its mappings; the lifetime is in seconds, too."""

    epoch: int
    internal_port: int
    external_port: int
    lifetime: int


def encode_external_ip_request() -> bytes:
    """A request for the outside address (section 3.2)."""
    return bytes((0, _EXTERNAL_IP))


def encode_mapping_request(internal_port: int, external_port: int, lifetime: int) -> bytes:
    """A request to forward a UDP port (section 3.3); with outside port 0 and lifetime 0, to end that (section 3.4)."""
    return _REQUEST.pack(0, _MAP_UDP, 0, internal_port, external_port, lifetime)


def _decode(data: bytes, operation: int, body_size: int) -> tuple[int, bytes] | None:
    """The epoch and the body of an answer to ``operation``; ``None`` if the data is no such answer."""
    if len(data) < _HEADER.size:
        return None
    version, answered, result, epoch = _HEADER.unpack_from(data)
    if version or answered != _ANSWER + operation:
        return None
    if result:
        raise PortMappingError("the gateway " + _RESULTS.get(result, f"refuses for reason {result}"))
    return (epoch, data[_HEADER.size:]) if len(data) == _HEADER.size + body_size else None


def decode_external_ip(data: bytes) -> OutsideAddress | None:
    """The outside address in an answer, ``None`` if it is no such answer; a refusal raises ``PortMappingError``."""
    decoded = _decode(data, _EXTERNAL_IP, 4)
    return None if decoded is None else OutsideAddress(decoded[0], str(IPv4Address(decoded[1])))


def decode_mapping(data: bytes) -> MappedPort | None:
    """What an answer grants, ``None`` if it is no such answer; a refusal raises ``PortMappingError``."""
    decoded = _decode(data, _MAP_UDP, _MAPPED.size)
    return None if decoded is None else MappedPort(decoded[0], *_MAPPED.unpack(decoded[1]))


class NatPmpGateway(Gateway):
    """A gateway that speaks NAT-PMP.

    :param host: its IPv4 address.
    :param timeout: seconds to wait for an answer.
    :param source: the address of this machine to which ports are forwarded; empty for the usual one.
    """

    protocol = "NAT-PMP"

    def __init__(self, host: str, timeout: float = 2.0, port: int = PORT, source: str = "") -> None:
        self.server = Server(host, timeout, port, source)
        self._epochs = EpochTracker()

    async def external_ip(self) -> str:
        """The outside IPv4 address."""
        return (await ask(self.server, lambda _: encode_external_ip_request(), decode_external_ip)).ip

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        """Forward a UDP port of this machine."""
        mapped = await self._map(internal_port, external_port, lifetime)
        self._epochs.note(mapped.epoch)
        return PortMapping(self.protocol, await self.external_ip(), mapped.external_port, internal_port,
                           mapped.lifetime)

    async def remove(self, mapping: PortMapping) -> None:
        """End the forwarding."""
        await self._map(mapping.internal_port, 0, 0)

    async def _map(self, internal_port: int, external_port: int, lifetime: int) -> MappedPort:
        def decode(data: bytes) -> MappedPort | None:
            mapped = decode_mapping(data)
            fits = mapped is not None and mapped.internal_port == internal_port and (
                not lifetime or (mapped.external_port and mapped.lifetime))
            return mapped if fits else None

        request = encode_mapping_request(internal_port, external_port, lifetime)
        return await ask(self.server, lambda _: request, decode)

    def announces_loss(self, data: bytes, source: tuple[str, int]) -> bool:
        """Whether this announces an outside address and shows that the mappings are lost (section 3.2.1)."""
        try:
            outside = decode_external_ip(data)
        except PortMappingError:
            return False
        return outside is not None and source == self.server.address and not self._epochs.is_plausible(outside.epoch)
