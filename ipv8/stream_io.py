"""Streams of bytes for asyncio, over QUIC packets that something else carries (doc/protocol/tunnel_streams.md).

A :class:`StreamConnection` is given the packets that arrive, and gives away those to send. Its streams have awaitable
reads and writes with back-pressure from the reader at the other end: a writer waits while too much of what it wrote has
not been read there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, Protocol

from . import clock
from .messaging.session.quic import (
    Connected,
    Disconnected,
    QuicConnection,
    QuicEvent,
    StreamData,
    StreamReset as ResetEvent,
    StreamStop,
)
from .stream_limits import StreamLimits, StreamMemory
from .stream_statistics import StreamCounters
from .streams import CODE_INTERNAL, CODE_NONE, CODE_REFUSED, CODE_TOO_MANY, Stream, StreamLost, StreamReset

if TYPE_CHECKING:
    from collections.abc import Callable

    from .taskmanager import Timer

__all__ = ["Stream", "StreamConnection", "StreamLimits", "StreamLost", "StreamMemory", "StreamReset"]

BURST = 48
"""Packets that are sent by one call."""
BURST_TIME = 0.001
"""Seconds for which packets are sent before other work gets its turn."""
SHORTEST_TIMER = 0.001
"""Seconds until a deadline that has passed."""
LOOK_INTERVAL = 0.001
"""Seconds between two looks for what received packets make the library send, where nothing waits to be sent.

The libraries acknowledge what arrives after the same time.
"""
KEEP_ALIVE_PART = 3
"""A connection with streams is silent for one of this many parts of its idle timeout at most."""

END = b"\x00"
"""The last byte of each direction of a stream, which is sent together with the end and is no data.

There are releases of QUIC libraries that do not repeat an end without data when it is lost.
"""
_RECORD = Struct(">QQ")
_CONTROL_STREAM = 0
CLIENTS_STREAMS, SERVERS_STREAMS, STREAM_STEP = 0, 1, 4
"""The first streams for both directions that each side opens, and what is between two (RFC 9000 section 2.1)."""


class Timers(Protocol):
    """What makes the timers of connections, such as a task manager."""

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call ``callback`` after ``delay`` seconds."""


