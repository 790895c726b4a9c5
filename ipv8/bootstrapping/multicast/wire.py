"""The two datagrams of multicast bootstrapping.

Both are 55 bytes long, so that an answer is never bigger than what asked for it::

    00 00 "IPv8" kind | prefix (22) | nonce (8) | port (>H) | IPv6 address (16)

An announcement (kind 01) asks who else is in the overlay with that prefix, has a new nonce, and zeros for the rest.
An answer (kind 02) goes back to the socket that asked. It has the nonce of the announcement, the UDP port on which the
overlay is reached, and, if it is sent by IPv6, the address on which it is reached; zeros stand for the source address.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import NamedTuple

__all__ = ["ANNOUNCEMENT", "ANSWER", "NONCE_SIZE", "PREFIX_SIZE", "Datagram", "decode", "encode"]

ANNOUNCEMENT = 1
ANSWER = 2
PREFIX_SIZE = 22
NONCE_SIZE = 8

_HEADER = b"\x00\x00IPv8"
_LAYOUT = Struct(f">6sB{PREFIX_SIZE}s{NONCE_SIZE}sH16s")


class Datagram(NamedTuple):
    """An announcement or an answer; ``ip`` is an IPv6 address in text form or empty."""

    kind: int
    prefix: bytes
    nonce: bytes
    port: int = 0
    ip: str = ""


def encode(datagram: Datagram) -> bytes:
    """The bytes of a datagram."""
    ip = IPv6Address(datagram.ip).packed if datagram.ip else bytes(16)
    return _LAYOUT.pack(_HEADER, datagram.kind, datagram.prefix, datagram.nonce, datagram.port, ip)


def decode(data: bytes) -> Datagram | None:
    """The datagram with these bytes, ``None`` if there is no such datagram."""
    if len(data) != _LAYOUT.size:
        return None
    header, kind, prefix, nonce, port, ip = _LAYOUT.unpack(data)
    if header != _HEADER or kind not in (ANNOUNCEMENT, ANSWER):
        return None
    return Datagram(kind, prefix, nonce, port, str(IPv6Address(ip)) if any(ip) else "")
