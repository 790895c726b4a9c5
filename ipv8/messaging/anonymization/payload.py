"""The messages of circuits (doc/protocol/tunnels.md section 3)."""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from struct import Struct
from typing import TYPE_CHECKING, Any

from ...reexports import reexports
from ..layouts import Converted, Fixed, Layout
from ..lazy_payload import VariablePayload, VariablePayloadWID, vp_compile
from ..packer import Packer

if TYPE_CHECKING:
    from ..address import Address

__all__ = [
    "NO_CRYPTO_PACKETS",
    "CellablePayload",
    "CreatePayload",
    "CreatedPayload",
    "DataPayload",
    "DestroyPayload",
    "ExtendPayload",
    "ExtendedPayload",
    "ExtraIntroductionPayload",
    "Flags",
    "PingPayload",
    "PongPayload",
    "TestRequestPayload",
    "TestResponsePayload",
]

NO_CRYPTO_PACKETS = [2, 3]
"""The ids of the only messages that cells may carry in clear: create and created."""


class Flags(Packer[Iterable[int], Any]):
    """A set of flags as one integer: a list of powers of two in ascending order.

    :param fmt: the ``struct`` format of the integer.
    """

    def __init__(self, fmt: str = ">H") -> None:
        self.format = fmt
        self._struct = Struct(fmt)
        self.size = self._struct.size

    def pack(self, data: Iterable[int]) -> bytes:
        """Pack any iterable of flags; ``struct.error`` if one of them does not fit."""
        return self._struct.pack(_combined(data))

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append the list of flags and return the offset after it; ``struct.error`` if the data are cut off."""
        (number,) = self._struct.unpack_from(data, offset)
        unpack_list.append(_separate(number))
        return offset + self.size

    def wire_layout(self, *_: Any) -> Layout | None:
        """An integer that is converted, if it is big-endian."""
        return Converted(Fixed(self.format[1:]), _combined, _separate) if self.format[0] in ">!" else None


def _combined(flags: Iterable[int]) -> int:
    return reduce(or_, flags, 0)


def _separate(number: int) -> list[int]:
    return [1 << bit for bit in range(number.bit_length()) if number >> bit & 1]


@vp_compile
class ExtraIntroductionPayload(VariablePayload):
    """The extra bytes of introduction requests and responses: what the sender does for others."""

    names = ["flags"]
    format_list = ["flags"]

    flags: Iterable[int]


class CellablePayload(VariablePayloadWID):
    """A message that cells carry. Its first field is the circuit id, which is in the header of the cell."""

    names = ["circuit_id"]
    format_list = ["I"]

    circuit_id: int


class NumberedPayload(CellablePayload):
    """A request, or the response with the same ``identifier``."""

    names = [*CellablePayload.names, "identifier"]
    format_list = [*CellablePayload.format_list, "H"]

    identifier: int


@vp_compile
class DataPayload(CellablePayload):
    """Data for ``dest_address`` or from ``org_address``; the other one of them is zero."""

    msg_id = 1
    names = [*CellablePayload.names, "dest_address", "org_address", "data"]
    format_list = [*CellablePayload.format_list, "address", "address", "raw"]

    dest_address: Address
    org_address: Address
    data: bytes


@vp_compile
class CreatePayload(NumberedPayload):
    """Asks a node to become the next hop of a circuit.

    ``node_public_key`` is that of the sender, and ``key`` the first half of the key agreement.
    """

    msg_id = 2
    names = [*NumberedPayload.names, "node_public_key", "key"]
    format_list = [*NumberedPayload.format_list, "varlenH", "varlenH"]

    node_public_key: bytes
    key: bytes


class _Agreement(NumberedPayload):
    """The second half of the key agreement, the proof for it, and an encrypted list of candidates."""

    names = [*NumberedPayload.names, "key", "auth", "candidates_enc"]
    format_list = [*NumberedPayload.format_list, "varlenH", "32s", "raw"]

    key: bytes
    auth: bytes
    candidates_enc: bytes


@vp_compile
class CreatedPayload(_Agreement):
    """Answers a create."""

    msg_id = 3


@vp_compile
class ExtendPayload(NumberedPayload):
    """Asks the last hop to send a create with ``key`` to the node with ``node_public_key``."""

    msg_id = 4
    names = [*NumberedPayload.names, "node_public_key", "key", "node_addr"]
    format_list = [*NumberedPayload.format_list, "varlenH", "varlenH", "ip_address"]

    node_public_key: bytes
    key: bytes
    node_addr: Address


@vp_compile
class ExtendedPayload(_Agreement):
    """Answers an extend with what the next node answered."""

    msg_id = 5


@vp_compile
class PingPayload(NumberedPayload):
    """Asks the last hop whether the circuit is there, and keeps it alive."""

    msg_id = 6


@vp_compile
class PongPayload(NumberedPayload):
    """Answers a ping."""

    msg_id = 7


@vp_compile
class DestroyPayload(CellablePayload):
    """Tells a neighbour that a circuit is gone. It is sent in a signed packet, not in a cell."""

    msg_id = 8
    names = [*CellablePayload.names, "reason"]
    format_list = [*CellablePayload.format_list, "H"]

    reason: int


@vp_compile
class TestRequestPayload(NumberedPayload):
    """Asks for a number of bytes, to measure how fast a circuit is."""

    msg_id = 19
    names = [*NumberedPayload.names, "response_size", "data"]
    format_list = [*NumberedPayload.format_list, "H", "raw"]

    response_size: int
    data: bytes


@vp_compile
class TestResponsePayload(NumberedPayload):
    """Answers a test request."""

    msg_id = 20
    names = [*NumberedPayload.names, "data"]
    format_list = [*NumberedPayload.format_list, "raw"]

    data: bytes


if TYPE_CHECKING:  # programs import these from here
    from .cells import CellPayload as CellPayload
    from .hidden_payload import (
        CreatedE2EPayload as CreatedE2EPayload,
        CreateE2EPayload as CreateE2EPayload,
        EstablishIntroPayload as EstablishIntroPayload,
        EstablishRendezvousPayload as EstablishRendezvousPayload,
        IntroductionInfo as IntroductionInfo,
        IntroEstablishedPayload as IntroEstablishedPayload,
        LinkE2EPayload as LinkE2EPayload,
        LinkedE2EPayload as LinkedE2EPayload,
        PeersRequestPayload as PeersRequestPayload,
        PeersResponsePayload as PeersResponsePayload,
        RendezvousEstablishedPayload as RendezvousEstablishedPayload,
        RendezvousInfo as RendezvousInfo,
    )
else:
    __getattr__, __dir__ = reexports(__name__, {
        ".cells": "CellPayload",
        ".hidden_payload": "CreatedE2EPayload CreateE2EPayload EstablishIntroPayload EstablishRendezvousPayload "
                           "IntroductionInfo IntroEstablishedPayload LinkE2EPayload LinkedE2EPayload "
                           "PeersRequestPayload PeersResponsePayload RendezvousEstablishedPayload RendezvousInfo",
    })
