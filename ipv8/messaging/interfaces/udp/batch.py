"""Reading many datagrams by one call of the operating system (spec 03 section 10 item 1).

``recvmmsg`` of Linux is called through ctypes. What it reads lands in one anonymous memory map, whose slices are
``bytes`` without a detour, and the addresses of senders are looked up as the kernel writes them: so a datagram of a
burst costs little more than half of what ``recvfrom`` takes for it.
"""

from __future__ import annotations

import ctypes
import socket
import sys
import threading
from functools import lru_cache
from mmap import mmap
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Any

from ...packers import Cache
from .transport import RECEIVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_BATCH", "batch_reader"]

MAX_BATCH = 64
"""Datagrams of one system call; longer bursts take several."""

MAX_CACHED_SOURCES = 8192
"""Senders whose addresses are kept as Python has them; when one more comes, all are forgotten."""

GAP = 192
"""Bytes between the places of two datagrams, lest their first lines compete for the same sets of the caches."""

NAME_SIZES = {AF_INET: 8, AF_INET6: 28}
"""Bytes of a sender's address that say something, by address family."""

NAME_ROOM = 32


class _Vector(ctypes.Structure):
    """``struct iovec``: where one datagram goes."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """``struct mmsghdr``, with the ``struct msghdr`` in it spelled out."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)), ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t), ("flags", ctypes.c_int),
        ("align", ctypes.c_size_t * 0), ("received", ctypes.c_uint32),
    )


def _source(name: bytes) -> Any:
    """The address that ``recvfrom`` gives for a ``struct sockaddr_in``, or the start of one, or ``sockaddr_in6``."""
    family = int.from_bytes(name[:2], sys.byteorder)
    port = int.from_bytes(name[2:4], "big")
    if family == AF_INET:
        return inet_ntop(AF_INET, name[4:8]), port
    flow, scope = int.from_bytes(name[4:8], "big"), int.from_bytes(name[24:28], sys.byteorder)
    return inet_ntop(AF_INET6, name[8:24]), port, flow, scope


class _Places(threading.local):
    """Where datagrams and the addresses of their senders are put: one set for each thread and address family.

    What is read is taken out at once, so all sockets can share them. The system takes memory only for what arrives.
    """

    def __init__(self, name_size: int) -> None:
        step = RECEIVE_SIZE + GAP
        self.memory = mmap(-1, MAX_BATCH * (step + NAME_ROOM))
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.starts = range(0, MAX_BATCH * step, step)
        names = range(MAX_BATCH * step, MAX_BATCH * (step + NAME_ROOM), NAME_ROOM)
        self.names = [slice(name, name + name_size) for name in names]
        vectors = (_Vector * MAX_BATCH)(*[_Vector(base + start, RECEIVE_SIZE) for start in self.starts])
        self.messages = (_Message * MAX_BATCH)(*[_Message(base + name, NAME_ROOM, ctypes.pointer(vector), 1)
                                                 for name, vector in zip(names, vectors, strict=True)])
        sizes = memoryview(self.messages).cast("B").cast("I")
        self.sizes = sizes[_Message.received.offset // 4::ctypes.sizeof(_Message) // 4]


_places: dict[int, _Places] = {}


@lru_cache(1)
def _system_call() -> Any:
    """``recvmmsg`` of the C library, or ``None``."""
    return getattr(ctypes.CDLL(None), "recvmmsg", None)


def batch_reader(sock: socket.socket, limit: int,
                 address_of: Callable[[Any], Any]) -> Callable[[], tuple[list[tuple[Any, bytes]], int, int]] | None:
    """A function that reads up to ``limit`` datagrams that wait at ``sock``.

    It gives a list of ``(address, data)``, how many were read, and how many bytes they have; nothing is read in case of
    an error, either.

    :param address_of: makes the address of a source as ``recvfrom`` gives it, or ``None`` to leave its datagrams out of
        the list.
    :returns: ``None`` where the operating system cannot do that: use ``recvfrom``.
    """
    receive = _system_call() if sys.platform == "linux" else None
    name_size = NAME_SIZES.get(sock.family)
    if receive is None or name_size is None:
        return None
    if sock.family not in _places:
        _places[sock.family] = _Places(name_size)
    places = _places[sock.family]
    limit = min(limit, MAX_BATCH)
    addresses: Cache[bytes, Any] = Cache(lambda name: address_of(_source(name)), MAX_CACHED_SOURCES)
    descriptor = sock.fileno()

    def read() -> tuple[list[tuple[Any, bytes]], int, int]:
        count = receive(descriptor, places.messages, limit, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return [], 0, 0
        sizes = places.sizes[:count].tolist()
        memory = places.memory
        return [(address, memory[start:start + size])
                for start, size, name in zip(places.starts, sizes, places.names)  # noqa: B905 - there may be fewer sizes
                if (address := addresses[memory[name]]) is not None], count, sum(sizes)

    return read
