"""Streams of bytes for asyncio, over QUIC packets that something else carries (doc/protocol/tunnel_streams.md).

A :class:`StreamConnection` is given the packets that arrive, and gives away those to send. Its streams have awaitable
reads and writes with back-pressure from the reader at the other end: a writer waits while too much of what it wrote has
not been read there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

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
from .streams import CODE_INTERNAL, CODE_NONE, CODE_REFUSED, CODE_TOO_MANY, Stream, StreamLost, StreamReset

if TYPE_CHECKING:
    from collections.abc import Callable

    from .taskmanager import Timer

__all__ = ["Stream", "StreamConnection", "StreamLimits", "StreamLost", "StreamMemory", "StreamReset"]

FIRST_WINDOW = 262_144
"""Bytes of a stream that may be written and not yet read at the other end, at first."""
MAX_WINDOW = 8_388_608
"""The same when the reader is fast and the way is long; also the most that a stream holds for a reader."""
MAX_CONNECTION_BYTES = 16_777_216
"""Bytes of all streams of a connection that wait for readers of this node, and that wait for those of the other end."""
MAX_MEMORY = 67_108_864
"""The same for all connections that share a memory."""
SHARE_OF_FREE = 4
"""A connection may let a part of the memory wait that is one of this many parts of what is free."""
LEAST_SHARE = 16_384
"""Bytes that a connection may let wait although the memory is in use."""
MAX_STREAMS = 64
"""Streams of a connection that the other side has opened and that have not ended."""
BURST = 16
"""Packets that are sent before other work gets its turn."""
SHORTEST_TIMER = 0.001
"""Seconds until a deadline that has passed."""
KEEP_ALIVE_PART = 3
"""A connection with streams is silent for one of this many parts of its idle timeout at most."""

END = b"\x00"
"""The last byte of each direction of a stream, which is sent together with the end and is no data.

There are releases of QUIC libraries that do not repeat an end without data when it is lost.
"""
_RECORD = Struct(">QQ")
_CONTROL_STREAM = 0


class Timers(Protocol):
    """What makes the timers of connections, such as a task manager."""

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call ``callback`` after ``delay`` seconds."""


class StreamLimits(NamedTuple):
    """Limits of one connection.

    :param streams: streams that the other side may have open.
    :param first_window: bytes of a stream that wait for the reader at the other end, at first.
    :param max_window: the same at most.
    :param connection_bytes: the same for all streams together.
    :param idle_timeout: seconds; the one that the connection was made with.
    """

    streams: int = MAX_STREAMS
    first_window: int = FIRST_WINDOW
    max_window: int = MAX_WINDOW
    connection_bytes: int = MAX_CONNECTION_BYTES
    idle_timeout: float = 120.0


