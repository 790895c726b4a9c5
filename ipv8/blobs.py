"""Files and other blobs that peers of an overlay fetch from each other (doc/files.md).

A blob is named by its id, a hash of all its content, so whoever has the id gets the right bytes or none. Whoever has
the id can also fetch the blob while it is shared.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .blob_fetching import BlobError, BlobProgress, BlobStream, Fetch, TooLargeError
from .blob_files import SharedBytes, SharedFile
from .fill import Fill
from .messaging.session.manifest import HASH_SIZE, STREAM_NAME, Answer, Request
from .messaging.session.wire import MalformedError
from .streams import CODE_CANCELLED, CODE_REFUSED, CODE_TOO_MANY

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from .blob_files import SharedSource
    from .peer import Peer

__all__ = ["BlobError", "BlobProgress", "BlobStore", "TooLargeError"]

MAX_SERVED = 32
"""Streams of all peers on which blobs are sent at a time. Further ones are reset."""
MAX_SERVED_PER_PEER = 4
"""The same for one peer."""
IDLE_TIME = 120.0
"""Seconds without a request after which a stream is reset."""
PIECE = 262_144
"""Bytes that are written at once."""
PIECE_TIME = 60.0
"""Seconds until a peer must have taken a piece."""


class _Overlay(Protocol):
    """What is needed of an overlay."""

    logger: logging.Logger

    @property
    def open_stream(self) -> Callable[..., Awaitable[BlobStream]]:
        """Open a stream to a peer."""

    @property
    def add_stream_handler(self) -> Callable[..., None]:
        """Handle the streams that peers open."""


class _Prepared(NamedTuple):
    """A request, the blob that it is for, and the first bytes of the answer."""

    request: Request
    shared: SharedSource | None
    data: bytes


class BlobStore:
    """The blobs that an overlay shares, and how it fetches others; ``overlay.blobs``.

    It needs streams: the extra ``streams``, and an overlay with encrypted sessions.
    """

    def __init__(self, overlay: _Overlay) -> None:
        self._overlay = overlay
        self._shared: dict[bytes, SharedSource] = {}
        self._serves = False
        self._served: Counter[bytes] = Counter()
        self._destinations: set[str] = set()

    # Sharing

    async def share(self, source: Path | bytes) -> bytes:
        """Let peers that know its id fetch a blob.

        A file must not be changed while it is shared: if it is, it is not sent any more.

        :param source: the path of a file, or the content.
        :returns: the id of the blob, 32 bytes. It depends on the content alone.
        :raises OSError: if the file cannot be read.
        :raises ValueError: if it is no regular file, or has more than 2^20 - 1 chunks of 1 MiB.
        """
        made: SharedSource
        if isinstance(source, (bytes, bytearray, memoryview)):
            made = await asyncio.to_thread(SharedBytes, bytes(source))
        else:
            made = await asyncio.to_thread(SharedFile, Path(source))
        if not self._serves:
            self._overlay.add_stream_handler(STREAM_NAME, self._serve)
            self._serves = True
        blob = made.manifest.id
        self._shared[blob] = made
        return blob

    def unshare(self, blob: bytes) -> None:
        """Do not send a blob any more, if it was shared."""
        self._shared.pop(blob, None)

    async def _serve(self, peer: Peer, stream: BlobStream) -> None:
        """Answer the requests of a peer on a stream."""
        if self._served.total() >= MAX_SERVED or self._served[peer.key_bin] >= MAX_SERVED_PER_PEER:
            stream.reset(CODE_TOO_MANY)
            return
        self._served[peer.key_bin] += 1
        preparing = asyncio.ensure_future(self._prepare(stream))
        try:
            while (prepared := await asyncio.wait_for(preparing, IDLE_TIME)) is not None:
                preparing = asyncio.ensure_future(self._prepare(stream))  # while this answer is sent
                await self._answer(prepared, stream)
            await asyncio.wait_for(stream.finish(), PIECE_TIME)
        except (ConnectionError, EOFError, MalformedError):
            stream.reset(CODE_REFUSED)
        except asyncio.TimeoutError:
            stream.reset(CODE_CANCELLED)
        finally:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
            self._served[peer.key_bin] -= 1
            if not self._served[peer.key_bin]:
                del self._served[peer.key_bin]

    async def _prepare(self, stream: BlobStream) -> _Prepared | None:
        """The next request, and the first bytes of its answer; ``None`` at the end of the stream."""
        kind = await stream.read(1)
        if not kind:
            return None
        request = Request.read(kind[0], await stream.read_exactly(Request.size_after(kind[0])))
        shared = self._shared.get(request.blob)
        if shared is None or request.first + request.number > shared.manifest.chunks:
            return _Prepared(request, None, Answer.NOT_HERE)
        if not request.number:
            manifest = shared.manifest.binary
            return _Prepared(request, shared, Answer.HERE + Answer.LENGTH.pack(len(manifest)) + manifest)
        data = await self._read(request.blob, shared, request.first)
        return _Prepared(request, shared, Answer.NOT_HERE if data is None else Answer.HERE + data)

    async def _answer(self, prepared: _Prepared, stream: BlobStream) -> None:
        """Send an answer."""
        request, shared, data = prepared
        await self._send(stream, data)
        if shared is None or data[:1] == Answer.NOT_HERE:
            return
        for chunk in range(request.first + 1, request.first + request.number):
            more = await self._read(request.blob, shared, chunk)
            if more is None:  # the peer expects bytes of the blob
                raise MalformedError("the blob is not shared any more")
            await self._send(stream, more)

    async def _read(self, blob: bytes, shared: SharedSource, chunk: int) -> bytes | None:
        """A chunk of a blob; ``None`` if it is not shared any more."""
        if self._shared.get(blob) is not shared:
            return None
        try:
            return await asyncio.to_thread(shared.read, chunk)
        except OSError as e:
            self._overlay.logger.warning("A blob is not shared any more, as its file cannot be read: %s", e)
            if self._shared.get(blob) is shared:
                del self._shared[blob]
            return None

    @staticmethod
    async def _send(stream: BlobStream, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            await asyncio.wait_for(stream.write(data[start : start + PIECE]), PIECE_TIME)

    # Fetching

    async def fetch(self, blob: bytes, destination: Path, peers: Sequence[Peer], *, max_size: int = 1 << 40,
                    progress: Callable[[BlobProgress], None] | None = None) -> Path:
        """Fetch a blob from all of these peers that share it, and write it to a file.

        What has arrived is in a file beside it, ``<name>.part``, with notes in ``<name>.part.have``. If the fetch does
        not end, the next one with the same id and destination goes on from there. Each chunk is checked when it
        arrives. A peer that sends a wrong one is asked for nothing more.

        :param blob: its id, 32 bytes.
        :param destination: where to write it, in an existing directory. A file that is there is replaced at the end.
        :param peers: whom to ask.
        :param max_size: bytes of the largest blob that is fetched. This is checked before anything is written.
        :param progress: called after each chunk.
        :returns: ``destination``.
        :raises BlobError: if no peer is left to ask.
        :raises TooLargeError: if the blob has more than ``max_size`` bytes.
        :raises OSError: if the file cannot be written.
        :raises ValueError: if ``blob`` is no id, there are no peers, or this blob is being fetched to that file.
        """
        if len(blob) != HASH_SIZE:
            raise ValueError(f"the id of a blob has {HASH_SIZE} bytes, not {len(blob)}")
        if not peers:
            raise ValueError("a blob is fetched from peers: give at least one")
        destination = Path(destination)
        place = os.path.abspath(destination)  # noqa: ASYNC240 - it does not look at the disk
        if place in self._destinations:
            raise ValueError(f"{str(destination)!r} is being written already: wait for that, or choose another file")
        self._destinations.add(place)
        try:
            return await Fetch(self._overlay.open_stream, bytes(blob), destination, peers, max_size, progress).run()
        finally:
            self._destinations.discard(place)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("streams of blobs", self._served.total(), MAX_SERVED, rule="further ones are reset")
