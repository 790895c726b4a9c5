"""Events about packets: counts once a second, and single packets on request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .parts import endpoints_of, listeners_of
from .sources import describe_address
from .traffic import message_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...events import EventBus
    from ...messaging.interfaces.gate import Gate
    from ...messaging.interfaces.trace import PacketEvent, TraceFunction
    from .parts import Listening
    from .traffic import Traffic

__all__ = ["PacketEvents"]

COUNTS_TOPIC, PACKET_TOPIC = "packets", "packet"

PACKETS_PER_SECOND = 100
"""Events about single packets, between two ticks; further packets are counted only."""

COUNTED = ("packets_up", "packets_down", "bytes_up", "bytes_down")

Counts = tuple[int, ...]


class Traced(NamedTuple):
    """An endpoint whose packets are told of."""

    gate: Gate
    own: TraceFunction
    other: TraceFunction | None
    """The trace that the endpoint had before."""


class PacketEvents:
    """Publishes the packets of each second, by overlay and message, and single packets while somebody asks for them.

    The endpoint is traced only while somebody subscribes to single packets.

    :param node: the node.
    :param traffic: counts its packets.
    """

    def __init__(self, node: Any, bus: EventBus, traffic: Traffic) -> None:
        self._node = node
        self._bus = bus
        self._traffic = traffic
        self._counted: dict[tuple[str, int], Counts] | None = None
        self._traced: list[Traced] = []
        self._listeners: dict[bytes, Listening] = {}
        self._left = PACKETS_PER_SECOND
        self._skipped = 0

    def start(self) -> None:
        """Begin."""
        self._bus.on_change = self.on_change
        self.on_change()

    def stop(self) -> None:
        """End. Nothing stays on the endpoint."""
        self._bus.on_change = None
        self._untrace()
        self._counted = None

    def on_change(self) -> None:
        """Trace packets, or do not, since the subscribers have changed."""
        if not self._bus.wants(PACKET_TOPIC):
            self._untrace()
        elif not self._traced:
            self._trace()

    def tick(self) -> None:
        """Publish the counts of the last second."""
        self._left = PACKETS_PER_SECOND
        if self._traced:
            self._trace()
        if not self._bus.wants(COUNTS_TOPIC):
            self._counted = None
            return
        before, totals = self._counted, list(self._traffic.totals())
        self._counted = {(overlay, message): tuple(counts) for overlay, _, message, _, *counts in totals}
        if before is not None:
            self._bus.publish(COUNTS_TOPIC, {"overlays": _increase(before, totals)})

    # Single packets

    def _trace(self) -> None:
        """Trace all endpoints: those of pseudonyms come and go."""
        self._listeners = {listening.prefix: listening for listening in listeners_of(self._node)}
        gates = [endpoint.gate for endpoint in endpoints_of(self._node)]
        gone = [traced for traced in self._traced if traced.gate not in gates]
        self._restore(gone)
        self._traced = [traced for traced in self._traced if traced not in gone]
        for gate in gates:
            if not any(gate.is_joined_to(traced.gate) for traced in self._traced):
                own = partial(self._on_packet, gate.trace)
                self._traced.append(Traced(gate, own, gate.trace))
                gate.trace = own

    def _untrace(self) -> None:
        self._restore(self._traced)
        self._traced = []
        self._listeners = {}
        self._skipped = 0

    def _restore(self, endpoints: Iterable[Traced]) -> None:
        for gate, own, other in endpoints:
            if gate.trace is own:
                gate.trace = other

    def _on_packet(self, other: TraceFunction | None, packet: PacketEvent) -> None:
        if other is not None:
            other(packet)
        if not self._left:
            self._skipped += 1
            return
        self._left -= 1
        skipped, self._skipped = self._skipped, 0
        listening = self._listeners.get(packet.prefix)
        self._bus.publish(PACKET_TOPIC, {
            "outgoing": packet.outgoing, "route": packet.route.name, "address": describe_address(packet.address),
            "overlay": packet.prefix.hex() if listening is None else listening.id,
            "name": None if listening is None else listening.name, "message": packet.message_id,
            "message_name": None if listening is None else message_name(listening.listener, packet.message_id),
            "size": packet.size, "verdict": packet.verdict, "skipped": skipped})


def _increase(before: dict[tuple[str, int], Counts],
              totals: list[tuple[str, str, int, str, int, int, int, int]]) -> list[dict[str, Any]]:
    """What was counted since then, by overlay and message; messages without packets are left out."""
    overlays: dict[str, dict[str, Any]] = {}
    for overlay, overlay_name, message, name, *counts in totals:
        new = [now - then for now, then in zip(counts, before.get((overlay, message), (0, 0, 0, 0)), strict=True)]
        if any(new):
            entry = overlays.setdefault(overlay, {"id": overlay, "name": overlay_name, **dict.fromkeys(COUNTED, 0),
                                                  "messages": []})
            for counter, number in zip(COUNTED, new, strict=True):
                entry[counter] += number
            entry["messages"].append({"id": message, "name": name, **dict(zip(COUNTED, new, strict=True))})
    return list(overlays.values())