class StreamMemory:
    """The bytes that connections hold, together.

    What waits for readers here cannot be refused without an end of its stream. So when there is too much, the stream
    that holds the most, of the connection that holds the most, is reset. What waits for readers elsewhere makes writers
    wait, and those of a connection that holds much wait first.

    :param capacity: bytes.
    """

    def __init__(self, capacity: int = MAX_MEMORY) -> None:
        self.capacity = capacity
        self.received = 0
        self.sent = 0
        self._connections: set[StreamConnection] = set()

    def add(self, connection: StreamConnection) -> None:
        """Count what ``connection`` holds."""
        self._connections.add(connection)

    def remove(self, connection: StreamConnection) -> None:
        """Do not count ``connection`` any more."""
        self._connections.discard(connection)

    def share(self) -> int:
        """Bytes that one connection may have sent that nobody has read."""
        return max(LEAST_SHARE, (self.capacity - self.sent) // SHARE_OF_FREE)

    def shrink(self) -> None:
        """End streams until what they hold fits."""
        while self.received > self.capacity:
            largest = max(self._connections, key=lambda connection: connection.received)
            if not largest.drop_largest():
                return


class StreamConnection:
    """The streams of one QUIC connection.

    :param connection: the connection.
    :param send: called with each packet that is to be sent.
    :param tasks: makes the timers, such as a task manager. Its shutdown does not close the connection.
    :param on_stream: called with each stream that the other side has opened; without it, all are refused.
    :param on_closed: called once, when the connection has ended.
    :param limits: the limits of the connection.
    :param memory: the memory that it shares with others; by default it has one of its own.
    """

    def __init__(self, connection: QuicConnection, send: Callable[[bytes], None], tasks: Timers, *,
                 on_stream: Callable[[Stream], None] | None = None, on_closed: Callable[[], None] | None = None,
                 limits: StreamLimits | None = None, memory: StreamMemory | None = None) -> None:
        self.limits = limits or StreamLimits()
        self.memory = memory or StreamMemory()
        self.streams: dict[int, Stream] = {}
        self.received = 0
        self.sent = 0
        self.malformed = 0
        self._quic = connection
        self._send_packet = send
        self._tasks = tasks
        self._on_stream = on_stream
        self._on_closed = on_closed
        self._outgoing: deque[bytes] = deque()
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._flush_timer: Timer | None = None
        self._record = bytearray()
        self._held_reports: dict[int, int] | None = None if connection.is_client else {}
        self._last_heard = self._last_pinged = clock.monotonic()
        self._connected = asyncio.Event()
        self._last_remote = _CONTROL_STREAM
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
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._quic.is_closed

    @property
    def is_connected(self) -> bool:
        """Whether the handshake has ended and the connection has not."""
        return self._quic.is_connected and not self._quic.is_closed

    @property
    def is_full(self) -> bool:
        """Whether there are as many streams as there may be."""
        return len(self.streams) >= self.limits.streams

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
        :raises RuntimeError: on the server's side, or if there are too many streams.
        """
        if self.is_closed:
            raise StreamLost("the connection has ended")
        if not self._quic.is_client:
            raise RuntimeError("streams are opened by the client")
        if self.is_full:
            raise RuntimeError(f"there are {len(self.streams)} streams: wait until one has ended")
        stream = Stream(self, self._quic.open_stream())
        self.streams[stream.id] = stream
        return stream

    def is_of_another(self, packet: bytes) -> bool:
        """Whether a packet for this server is the first one of another connection."""
        return self._quic.is_of_another(packet)

    def receive(self, packet: bytes) -> None:
        """Process a packet of the other side."""
        now = self._last_heard = clock.monotonic()
        self._quic.receive(packet, now)
        self._handle()
        self._soon()

    def close(self, code: int = CODE_NONE) -> None:
        """End the connection and all its streams."""
        if not self.is_closed:
            for packet in self._quic.close(clock.monotonic(), code):
                self._send_packet(packet)
        self._handle()

    # Packets and time

    def flush(self) -> None:
        """Send what is to be sent, a burst at a time."""
        if self._flush_timer is None:
            self._flush()

    def _flush(self) -> None:
        self._flush_timer = None
        self._handle()
        if self.is_closed:
            return
        outgoing = self._outgoing
        outgoing.extend(self._quic.datagrams(clock.monotonic()))
        for _ in range(min(BURST, len(outgoing))):
            self._send_packet(outgoing.popleft())
        if outgoing:
            self._flush_timer = self._tasks.start_timer(0, self._flush)
        self._handle()
        if not self.is_closed:
            self._set_timer()

    def _set_timer(self) -> None:
        deadline = self._quic.deadline()
        now = clock.monotonic()
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
            self._set_timer()

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
        stream.feed(data, event.ended)
        if self.received > self.limits.connection_bytes:
            self.drop_largest()
        if self.memory.received > self.memory.capacity:
            self.memory.shrink()

    def _accept(self, stream_id: int) -> Stream | None:
        """The stream of that number, if the other side has just opened it."""
        if self._quic.is_client or stream_id % 4:  # not one that a client opens for both directions
            self._quic.stop(stream_id, CODE_REFUSED)
            return None
        if stream_id > self._last_remote:
            self._skipped.update(range(self._last_remote + 4, stream_id, 4))
            self._last_remote = stream_id
        elif stream_id in self._skipped:
            self._skipped.remove(stream_id)
        else:  # it has ended here
            return None
        if self._on_stream is None or self.is_full:
            code = CODE_REFUSED if self._on_stream is None else CODE_TOO_MANY
            self._quic.stop(stream_id, code)
            self._quic.reset(stream_id, code)
            return None
        stream = self.streams[stream_id] = Stream(self, stream_id)
        self._on_stream(stream)
        return stream

    def _on_control(self, data: bytes, ended: bool) -> None:
        self._send_held_reports()
        record = self._record
        record += data
        whole = len(record) - len(record) % _RECORD.size
        for stream_id, consumed in _RECORD.iter_unpack(bytes(record[:whole])):
            stream = self.streams.get(stream_id)
            if stream is not None and not stream.on_report(consumed):
                self.malformed += 1
                self.close(CODE_INTERNAL)
                return
        del record[:whole]
        if ended:
            self.malformed += 1
            self.close(CODE_INTERNAL)

    def _on_end_of_stream(self, event: ResetEvent | StreamStop) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
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
        self._quic.send(stream.id, data)
        self._soon()

    def end(self, stream: Stream) -> None:
        """Send the end of a stream."""
        self._quic.send(stream.id, END, True)
        self._soon()

    def _soon(self) -> None:
        """Send packets when what is running now has done all it does."""
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

    def retire(self, stream: Stream) -> None:
        """Remove a stream that is over."""
        if stream.is_over:
            self.streams.pop(stream.id, None)

    def forget(self, stream: Stream) -> None:
        """Remove a stream that has failed, with all that it holds."""
        self.streams.pop(stream.id, None)
        self.on_consumed(stream.waiting)
        self.forget_unread(stream)

    def drop_largest(self) -> bool:
        """End the stream that holds the most for a reader of this node; ``False`` if none holds anything."""
        largest = max(self.streams.values(), key=lambda stream: stream.waiting, default=None)
        if largest is None or not largest.waiting:
            return False
        largest.reset(CODE_TOO_MANY)
        return True

