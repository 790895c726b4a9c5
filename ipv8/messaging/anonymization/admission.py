"""Which messages are accepted, and where each of them may arrive: one table (doc/protocol/tunnels.md section 9).

A message that arrives where the table does not have it is dropped before its handler is called. An exit must not be
able to make the origin of a circuit answer something that only a neighbour may ask, and nobody else must be able to
have anything answered that came out of a circuit.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from .tunnel import CIRCUIT_TYPE_IP_SEEDER, CIRCUIT_TYPE_RP_DOWNLOADER, CIRCUIT_TYPE_RP_SEEDER

__all__ = ["ADMISSION", "FIRST_APPLICATION_MESSAGE", "Origin", "admits", "inside_circuit", "own_circuit"]


class Origin(IntFlag):
    """Where a message arrived; ``|`` combines several."""

    SOCKET = 1
    """In a packet of its own, signed or not."""
    PLAINTEXT = 2
    """In a cell in clear, from a node that has no keys of the tunnel yet."""
    EXIT = 4
    """In a cell from the origin of a circuit that ends at this node."""
    CIRCUIT_DATA = 8
    """In a cell from the last hop of an own circuit for data, or of a type that programs have made."""
    CIRCUIT_IP_SEEDER = 16
    """In a cell from the introduction point of a hidden service of this node."""
    CIRCUIT_RP_SEEDER = 32
    """In a cell from the rendezvous point, or from the other end, of a circuit of a hidden service of this node."""
    CIRCUIT_RP_DOWNLOADER = 64
    """In a cell from the rendezvous point, or from the other end, of a circuit to a hidden service."""
    INSIDE_DATA = 128
    """As the data of a data message on a ``CIRCUIT_DATA``: anybody may have sent it to the exit."""
    INSIDE_IP_SEEDER = 256
    """As the data of a data message on a ``CIRCUIT_IP_SEEDER``: anybody may have sent it to the introduction point."""


_CIRCUITS = (Origin.CIRCUIT_DATA | Origin.CIRCUIT_IP_SEEDER | Origin.CIRCUIT_RP_SEEDER
             | Origin.CIRCUIT_RP_DOWNLOADER)
_END_TO_END = Origin.CIRCUIT_RP_SEEDER | Origin.CIRCUIT_RP_DOWNLOADER

ADMISSION: Final[dict[int, Origin]] = {
    0: Origin.SOCKET,  # cell
    1: Origin.EXIT | _CIRCUITS,  # data
    2: Origin.PLAINTEXT,  # create
    3: Origin.PLAINTEXT,  # created
    4: Origin.EXIT,  # extend
    5: _CIRCUITS,  # extended
    6: Origin.EXIT | _END_TO_END,  # ping
    7: _CIRCUITS,  # pong
    8: Origin.SOCKET,  # destroy
    9: Origin.EXIT,  # establish intro
    10: Origin.CIRCUIT_IP_SEEDER,  # intro established
    11: Origin.EXIT,  # establish rendezvous
    12: Origin.CIRCUIT_RP_SEEDER,  # rendezvous established
    13: Origin.SOCKET | Origin.INSIDE_IP_SEEDER,  # create e2e
    14: Origin.INSIDE_DATA,  # created e2e
    15: Origin.EXIT,  # link e2e
    16: Origin.CIRCUIT_RP_DOWNLOADER,  # linked e2e
    17: Origin.SOCKET | Origin.EXIT,  # peers request
    18: Origin.CIRCUIT_DATA | Origin.INSIDE_DATA,  # peers response
    19: Origin.EXIT | _END_TO_END,  # test request
    20: _CIRCUITS,  # test response
    40: Origin.EXIT | Origin.CIRCUIT_DATA | _END_TO_END,  # stream, see doc/protocol/tunnel_streams.md
}
"""Where each message may arrive."""

FIRST_APPLICATION_MESSAGE = 21
"""From this id on, messages that the table does not have are those of programs, in encrypted cells only."""

_APPLICATION: Final = Origin.EXIT | _CIRCUITS

_table: list[int] = [ADMISSION.get(msg_id, _APPLICATION if msg_id >= FIRST_APPLICATION_MESSAGE else Origin(0)).value
                     for msg_id in range(256)]

_OWN: Final = {CIRCUIT_TYPE_IP_SEEDER: Origin.CIRCUIT_IP_SEEDER.value,
               CIRCUIT_TYPE_RP_SEEDER: Origin.CIRCUIT_RP_SEEDER.value,
               CIRCUIT_TYPE_RP_DOWNLOADER: Origin.CIRCUIT_RP_DOWNLOADER.value}
_DATA: Final = Origin.CIRCUIT_DATA.value
_INSIDE: Final = {CIRCUIT_TYPE_IP_SEEDER: Origin.INSIDE_IP_SEEDER.value,
                  CIRCUIT_TYPE_RP_SEEDER: 0,
                  CIRCUIT_TYPE_RP_DOWNLOADER: 0}


def admits(msg_id: int, origin: int) -> bool:
    """Whether a message may arrive at ``origin``, which is an :class:`Origin` or its number."""
    return _table[msg_id] & origin != 0


def own_circuit(ctype: str) -> int:
    """The origin of cells of an own circuit of this type, as a number."""
    return _OWN.get(ctype, _DATA)


def inside_circuit(ctype: str) -> int:
    """The origin of what is inside the data messages of an own circuit of this type, as a number; 0 if nothing is."""
    return _INSIDE.get(ctype, Origin.INSIDE_DATA.value)
