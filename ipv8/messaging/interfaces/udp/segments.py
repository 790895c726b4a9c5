"""Several datagrams in one buffer: segmentation when sending and coalescing when receiving, by Linux.

The system takes one buffer for several datagrams of the same size to the same destination, and gives one buffer for
several datagrams of the same size from the same source (the socket options ``UDP_SEGMENT`` and ``UDP_GRO``). So they
share the cost of a system call and of the way through the network stack. Other systems, and older versions of Linux,
send and receive one datagram at a time.
"""

from __future__ import annotations

import errno
import sys
from itertools import groupby
from socket import IPPROTO_UDP
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

__all__ = ["MAX_SEGMENTS", "SegmentWriter", "ask_for_coalescing", "segment_size"]

UDP_SEGMENT = 103  # linux/udp.h
UDP_GRO = 104

MAX_SEGMENTS = 64
"""Datagrams of one system call."""

MAX_BYTES = 65507
"""Bytes of all datagrams of one system call: those of the largest datagram over IPv4."""

_SIZE = Struct("=H")
_SIZE_RECEIVED = Struct("=i")

_NOT_SUPPORTED = {errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
"""What the system reports if the network device, or its version, cannot do this."""


def ask_for_coalescing(sock: socket.socket) -> bool:
    """Let the system coalesce what arrives at a socket; whether it may do so from now on."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(IPPROTO_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True


def segment_size(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """The size of the datagrams in a buffer that ``recvmsg`` returned; 0 if it is one datagram."""
    for level, kind, value in ancillary:
        if level == IPPROTO_UDP and kind == UDP_GRO and len(value) >= _SIZE_RECEIVED.size:
            size: int = _SIZE_RECEIVED.unpack_from(value)[0]
            return size
    return 0


class SegmentWriter:
    """Sends several datagrams by one system call, if the system can do that.

    :param sock: a bound datagram socket.
    """

    __slots__ = ("_largest", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._largest = MAX_BYTES if _can_segment(sock) else 0  # larger datagrams would be split on their way

    @property
    def is_supported(self) -> bool:
        """Whether the system has done this, or was not yet asked."""
        return self._largest > 0

    def runs(self, packets: Sequence[bytes]) -> Iterator[list[bytes]]:
        """Divide packets into those that fit one call of :meth:`send`; a list of one must be sent as usual."""
        for size, group in groupby(packets, len):
            run = [*group]
            step = min(MAX_SEGMENTS, MAX_BYTES // size) if 0 < size <= self._largest else 1
            for start in range(0, len(run), step):
                yield run[start:start + step]

    def send(self, run: list[bytes], address: Any) -> int:
        """Send several packets of the same size; the number of bytes, 0 if they must be sent one by one.

        :raises OSError: if the operating system refuses them: as for each single packet, or because its buffer is full.
        """
        size = len(run[0])
        try:
            return self._sock.sendmsg(run, [(IPPROTO_UDP, UDP_SEGMENT, _SIZE.pack(size))], 0, address)
        except OSError as e:
            if e.errno in _NOT_SUPPORTED:
                self._largest = 0
            elif e.errno in {errno.EINVAL, errno.EMSGSIZE}:
                self._largest = min(self._largest, size - 1)
            else:
                raise
            return 0


def _can_segment(sock: socket.socket) -> bool:
    if sys.platform != "linux":
        return False
    try:
        sock.getsockopt(IPPROTO_UDP, UDP_SEGMENT)
    except (OSError, AttributeError):
        return False
    return True
