"""Makes UDP sockets and binds them to a port, or to one of the next ones."""

from __future__ import annotations

import errno
from itertools import chain
from socket import SO_RCVBUF, SO_SNDBUF, SOCK_DGRAM, SOL_SOCKET, socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

__all__ = ["SocketOption", "bound_socket"]

SocketOption = tuple[int, int, int]
"""Level, option name and value, as ``socket.setsockopt`` takes them."""

TRY_NEXT_PORT = {errno.EADDRINUSE, errno.EACCES}
BUFFER_SIZES = {(SOL_SOCKET, SO_RCVBUF), (SOL_SOCKET, SO_SNDBUF)}


def bound_socket(family: int, ip: str, port: int, options: Iterable[SocketOption],
                 logger: logging.Logger) -> socket | None:
    """A UDP socket that does not block; ``None``, and the reason is logged, if there can be none.

    :param family: ``AF_INET`` or ``AF_INET6``.
    :param ip: the address of the interface.
    :param port: the port; if it is in use or not allowed, the next one that can be had. 0 for any.
    :param options: are set before the socket is bound. Where the operating system refuses the size of a buffer, its
        own is kept.
    """
    reason: Exception | None = None
    for tried in chain(range(port, 65536), (0,)) if port else (0,):
        try:
            sock = socket(family, SOCK_DGRAM)
        except OSError as e:
            reason = e
            break
        try:
            _set_options(sock, options, logger)
            sock.setblocking(False)
            sock.bind((ip, tried))
        except (OSError, ValueError, TypeError) as e:
            sock.close()
            reason = e
            if isinstance(e, OSError) and e.errno in TRY_NEXT_PORT:
                continue
            break
        bound = sock.getsockname()[1]
        if port not in {0, bound}:
            logger.info("Port %d is not available, using port %d", port, bound)
        return sock
    logger.error("Cannot open a socket on %s port %d: %s", ip, port, reason)
    return None


def _set_options(sock: socket, options: Iterable[SocketOption], logger: logging.Logger) -> None:
    for level, name, value in options:
        try:
            sock.setsockopt(level, name, value)
        except OSError as e:  # noqa: PERF203 - three options, once
            if (level, name) not in BUFFER_SIZES:
                raise
            logger.info("Keeping the default size of a socket buffer: %s", e)
