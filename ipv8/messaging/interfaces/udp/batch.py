"""Reading many datagrams by one call of the operating system.

``recvmmsg`` of Linux is called through ctypes. It writes into one anonymous memory map, whose slices are ``bytes``. The
addresses of senders are looked up in the form in which the kernel writes them. So a datagram of a burst takes little
more than half of the time that ``recvfrom`` takes for it.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import sys
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct
from typing import TYPE_CHECKING, Any

from ...packers import Cache
from .segments import UDP_GRO
from .transport import RECEIVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_BATCH", "batch_reader"]

MAX_BATCH = 64
"""Datagrams of one system call; longer bursts take several."""

MAX_CACHED_SOURCES = 8192
"""Senders whose addresses are not converted again; when one more comes, the table is emptied."""

GAP = 192
"""Bytes between the buffers of two datagrams, so that their first bytes are in different sets of the memory cache."""

STEP = RECEIVE_SIZE + GAP
STARTS = range(0, MAX_BATCH * STEP, STEP)
"""Where the datagrams are in the memory of a socket."""

NAME_ROOM = 32
"""Bytes that the address of each sender gets, behind the buffers of the datagrams."""


def _name_slices(size: int) -> tuple[slice, ...]:
    names = range(MAX_BATCH * STEP, MAX_BATCH * (STEP + NAME_ROOM), NAME_ROOM)
    return tuple([slice(name, name + size) for name in names])


_CONTROL = Struct("@Niii")
"""A ``struct cmsghdr``, which is its own size, a level and a kind, with the size of the datagrams in one buffer."""

CONTROL_ROOM = _CONTROL.size + 4
"""Bytes of it with its padding."""

_rooms: Any = memoryview((ctypes.c_size_t * MAX_BATCH)(*[CONTROL_ROOM] * MAX_BATCH)).cast("B")
ROOMS = _rooms.cast("N")
"""The sizes of the room for controls, as the system call expects them."""

NAMES = {AF_INET: _name_slices(8), AF_INET6: _name_slices(28)}
"""By address family, where the meaningful bytes of the senders' addresses are in the memory of a socket."""


class _Vector(ctypes.Structure):
    """``struct iovec``: where one datagram is written."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """``struct mmsghdr`` with its ``struct msghdr``; pointers are numbers, so that no objects are kept for them."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p), ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t), ("flags", ctypes.c_int),
        ("align", ctypes.c_size_t * 0), ("received", ctypes.c_uint32),
    )


def _source(name: bytes) -> Any:
    """The address that ``recvfrom`` returns for the first 8 bytes of a ``sockaddr_in``, or for a ``sockaddr_in6``."""
    family = int.from_bytes(name[:2], sys.byteorder)
    port = int.from_bytes(name[2:4], "big")
    if family == AF_INET:
        return inet_ntop(AF_INET, name[4:8]), port
    flow, scope = int.from_bytes(name[4:8], "big"), int.from_bytes(name[24:28], sys.byteorder)
    return inet_ntop(AF_INET6, name[8:24]), port, flow, scope