class StreamConnection:
    """The streams of one QUIC connection.

    :param connection: the connection.
    :param send: called with each packet that is to be sent.
    :param tasks: makes the timers, such as a task manager. Its shutdown does not close the connection.
    :param on_stream: called with each stream that the other side has opened; without it, all are refused.
    :param send_many: called instead of ``send`` with a burst of packets.
    :param both_open: whether both sides open streams, and not the client alone.
    :param on_change: called when a stream was opened or is over.
    :param on_closed: called once, when the connection has ended.
    :param limits: the limits of the connection.
    :param memory: the memory that it shares with others; by default it has one of its own.
    :param counters: where it counts what goes through it; by default it has some of its own.
    """

    def __init__(self, connection: QuicConnection, send: Callable[[bytes], None], tasks: Timers, *,
                 on_stream: Callable[[Stream], None] | None = None, on_closed: Callable[[], None] | None = None,
                 send_many: Callable[[list[bytes]], None] | None = None, both_open: bool = False,
                 on_change: Callable[[], None] | None = None, limits: StreamLimits | None = None,
                 memory: StreamMemory | None = None, counters: StreamCounters | None = None) -> None:
        self.limits = limits or StreamLimits()
        self.memory = memory or StreamMemory()
        self.counters = counters or StreamCounters()
        self.streams: dict[int, Stream] = {}
        self.received = 0
        self.sent = 0
        self.malformed = 0
        self._quic = connection
        self._send_packet = send
        self._send_many = send_many
        self._tasks = tasks
        self._on_stream = on_stream
        self._on_closed = on_closed
        self._on_change = on_change
        self._may_open = connection.is_client or both_open
        self._outgoing: deque[bytes] = deque()
        #: Whether something was given to the library since packets were last taken from it, and when that was.
        self._has_news = True
        self._looked_at = clock.monotonic()
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._flush_timer: Timer | None = None
        self._record = bytearray()
        self._held_reports: dict[int, int] | None = None if connection.is_client else {}
        self._last_heard = self._last_pinged = clock.monotonic()
        #: Whether it was ended because the other side did what is not allowed.
        self.broke_rules = False
        #: When the handshake had ended.
        self.connected_at: float | None = None
        self._connected = asyncio.Event()
        self._first_remote = SERVERS_STREAMS if connection.is_client else CLIENTS_STREAMS
        self._takes_streams = both_open or not connection.is_client
        self._last_remote = _CONTROL_STREAM if not connection.is_client else SERVERS_STREAMS - STREAM_STEP
        self._skipped: set[int] = set()
        self._has_ended = False
        self.memory.add(self)
        if connection.is_client:
            control = connection.open_stream()
            assert control == _CONTROL_STREAM, "the control stream is the first one"
            connection.send(control, _RECORD.pack(_CONTROL_STREAM, 0))
            self.flush()

    # For the owner

    @property
    def is_client(self) -> bool:
        """Whether this side has begun the connection."""
        return self._quic.is_client

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._quic.is_closed

    @property
    def is_connected(self) -> bool:
        """Whether the handshake has ended and the connection has not."""
        return self._quic.is_connected and not self._quic.is_closed

    @property
    def is_full(self) -> bool:
        """Whether this side has opened as many streams as it may."""
        return sum(self._is_own(stream_id) for stream_id in self.streams) >= self.limits.streams

    def _is_own(self, stream_id: int) -> bool:
        """Whether this side has opened a stream."""
        return stream_id % STREAM_STEP != self._first_remote

    @property
    def _accepted(self) -> int:
        """How many streams the other side has opened that it does not know to be over."""
        return sum(not self._is_own(stream_id) and stream.ends != (True, True)
                   for stream_id, stream in self.streams.items())

    async def wait_connected(self) -> None:
        """Wait for the end of the handshake.

        :raises StreamLost: if the connection has ended.
        """
        await self._connected.wait()
        if self.is_closed:
            raise StreamLost("the connection has ended")

    def open(self) -> Stream:
        """A new stream. Bytes may be written before the handshake has ended; they wait for it.

        :raises StreamLost: if the connection has ended.
        :raises RuntimeError: if there are too many streams, or the other side alone opens them.
        """
        if self.is_closed:
            raise StreamLost("the connection has ended")
        if not self._may_open:
            raise RuntimeError("streams are opened by the client")
        if self.is_full:
            raise RuntimeError(f"there are {self.limits.streams} streams: wait until one has ended")
        return self._add(self._quic.open_stream())

    def _add(self, stream_id: int) -> Stream:
        stream = self.streams[stream_id] = Stream(self, stream_id)
        self._changed()
        return stream

    def _remove(self, stream: Stream) -> None:
        if self.streams.pop(stream.id, None) is not None:
            self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def is_of_another(self, packet: bytes) -> bool:
        """Whether a packet is the first one of a client to which this connection does not belong."""
        return self._quic.is_of_another(packet)

    def receive(self, packet: bytes, now: float | None = None) -> None:
        """Process a packet of the other side.

        :param now: the time by the monotonic clock, if the caller knows it.
        """
        if now is None:
            now = clock.monotonic()
        self._last_heard = now
        self.counters.packets_down += 1
        self._quic.receive(packet, now)
        if self._flush_timer is None and not self._has_ended:
            self._flush_timer = self._tasks.start_timer(0, self._flush)

    def close(self, code: int = CODE_NONE, reason: str = "") -> None:
        """End the connection and all its streams.

        :param reason: for the errors of the streams; the other side gets it too.
        """
        if not self.is_closed:
            self._send_burst(self._quic.close(clock.monotonic(), code, reason))
        self._handle()

    # Packets and time

    def flush(self) -> None:
        """Send what is to be sent, a burst at a time."""
        self._has_news = True
        if self._flush_timer is None:
            self._flush()

    def _flush(self) -> None:
        self._flush_timer = None
        self._handle()
        if self.is_closed:
            return
        now = clock.monotonic()
        outgoing = self._outgoing
        if not outgoing:
            if not self._may_send(now):
                self._set_timer(now, self._looked_at + LOOK_INTERVAL)
                return
            self._has_news, self._looked_at = False, now
            outgoing.extend(self._quic.datagrams(now))
        is_sending = bool(outgoing)
        while outgoing:
            self._send_burst([outgoing.popleft() for _ in range(min(BURST, len(outgoing)))])
            if clock.monotonic() >= now + BURST_TIME:
                break
        if outgoing:  # nothing is due before they are sent
            self._flush_timer = self._tasks.start_timer(0, self._flush)
            return
        self._handle()
        if self.is_closed:
            return
        deadline = self._quic.deadline()
        if is_sending and deadline is not None and deadline < now + SHORTEST_TIMER:
            # The library spreads packets over less time than a timer takes.
            self._soon()
        else:
            self._set_timer(now)

    def _send_burst(self, packets: list[bytes]) -> None:
        self.counters.packets_up += len(packets)
        if self._send_many is not None and len(packets) > 1:
            self._send_many(packets)
        else:
            for packet in packets:
                self._send_packet(packet)

    def _may_send(self, now: float) -> bool:
        """Whether the library may have packets to send.

        It may if something was given to it, or if what was given to it may be waiting for packets that have arrived.
        Otherwise there are only acknowledgements, which need not leave at once.
        """
        if self._has_news or self.sent > 0 or now >= self._looked_at + LOOK_INTERVAL or not self._quic.is_connected:
            return True
        deadline = self._quic.deadline()
        return deadline is not None and deadline <= now

    def _set_timer(self, now: float, latest: float | None = None) -> None:
        """Wait for the next deadline, but not longer than until ``latest``."""
        if self._timer is not None and self._timer_at <= now + SHORTEST_TIMER:
            return  # it looks again then
        deadline = latest if latest is not None else self._quic.deadline()
        if self.streams and self._quic.is_connected:
            alive = max(self._last_heard, self._last_pinged) + self.limits.idle_timeout / KEEP_ALIVE_PART
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
        if self.streams and (max(self._last_heard, self._last_pinged)
                             + self.limits.idle_timeout / KEEP_ALIVE_PART <= now):
            self._last_pinged = now
            self._quic.ping()
        self._handle()
        self.flush()
        if self._timer is None and not self.is_closed:
            self._set_timer(now)

    # Events

    def _handle(self) -> None:
        for event in self._quic.events():
            self._handle_one(event)

    def _handle_one(self, event: QuicEvent) -> None:
        if self._has_ended:
            return
        if isinstance(event, StreamData):
            self._on_data(event)
        elif isinstance(event, Connected):
            self.connected_at = clock.monotonic()
            self._connected.set()
        elif isinstance(event, Disconnected):
            self._end(f"the connection has ended: {event.reason or f'code {event.code}'}")
        elif isinstance(event, (ResetEvent, StreamStop)):
            self._on_end_of_stream(event)

    def _on_data(self, event: StreamData) -> None:
        if event.stream_id == _CONTROL_STREAM:
            self._on_control(event.data, event.ended)
            return
        stream = self.streams.get(event.stream_id) or self._accept(event.stream_id)
        if stream is None:
            return
        if stream.waiting + len(event.data) > self.limits.max_window:
            stream.reset(CODE_TOO_MANY)
            return
        if stream.ends[0]:
            return  # said again
        if event.ended and event.data[-1:] != END:
            self.malformed += 1
            stream.reset(CODE_INTERNAL)
            return
        data = event.data[:-1] if event.ended else event.data
        self.received += len(data)
        self.memory.received += len(data)
        self.counters.bytes_down += len(data)
        stream.feed(data, event.ended)
        if self.received > self.limits.connection_bytes:
            self.drop_largest()
        if self.memory.received > self.memory.capacity:
            self.memory.shrink()

    def _accept(self, stream_id: int) -> Stream | None:
        """The stream of that number, if the other side has just opened it."""
        if not self._takes_streams or self._is_own(stream_id):
            self._quic.stop(stream_id, CODE_REFUSED)
            return None
        if not self._is_first_sight(stream_id):  # it has ended here
            return None
        if self._on_stream is None or self._accepted >= self.limits.streams:
            code = CODE_REFUSED if self._on_stream is None else CODE_TOO_MANY
            self._quic.stop(stream_id, code)
            self._quic.reset(stream_id, code)
            return None
        stream = self._add(stream_id)
        self._on_stream(stream)
        return stream

    def _is_first_sight(self, stream_id: int) -> bool:
        """Whether nothing was known of a stream of the other side until now."""
        if stream_id > self._last_remote:
            self._skipped.update(range(self._last_remote + STREAM_STEP, stream_id, STREAM_STEP))
            self._last_remote = stream_id
            return True
        if stream_id in self._skipped:
            self._skipped.remove(stream_id)
            return True
        return False

    def _on_control(self, data: bytes, ended: bool) -> None:
        self._send_held_reports()
        record = self._record
        record += data
        whole = len(record) - len(record) % _RECORD.size
        for stream_id, consumed in _RECORD.iter_unpack(bytes(record[:whole])):
            stream = self.streams.get(stream_id)
            if stream is not None and not stream.on_report(consumed):
                self._on_broken_rule()
                return
        del record[:whole]
        if ended:
            self._on_broken_rule()

    def _on_broken_rule(self) -> None:
        """End the connection, as the other side does what is not allowed."""
        self.malformed += 1
        self.broke_rules = True
        self.close(CODE_INTERNAL)

    def _on_end_of_stream(self, event: ResetEvent | StreamStop) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            if not self._is_own(event.stream_id) and self._is_first_sight(event.stream_id):
                # It was given up before any byte came.
                self._quic.reset(event.stream_id, event.code)
                self._quic.stop(event.stream_id, event.code)
            return
        if isinstance(event, StreamStop):
            self._quic.reset(stream.id, event.code)
            stream.on_stop(event.code)
        else:
            self._quic.reset(stream.id, event.code)
            stream.fail(StreamReset(event.code))

    def _end(self, reason: str) -> None:
        """The connection has ended."""
        self._has_ended = True
        for timer in (self._timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._flush_timer = None
        self._outgoing.clear()
        for stream in list(self.streams.values()):
            stream.fail(StreamLost(reason))
        self.memory.remove(self)
        self._connected.set()
        if self._on_closed is not None:
            self._on_closed()

    # Called by streams

    def send(self, stream: Stream, data: bytes) -> None:
        """Send bytes of a stream."""
        if self.is_closed:
            raise StreamLost("the connection has ended")
        self.sent += len(data)
        self.memory.sent += len(data)
        self.counters.bytes_up += len(data)
        self._quic.send(stream.id, data)
        self._soon()

    def end(self, stream: Stream) -> None:
        """Send the end of a stream."""
        self._quic.send(stream.id, END, True)
        self._soon()

    def _soon(self) -> None:
        """Send what was given to the library when what is running now has done all it does."""
        self._has_news = True
        if self._flush_timer is None and not self._has_ended:
            self._flush_timer = self._tasks.start_timer(0, self._flush)

    def room(self) -> int:
        """Bytes that may be written on any stream."""
        return min(self.limits.connection_bytes, self.memory.share()) - self.sent

    def report(self, stream_id: int, consumed: int) -> None:
        """Tell the other end how much was read of a stream."""
        if self._held_reports is not None:
            self._held_reports[stream_id] = consumed
        elif not self.is_closed:
            self._quic.send(_CONTROL_STREAM, _RECORD.pack(stream_id, consumed))
            self._soon()

    def _send_held_reports(self) -> None:
        """The server sends reports when it has seen the control stream."""
        held, self._held_reports = self._held_reports, None
        for stream_id, consumed in (held or {}).items():
            self.report(stream_id, consumed)

    def on_consumed(self, size: int) -> None:
        """Bytes that waited here were read."""
        self.received -= size
        self.memory.received -= size

    def on_read_there(self, size: int) -> None:
        """Bytes that were sent were read at the other end."""
        self.sent -= size
        self.memory.sent -= size
        for stream in self.streams.values():
            stream.wake()

    def forget_unread(self, stream: Stream) -> None:
        """Do not wait for the other end to read what was sent on a stream."""
        unread = stream.forget_unread()
        if unread:
            self.on_read_there(unread)

    def reset(self, stream: Stream, code: int) -> None:
        """End both directions of a stream early."""
        received, sent = stream.ends
        if not sent or stream.unread:
            self._quic.reset(stream.id, code)
        if not received:
            self._quic.stop(stream.id, code)
        self._soon()

    def stop(self, stream: Stream, code: int) -> None:
        """Ask the other side not to send the rest of a stream."""
        self._quic.stop(stream.id, code)
        self._soon()

    def retire(self, stream: Stream) -> None:
        """Remove a stream that is over."""
        if stream.is_over:
            self._remove(stream)

    def forget(self, stream: Stream) -> None:
        """Remove a stream that has failed, with all that it holds."""
        self.on_consumed(stream.waiting)
        self.forget_unread(stream)
        self._remove(stream)

    def drop_largest(self) -> bool:
        """End the stream that holds the most for a reader of this node; ``False`` if none holds anything."""
        largest = max(self.streams.values(), key=lambda stream: stream.waiting, default=None)
        if largest is None or not largest.waiting:
            return False
        largest.reset(CODE_TOO_MANY)
        return True

