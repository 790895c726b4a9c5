"""The Port Control Protocol (RFC 6887), the successor of NAT-PMP: the part that forwards one's own ports."""

from __future__ import annotations

import hmac
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from .... import entropy
from .exchange import PORT, Server, ask
from .gateway import EpochTracker, Gateway, PortMapping, PortMappingError

__all__ = ["NONCE_LENGTH", "Mapped", "PcpGateway", "UnsupportedVersionError", "decode_announcement", "decode_mapping",
           "encode_announce_request", "encode_mapping_request"]

VERSION = 2
NONCE_LENGTH = 12
MAX_LENGTH = 1100
"""Bytes of a message; all are multiples of four bytes (section 7)."""

_ANNOUNCE, _MAP = 0, 1
_ANSWER = 128
_UDP = 17  # of IANA's protocol numbers

_SUCCESS, _UNSUPPORTED_VERSION, _UNSUPPORTED_OPCODE = 0, 1, 4
_RESULTS = {
    2: "refuses to forward this port: that is switched off, not allowed to this machine, or another program's mapping "
       "of the port is in the way",
    3: "does not understand the request",
    4: "forwards no ports",
    7: "has no connection to the internet itself, or not yet",
    8: "has no more ports to forward",
    9: "does not forward UDP ports",
    10: "has forwarded as many ports as this machine may have",
    11: "cannot give the outside port",
    12: "is not in the same network: there is another NAT between",
}
"""Section 7.4; the others belong to options, of which none is used."""

_REQUEST_HEADER = struct.Struct(">BBxxI16s")
_ANSWER_HEADER = struct.Struct(">BBxBII12x")
_MAPPING = struct.Struct(">12sBxxxHH16s")
_ANSWER_SIZE = _ANSWER_HEADER.size + _MAPPING.size
_NATPMP_ANSWER_SIZE = 8


class UnsupportedVersionError(PortMappingError):
    """The gateway speaks another version; version 0 is NAT-PMP (section 9, appendix A)."""

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__("the gateway speaks NAT-PMP only" if version == 0
                         else f"the gateway speaks another version of PCP ({version})")


class Mapped(NamedTuple):
    """What a gateway granted, and for how many seconds it has kept its mappings; the lifetime is in seconds, too."""

    epoch: int
    lifetime: int
    external_ip: str
    external_port: int


def _pack_ip(host: str) -> bytes:
    """An address as PCP has it (section 5): IPv4 is mapped into IPv6."""
    ip = ip_address(host)
    return IPv6Address(f"::ffff:{ip}").packed if isinstance(ip, IPv4Address) else ip.packed


def _unpack_ip(packed: bytes) -> IPv4Address | IPv6Address:
    ip = IPv6Address(packed)
    return ip.ipv4_mapped or ip


def encode_announce_request(own_host: str) -> bytes:
    """A request that every gateway with PCP answers (section 14.1).

    :param own_host: the address that this is sent from.
    """
    return _REQUEST_HEADER.pack(VERSION, _ANNOUNCE, 0, _pack_ip(own_host))


def encode_mapping_request(own_host: str, nonce: bytes, internal_port: int, external_port: int, lifetime: int,
                           external_ip: str = "") -> bytes:
    """A request to forward a UDP port, or to end that if the lifetime is 0 (section 11.1).

    :param own_host: the address that this is sent from, to which the port belongs; for IPv6 the firewall is opened.
    :param nonce: 12 bytes, which are needed to change the mapping later.
    :param external_port: the wanted outside port, 0 for any.
    :param lifetime: seconds.
    :param external_ip: the wanted outside address, empty for any.
    """
    wanted = _pack_ip(external_ip or ("::" if ":" in own_host else "0.0.0.0"))  # noqa: S104 - "any" on the wire
    return (_REQUEST_HEADER.pack(VERSION, _MAP, lifetime, _pack_ip(own_host))
            + _MAPPING.pack(nonce, _UDP, internal_port, external_port, wanted))


class _Answer(NamedTuple):
    result: int
    lifetime: int
    epoch: int


