"""Overlays of one process whose streams are queues of bytes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ipv8.blobs import BlobStore
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.peer import Peer
from ipv8.streams import CODE_CANCELLED, CODE_UNKNOWN, StreamLost, StreamReset

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[Peer, Any], Awaitable[None]]

WINDOW = 262_144


class MemoryStream:
    """One end of a stream."""

    def __init__(self) -> None:
        self.other = self
        self._arrived = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._change = asyncio.Event()

    @classmethod
    def pair(cls) -> tuple[MemoryStream, MemoryStream]:
        first, second = cls(), cls()
        first.other, second.other = second, first
        return first, second

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._error is not None:
                raise self._error
            self._change.clear()
            await self._change.wait()

    async def read(self, most: int = 65_536) -> bytes:
        await self._until(lambda: bool(self._arrived) or self._ended)
        data = bytes(self._arrived[:most])
        del self._arrived[:most]
        self.other._change.set()
        return data

    async def read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self.read(size - len(data))
            if not more:
                raise asyncio.IncompleteReadError(data, size)
            data += more
        return data

    async def write(self, data: bytes) -> None:
        other = self.other
        for start in range(0, len(data), 65_536):
            if self._error is not None:
                raise self._error
            await self._until(lambda: len(other._arrived) < WINDOW)
            other._arrived += data[start : start + 65_536]
            other._change.set()
            await asyncio.sleep(0)

    async def finish(self) -> None:
        self.other._ended = True
        self.other._change.set()

    def reset(self, code: int = CODE_CANCELLED) -> None:
        if self._error is None and not (self._ended and self.other._ended):
            self.fail(StreamReset(code))
            self.other.fail(StreamReset(code))

    def fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            self._arrived.clear()
            self._change.set()


class BlobNetwork:
    """Overlays that reach one another."""

    def __init__(self) -> None:
        self.overlays: dict[bytes, BlobOverlay] = {}
        self.tasks: set[asyncio.Future[None]] = set()
        self.streams: list[MemoryStream] = []

    def add(self) -> BlobOverlay:
        overlay = BlobOverlay(self)
        self.overlays[overlay.peer.key_bin] = overlay
        return overlay

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def lose_streams(self) -> None:
        for stream in self.streams:
            stream.fail(StreamLost("the session is gone"))
        self.streams.clear()


class BlobOverlay:
    """An overlay that has nothing but streams."""

    def __init__(self, network: BlobNetwork) -> None:
        self.network = network
        self.logger = logging.getLogger("BlobOverlay")
        self.peer = Peer(default_eccrypto.generate_key("curve25519"))
        self.handlers: dict[str, Handler] = {}
        self.opened = 0
        self.blobs = BlobStore(self)

    def add_stream_handler(self, name: str, handler: Handler) -> None:
        assert name not in self.handlers
        self.handlers[name] = handler

    async def open_stream(self, peer: Peer, name: str, *, timeout: float) -> MemoryStream:
        mine, theirs = MemoryStream.pair()
        self.opened += 1
        self.network.streams += [mine, theirs]
        handler = self.network.overlays[peer.key_bin].handlers.get(name)
        if handler is None:
            theirs.reset(CODE_UNKNOWN)
        else:
            task = asyncio.ensure_future(handler(self.peer, theirs))
            self.network.tasks.add(task)
        return mine
