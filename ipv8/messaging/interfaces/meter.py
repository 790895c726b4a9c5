"""Counts what an endpoint receives and sends, and the time that handlers take, for each prefix and message id."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ... import clock
from .routes import SOCKET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..address import Address
    from .gate import Gate
    from .routes import Route

__all__ = ["BOUNDS", "MessageCount", "TrafficMeter", "metered_receive", "metered_send", "metered_send_many"]

BOUNDS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the buckets in which the times of handlers are counted, in seconds; the last bucket has none."""

MAX_COUNTS = 16384
"""Prefixes with message ids that are counted by themselves; packets of further ones are counted together."""

SLOW_SECONDS = 0.05
"""Seconds from which on a handler is slow."""

MAX_SLOW = 100
"""Slow handlers that are remembered; the oldest is forgotten first."""

OTHER = b""
"""The key of the packets that nobody has registered a prefix for."""

Receive = Callable[["tuple[Address, bytes]", "Route"], None]


class MessageCount:
    """What is counted of one message.

    The times of handlers include what a packet contained: a message in a session is part of the session's packet.
    """

    __slots__ = ("buckets", "bytes_down", "bytes_up", "longest", "packets_down", "packets_up", "seconds")

    def __init__(self) -> None:
        self.packets_up = 0
        self.packets_down = 0
        self.bytes_up = 0
        self.bytes_down = 0
        #: How many handlers took at most the time of each of :data:`BOUNDS`, and more than that of the one before.
        self.buckets = [0] * (len(BOUNDS) + 1)
        #: Seconds of all handlers.
        self.seconds = 0.0
        #: Seconds of the one that took longest.
        self.longest = 0.0

    def merge(self, other: MessageCount) -> None:
        """Add the counts of another message."""
        self.packets_up += other.packets_up
        self.packets_down += other.packets_down
        self.bytes_up += other.bytes_up
        self.bytes_down += other.bytes_down
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)

    def quantile(self, part: float) -> float | None:
        """The time that this part of the handlers did not exceed, by the buckets; ``None`` if there were none."""
        wanted = part * sum(self.buckets)
        reached = 0
        for index, number in enumerate(self.buckets):
            reached += number
            if number and reached >= wanted:
                return min(self.longest, BOUNDS[index]) if index < len(BOUNDS) else self.longest
        return None


class TrafficMeter:
    """The counts of an endpoint: assign one to ``endpoint.gate.meter``, and ``None`` to stop.

    A packet is counted under its own prefix, and so is what it contained: a message in a session, a packet that a relay
    or a circuit brought.
    """

    def __init__(self) -> None:
        #: The counts by prefix and message id, which are one key; that of all others is empty.
        self.counts: dict[bytes, MessageCount] = {OTHER: MessageCount()}
        #: Of these counts, what travelled inside of other packets.
        self.inside = MessageCount()
        #: The calls of ``send`` that were counted.
        self.calls = 0
        #: Slow handlers: when they ended in seconds since the Unix epoch, how long they took, and their keys.
        self.slow: deque[tuple[float, float, bytes]] = deque(maxlen=MAX_SLOW)
        #: How many slow handlers there were.
        self.slow_count = 0

    def count_of(self, key: bytes, known: bool) -> MessageCount:
        """The counts of a prefix and message id, which are made if they are ``known`` to somebody."""
        count = self.counts.get(key)
        if count is None:
            if not known or len(self.counts) >= MAX_COUNTS:
                return self.counts[OTHER]
            count = self.counts[key] = MessageCount()
        return count

    def note_handled(self, key: bytes, count: MessageCount, seconds: float) -> None:
        """Note how long the handling of a message took."""
        count.buckets[bisect_left(BOUNDS, seconds)] += 1
        count.seconds += seconds
        count.longest = max(count.longest, seconds)
        if seconds >= SLOW_SECONDS:
            self.slow.append((clock.time(), seconds, key))
            self.slow_count += 1

    def count_queued(self, key: bytes, packets: int, size: int) -> None:
        """Count packets of a socket that a listener has put into a queue. The time of their handling is not noted.

        :param key: their prefix and message id.
        :param size: the bytes of all of them.
        """
        count = self.count_of(key, known=True)
        count.packets_down += packets
        count.bytes_down += size

    def count_inside(self, key: bytes, size: int) -> None:
        """Count a message that is about to be sent inside of something else.

        :param key: its prefix and message id.
        """
        for count in (self.count_of(key, known=True), self.inside):
            count.packets_up += 1
            count.bytes_up += size

    def totals(self) -> MessageCount:
        """The sum of what went through sockets, without what travelled inside of other packets."""
        total = MessageCount()
        for count in self.counts.values():
            total.packets_up += count.packets_up
            total.packets_down += count.packets_down
            total.bytes_up += count.bytes_up
            total.bytes_down += count.bytes_down
        inside = self.inside
        total.packets_up -= inside.packets_up
        total.packets_down -= inside.packets_down
        total.bytes_up -= inside.bytes_up
        total.bytes_down -= inside.bytes_down
        return total

    def measure(self, key: bytes, size: int, call: Callable[..., Any], *arguments: Any) -> None:
        """Count a message that came inside of something else, and the time that ``call(*arguments)`` takes."""
        count = self.count_of(key, known=True)
        for counted in (count, self.inside):
            counted.packets_down += 1
            counted.bytes_down += size
        started = clock.monotonic()
        try:
            call(*arguments)
        finally:
            self.note_handled(key, count, clock.monotonic() - started)


