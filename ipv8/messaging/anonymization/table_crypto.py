"""The layers of cells, by the tables of a crypto endpoint (doc/protocol/tunnels.md section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..interfaces.network_stats import DropCounter
from .cells import peel, wrap
from .crypto import CryptoEndpoint
from .onion import layer_of, onion_of
from .session_keys import BACKWARD, FORWARD, CryptoException

if TYPE_CHECKING:
    from .cells import CellPayload
    from .tunnel import Hop

__all__ = ["TableCrypto"]


class TableCrypto(CryptoEndpoint):
    """Encrypts and decrypts the messages of cells, as the tables say."""

    drops: DropCounter

    def __init__(self) -> None:
        super().__init__()
        self.drops = DropCounter()

    def outgoing_crypto(self, cell: CellPayload) -> CellPayload | None:
        """Encrypt the message of a cell that is sent; ``None``, and it is counted, if the cell must not be sent."""
        if cell.plaintext:
            return cell
        try:
            cell.message = self._seal(cell.circuit_id, cell.message)
        except CryptoException as e:
            self.drops.count(e.reason)
            return None
        return cell

    def _seal(self, circuit_id: int, message: bytes) -> bytes:
        circuit = self.circuits.get(circuit_id)
        if circuit is not None:
            outgoing = onion_of(circuit).outgoing
            if not outgoing:
                raise CryptoException("the circuit has no hop yet", DropCounter.NO_KEYS)
            return wrap(message, outgoing)
        exit_socket = self.exit_sockets.get(circuit_id)
        if exit_socket is not None:
            return bytes(layer_of(exit_socket.hop.keys, BACKWARD).seal(message))
        route = self.relays.get(circuit_id)
        if route is None:
            raise CryptoException("no such circuit", DropCounter.UNKNOWN_CIRCUIT)
        if route.rendezvous_relay:
            return bytes(layer_of(route.hop.keys, BACKWARD).seal(message))
        back = self.relays.get(route.circuit_id)
        if back is None:
            raise CryptoException("no such circuit", DropCounter.UNKNOWN_CIRCUIT)
        return bytes(layer_of(back.hop.keys, back.direction).seal(message))

    def incoming_crypto(self, cell: CellPayload) -> CellPayload | None:
        """Decrypt the message of a cell from the neighbour; ``None``, and it is counted, if that cannot be done."""
        if cell.plaintext:
            return cell
        circuit_id = cell.circuit_id
        try:
            if circuit_id in self.exit_sockets:
                cell.message = layer_of(self.exit_sockets[circuit_id].hop.keys, FORWARD).open(cell.message)
            elif circuit_id in self.circuits:
                cell.message = peel(cell.message, onion_of(self.circuits[circuit_id]).incoming)
            else:
                raise CryptoException("no such circuit", DropCounter.UNKNOWN_CIRCUIT)
        except CryptoException as e:
            self.drops.count(e.reason)
            return None
        return cell

    def encrypt_cell(self, cell: CellPayload, direction: int, *hops: Hop) -> None:
        """Encrypt a cell for ``hops``, the first one outermost.

        :raises CryptoException: if keys are missing.
        """
        if not cell.plaintext:
            cell.message = wrap(cell.message, [layer_of(hop.keys, direction) for hop in hops])

    def decrypt_cell(self, cell: CellPayload, direction: int, *hops: Hop) -> None:
        """Decrypt a cell of ``hops``, the first one outermost.

        :raises CryptoException: if keys are missing or a layer does not open.
        """
        if not cell.plaintext:
            cell.message = peel(cell.message, [layer_of(hop.keys, direction) for hop in hops])
