"""Streams of bytes for asyncio, over QUIC packets that something else carries (doc/protocol/tunnel_streams.md).

A :class:`StreamConnection` is given the packets that arrive, and gives away those to send. Its streams have awaitable
reads and writes with back-pressure from the reader at the other end: a writer waits while too much of what it wrote has
not been read there.
"""

from __future__ import annotations

import asyncio
from struct import Struct
from typing import TYPE_CHECKING

from . import clock
from .limits import BoundedDict
from .messaging.session.quic import (
    Connected,
    Disconnected,
    QuicConnection,
    QuicEvent,
    StreamData,
    StreamReset as ResetEvent,
    StreamStop,
)
from .stream_limits import MAX_DROPPED, StreamLimits, StreamMemory
from .stream_packets import StreamPackets
from .stream_statistics import StreamCounters
from .streams import CODE_INTERNAL, CODE_NONE, CODE_REFUSED, CODE_TOO_MANY, Stream, StreamLost, StreamReset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .stream_packets import Timers

__all__ = ["Stream", "StreamConnection", "StreamLimits", "StreamLost", "StreamMemory", "StreamReset"]

END = b"\x00"
"""The last byte of each direction of a stream, which is sent together with the end and is no data.

There are releases of QUIC libraries that do not repeat an end without data when it is lost.
"""
_RECORD = Struct(">QQ")
_CONTROL_STREAM = 0
CLIENTS_STREAMS, SERVERS_STREAMS, STREAM_STEP = 0, 1, 4
"""The first streams for both directions that each side opens, and what is between two (RFC 9000 section 2.1)."""


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
        self._packets = StreamPackets(self, connection, send, send_many, tasks)
        self._on_stream = on_stream
        self._on_closed = on_closed
        self._on_change = on_change
        self._may_open = connection.is_client or both_open
        self._record = bytearray()
        self._held_reports: dict[int, int] | None = None if connection.is_client else {}
        #: Whether it was ended because the other side did what is not allowed.
        self.broke_rules = False
        #: When the handshake had ended.
        self.connected_at: float | None = None
        self._connected = asyncio.Event()
        self._first_remote = SERVERS_STREAMS if connection.is_client else CLIENTS_STREAMS
        self._takes_streams = both_open or not connection.is_client
        self._last_remote = _CONTROL_STREAM if not connection.is_client else SERVERS_STREAMS - STREAM_STEP
        self._skipped: set[int] = set()
        #: How many bytes have arrived of streams that were reset here, as long as more may arrive.
        self._dropped: BoundedDict[int, int] = BoundedDict(MAX_DROPPED)
        self._has_ended = False
        self.memory.add(self)
        if connection.is_client:
            control = connection.open_stream()
            assert control == _CONTROL_STREAM, "the control stream is the first one"
            connection.send(control, _RECORD.pack(_CONTROL_STREAM, 0))
            self._packets.flush()

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
        self._packets.receive(packet, clock.monotonic() if now is None else now)

    def receive_many(self, packets: Iterable[bytes], now: float) -> None:
        """Process packets of the other side that came together; see ``QuicConnection.receive_many``."""
        self._packets.receive_many(packets, now)

    def close(self, code: int = CODE_NONE, reason: str = "") -> None:
        """End the connection and all its streams.

        :param reason: for the errors of the streams; the other side gets it too.
        """
        if not self.is_closed:
            self._packets.send(self._quic.close(clock.monotonic(), code, reason))
        self.handle_events()

    # Events

    def handle_events(self) -> bool:
        """Act on what has happened; whether that was anything."""
        events = self._quic.events()
        for event in events:
            self._handle_one(event)
        return bool(events)

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
        if event.stream_id in self._dropped:
            self._drop(event)
            return
        stream = self.streams.get(event.stream_id) or self._accept(event.stream_id)
        if stream is None:
            return
        if stream.waiting + len(event.data) > self.limits.max_window:
            stream.reset(CODE_TOO_MANY)
            return
        if stream.ends[0] and not stream.is_stopping:
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

    def _drop(self, event: StreamData) -> None:
        """Take bytes of a stream that was reset here, before the other side has learned that."""
        arrived = self._dropped.pop(event.stream_id) + len(event.data)
        if event.ended:  # it will not learn that any more, and waits until all is read
            self.report(event.stream_id, arrived - len(END))
        else:
            self._dropped[event.stream_id] = arrived

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
            if isinstance(event, ResetEvent):
                self._dropped.pop(event.stream_id, None)
            if not self._is_own(event.stream_id) and self._is_first_sight(event.stream_id):
                # It was given up before any byte came.
                self._quic.reset(event.stream_id, event.code)
                self._quic.stop(event.stream_id, event.code)
            return
        if isinstance(event, StreamStop):
            self._quic.reset(stream.id, event.code)
            stream.on_stop(event.code)
        elif stream.is_stopping:
            stream.on_stopped()
        else:
            self._quic.reset(stream.id, event.code)
            stream.fail(StreamReset(event.code))

    def _end(self, reason: str) -> None:
        """The connection has ended."""
        self._has_ended = True
        self._packets.end()
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
        self._packets.soon()

    def end(self, stream: Stream) -> None:
        """Send the end of a stream."""
        self._quic.send(stream.id, END, True)
        self._packets.soon()

    def room(self) -> int:
        """Bytes that may be written on any stream."""
        return min(self.limits.connection_bytes, self.memory.share()) - self.sent

    def report(self, stream_id: int, consumed: int, at_end: bool = True) -> None:
        """Tell the other end how much was read of a stream; soon, if that is all."""
        if self._held_reports is not None:
            self._held_reports[stream_id] = consumed
        elif not self.is_closed:
            self._quic.send(_CONTROL_STREAM, _RECORD.pack(stream_id, consumed))
            if at_end or not self._packets.is_busy:
                self._packets.soon()  # otherwise it leaves together with what acknowledges those packets

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
        if not received or stream.is_stopping:
            self._dropped[stream.id] = stream.arrived
        self._report_dropped(stream)
        self._packets.soon()

    def stop(self, stream: Stream, code: int) -> None:
        """Ask the other side not to send the rest of a stream."""
        self._quic.stop(stream.id, code)
        self._report_dropped(stream)
        self._packets.soon()

    def _report_dropped(self, stream: Stream) -> None:
        """Report as read what is dropped, if QUIC does not tell the other side: all has arrived in both directions."""
        if stream.waiting and stream.ends == (True, True):
            self.report(stream.id, stream.arrived)

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

