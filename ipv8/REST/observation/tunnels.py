"""How much the circuits of a node, and those of others that go through it, have carried in all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...messaging.anonymization.base import TunnelBase
from .parts import overlays_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TunnelTotals", "carriers", "tunnels_of"]


def tunnels_of(node: Any) -> list[TunnelBase]:
    """The tunnel overlays of a node."""
    return [overlay for overlay in overlays_of(node) if isinstance(overlay, TunnelBase)]


def carriers(tunnels: TunnelBase) -> Iterator[tuple[str, Any]]:
    """What carries something, with its role: ``"circuit"``, ``"relay"`` or ``"exit"``."""
    for role, table in (("circuit", tunnels.circuits), ("relay", tunnels.relay_from_to),
                        ("exit", tunnels.exit_sockets)):
        for carrier in tuple(table.values()):
            yield role, carrier


class TunnelTotals:
    """Adds up what was carried, also by circuits that are gone. What they carried after the last look is not known.

    :param node: the node.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._known: dict[int, tuple[Any, int, int]] = {}
        #: Bytes by role and direction, which is ``"up"`` or ``"down"``.
        self.bytes: Counter[tuple[str, str]] = Counter()

    def look(self) -> None:
        """Add what was carried since the last look."""
        now = {}
        for tunnels in tunnels_of(self._node):
            for role, carrier in carriers(tunnels):
                _, up, down = self._known.get(id(carrier), (None, 0, 0))
                # Programs may set the counters to zero.
                self.bytes[role, "up"] += max(0, carrier.bytes_up - up)
                self.bytes[role, "down"] += max(0, carrier.bytes_down - down)
                now[id(carrier)] = carrier, carrier.bytes_up, carrier.bytes_down
        self._known = now
