"""A datagram transport that reads bursts and sends directly to the socket.

asyncio's own transport reads one datagram in each round of the event loop, so a burst overflows the socket's buffer
although the processor is idle. This one reads up to a fixed number of datagrams each time the socket is readable.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from typing import TYPE_CHECKING, Any

from ....fill import Fill
from ..network_stats import DropCounter
from .segments import SegmentWriter, ask_for_coalescing, segment_size

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["MAX_BATCHES_PER_WAKEUP", "MAX_DATAGRAMS_PER_WAKEUP", "RECEIVE_SIZE", "SEND_QUEUE_BYTES",
           "SEND_QUEUE_PACKETS", "DrainingTransport"]

MAX_DATAGRAMS_PER_WAKEUP = 64
"""How many datagrams are read before other callbacks of the event loop run."""

RECEIVE_SIZE = 65536
"""Bytes of a buffer for one datagram: more than any can have, and small enough for the fast path of the allocator."""

ANCILLARY_SIZE = 64
"""Bytes of what the system says about a datagram."""

MAX_BATCHES_PER_WAKEUP = 8
"""Batches of datagrams that are read in a row, if those before only had to be put into a queue."""

SEND_QUEUE_PACKETS = 4096
"""Packets that wait while the socket's send buffer is full; beyond that, the oldest is dropped."""

SEND_QUEUE_BYTES = 1 << 20
"""Bytes that wait while the socket's send buffer is full; beyond that, the oldest packets are dropped."""


def _read_nothing() -> tuple[list[tuple[Any, bytes]], int, int]:
    return [], 0, 0


