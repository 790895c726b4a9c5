"""Cells: what travels between two neighbours of a circuit (doc/protocol/tunnels.md sections 2 and 5)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .session_keys import Layer

__all__ = [
    "CELL_HEADER",
    "CELL_ID",
    "HEADER_SIZE",
    "ID_OFFSET",
    "IS_EARLY_AT",
    "IS_PLAIN_AT",
    "PADDED",
    "PADDED_SIZE",
    "PREFIX_SIZE",
    "CellPayload",
    "circuit_id_of",
    "message_of",
    "pad_message",
    "peel",
    "unpad_message",
    "wrap",
]

PREFIX_SIZE = 22
"""The prefix of the overlay. The id of the message follows it, which is 0 for a cell."""

CELL_ID = 0

ID_OFFSET = PREFIX_SIZE + 1
"""Where the circuit id of a cell is."""

CELL_HEADER = Struct(">I??")
"""The circuit id, whether the message is in clear, and whether the cell counts as an early one."""

HEADER_SIZE = ID_OFFSET + CELL_HEADER.size
"""Where the message of a cell is."""

IS_PLAIN_AT = ID_OFFSET + 4
IS_EARLY_AT = ID_OFFSET + 5
"""Where the flags of a cell are."""

PADDED = 36
"""The id of a message that contains another one and zero bytes."""

PADDED_SIZE = 1248
"""Bytes of such a message. With eight layers it still fits a usual packet."""

_PADDED_HEADER = Struct(">BH")

_CIRCUIT_ID = Struct(">I")
_ID_AND_CIRCUIT = Struct(">BI")


class CellPayload:
    """A cell.

    :param circuit_id: the number of the circuit on this link.
    :param message: the id of a message and its body without the circuit id, or the same encrypted.
    :param plaintext: whether the message is in clear.
    :param relay_early: whether the message may be an extend. Relays pass few such cells.
    """

    msg_id = CELL_ID
    __slots__ = ("circuit_id", "message", "plaintext", "relay_early")

    def __init__(self, circuit_id: int, message: bytes, plaintext: bool = False, relay_early: bool = False) -> None:
        self.circuit_id = circuit_id
        self.message = message
        self.plaintext = plaintext
        self.relay_early = relay_early

    def __repr__(self) -> str:
        return (f"{type(self).__name__}({self.circuit_id}, {self.message!r}, plaintext={self.plaintext}, "
                f"relay_early={self.relay_early})")

    def unwrap(self, prefix: bytes) -> bytes:
        """The message as a packet of its own, with the circuit id in its place."""
        return prefix + _ID_AND_CIRCUIT.pack(self.message[0], self.circuit_id) + self.message[1:]

    def to_bin(self, prefix: bytes) -> bytes:
        """The cell as it is sent."""
        header = CELL_HEADER.pack(self.circuit_id, self.plaintext, self.relay_early)
        return b"".join((prefix, b"\0", header, self.message))

    @classmethod
    def from_bin(cls, packet: bytes) -> CellPayload:
        """The cell in a packet, whatever its prefix.

        :raises struct.error: if the packet is too short.
        """
        return cls(CELL_HEADER.unpack_from(packet, ID_OFFSET)[0], packet[HEADER_SIZE:],
                   packet[IS_PLAIN_AT] != 0, packet[IS_EARLY_AT] != 0)


def circuit_id_of(packet: bytes) -> int:
    """The circuit id of a cell, which must have its whole header."""
    return int.from_bytes(packet[ID_OFFSET:IS_PLAIN_AT], "big")


def message_of(packed: bytes, msg_id: int) -> bytes:
    """The message of a cell, from a packed payload that begins with the circuit id."""
    return bytes((msg_id,)) + packed[_CIRCUIT_ID.size:]


def wrap(message: bytes, layers: Sequence[Layer]) -> bytes:
    """A message in all ``layers``, the first of which is the outermost.

    :raises CryptoException: if a layer has used all of its counters.
    """
    for layer in reversed(layers):
        message = layer.seal(message)
    return message


def peel(message: bytes, layers: Iterable[Layer]) -> bytes:
    """What is in ``layers``, the first of which is the outermost.

    :raises CryptoException: if one of them does not open.
    """
    for layer in layers:
        message = layer.open(message)
    return message


def pad_message(message: bytes) -> bytes:
    """A message with ``PADDED_SIZE`` bytes that contains another one, or that one itself if it is too large."""
    if len(message) > PADDED_SIZE - _PADDED_HEADER.size:
        return message
    return (_PADDED_HEADER.pack(PADDED, len(message)) + message).ljust(PADDED_SIZE, b"\0")


def unpad_message(message: bytes) -> bytes:
    """The message in a padded one; empty if there is none."""
    if len(message) < _PADDED_HEADER.size:
        return b""
    stop = _PADDED_HEADER.size + _PADDED_HEADER.unpack_from(message)[1]
    inner = message[_PADDED_HEADER.size:stop]
    return inner if stop <= len(message) and inner[:1] != bytes((PADDED,)) else b""
