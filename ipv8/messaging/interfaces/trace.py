"""Events about the packets that enter and leave an endpoint, for people who look for what goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import clock

if TYPE_CHECKING:
    from ..address import Address
    from .gate import Gate
    from .routes import Route

__all__ = ["DELIVERED", "SENT", "PacketEvent", "TraceFunction", "traced_receive", "traced_send"]

DELIVERED = "delivered"
SENT = "sent"
"""The verdicts on packets that were not dropped."""

NO_MESSAGE_ID = -1

SENDING_REASONS = "send_"
"""How the reasons start for which packets are not sent (see ``DropCounter``)."""


class PacketEvent(NamedTuple):
    """What became of one packet."""

    time: float
    """Seconds of the monotonic clock of ``ipv8.clock``, when the packet had been handled or sent."""
    outgoing: bool
    route: Route
    address: Address
    """Where the packet came from or goes to."""
    prefix: bytes
    """The leading bytes that belong to an overlay; fewer if the packet is shorter."""
    message_id: int
    """The byte behind the prefix; -1 for a packet that ends before it."""
    size: int
    """Bytes of the whole packet."""
    verdict: str
    """``DELIVERED``, ``SENT``, the reason for which the packet was dropped (see ``DropCounter``), or the class name of
    the error that ``send`` raised."""


TraceFunction = Callable[[PacketEvent], object]
"""Called with each event; what it raises is logged."""

Receive = Callable[["tuple[Address, bytes]", "Route"], None]


def traced_receive(gate: Gate, receive: Receive, trace: TraceFunction) -> Receive:
    """What does the same as ``receive``, and tells ``trace`` of each packet."""
    inside: Counter[str] = Counter()
    """The drops of packets that the packet contained which is being handled: they have events of their own."""

    def receive_and_tell(packet: tuple[Address, bytes], route: Route) -> None:
        nonlocal inside
        prefix = packet[1][:gate.prefixlen]
        outer, inside = inside, Counter()
        before = gate.owner.get_drops(prefix)
        try:
            receive(packet, route)
        finally:
            added = _added(before, gate.owner.get_drops(prefix), sending=False)
            reasons = added - inside
            outer.update(added)
            inside = outer
            _emit(gate, trace, False, route, packet, next(iter(reasons), DELIVERED))

    return receive_and_tell


def traced_send(gate: Gate, send: Callable[..., None], trace: TraceFunction) -> Callable[..., None]:
    """What does the same as ``send`` of the endpoint that owns ``gate``, and tells ``trace`` of each packet."""

    def send_and_tell(socket_address: Any, packet: Any, *args: Any, **kwargs: Any) -> None:
        route = gate.owner.routes.route_to(socket_address)
        before = gate.owner.get_drops()
        try:
            send(socket_address, packet, *args, **kwargs)
        except Exception as e:
            _emit(gate, trace, True, route, (socket_address, packet), type(e).__name__)
            raise
        reasons = _added(before, gate.owner.get_drops(), sending=True)
        _emit(gate, trace, True, route, (socket_address, packet), next(iter(reasons), SENT))

    return send_and_tell


def _added(before: dict[str, int], after: dict[str, int], sending: bool) -> Counter[str]:
    """What was counted meanwhile, of the packets that were to be sent or of those that were received."""
    added = Counter(after)
    added.subtract(before)
    return Counter({reason: count for reason, count in added.items()
                    if count > 0 and reason.startswith(SENDING_REASONS) is sending})


def _emit(gate: Gate, trace: TraceFunction, outgoing: bool, route: Route, packet: tuple[Address, Any],
          verdict: str) -> None:
    address, given = packet
    data = given if isinstance(given, (bytes, bytearray, memoryview)) else b""
    length = gate.prefixlen
    message_id = data[length] if len(data) > length else NO_MESSAGE_ID
    prefix = bytes(data[:length])
    event = PacketEvent(clock.monotonic(), outgoing, route, address, prefix, message_id, len(data), verdict)
    try:
        trace(event)
    except Exception as e:  # noqa: BLE001 - whatever a trace raises, packets go on
        gate.owner._on_listener_error(trace, e)