class DrainingTransport(asyncio.DatagramTransport):
    """Reads from and sends to a bound, non-blocking datagram socket, which it owns.

    :param loop: must offer ``add_reader``; if that raises ``NotImplementedError``, the socket is not changed.
    :param address_of: makes an address of a source in the form in which ``recvfrom`` returns it; ``None`` if the source
        must be forged.
    :param received: called with a non-empty list of ``(address, data)`` in the order of arrival. If it returns
        ``True``, those packets wait for others: what else is at the socket is read at once, within limits.
    :param arrived: called with the number of bytes of all that arrived, whatever its source.
    :param sent: called with the number of bytes of each packet that is sent after it had to wait.
    :param drops: where packets of forged sources are counted, and those that could not be sent.
    :param max_datagrams: the longest list that ``received`` gets, where the system does not coalesce datagrams.
    :param drained: called when nothing else is read although ``received`` has returned ``True``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket,
                 address_of: Callable[[Any], Any], received: Callable[[list[tuple[Any, bytes]]], bool | None],
                 arrived: Callable[[int], None], sent: Callable[[int], None],
                 drops: DropCounter, max_datagrams: int = MAX_DATAGRAMS_PER_WAKEUP,
                 drained: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        from .batch import MAX_BATCH, batch_reader  # with ctypes, which programs that open no socket need not wait for

        loop.add_reader(sock, self._on_readable)
        ask_for_coalescing(sock)
        self._segments = SegmentWriter(sock)
        self._loop = loop
        self._sock = sock
        self._address_of = address_of
        self._read_batch = batch_reader(sock, max_datagrams, address_of) or _read_nothing
        self._received = received
        self._arrived = arrived
        self._sent = sent
        self._drops = drops
        self._max_datagrams = max_datagrams
        self._full = min(max_datagrams, MAX_BATCH)  # of a batch, where the system does not coalesce datagrams
        self._most = MAX_BATCHES_PER_WAKEUP * self._full
        self._drained = drained
        self._queue: deque[tuple[bytes, Any]] = deque()
        self._queued_bytes = 0
        self._closed = False

    def pause_reading(self) -> None:
        """Leave what arrives in the socket's buffer."""
        if not self._closed:
            self._loop.remove_reader(self._sock)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._closed:
            self._loop.add_reader(self._sock, self._on_readable)

    def _on_readable(self) -> None:
        total = 0
        is_waited_for = False
        while not self._closed and total < self._most:
            packets, count, size = self._read_batch()
            if not count and (not is_waited_for or self._read_batch is _read_nothing):
                # Nothing was read because of an error, or because nothing is there, or because datagrams are not read
                # in batches: only recvfrom tells which.
                packets, count, size = self._read_one_by_one()
            self._arrived(size)
            if len(packets) != count:
                self._drops.count(DropCounter.BAD_SOURCE, count - len(packets))
            if packets:
                is_waited_for = self._received(packets) is True
            if not is_waited_for:
                return
            total += count
            if count < self._full:
                break
        if is_waited_for:
            self._drained()

    def _read_one_by_one(self) -> tuple[list[tuple[Any, bytes]], int, int]:
        packets: list[tuple[Any, bytes]] = []
        count = size = 0
        try:
            for _ in range(self._max_datagrams):
                datagrams, source = self._receive()
                count += len(datagrams)
                size += sum(map(len, datagrams))
                address = self._address_of(source)
                if address is not None:
                    packets += [(address, data) for data in datagrams]
        except BlockingIOError:
            pass
        except OSError:
            self._drops.count(DropCounter.RECEIVE_FAILED)
        return packets, count, size

    def _receive(self) -> tuple[list[bytes], Any]:
        """What waits first, and its source: one datagram, or several that the system has coalesced."""
        if not hasattr(self._sock, "recvmsg"):
            data, source = self._sock.recvfrom(RECEIVE_SIZE)
            return [data], source
        data, ancillary, _, source = self._sock.recvmsg(RECEIVE_SIZE, ANCILLARY_SIZE)
        step = segment_size(ancillary)
        return [data[start:start + step] for start in range(0, len(data), step)] if step else [data], source

    @property
    def sends_bursts(self) -> bool:
        """Whether :meth:`transmit_many` takes less time than :meth:`transmit` for each packet."""
        return self._segments.is_supported

    def transmit_many(self, packets: Sequence[bytes], address: Any) -> int:
        """Send several packets to the same address, in order; see ``transmit``."""
        sent = 0
        for run in self._segments.runs(packets):
            if len(run) > 1 and not self._queue:
                try:
                    at_once = self._segments.send(run, address)
                except BlockingIOError:
                    at_once = 0
                if at_once:
                    sent += at_once
                    continue
            for packet in run:
                sent += self.transmit(packet, address)
        return sent

    def transmit(self, data: bytes, address: Any) -> int:
        """Send at once or, while the socket's send buffer is full, later.

        :returns: the bytes sent, 0 if they wait or the transport is closed.
        :raises OSError: if the operating system refuses the packet.
        :raises TypeError, ValueError, OverflowError: if it is no packet or no socket address.
        """
        if not self._queue:
            try:
                return self._sock.sendto(data, address)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._on_writable)
        waiting = data if isinstance(data, bytes) else bytes(memoryview(data))
        self._queue.append((waiting, address))
        self._queued_bytes += len(waiting)
        while len(self._queue) > SEND_QUEUE_PACKETS or self._queued_bytes > SEND_QUEUE_BYTES:
            self._queued_bytes -= len(self._queue.popleft()[0])
            self._drops.count(DropCounter.SEND_QUEUE_FULL)
        return 0

    def _on_writable(self) -> None:
        for _ in range(self._max_datagrams):
            if not self._queue:
                self._loop.remove_writer(self._sock)
                return
            data, address = self._queue[0]
            try:
                self._sent(self._sock.sendto(data, address))
            except BlockingIOError:
                return
            except (OSError, TypeError, ValueError, OverflowError) as e:
                is_too_big = isinstance(e, OSError) and e.errno == errno.EMSGSIZE
                self._drops.count(DropCounter.SEND_TOO_BIG if is_too_big else DropCounter.SEND_FAILED)
            self._queue.popleft()
            self._queued_bytes -= len(data)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send ``data``, as every asyncio datagram transport does; see ``transmit`` for the errors."""
        if not self._closed:
            self._sent(self.transmit(data, addr))

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return self._queued_bytes

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The ``socket`` or its own address, ``sockname``."""
        if name == "socket":
            return self._sock
        return self._sock.getsockname() if name == "sockname" and not self._closed else default

    def is_closing(self) -> bool:
        """Whether the socket is closed."""
        return self._closed

    def close(self) -> None:
        """Close the socket; packets that wait are dropped."""
        if self._closed:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
        self.abandon()

    def abandon(self) -> None:
        """Close this process's handle of the socket, and do not tell the event loop."""
        self._closed = True
        self._read_batch = _read_nothing  # which frees the buffers
        self._sock.close()
        if self._queue:
            self._drops.count(DropCounter.SEND_CLOSED, len(self._queue))
            self._queue.clear()
            self._queued_bytes = 0

    abort = close

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("send queue", len(self._queue), SEND_QUEUE_PACKETS, "queue", rule="the oldest goes first")
        yield Fill("bytes in the send queue", self._queued_bytes, SEND_QUEUE_BYTES, "queue",
                   rule="the oldest goes first")
