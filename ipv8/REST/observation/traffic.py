"""What a node sends and receives: totals, a history by seconds, and the messages of each overlay."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import clock
from ...message_table import MessageTable
from ...messaging.interfaces.meter import MessageCount, TrafficMeter
from ...messaging.interfaces.routes import PREFIX_LENGTH
from ...messaging.session.wire import Datagram
from ...sessions import SessionService
from .parts import drops_of, endpoint_of, endpoints_of, listeners_of, listening_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...messaging.interfaces.gate import Gate

__all__ = ["MessageTraffic", "OverlayTraffic", "Traffic", "message_name"]

HISTORY_SECONDS = 600
"""Seconds of which the traffic of each is kept."""

DROP_SECONDS = 60
"""Seconds of which the drops of each are kept."""

UNKNOWN = -1
"""In the place of the ids of messages that nothing handles."""

DATAGRAMS = {number: name for name, number in vars(Datagram).items() if isinstance(number, int)}
"""The names of the datagrams of sessions."""

DEPRECATED = "on_deprecated_message"


class MessageTraffic(NamedTuple):
    """The traffic of a message."""

    id: int
    """-1 for all that nothing handles."""
    name: str
    counted: MessageCount

    def to_dict(self) -> dict[str, Any]:
        """The traffic as JSON has it."""
        count = self.counted
        handled = sum(count.buckets)
        return {"id": self.id, "name": self.name, "packets_up": count.packets_up, "packets_down": count.packets_down,
                "bytes_up": count.bytes_up, "bytes_down": count.bytes_down,
                "handler": {"count": handled, "seconds": count.seconds,
                            "mean": count.seconds / handled if handled else None,
                            "p50": count.quantile(0.5), "p99": count.quantile(0.99),
                            "max": count.longest if handled else None}}


class OverlayTraffic(NamedTuple):
    """The traffic of an overlay, or of what else listens to a prefix."""

    id: str
    """The id of the overlay; of others, their prefix."""
    name: str
    messages: list[MessageTraffic]
    drops: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The traffic as JSON has it."""
        counts = [message.counted for message in self.messages]
        return {"id": self.id, "name": self.name,
                **{name: sum(getattr(count, name) for count in counts)
                   for name in ("bytes_up", "bytes_down", "packets_up", "packets_down")},
                "drops": self.drops, "messages": [message.to_dict() for message in self.messages]}