class _Buffers:
    """The memory of one socket: datagrams, addresses of their senders, and what the system call is told of both.

    The system provides only the pages of it that something is written to.
    """

    def __init__(self) -> None:
        controls_at = MAX_BATCH * (STEP + NAME_ROOM)
        # All that is written at once begins with a page, so that it takes as few of them as possible.
        vectors_at = -(-(controls_at + MAX_BATCH * CONTROL_ROOM) // mmap.PAGESIZE) * mmap.PAGESIZE
        messages_at = vectors_at + MAX_BATCH * ctypes.sizeof(_Vector)
        # A private map: a forked process gets memory of its own, when either process writes to it.
        self.memory = mmap.mmap(-1, messages_at + MAX_BATCH * ctypes.sizeof(_Message),
                                flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        vectors = (_Vector * MAX_BATCH).from_buffer(self.memory, vectors_at)
        self.messages = (_Message * MAX_BATCH).from_buffer(self.memory, messages_at)
        for number, (vector, message) in enumerate(zip(vectors, self.messages, strict=True)):
            vector.base = base + number * STEP
            vector.size = RECEIVE_SIZE
            message.name = base + MAX_BATCH * STEP + number * NAME_ROOM
            message.name_size = NAME_ROOM
            message.vectors = base + vectors_at + number * ctypes.sizeof(_Vector)
            message.vector_count = 1
            message.control = base + controls_at + number * CONTROL_ROOM
            message.control_size = CONTROL_ROOM
        raw: Any = memoryview(self.messages).cast("B")
        self.sizes = raw.cast("I")[_Message.received.offset // 4::ctypes.sizeof(_Message) // 4]
        word = ctypes.sizeof(ctypes.c_size_t)
        # The system replaces the size of the room for controls by the size of what it has written: 0 for one datagram.
        self.controls = raw.cast("N")[_Message.control_size.offset // word::ctypes.sizeof(_Message) // word]
        self._controls_at = controls_at

    def steps(self, count: int) -> list[int]:
        """For each of the first ``count`` buffers, the size of the datagrams in it; 0 if it is one datagram.

        After that, the buffers can be used again.
        """
        written = self.controls[:count].tolist()
        self.controls[:count] = ROOMS[:count]
        if not any(written):
            return []
        return [self._step(number) if size else 0 for number, size in enumerate(written)]

    def _step(self, number: int) -> int:
        _, level, kind, step = _CONTROL.unpack_from(self.memory, self._controls_at + number * CONTROL_ROOM)
        return step if (level, kind) == (socket.IPPROTO_UDP, UDP_GRO) else 0


@lru_cache(1)
def _system_call() -> Any:
    """``recvmmsg`` of the C library, or ``None``."""
    return getattr(ctypes.CDLL(None), "recvmmsg", None)


def batch_reader(sock: socket.socket, limit: int,
                 address_of: Callable[[Any], Any]) -> Callable[[], tuple[list[tuple[Any, bytes]], int, int]] | None:
    """A function that reads up to ``limit`` datagrams that wait at ``sock``, or more if the system coalesces some.

    It returns a list of ``(address, data)``, how many datagrams were read, and how many bytes they have. In case of an
    error, nothing is read.

    :param address_of: makes an address of a source in the form in which ``recvfrom`` returns it; ``None`` leaves its
        datagrams out of the list.
    :returns: ``None`` where the operating system cannot do that: use ``recvfrom``.
    """
    receive = _system_call() if sys.platform == "linux" else None
    names = NAMES.get(sock.family)
    if receive is None or names is None:
        return None
    buffers = _Buffers()
    limit = min(limit, MAX_BATCH)
    addresses: Cache[bytes, Any] = Cache(lambda name: address_of(_source(name)), MAX_CACHED_SOURCES)
    descriptor = sock.fileno()

    def read() -> tuple[list[tuple[Any, bytes]], int, int]:
        count = receive(descriptor, buffers.messages, limit, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return [], 0, 0
        sizes = buffers.sizes[:count].tolist()
        memory = buffers.memory
        steps = buffers.steps(count)
        if steps:
            return split(sizes, steps)
        return [(address, memory[start:start + size])
                for start, size, name in zip(STARTS, sizes, names)  # noqa: B905 - there may be fewer sizes
                if (address := addresses[memory[name]]) is not None], count, sum(sizes)

    def split(sizes: list[int], steps: list[int]) -> tuple[list[tuple[Any, bytes]], int, int]:
        """The same for buffers with several datagrams. Each has ``step`` bytes; the last one may have fewer."""
        packets = []
        total = 0
        memory = buffers.memory
        for start, size, step, name in zip(STARTS, sizes, steps, names):  # noqa: B905 - as above
            stop = start + size
            parts = range(start, stop, step) if step else (start,)
            total += len(parts)
            address = addresses[memory[name]]
            if address is not None:
                packets += [(address, memory[part:min(part + step, stop) if step else stop]) for part in parts]
        return packets, total, sum(sizes)

    return read
