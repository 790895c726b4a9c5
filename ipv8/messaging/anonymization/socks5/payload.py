"""The messages of streams through circuits (doc/protocol/tunnel_streams.md)."""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy_payload import VariablePayload, vp_compile
from ..payload import CellablePayload

if TYPE_CHECKING:
    from ...address import Address

__all__ = ["ALPN", "CONNECT", "ConnectRequest", "StreamPayload"]

ALPN = "ipv8-exit/1"
"""The name of the protocol inside QUIC between an origin and an exit."""
CONNECT = 1
"""The command of a :class:`ConnectRequest` that asks for a TCP connection."""


@vp_compile
class StreamPayload(CellablePayload):
    """One QUIC packet between the origin of a circuit and its last hop."""

    msg_id = 40
    names = [*CellablePayload.names, "packet"]
    format_list = [*CellablePayload.format_list, "raw"]

    packet: bytes


@vp_compile
class ConnectRequest(VariablePayload):
    """The beginning of a stream: what the exit shall connect it to. Bytes behind it are ignored."""

    names = ["command", "destination"]
    format_list = ["B", "address"]

    command: int
    destination: Address