class Traffic:
    """Counts the traffic of a node.

    :param node: the node.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        #: What counts; if the endpoint has a meter already, it is that one.
        self.meter = TrafficMeter()
        self._gates: list[Gate] = []
        self._last = (0, 0, 0, 0)
        #: For each second: its end in seconds since the Unix epoch, and bytes and packets up and down.
        self.history: deque[tuple[float, int, int, int, int]] = deque(maxlen=HISTORY_SECONDS)
        self._drops: deque[Counter[str]] = deque(maxlen=DROP_SECONDS)

    def start(self) -> None:
        """Count from now on."""
        endpoint = endpoint_of(self._node)
        present = None if endpoint is None else endpoint.gate.meter
        if present is not None:
            self.meter = present
        self._follow()
        self._last = self._totals()
        self._drops.append(self.drops())

    def stop(self) -> None:
        """Count no more."""
        self._leave(self._gates)

    def _follow(self) -> None:
        """Count the packets of all endpoints that nothing else counts: pseudonyms have their own, and come and go."""
        gates = [endpoint.gate for endpoint in endpoints_of(self._node)]
        self._leave([gate for gate in self._gates if gate not in gates])
        for gate in gates:
            if gate.meter is None and gate not in self._gates:
                gate.meter = self.meter
                self._gates.append(gate)

    def _leave(self, gates: list[Gate]) -> None:
        for gate in tuple(gates):
            self._gates.remove(gate)
            if gate.meter is self.meter:
                gate.meter = None

    def _totals(self) -> tuple[int, int, int, int]:
        total = self.meter.totals()
        return total.bytes_up, total.bytes_down, total.packets_up, total.packets_down

    def tick(self) -> None:
        """Note the traffic of the last second."""
        self._follow()
        totals = self._totals()
        up, down, packets_up, packets_down = (now - before for now, before in zip(totals, self._last, strict=True))
        self.history.append((clock.time(), up, down, packets_up, packets_down))
        self._last = totals
        self._drops.append(self.drops())

    def summary(self) -> dict[str, int]:
        """The traffic of the sockets in all, and that of the last second."""
        up, down, packets_up, packets_down = self._totals()
        _, last_up, last_down, *_ = self.history[-1] if self.history else (0, 0, 0)
        return {"bytes_up": up, "bytes_down": down, "packets_up": packets_up, "packets_down": packets_down,
                "bytes_up_per_second": last_up, "bytes_down_per_second": last_down}

    def drops(self) -> Counter[str]:
        """How many packets were dropped, by reason."""
        total: Counter[str] = Counter()
        for _, drops in drops_of(self._node):
            total.update(drops)
        return total

    def recent_drops(self) -> Counter[str]:
        """The same for the last minute."""
        before = self._drops[0] if self._drops else Counter()
        return self.drops() - before

    def slow_handlers(self) -> list[dict[str, Any]]:
        """The handlers that took long, the newest last."""
        named = {overlay.prefix: overlay.name for overlay in listeners_of(self._node)}
        return [{"time": when, "seconds": seconds, "what": f"{named.get(key[:PREFIX_LENGTH], 'unknown')}: "
                                                           f"{self._message_name(key)}"}
                for when, seconds, key in self.meter.slow]

    def _message_name(self, key: bytes) -> str:
        listener = next((entry.listener for entry in listeners_of(self._node) if entry.prefix == key[:PREFIX_LENGTH]),
                        None)
        return message_name(listener, key[PREFIX_LENGTH]) or "unknown" if len(key) > PREFIX_LENGTH else "unknown"

    def handler_was_slow(self, since: float) -> bool:
        """Whether a handler that was slow ended after ``since``, a time of the monotonic clock."""
        if not self.meter.slow:
            return False
        when, *_ = self.meter.slow[-1]
        return clock.monotonic_of(when) >= since

    def overlays(self) -> list[OverlayTraffic]:
        """The traffic of each overlay, and of what else listens to a prefix."""
        by_prefix: dict[bytes, list[tuple[bytes, MessageCount]]] = {}
        for key, count in tuple(self.meter.counts.items()):
            by_prefix.setdefault(key[:PREFIX_LENGTH], []).append((key, count))
        drops = self._drops_by_prefix()
        found = [OverlayTraffic(entry.id, entry.name, _messages(entry.listener, by_prefix.pop(entry.prefix, ())),
                                dict(drops.get(entry.prefix, {}))) for entry in listeners_of(self._node)]
        rest = MessageCount()
        for counts in by_prefix.values():
            for _, count in counts:
                rest.merge(count)
        if rest.packets_up or rest.packets_down:
            found.append(OverlayTraffic("", "others", [MessageTraffic(UNKNOWN, "unknown", rest)], {}))
        return found

    def _drops_by_prefix(self) -> dict[bytes, Counter[str]]:
        """The drops of all that listen to a prefix; each listener counts for the first of its prefixes."""
        drops = {id(owner): counted for owner, counted in drops_of(self._node)}
        found: dict[bytes, Counter[str]] = {}
        for entry in listening_of(self._node):
            found.setdefault(entry.prefix, Counter()).update(drops.pop(id(entry.listener), {}))
        return found

    def totals(self) -> Iterator[tuple[str, str, int, str, int, int, int, int]]:
        """For each message: id and name of its overlay, its id and name, packets up and down, and bytes up and down."""
        for overlay in self.overlays():
            for message in overlay.messages:
                count = message.counted
                yield (overlay.id, overlay.name, message.id, message.name, count.packets_up, count.packets_down,
                       count.bytes_up, count.bytes_down)


def _messages(listener: Any, counts: Any) -> list[MessageTraffic]:
    """The messages of a listener by their ids, of which those without a handler are one."""
    found = []
    rest = MessageCount()
    for key, count in sorted(counts, key=lambda entry: entry[0]):
        number = key[PREFIX_LENGTH] if len(key) > PREFIX_LENGTH else UNKNOWN
        name = message_name(listener, number)
        if name is None:
            rest.merge(count)
        else:
            found.append(MessageTraffic(number, name, count))
    if rest.packets_up or rest.packets_down:
        found.append(MessageTraffic(UNKNOWN, "unknown", rest))
    return found


def message_name(listener: Any, number: int) -> str | None:
    """The name of a message; ``None`` if nothing handles it."""
    if isinstance(listener, SessionService):
        return DATAGRAMS.get(number)
    table = getattr(listener, "_table", None)  # of what listens besides overlays
    handlers = table.handlers if isinstance(table, MessageTable) else getattr(listener, "decode_map", None)
    if handlers is None:
        return f"message {number}" if number >= 0 else None
    handler = handlers[number] if number >= 0 else None
    name: str | None = None if handler is None else getattr(handler, "__name__", type(handler).__name__)
    return None if name is None or name == DEPRECATED else name.removeprefix("_")
