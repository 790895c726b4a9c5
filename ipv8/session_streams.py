"""Streams of bytes in encrypted sessions (doc/streams.md, doc/protocol/streams.md).

A session carries at most one QUIC connection, which is made when the first stream is opened. Both sides open streams
on it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from . import clock
from .fill import Fill
from .limits import TokenBuckets
from .messaging.session import wire
from .messaging.session.quic import Certificate, QuicConnection, QuicSettings, is_first_packet
from .messaging.session.wire import Flag, Frame, Reason
from .session_events import SessionRefused
from .stream_io import StreamConnection
from .stream_limits import StreamLimits, StreamMemory
from .stream_statistics import StreamCounters, StreamStatistics
from .streams import CODE_CANCELLED, CODE_INTERNAL, CODE_TOO_MANY, CODE_UNKNOWN, Stream, StreamLost, StreamReset

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterator
    from types import TracebackType

    from .messaging.session.channel import Channel
    from .overlay_sessions import OverlaySessions, SessionUser
    from .peer import Peer
    from .sessions import Session, SessionService
    from .taskmanager import TaskManager

__all__ = ["SessionStreams", "StreamHandler", "StreamOpening", "check_name"]

ALPN = "ipv8-streams/1"
IDLE_TIMEOUT = 120.0
"""Seconds without a packet after which a connection has ended; it is kept alive while it has streams."""
MAX_NAME = 255
"""Bytes of the name of a stream."""
BEGIN_TIMEOUT = 30.0
"""Seconds in which the first bytes of a stream must have arrived."""
MAX_ACCEPTED_STREAMS = 4096
"""Streams of all sessions that others have opened and whose handlers run."""
CONNECTIONS_PER_SECOND, CONNECTIONS_AT_ONCE = 20, 50
"""Connections that others begin, for all sessions together."""
PEER_CONNECTIONS_PER_SECOND, PEER_CONNECTIONS_AT_ONCE = 0.1, 5
"""The same for one peer."""
MAX_COUNTED_PEERS = 4096
"""Peers whose connections are counted; the least recently used is evicted first."""
SETTLING_TIME = 10.0
"""Seconds for which the initiator of a session takes another connection for one that was begun at the same time."""
DISCARDED_BYTES = 65_536
"""Bytes that are taken and dropped after whoever uses a stream is done with it; more are refused."""
DISCARD_TIME = 30.0
"""Seconds for which that is done."""

_SETTINGS = QuicSettings(ALPN, IDLE_TIMEOUT)
_LIMITS = StreamLimits(idle_timeout=IDLE_TIMEOUT)
_QUIC = bytes((Frame.QUIC,))
_LONG_HEADER = b"\x80"
INSTALL = 'run pip install "ipv8[streams]"'

StreamHandler = Callable[["Peer", Stream], Awaitable[None]]
"""What serves the streams of a name."""


def check_name(name: str) -> bytes:
    """The bytes of the name of a stream.

    :raises ValueError: if there are none, or too many.
    """
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME:
        raise ValueError(f"the name of a stream has 1 to {MAX_NAME} bytes, not {len(encoded)}")
    return encoded


class StreamOpening:
    """A stream that is to be opened: await it, or use it with ``async with``.

    ``async with`` finishes the stream at the normal end of its block, and resets it on an exception or cancellation.
    """

    def __init__(self, start: Callable[[], Coroutine[Any, Any, tuple[Stream, SessionStreams]]]) -> None:
        self._start = start
        self._opened: tuple[Stream, SessionStreams] | None = None

    async def _open(self) -> Stream:
        stream, _ = await self._start()
        return stream

    def __await__(self) -> Generator[Any, None, Stream]:
        return self._open().__await__()

    async def __aenter__(self) -> Stream:
        if self._opened is not None:
            raise RuntimeError("the stream is open already: call open_stream again for another one")
        self._opened = await self._start()
        return self._opened[0]

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        assert self._opened is not None, "it was entered"
        stream, streams = self._opened
        await streams.conclude(stream, error)


class _Line:
    """The connection of one session."""

    __slots__ = ("changed", "channel", "connection", "waiting")

    def __init__(self, channel: Channel, connection: StreamConnection) -> None:
        self.channel, self.connection = channel, connection
        #: Is set when a stream was opened or is over.
        self.changed = asyncio.Event()
        #: How many wait for the end of the handshake.
        self.waiting = 0


class SessionStreams:
    """The streams of all sessions of a service."""

    def __init__(self, service: SessionService) -> None:
        self._service = service
        self.memory = StreamMemory()
        self.counters = StreamCounters()
        #: How many streams were ``"opened"`` here, ``"accepted"`` and ``"refused"``.
        self.counts: Counter[str] = Counter()
        #: How many streams others have opened whose handlers run.
        self.accepted = 0
        self._lines: dict[Channel, _Line] = {}
        self._certificate: Certificate | None = None
        self._begun = TokenBuckets(CONNECTIONS_PER_SECOND, CONNECTIONS_AT_ONCE, capacity=1)
        self._begun_by_peer = TokenBuckets(PEER_CONNECTIONS_PER_SECOND, PEER_CONNECTIONS_AT_ONCE,
                                           capacity=MAX_COUNTED_PEERS)

    @property
    def connections(self) -> list[StreamConnection]:
        """The connections of all sessions."""
        return [line.connection for line in self._lines.values()]

    def statistics(self) -> StreamStatistics:
        """What there is now, and what was since the node was started."""
        connections, counters = self.connections, self.counters
        return StreamStatistics(
            len(connections), sum(len(connection.streams) for connection in connections), self.counts["opened"],
            self.counts["accepted"], self.counts["refused"], counters.packets_up, counters.packets_down,
            counters.bytes_up, counters.bytes_down, counters.stalls, self.memory.received, self.memory.sent)

    # Opening

    async def open(self, part: OverlaySessions, session: Session, name: str) -> Stream:
        """Open a stream of an overlay. It begins when the connection is there and has room for one more."""
        encoded = check_name(name)
        channel = session._channel
        if not channel.own.flags & Flag.STREAMS:
            raise SessionRefused(f"streams need the package qh3 or aioquic at both ends: {INSTALL}")
        if not channel.remote_flags & Flag.STREAMS:
            raise SessionRefused(f"{session.peer} has no streams, because it lacks the package qh3 or aioquic: "
                                 f"{INSTALL} there")
        connection = await self._with_room(channel)
        stream = connection.open()
        self._introduce(stream, part, session, name)
        self.counts["opened"] += 1
        try:
            await stream.write(part.tag + bytes((len(encoded),)) + encoded)
        except BaseException:
            stream.reset()
            raise
        return stream

    def _introduce(self, stream: Stream, part: OverlaySessions, session: Session, name: str) -> None:
        """Tell a stream what it belongs to."""
        stream.owner, stream.session, stream.name = part, session, name
        stream.peer = part.peer_of(session)

    async def _with_room(self, channel: Channel) -> StreamConnection:
        """The connection of a session when it has room for one more stream."""
        while True:
            line = self._lines.get(channel)
            if line is None:
                line = self._connect(channel)
            if not await self._is_connected(line):
                continue  # another connection has taken its place
            if not line.connection.is_full:
                return line.connection
            line.changed.clear()
            await line.changed.wait()

    def _connect(self, channel: Channel) -> _Line:
        """Begin a connection."""
        if not channel.is_open:
            raise StreamLost("the session has ended")
        return self._make(channel, QuicConnection.connect(_SETTINGS, clock.monotonic()))

    async def _is_connected(self, line: _Line) -> bool:
        """Wait for the end of the handshake; ``False`` if another connection has taken the place of this one.

        :raises StreamLost: if there is no connection any more.
        """
        connection = line.connection
        line.waiting += 1
        try:
            await connection.wait_connected()
        except StreamLost:
            if line.channel not in self._lines:
                raise
            return False
        finally:
            line.waiting -= 1
            if not line.waiting and not connection.is_connected:
                connection.close()  # the next one who opens a stream begins anew
        return True

    def _make(self, channel: Channel, quic: QuicConnection) -> _Line:
        """Carry the streams of a session by this connection, and by no other one."""
        connection = StreamConnection(
            quic, partial(self._send, channel), self._service, send_many=partial(self._send_many, channel),
            on_stream=partial(self._on_stream, channel), on_closed=lambda: self._on_connection_closed(line),
            on_change=lambda: self._on_change(line), both_open=True, limits=_LIMITS, memory=self.memory,
            counters=self.counters)
        line = _Line(channel, connection)
        former = self._lines.get(channel)
        self._lines[channel] = line
        self._service.take_runs(True)
        if former is not None:
            former.connection.close()
        return line

    def _on_change(self, line: _Line) -> None:
        if self._lines.get(line.channel) is line:
            line.channel.streams = len(line.connection.streams)
        line.changed.set()

    def _on_connection_closed(self, line: _Line) -> None:
        if self._lines.get(line.channel) is line:
            del self._lines[line.channel]
            self._service.take_runs(bool(self._lines))
            line.channel.streams = 0
        line.changed.set()
        if line.connection.broke_rules:
            line.channel.close(Reason.PROTOCOL)
            self._service.settle()

    # Packets

    def _can_send(self, channel: Channel) -> bool:
        """Whether packets may be sent in a session now; others are lost, and QUIC repeats what was in them."""
        if channel.is_open:
            return self._service.machine.can_carry(channel)
        self._service.start_timer(0, self.on_session_closed, channel, "closed")
        return False

    def _send(self, channel: Channel, packet: bytes) -> None:
        """Send a packet of a connection."""
        if self._can_send(channel):
            self._service.endpoint.send(channel.address, channel.seal(_QUIC + packet))

    def _send_many(self, channel: Channel, packets: list[bytes]) -> None:
        """Send a burst of packets of a connection."""
        if self._can_send(channel):
            self._service.endpoint.send_many(channel.address, channel.seal_many(Frame.QUIC, packets))

    def receive(self, channel: Channel, packet: bytes) -> None:
        """Take a packet that came in a session."""
        line = self._lines.get(channel)
        if line is None or (packet[:1] >= _LONG_HEADER and line.connection.is_of_another(packet)):
            line = self._accept(channel, line, packet)
        if line is None:
            self._service.drops["stream"] += 1
        else:
            line.connection.receive(packet, self._service.machine.now)

    def receive_run(self, channel: Channel, packets: Iterator[bytes]) -> None:
        """Take packets that came in a session together, and that have short headers."""
        line = self._lines.get(channel)
        if line is not None:
            line.connection.receive_many(packets, self._service.machine.now)

    def _accept(self, channel: Channel, former: _Line | None, packet: bytes) -> _Line | None:
        """Begin the connection whose first packet this is, if it is one and may be begun."""
        if (not channel.own.flags & Flag.STREAMS or not is_first_packet(packet)
                or not self._service.machine.can_carry(channel)):
            return None
        if former is not None and channel.initiator and former.connection.is_client:
            # Both sides have begun one at the same time. That of the session's initiator stays.
            connected_at = former.connection.connected_at
            if connected_at is None or clock.monotonic() < connected_at + SETTLING_TIME:
                return None
        if not (self._begun_by_peer.take(channel.remote_bin) and self._begun.take()):
            return None
        if self._certificate is None:
            self._certificate = Certificate.make()
        quic = QuicConnection.accept(packet, _SETTINGS, self._certificate)
        return None if quic is None else self._make(channel, quic)

    # Streams that others open

    def _on_stream(self, channel: Channel, stream: Stream) -> None:
        if self.accepted >= MAX_ACCEPTED_STREAMS:
            self.counts["refused"] += 1
            stream.reset(CODE_TOO_MANY)
        else:
            self._run(self._service, self._begin, channel, stream)

    def _run(self, tasks: TaskManager | SessionUser, serve: Callable[..., Coroutine[Any, Any, None]],
             *arguments: Any) -> None:
        """Run a task for a stream that somebody else has opened."""
        def on_done(_: asyncio.Future[Any]) -> None:
            self.accepted -= 1

        self.accepted += 1
        tasks.register_anonymous_task("stream", serve, *arguments).add_done_callback(on_done)

    async def _begin(self, channel: Channel, stream: Stream) -> None:
        """Give a stream to the handler that its first bytes name."""
        try:
            tag, name = await asyncio.wait_for(self._read_start(stream), BEGIN_TIMEOUT)
        except (OSError, EOFError, UnicodeDecodeError, asyncio.TimeoutError):
            self.counts["refused"] += 1
            stream.reset(CODE_INTERNAL)
            return
        part = self._service.part(channel.own, tag)
        handler = None if part is None else part.overlay._stream_handlers.get(name)
        if part is None or handler is None:
            self.counts["refused"] += 1
            stream.reset(CODE_UNKNOWN)
            return
        self.counts["accepted"] += 1
        self._introduce(stream, part, self._service.session_of(channel), name)
        self._run(part.overlay, self._serve, handler, stream)

    @staticmethod
    async def _read_start(stream: Stream) -> tuple[bytes, str]:
        *tag, size = await stream.read_exactly(wire.OVERLAY_TAG_SIZE + 1)
        return bytes(tag), (await stream.read_exactly(size)).decode()

    async def _serve(self, handler: StreamHandler, stream: Stream) -> None:
        """Run a handler."""
        try:
            await handler(stream.peer, stream)
            await self.conclude(stream, None)
        except (StreamReset, StreamLost):
            stream.reset()
        except BaseException as e:
            await self.conclude(stream, e)
            raise

    # The end

    async def conclude(self, stream: Stream, error: BaseException | None) -> None:
        """End a stream whose user is done with it, or has failed with ``error``."""
        if error is not None:
            stream.reset(CODE_CANCELLED if isinstance(error, asyncio.CancelledError) else CODE_INTERNAL)
            return
        if stream.was_reset_here:
            return
        if not stream.at_end:
            self._service.register_anonymous_task("end of a stream", self._discard, stream)
        try:
            await stream.finish()
        except asyncio.CancelledError:
            stream.reset()
            raise

    @staticmethod
    async def _discard(stream: Stream) -> None:
        """Take what still comes, so that the other side can finish too, unless it is much."""
        async def take() -> None:
            left = DISCARDED_BYTES
            while left and (chunk := await stream.read(left)):
                left -= len(chunk)

        with suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(take(), DISCARD_TIME)
        stream.stop()

    def leave(self, part: OverlaySessions) -> None:
        """Reset all streams of an overlay."""
        for connection in self.connections:
            for stream in list(connection.streams.values()):
                if stream.owner is part:
                    stream.reset()

    def close(self) -> None:
        """End all connections."""
        for line in list(self._lines.values()):
            line.connection.close(reason="the sessions of this node have ended")

    def on_session_closed(self, channel: Channel, reason: str) -> None:
        """End the connection of a session that has ended."""
        line = self._lines.get(channel)
        if line is not None:
            line.connection.close(reason=f"the session has ended: {reason}")

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("streams of others", self.accepted, MAX_ACCEPTED_STREAMS, rule="further ones are reset")
