"""The message for two peers that cannot reach each other. A third peer forwards it."""

# ruff: noqa: RUF012 - the lists that describe a payload are never changed

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_payload import VariablePayloadWID, vp_compile

if TYPE_CHECKING:
    from .address import Address

__all__ = ["RelayPayload"]


@vp_compile
class RelayPayload(VariablePayloadWID):
    """A packet for another peer. The author signs this message, and the peer that forwards it does not change it.

    :param destination: the overlay address of a key, or the address of its owner as the forwarding peer told it.
    :param counter: higher in each message of the author, so never the same.
    :param packet: a whole packet of any overlay, as it would have been sent to the destination directly.
    """

    msg_id = 230
    format_list = ["ip_address", "Q", "raw"]
    names = ["destination", "counter", "packet"]

    destination: Address
    counter: int
    packet: bytes
