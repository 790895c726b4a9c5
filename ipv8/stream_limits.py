"""What the streams of a connection, and those of all connections together, may let wait.

:mod:`ipv8.stream_io` keeps to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .fill import Fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .stream_io import StreamConnection

__all__ = ["StreamLimits", "StreamMemory", "WriteWindow"]

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
MAX_DROPPED = 1024
"""Streams of a connection that were reset here while bytes still arrive; the oldest is forgotten first."""
FASTER = 1.25
"""A window stays doubled if that makes the reader faster by this factor."""
SHORTEST_MEASUREMENT = 0.1
"""Seconds for which it is measured at least how fast bytes are read."""
PROBE_INTERVAL = 10.0
"""Seconds until it is tried again whether a larger window makes the reader faster."""


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


class WriteWindow:
    """How many bytes of a stream may be written and not yet read at the other end.

    While the writer waits for the reader, the window is doubled as long as bytes are read faster for that. Otherwise
    the bytes would only wait longer, and the QUIC libraries take more time the more packets are on their way.

    ``size`` is the window.
    """

    __slots__ = ("_from", "_is_limited", "_kept", "_largest", "_probe_at", "_rate", "_since", "size")

    def __init__(self, limits: StreamLimits) -> None:
        self.size = self._kept = limits.first_window
        self._largest = limits.max_window
        #: Bytes a second that were read before the window was last doubled.
        self._rate = 0.0
        self._probe_at = 0.0
        #: Since when it is measured, and the number of bytes that had been read then. There is no time as long as
        #: bytes are read that were written with another window.
        self._since: float | None = None
        self._from = 0
        self._is_limited = False

    def on_wait(self) -> None:
        """Note that the writer waits, because as much as allowed is not read."""
        self._is_limited = True

    def on_read(self, read: int, written: int, now: float) -> None:
        """Note how many bytes of the stream were read by now, and how many were written."""
        if self._since is None:
            if read >= self._from:
                self._begin(read, now)
        elif read - self._from >= self.size and now >= self._since + SHORTEST_MEASUREMENT:
            former = self.size
            if self._is_limited:
                self._judge((read - self._from) / (now - self._since), now)
            if self.size == former:
                self._begin(read, now)
            else:
                self._since, self._from = None, written

    def _begin(self, read: int, now: float) -> None:
        """Measure from now on."""
        self._since, self._from, self._is_limited = now, read, False

    def _judge(self, rate: float, now: float) -> None:
        """Choose the window, now that so many bytes a second were read with the present one."""
        if rate >= FASTER * self._rate:
            self._rate, self._probe_at = rate, now + PROBE_INTERVAL
            self.size = self._kept = min(2 * self.size, self._largest)
        elif self.size > self._kept:
            self.size, self._probe_at = self._kept, now + PROBE_INTERVAL
        elif now >= self._probe_at:
            self._rate = rate
            self.size = min(2 * self.size, self._largest)


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

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("received bytes", self.received, self.capacity, "queue", rule="the stream with the most is reset")
        yield Fill("sent bytes", self.sent, self.capacity, "queue", rule="writers wait")
