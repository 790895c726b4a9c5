"""One stream of bytes for asyncio: reads and writes that wait for the other end.

:mod:`ipv8.stream_io` makes streams.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from . import clock
from .stream_limits import WriteWindow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .peer import Peer
    from .sessions import Session
    from .stream_io import StreamConnection

__all__ = ["Stream", "StreamLost", "StreamReset"]

TURN_BYTES = 131_072
"""Bytes that are written before other work gets its turn. Packets are full if there is more to send."""

LARGEST_CHUNK = 131_072
"""Bytes of a chunk at most, if chunks are iterated over."""

REPORT_BYTES = 65_536
"""A reader reports after so many bytes."""

CODE_NONE, CODE_INTERNAL, CODE_UNKNOWN, CODE_REFUSED, CODE_TOO_MANY, CODE_CANCELLED = range(6)
"""Why a stream or a connection ends early (doc/protocol/tunnel_streams.md section 5)."""

REASONS = ("none", "an error", "the other side has no such overlay or no handler of that name", "refused",
           "too many streams, or too many bytes that were not read", "cancelled")
"""What the codes mean."""

FIRST_OWN_CODE = 256
"""Programs may use this code and higher ones."""


class StreamReset(ConnectionResetError):  # noqa: N818 - the public name
    """The other end has ended a stream early, or this one has; ``code`` says why."""

    def __init__(self, code: int) -> None:
        reason = f", {REASONS[code]}" if code < len(REASONS) else ""
        super().__init__(f"the stream was reset, code {code}{reason}")
        self.code = code


class StreamLost(ConnectionResetError):  # noqa: N818 - the public name
    """What carries a stream is gone."""


class Stream:
    """One stream of a connection: bytes in order, both ways, until each side has ended its own.

    ``id`` is its number. Reads and writes may be awaited by one task each.
    """

    #: Who is at the other end. This and the next two are only set for streams in sessions.
    peer: Peer
    #: The session that carries the stream.
    session: Session
    #: The name by which it was opened.
    name: str
    #: What the module that opened or accepted it keeps with it.
    owner: object = None

    def __init__(self, connection: StreamConnection, stream_id: int) -> None:
        self.id = stream_id
        self._connection = connection
        self._error: Exception | None = None
        # What arrives
        self._chunks: deque[bytes] = deque()
        self.waiting = 0
        self._ended = False
        #: Whether the other side was asked to send no more, and did not end its direction yet.
        self.is_stopping = False
        self._consumed = 0
        self._reported = 0
        # What leaves
        self._sent = 0
        self._read_there = 0
        self._finished = False
        self._window = WriteWindow(connection.limits)
        self._written_in_turn = 0
        self._stopped: StreamReset | None = None
        #: Whether the other end will never read all that was written.
        self._was_dropped = False
        #: Whether :meth:`reset` has ended it.
        self.was_reset_here = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    @property
    def arrived(self) -> int:
        """Bytes that have arrived from the other end."""
        return self._consumed + self.waiting

    @property
    def unread(self) -> int:
        """Bytes that were written here and not yet read at the other end."""
        return self._sent - self._read_there

    # Reading

    async def read(self, most: int = 65_536) -> bytes:
        """Some bytes, at most ``most``; none at the end.

        :raises StreamReset: if the other side has ended the stream early.
        :raises StreamLost: if what carries it is gone.
        :raises ValueError: if ``most`` is less than 1.
        """
        if most < 1:
            raise ValueError(f"at least one byte is read, not {most}")
        await self._wait_readable()
        if not self._chunks:
            return b""
        chunk = self._next_chunk(most)
        if len(chunk) < most and self._chunks:
            parts, size = [chunk], len(chunk)
            while self._chunks and size + len(self._chunks[0]) <= most:
                parts.append(self._chunks.popleft())
                size += len(parts[-1])
            chunk = b"".join(parts)
        self._consume(len(chunk))
        return chunk

    def _next_chunk(self, most: int) -> bytes:
        """At most so many bytes of those that arrived, without a copy if possible. They still have to be consumed."""
        chunk = self._chunks.popleft()
        if len(chunk) > most:
            self._chunks.appendleft(chunk[most:])
            chunk = chunk[:most]
        return chunk

    async def read_exactly(self, size: int) -> bytes:
        """Exactly ``size`` bytes. If this is cancelled, what has arrived can be read again.

        :raises asyncio.IncompleteReadError: if the stream ends before; the bytes are in its attribute ``partial``.
        :raises ValueError: if ``size`` is negative.
        """
        if size < 0:
            raise ValueError(f"the number of bytes to read is at least 0, not {size}")
        parts = bytearray()
        try:
            while len(parts) < size:
                chunk = await self.read(size - len(parts))
                if not chunk:
                    raise asyncio.IncompleteReadError(bytes(parts), size)
                parts += chunk
        except asyncio.CancelledError:
            self._put_back(bytes(parts))
            raise
        return bytes(parts)

    def _put_back(self, data: bytes) -> None:
        """Let bytes be read again that were read by a call which was cancelled while it waited for more."""
        if data and self._error is None:
            self._chunks.appendleft(data)
            self._consume(-len(data))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await self._wait_readable()
            if not self._chunks:
                return
            chunk = self._next_chunk(LARGEST_CHUNK)
            self._consume(len(chunk))
            yield chunk

    async def _wait_readable(self) -> None:
        while not self._chunks and not self._ended:
            if self._error is not None:
                raise self._error
            self._readable.clear()
            await self._readable.wait()

    def _count_read(self, size: int) -> None:
        self._consumed += size
        self.waiting -= size
        self._connection.on_consumed(size)

    def _consume(self, size: int) -> None:
        self._count_read(size)
        at_end = self._ended and not self._chunks
        if self._consumed - self._reported >= REPORT_BYTES or (at_end and self._consumed > self._reported):
            self._reported = self._consumed
            self._connection.report(self.id, self._consumed, at_end)
        if at_end:
            self._connection.retire(self)

    # Writing

    async def write(self, data: bytes) -> None:
        """Send bytes. Waits while too many have not been read at the other end.

        :raises StreamReset: if either side has ended the stream early.
        :raises StreamLost: if what carries it is gone.
        :raises RuntimeError: after :meth:`finish` or :meth:`end`.
        """
        offset = 0
        while offset < len(data):
            room = self._room()
            if room <= 0:
                self._connection.counters.stalls += 1
                if self.unread >= self._window.size:
                    self._window.on_wait()
                self._writable.clear()
                await self._writable.wait()
                continue
            chunk = data[offset:offset + room]
            offset += len(chunk)
            self._send(chunk)
            self._written_in_turn += len(chunk)
            if self._written_in_turn >= TURN_BYTES:
                self._written_in_turn = 0
                await asyncio.sleep(0)  # these bytes leave before the next ones
        if not data:
            self._room()

    def _room(self) -> int:
        """Bytes that may be written now."""
        self._require_writable()
        if self._finished:
            raise RuntimeError("the stream was ended here: nothing can be written any more")
        return min(self._window.size - self.unread, self._connection.room())

    def _require_writable(self) -> None:
        error = self._error or self._stopped
        if error is not None:
            raise error

    def _send(self, data: bytes) -> None:
        self._connection.send(self, data)
        self._sent += len(data)

    def end(self) -> None:
        """Tell the other side that nothing follows. Bytes still arrive."""
        self._require_writable()
        if not self._finished:
            self._finished = True
            self._connection.end(self)
            if self._ended and not self.is_stopping and not self._chunks and self._consumed > self._reported:
                # All has arrived before it was stopped. That may be lost, as the stream is over for QUIC from now on.
                self._reported = self._consumed
                self._connection.report(self.id, self._consumed)
            self._connection.retire(self)

    async def finish(self) -> None:
        """Tell the other side that nothing follows, and wait until everything was read there.

        :raises StreamReset: if either side has ended the stream early.
        :raises StreamLost: if what carries it is gone.
        """
        self.end()
        while self.unread:
            self._writable.clear()
            await self._writable.wait()
        if self._was_dropped:
            self._require_writable()

    def reset(self, code: int = CODE_CANCELLED) -> None:
        """End both directions early. What was not read is lost.

        :param code: tells the other side why; programs use 256 and higher ones.
        :raises ValueError: if a stream cannot be reset with this code.
        """
        if not 0 <= code < 1 << 62:
            raise ValueError(f"the code of a reset is at least 0 and less than 2**62, not {code}")
        if self._error is None and not self.is_over:
            self._connection.reset(self, code)
            self.was_reset_here = True
            self.fail(StreamReset(code))

    def stop(self, code: int = CODE_CANCELLED) -> None:
        """Take nothing more. What arrived is dropped, and writes at the other end raise ``StreamReset``."""
        if not self.at_end:
            self._connection.stop(self, code)
            self._ended, self.is_stopping = True, not self._ended
            self._chunks.clear()
            self._count_read(self.waiting)
            self._readable.set()
            self._connection.retire(self)

    # Called by the connection

    @property
    def is_over(self) -> bool:
        """Whether both directions have ended, and everything was read at both ends."""
        return self._error is not None or (
            self._ended and not self.is_stopping and not self._chunks
            and (self._stopped is not None or (self._finished and not self.unread)))

    @property
    def at_end(self) -> bool:
        """Whether there is nothing more to read."""
        return self._error is not None or (self._ended and not self._chunks)

    @property
    def ends(self) -> tuple[bool, bool]:
        """Whether nothing more is to be received, and whether nothing more is to be sent."""
        return self._ended, self._finished or self._stopped is not None

    def feed(self, data: bytes, ended: bool) -> None:
        """Take bytes that arrived."""
        if self.is_stopping:
            self._drop(len(data), ended)
        if self._error is not None or self._ended:
            return
        if data:
            self._chunks.append(data)
            self.waiting += len(data)
        self._ended = ended
        self._readable.set()
        if ended and not self._chunks:
            if self._consumed > self._reported:
                self._reported = self._consumed
                self._connection.report(self.id, self._consumed)
            self._connection.retire(self)

    def _drop(self, size: int, ended: bool) -> None:
        """Take bytes that arrived after :meth:`stop`."""
        self.waiting += size
        self._count_read(size)
        if ended:  # before it was told to stop, so it waits until all is read
            self._connection.report(self.id, self._consumed)
            self.on_stopped()

    def on_stopped(self) -> None:
        """The other side will send no more, as it was asked to."""
        self.is_stopping = False
        self._connection.retire(self)

    def on_report(self, consumed: int) -> bool:
        """Take what the other end has read; ``False`` if it cannot be that much."""
        if consumed > self._sent:
            return False
        progress = consumed - self._read_there
        if progress <= 0:
            return True
        self._read_there = consumed
        self._connection.on_read_there(progress)
        self._window.on_read(consumed, self._sent, clock.monotonic())
        self._writable.set()
        self._connection.retire(self)
        return True

    def on_stop(self, code: int) -> None:
        """The other side does not want more."""
        if self._stopped is None and not (self._finished and not self.unread):
            self._stopped = StreamReset(code)
            self._connection.forget_unread(self)
            self._writable.set()
        self._connection.retire(self)

    def forget_unread(self) -> int:
        """Count what was written as read; how many bytes that were."""
        unread = self.unread
        self._read_there = self._sent
        self._was_dropped = self._was_dropped or unread > 0
        return unread

    def wake(self) -> None:
        """Let a writer look again."""
        self._writable.set()

    def fail(self, error: Exception) -> None:
        """End at once; waiting reads and writes raise ``error``."""
        if self._error is None:
            self._error = error
            if self._chunks:
                self._ended = False  # the reader must not take what is missing for the end
                self._chunks.clear()
            self._connection.forget(self)
            self.waiting = 0
            self._readable.set()
            self._writable.set()