def metered_receive(gate: Gate, receive: Receive, meter: TrafficMeter) -> Receive:
    """What does the same as ``receive``, and counts."""
    find, inside = meter.counts.get, meter.inside
    monotonic = clock.monotonic

    def receive_and_count(packet: tuple[Address, bytes], route: Route) -> None:
        started = monotonic()
        try:
            receive(packet, route)
        finally:
            seconds = monotonic() - started
            data = packet[1]
            size = len(data)
            key = data[:gate.prefixlen + 1]
            count = find(key) or meter.count_of(key, data[:gate.prefixlen] in gate.entries and size > gate.prefixlen)
            count.packets_down += 1
            count.bytes_down += size
            if route is not SOCKET:
                inside.packets_down += 1
                inside.bytes_down += size
            # As note_handled does, without the time that the call takes.
            count.buckets[bisect_left(BOUNDS, seconds)] += 1
            count.seconds += seconds
            if seconds > count.longest:  # noqa: PLR1730 - half the time of max()
                count.longest = seconds
            if seconds >= SLOW_SECONDS:
                meter.slow.append((clock.time(), seconds, key))
                meter.slow_count += 1

    return receive_and_count


def metered_send(gate: Gate, send: Callable[..., None], meter: TrafficMeter) -> Callable[..., None]:
    """What does the same as ``send`` of the endpoint that owns ``gate``, and counts what it is told to send."""
    find, inside = meter.counts.get, meter.inside
    routes = gate.owner.routes

    def send_and_count(socket_address: Any, packet: Any, *args: Any, **kwargs: Any) -> None:
        send(socket_address, packet, *args, **kwargs)
        meter.calls += 1
        try:
            size = len(packet)
            key = packet[:gate.prefixlen + 1]
            count = find(key)
        except TypeError:  # no bytes: the endpoint has counted it as malformed
            return
        if count is None:
            count = meter.count_of(key, key[:-1] in gate.entries and size > gate.prefixlen)
        count.packets_up += 1
        count.bytes_up += size
        if type(socket_address) in routes:
            inside.packets_up += 1
            inside.bytes_up += size

    return send_and_count


def metered_send_many(gate: Gate, send_many: Callable[..., None], meter: TrafficMeter) -> Callable[..., None]:
    """What does the same as ``send_many`` of the endpoint that owns ``gate``, and counts."""
    def send_many_and_count(socket_address: Any, packets: Sequence[bytes]) -> None:
        calls = meter.calls
        send_many(socket_address, packets)
        if meter.calls == calls:  # none of them went through send, which counts
            for packet in packets:
                key = packet[:gate.prefixlen + 1]
                count = meter.count_of(key, key[:-1] in gate.entries and len(packet) > gate.prefixlen)
                count.packets_up += 1
                count.bytes_up += len(packet)

    return send_many_and_count
