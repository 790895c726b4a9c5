"""Passes bytes between a stream through a circuit and a TCP connection, both ways."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import TYPE_CHECKING

from ....streams import CODE_CANCELLED, CODE_INTERNAL

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Coroutine
    from typing import Any

    from ....streams import Stream

__all__ = ["Pipes", "pipe"]

CHUNK = 32_768
"""Bytes that are read from a TCP connection at a time."""

_LINGER = pack("hh" if os.name == "nt" else "ii", 1, 0)
"""The option of a socket with which closing it resets the connection."""


class Pipes:
    """Tasks that last as long as a connection, and end with their owner."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that handles its own errors."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Cancel all tasks and wait for their end."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # sockets that were closed last are closed by the loop


async def pipe(stream: Stream, reader: StreamReader, writer: StreamWriter) -> None:
    """Pass on bytes until both directions have ended, or one of them has failed, which ends both."""
    to_writer = asyncio.ensure_future(_to_writer(stream, writer))
    ways = [asyncio.ensure_future(_to_stream(reader, stream)), to_writer]
    try:
        await asyncio.gather(*ways)
        writer.close()
        await writer.wait_closed()
    except OSError:  # streams raise subclasses of it too
        stream.reset(CODE_INTERNAL)
        if _is_complete(to_writer):
            writer.close()
        else:
            _reset(writer)
    except asyncio.CancelledError:
        stream.reset(CODE_CANCELLED)
        if _is_complete(to_writer):
            writer.transport.abort()
        else:
            _reset(writer)
        raise
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def _is_complete(to_writer: asyncio.Future[None]) -> bool:
    """Whether all that came by a stream was written."""
    return to_writer.done() and not to_writer.cancelled() and to_writer.exception() is None


def _reset(writer: StreamWriter) -> None:
    """Close a connection at once, so that the other end does not take what it got for complete."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(SOL_SOCKET, SO_LINGER, _LINGER)
    writer.transport.abort()


async def _to_stream(reader: StreamReader, stream: Stream) -> None:
    while chunk := await reader.read(CHUNK):
        await stream.write(chunk)
    stream.end()


async def _to_writer(stream: Stream, writer: StreamWriter) -> None:
    async for chunk in stream:
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
