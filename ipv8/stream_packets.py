"""When the packets of a QUIC connection are sent, and what is done when its timers are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from . import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from .messaging.session.quic import QuicConnection
    from .stream_limits import StreamLimits
    from .stream_statistics import StreamCounters
    from .taskmanager import Timer

__all__ = ["PacketOwner", "StreamPackets", "Timers"]

BURST = 48
"""Packets that are sent by one call."""
BURST_TIME = 0.001
"""Seconds for which packets are sent before other work gets its turn."""
SHORTEST_TIMER = 0.001
"""Seconds until a deadline that has passed."""
LOOK_AFTER = 0.001
"""Seconds after which it is looked for what received packets make the library send, where nothing waits to be sent.

The libraries acknowledge what arrives after the same time.
"""
BUSY_PACKETS = 32
BUSY_LOOK_AFTER = 0.002
"""The same where at least so many packets have arrived. To acknowledge more of them together takes less time."""
MANY_PACKETS = 128
"""When so many packets have arrived, nothing is waited for."""
KEEP_ALIVE_PART = 3
"""A connection with streams is silent for one of this many parts of its idle timeout at most."""


class Timers(Protocol):
    """What makes the timers of connections, such as a task manager."""

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call ``callback`` after ``delay`` seconds."""


class PacketOwner(Protocol):
    """What the packets of a connection belong to."""

    #: What counts them.
    counters: StreamCounters
    limits: StreamLimits
    #: Bytes that were written and not yet read at the other end.
    sent: int

    @property
    def streams(self) -> Collection[int]:
        """The numbers of its streams; with some of them, the connection is kept alive."""

    def handle_events(self) -> bool:
        """Act on the events of the library; whether there were some."""


class StreamPackets:
    """The packets of a connection that arrive and leave, and its timers.

    :param owner: is asked what there is to send, and acts on the events of the library.
    :param quic: the library.
    :param send: called with each packet that is to be sent.
    :param send_many: called instead of ``send`` with a burst of packets.
    :param tasks: makes the timers.
    """

    def __init__(self, owner: PacketOwner, quic: QuicConnection, send: Callable[[bytes], None],
                 send_many: Callable[[list[bytes]], None] | None, tasks: Timers) -> None:
        self._owner = owner
        self._quic = quic
        self._send = send
        self._send_many = send_many
        self._tasks = tasks
        #: Packets of the library that were not sent yet.
        self._outgoing: list[bytes] = []
        #: Whether something was given to the library, since packets were last taken from it, that is to be sent soon.
        self._has_news = True
        #: How many packets have arrived since then, and when the first of them did.
        self._arrived = 0
        self._arrived_at = 0.0
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._flush_timer: Timer | None = None
        #: Whether sending was put off, so that others run at first.
        self._lets_others_run = False
        self._last_heard = self._last_pinged = clock.monotonic()
        self._has_ended = False

    @property
    def is_busy(self) -> bool:
        """Whether many packets have arrived that are to be acknowledged soon."""
        return self._arrived >= BUSY_PACKETS

    def receive(self, packet: bytes, now: float) -> None:
        """Process a packet of the other side."""
        self._quic.receive(packet, now)
        self._note_arrived(1, now)

    def receive_many(self, packets: Iterable[bytes], now: float) -> None:
        """Process several ones that came together; see ``QuicConnection.receive_many``."""
        self._note_arrived(self._quic.receive_many(packets, now), now)

    def _note_arrived(self, count: int, now: float) -> None:
        if not self._arrived:
            self._arrived_at = now
        self._arrived += count
        self._last_heard = now
        self._owner.counters.packets_down += count
        self._flush_soon()

    def end(self) -> None:
        """Send nothing any more, and stop the timers."""
        self._has_ended = True
        for timer in (self._timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._flush_timer = None
        self._outgoing = []

    # Sending

    def flush(self) -> None:
        """Send what is to be sent, a burst at a time."""
        self._has_news = True
        if self._flush_timer is None:
            self._flush()

    def soon(self) -> None:
        """Send what was given to the library when what is running now has done all it does."""
        self._has_news = True
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flush_timer is None and not self._has_ended:
            self._flush_timer = self._tasks.start_timer(0, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        self._lets_others_run = self._owner.handle_events() and not self._lets_others_run
        if self._quic.is_closed:
            return
        if self._lets_others_run:
            # Those who wait for what has arrived read and write at first. What they cause is sent together.
            self._flush_soon()
            return
        now = clock.monotonic()
        packets = self._outgoing
        if not packets:
            look_at = self._look_at()
            if look_at is None or look_at > now:
                self._set_timer(now, self._quic.deadline() if look_at is None else look_at)
                return
            self._has_news, self._arrived = False, 0
            packets = self._quic.datagrams(now)
        for start in range(0, len(packets), BURST):
            self.send(packets[start:start + BURST])
            if start + BURST < len(packets) and clock.monotonic() >= now + BURST_TIME:
                # Nothing is due before the others are sent.
                self._outgoing = packets[start + BURST:]
                self._flush_soon()
                return
        self._outgoing = []
        self._owner.handle_events()
        if self._quic.is_closed:
            return
        deadline = self._quic.deadline()
        if packets and deadline is not None and deadline < now + SHORTEST_TIMER:
            # The library spreads packets over less time than a timer takes.
            self.soon()
        else:
            self._set_timer(now, deadline)

    def send(self, packets: list[bytes]) -> None:
        """Send a burst of packets now."""
        self._owner.counters.packets_up += len(packets)
        if self._send_many is not None and len(packets) > 1:
            self._send_many(packets)
        else:
            for packet in packets:
                self._send(packet)

    def _look_at(self) -> float | None:
        """When the library may have packets to send, maybe in the past; ``None`` if not before its deadline.

        That is now if something was given to it, or if what was given to it may be waiting for packets that have
        arrived. Otherwise there are only acknowledgements, which need not leave at once.
        """
        if self._has_news or self._owner.sent > 0 or not self._quic.is_connected:
            return 0.0
        if not self._arrived:
            return None
        if self._arrived >= MANY_PACKETS:
            return 0.0
        return self._arrived_at + (BUSY_LOOK_AFTER if self.is_busy else LOOK_AFTER)

    # Timers

    def _alive_until(self) -> float:
        """When the other side has to be told that this one is there."""
        return max(self._last_heard, self._last_pinged) + self._owner.limits.idle_timeout / KEEP_ALIVE_PART

    def _set_timer(self, now: float, deadline: float | None) -> None:
        """Look again at this deadline, or when something else is due."""
        if self._timer is not None and self._timer_at <= now + SHORTEST_TIMER:
            return  # it looks again then
        if self._owner.streams and self._quic.is_connected:
            alive = self._alive_until()
            deadline = alive if deadline is None else min(alive, deadline)
        if deadline is None:
            return
        deadline = max(deadline, now + SHORTEST_TIMER)
        if self._timer is not None:
            if self._timer_at <= deadline:
                return  # it looks again then
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._tasks.start_timer(deadline - now, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = clock.monotonic()
        deadline = self._quic.deadline()
        if deadline is not None and deadline <= now:
            self._quic.tick(now)
            self._has_news = self._has_news or not self._arrived  # otherwise they are acknowledged soon
        if self._owner.streams and self._alive_until() <= now:
            self._last_pinged = now
            self._quic.ping()
            self._has_news = True
        if self._flush_timer is None:
            self._flush()