def _decode(data: bytes, operation: int) -> _Answer | None:
    """The header of an answer to ``operation``; ``None`` if the data is no such answer (section 8.3)."""
    if len(data) < _NATPMP_ANSWER_SIZE or len(data) > MAX_LENGTH or len(data) % 4 or data[1] != _ANSWER + operation:
        return None
    version = data[0]
    if version == 0:
        # A gateway that only speaks NAT-PMP answers in its own format, which has a result of two bytes.
        if data[2:4] == _UNSUPPORTED_VERSION.to_bytes(2, "big"):
            raise UnsupportedVersionError(version)
        return None
    if len(data) < _ANSWER_HEADER.size:
        return None
    _, _, result, lifetime, epoch = _ANSWER_HEADER.unpack_from(data)
    if version != VERSION:
        if result == _UNSUPPORTED_VERSION:
            raise UnsupportedVersionError(version)
        return None
    return _Answer(result, lifetime, epoch)


def decode_announcement(data: bytes) -> int | None:
    """For how many seconds the gateway has kept its mappings; ``None`` if this tells nothing about that.

    :raises UnsupportedVersionError: if the gateway speaks another version.
    """
    answer = _decode(data, _ANNOUNCE)
    return answer.epoch if answer is not None and answer.result in {_SUCCESS, _UNSUPPORTED_OPCODE} else None


def decode_mapping(data: bytes, nonce: bytes, internal_port: int) -> Mapped | None:
    """What an answer grants; ``None`` if it is not an answer to a request with this nonce and port (section 11.4).

    Options behind it are ignored, as none was asked for.

    :raises PortMappingError: if it is a refusal.
    """
    answer = _decode(data, _MAP)
    if answer is None or len(data) < _ANSWER_SIZE:
        return None
    its_nonce, protocol, its_port, external_port, external_ip = _MAPPING.unpack_from(data, _ANSWER_HEADER.size)
    if not hmac.compare_digest(its_nonce, nonce) or (protocol, its_port) != (_UDP, internal_port):
        return None
    if answer.result != _SUCCESS:
        raise PortMappingError("the gateway " + _RESULTS.get(answer.result, f"refuses for reason {answer.result}"))
    return Mapped(answer.epoch, answer.lifetime, str(_unpack_ip(external_ip)), external_port)


class PcpGateway(Gateway):
    """A gateway that speaks PCP.

    :param host: its address.
    :param timeout: seconds to wait for an answer.
    :param source: the address of this machine to which ports are forwarded; empty for the usual one.
    """

    protocol = "PCP"

    def __init__(self, host: str, timeout: float = 2.0, port: int = PORT, source: str = "") -> None:
        self.server = Server(host, timeout, port, source)
        self._epochs = EpochTracker()
        self._nonce = entropy.randbytes(NONCE_LENGTH)
        self._external_ip = ""

    async def external_ip(self) -> str:
        """Empty, once the gateway has answered: PCP tells the outside address only together with a mapping."""
        await ask(self.server, encode_announce_request, decode_announcement)
        return ""

    async def add(self, internal_port: int, external_port: int, lifetime: int) -> PortMapping:
        """Forward a UDP port of this machine."""
        mapped = await self._map(internal_port, external_port, lifetime)
        self._epochs.note(mapped.epoch)
        self._external_ip = mapped.external_ip
        return PortMapping(self.protocol, mapped.external_ip, mapped.external_port, internal_port, mapped.lifetime)

    async def remove(self, mapping: PortMapping) -> None:
        """End the forwarding."""
        await self._map(mapping.internal_port, 0, 0)

    async def _map(self, internal_port: int, external_port: int, lifetime: int) -> Mapped:
        def encode(own_host: str) -> bytes:
            wanted_ip = self._external_ip if lifetime else ""
            return encode_mapping_request(own_host, self._nonce, internal_port, external_port, lifetime, wanted_ip)

        def decode(data: bytes) -> Mapped | None:
            mapped = decode_mapping(data, self._nonce, internal_port)
            fits = mapped is not None and (not lifetime or (
                mapped.external_port and mapped.lifetime
                and (":" in mapped.external_ip) == (":" in self.server.host)))
            return mapped if fits else None

        return await ask(self.server, encode, decode)

    def announces_loss(self, data: bytes, source: tuple[str, int]) -> bool:
        """Whether this announces that the mappings are lost (section 14.1)."""
        try:
            epoch = decode_announcement(data)
        except UnsupportedVersionError:
            return False
        return epoch is not None and source == self.server.address and not self._epochs.is_plausible(epoch)
