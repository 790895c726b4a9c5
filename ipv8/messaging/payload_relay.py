"""The message that a peer of both carries between two peers who cannot reach each other."""

# ruff: noqa: RUF012 - the lists that describe a payload are never changed

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_payload import VariablePayloadWID, vp_compile

if TYPE_CHECKING:
    from .address import Address

__all__ = ["RelayPayload"]


@vp_compile
class RelayPayload(VariablePayloadWID):
    """A packet for somebody else, in an envelope that its author signed and nobody changes on its way.

    :param destination: whom it is for: the overlay address of a key, or where its owner is, as the carrier has told.
    :param counter: higher in each envelope that the author makes, and never twice the same.
    :param packet: a whole packet of any overlay, as it would have been sent to the destination itself.
    """

    msg_id = 230
    format_list = ["ip_address", "Q", "raw"]
    names = ["destination", "counter", "packet"]

    destination: Address
    counter: int
    packet: bytes
