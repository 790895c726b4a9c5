"""The two datagrams of multicast bootstrapping.

Both are 55 bytes long, so that an answer is never larger than the announcement::

    00 00 "IPv8" kind | prefix (22) | nonce (8) | port (>H) | IPv6 address (16)

An announcement (kind 01) asks which other nodes are in the overlay with that prefix. It has a new nonce, and zeros for
the rest. An answer (kind 02) goes back to the socket that asked. It has the nonce of the announcement and the UDP port
of the overlay. By IPv6 it also has the address of the overlay; zeros stand for the source address of the answer.
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
    """The datagram with these bytes, ``None`` if they are not a valid datagram."""
    if len(data) != _LAYOUT.size:
        return None
    header, kind, prefix, nonce, port, ip = _LAYOUT.unpack(data)
    if header != _HEADER or kind not in (ANNOUNCEMENT, ANSWER):
        return None
    return Datagram(kind, prefix, nonce, port, str(IPv6Address(ip)) if any(ip) else "")
