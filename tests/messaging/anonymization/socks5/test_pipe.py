"""What becomes of a TCP connection when the stream that it is joined to ends, in order or not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.anonymization.socks5.pipe import pipe
from ipv8.streams import CODE_CANCELLED, CODE_INTERNAL, StreamReset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LARGE = bytes(8 << 20)
"""More than the system keeps for a connection that nobody reads from."""


class Stream:
    """A stream that brings some bytes and then ends, fails, or stays."""

    def __init__(self, *parts: bytes, then: str) -> None:
        self.parts = parts
        self.then = then
        self.written = b""
        self.codes: list[int] = []
        self.is_over = asyncio.Event()
        self.fails_to_write = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part
        self.is_over.set()
        if self.then == "fails":
            raise StreamReset(7)
        if self.then == "stays":
            await asyncio.Event().wait()

    async def write(self, data: bytes) -> None:
        if self.fails_to_write:
            raise StreamReset(7)
        self.written += data

    def end(self) -> None:
        pass

    def reset(self, code: int) -> None:
        self.codes.append(code)


@asynccontextmanager
async def joined(stream: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Task[None]]]:
    """The client's end of a connection that is joined to a stream, and the task that does that."""
    tasks: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=2 * len(LARGE))
        tasks.put_nowait(asyncio.ensure_future(pipe(stream, reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    task = await tasks.get()
    try:
        yield reader, writer, task
    finally:
        writer.close()
        server.close()
        await asyncio.gather(task, return_exceptions=True)


async def test_both_ends() -> None:
    stream = Stream(b"one", b"two", then="ends")
    async with joined(stream) as (reader, writer, task):
        writer.write(b"three")
        writer.write_eof()
        assert await reader.read() == b"onetwo"
        await task
    assert (stream.written, stream.codes) == (b"three", [])


async def test_a_stream_that_fails_is_not_taken_for_complete() -> None:
    stream = Stream(b"one", then="fails")
    async with joined(stream) as (reader, _, task):
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await task
    assert stream.codes == [CODE_INTERNAL]


async def test_a_pipe_that_is_cancelled_is_not_taken_for_complete() -> None:
    stream = Stream(b"one", then="stays")
    async with joined(stream) as (reader, _, task):
        assert await reader.readexactly(3) == b"one"
        task.cancel()
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert stream.codes == [CODE_CANCELLED]


async def test_what_is_complete_arrives_although_the_other_direction_fails() -> None:
    stream = Stream(LARGE, then="ends")
    stream.fails_to_write = True
    async with joined(stream) as (reader, writer, task):
        await stream.is_over.wait()
        await asyncio.sleep(0)
        writer.write(b"x")
        await task
        assert stream.codes == [CODE_INTERNAL]
        assert len(await reader.read()) == len(LARGE)


async def test_nothing_is_left_of_a_complete_pipe_that_is_cancelled() -> None:
    stream = Stream(b"one", then="ends")
    async with joined(stream) as (reader, _, task):
        assert await reader.read() == b"one"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stream.codes == [CODE_CANCELLED]
