"""The layers of a circuit, as they are applied to each cell (doc/protocol/tunnels.md section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..interfaces.network_stats import DropCounter
from .session_keys import BACKWARD, FORWARD, CryptoException, Layer, SessionKeys
from .tunnel import CIRCUIT_TYPE_RP_DOWNLOADER, CIRCUIT_TYPE_RP_SEEDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from .tunnel import Circuit, RelayRoute

__all__ = ["ForeignLayer", "Onion", "layer_change", "layer_of", "onion_of"]


class ForeignLayer:
    """One direction of session keys that another library has made, which does not tell replays.

    :param keys: an object with the methods of :class:`SessionKeys`.
    :param direction: ``FORWARD`` or ``BACKWARD``.
    """

    __slots__ = ("_direction", "_keys")

    def __init__(self, keys: Any, direction: int) -> None:
        self._keys = keys
        self._direction = direction

    def seal(self, content: bytes) -> bytes:
        """See :meth:`Layer.seal`."""
        try:
            return bytes(self._keys.encrypt_str(content, self._direction))
        except (RuntimeError, ValueError) as e:
            raise CryptoException(str(e)) from e

    def open(self, sealed: bytes) -> bytes:
        """See :meth:`Layer.open`."""
        try:
            return bytes(self._keys.decrypt_str(sealed, self._direction))
        except (RuntimeError, ValueError) as e:
            raise CryptoException(str(e)) from e


def layer_of(keys: Any, direction: int) -> Any:
    """One direction of session keys, which may be those of another library.

    :raises CryptoException: if ``keys`` is ``None``.
    """
    if type(keys) is SessionKeys:
        return keys.backward if direction else keys.forward
    if keys is None:
        raise CryptoException("there are no keys yet", DropCounter.NO_KEYS)
    return ForeignLayer(keys, direction)


def layer_change(route: RelayRoute, back: RelayRoute) -> Callable[[bytes], bytes]:
    """What makes, of the message of a cell that is passed on, the one that the next node gets.

    :param route: where the cell goes, and ``back`` where cells of the other direction go.
    :raises CryptoException: if keys are missing.
    """
    change: Callable[[bytes], bytes] = layer_of(route.hop.keys, FORWARD).open
    if route.rendezvous_relay:
        open_one, seal = change, layer_of(back.hop.keys, BACKWARD).seal
        return lambda message: bytes(seal(open_one(message)))
    if route.direction != FORWARD:
        change = layer_of(route.hop.keys, BACKWARD).seal
    return change


class Onion(NamedTuple):
    """The layers of a circuit at the node that built it, the outermost first."""

    outgoing: tuple[Layer, ...]
    incoming: tuple[Layer, ...]
    hops: int
    """How many hops there were."""
    end_to_end: SessionKeys | None
    """The keys that both ends of an end-to-end circuit shared."""


def onion_of(circuit: Circuit) -> Onion:
    """The layers of a circuit, kept until it gets another hop or other keys.

    :raises CryptoException: if the keys of a hop are missing.
    """
    onion: Onion | None = circuit.onion
    if onion is None or onion.hops != len(circuit._hops) or onion.end_to_end is not circuit.hs_session_keys:
        onion = circuit.onion = _make_onion(circuit)
    return onion


def _make_onion(circuit: Circuit) -> Onion:
    hops = circuit._hops
    outgoing = [layer_of(hop.keys, FORWARD) for hop in hops]
    incoming = [layer_of(hop.keys, BACKWARD) for hop in hops]
    shared = circuit.hs_session_keys
    if shared is not None:
        # The direction forward is that from the service to who asked for it.
        outgoing.append(layer_of(shared, FORWARD if circuit.ctype == CIRCUIT_TYPE_RP_SEEDER else BACKWARD))
        incoming.append(layer_of(shared, FORWARD if circuit.ctype == CIRCUIT_TYPE_RP_DOWNLOADER else BACKWARD))
    return Onion(tuple(outgoing), tuple(incoming), len(hops), shared)
