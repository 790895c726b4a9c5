"""Fetching a blob from several peers at once (doc/files.md, doc/protocol/blobs.md)."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from . import clock
from .blob_files import PartialFile
from .messaging.session.manifest import (
    HASH_SIZE,
    MAX_MANIFEST,
    STREAM_NAME,
    Answer,
    Manifest,
    Request,
    hash_of,
)
from .messaging.session.wire import MalformedError
from .session_events import SessionRefused, SessionTimeout
from .streams import CODE_CANCELLED, CODE_REFUSED, CODE_UNKNOWN, StreamReset

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from .peer import Peer

__all__ = ["BlobError", "BlobProgress", "BlobStream", "Fetch", "TooLargeError"]

OUTSTANDING = 4
"""Chunks that one peer is asked for and has not sent yet."""
STALL_TIME = 30.0
"""Seconds without a byte from a peer that was asked for something, after which its stream is given up."""
OPEN_TIMEOUT = 15.0
"""Seconds until a stream to a peer must be open."""
RETRY_DELAYS = (1.0, 2.0, 5.0, 10.0)
"""Seconds until the next stream to a peer, after streams on which no chunk came. After the last one, it is left out."""
HURRY_AFTER = 5.0
"""Seconds after which a chunk that a peer was asked for may be asked of another one too, if nothing else is missing."""
NOTE_INTERVAL = 1.0
"""Seconds between two notes of which chunks are there."""
SPEED_TIME = 5.0
"""Seconds that the speed is the mean of."""
CHECKED_TOGETHER = 32
"""Chunks of an earlier fetch that are checked between two reports of the progress."""


class BlobStream(Protocol):
    """What is needed of a stream (:class:`ipv8.streams.Stream`)."""

    async def read(self, most: int = 65_536) -> bytes:
        """Some bytes; none at the end."""

    async def read_exactly(self, size: int) -> bytes:
        """Exactly so many bytes."""

    async def write(self, data: bytes) -> None:
        """Send bytes."""

    async def finish(self) -> None:
        """Send the end."""

    def reset(self, code: int = CODE_CANCELLED) -> None:
        """End both directions early."""


class BlobError(Exception):
    """A blob could not be fetched; the text says why for each peer."""


class TooLargeError(BlobError):
    """A blob is larger than allowed."""


class BlobProgress(NamedTuple):
    """How far a blob has been fetched.

    :param verified: bytes that are there and right.
    :param total: bytes of the blob.
    :param resumed: bytes that were there from an earlier call.
    :param bytes_per_second: the mean of the last seconds.
    :param peers: how many peers send.
    """

    verified: int
    total: int
    resumed: int
    bytes_per_second: float
    peers: int


class _Useless(Exception):  # noqa: N818 - it ends the work with one peer
    """A peer is left out; the text says why."""


class _Source:
    """A peer that is asked for the blob."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.stream: BlobStream | None = None
        self.asked: deque[int] = deque()
        self.awaits_answer = False
        self.heard = 0.0
        self.chunks = 0
        self.reason = ""


class _Keeper:
    """Has what was fetched written to the disk, from time to time and while more is fetched."""

    def __init__(self) -> None:
        self._running: asyncio.Future[None] | None = None
        self._began = float("-inf")

    def keep(self, file: PartialFile, now: float) -> None:
        """Begin with that, if the last time is over and long enough ago.

        :raises OSError: if something could not be written the last time.
        """
        if self._running is not None and self._running.done():
            self._running.result()
            self._running = None
        if self._running is None and now >= self._began + NOTE_INTERVAL:
            self._began = now
            self._running = asyncio.ensure_future(_in_thread(file.keep))

    async def stop(self) -> None:
        """Wait for the end of what was begun. What could not be written is found again when the file is finished."""
        if self._running is not None:
            with suppress(OSError):
                await self._running


class Fetch:
    """One call of :meth:`ipv8.blobs.BlobStore.fetch`, which explains the parameters.

    :param open_stream: opens a stream to a peer.
    """

    def __init__(self, open_stream: Callable[..., Awaitable[BlobStream]], blob: bytes, destination: Path,
                 peers: Iterable[Peer], max_size: int, progress: Callable[[BlobProgress], None] | None) -> None:
        self._open_stream = open_stream
        self._blob = blob
        self._destination = destination
        self._max_size = max_size
        self._progress = progress
        self._sources = [_Source(peer) for peer in {peer.key_bin: peer for peer in peers}.values()]
        self._manifest: Manifest | None = None
        self._file: PartialFile | None = None
        self._missing: deque[int] = deque()
        self._asked_at: dict[int, list[float]] = {}  # of each chunk that was asked for and is not there
        self._verified = self._resumed = 0
        self._speeds: deque[tuple[float, int]] = deque()
        self._failure: Exception | None = None
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self._more = asyncio.Event()

    async def run(self) -> Path:
        """Fetch the blob."""
        await asyncio.to_thread(PartialFile.check, self._destination)
        tasks = [asyncio.ensure_future(self._use(source)) for source in self._sources]
        for task in tasks:
            task.add_done_callback(lambda _: self._changed.set())
        try:
            await self._wait_for(tasks, lambda: self._manifest is not None)
            await self._open_file()
            await self._wait_for(tasks, self._is_complete)
            assert self._file is not None
            await _in_thread(self._file.finish)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
        return self._destination

    async def _close(self) -> None:
        """Keep what was fetched for the next call."""
        if self._file is not None and self._file.is_open:
            with suppress(OSError):  # what has failed first is raised
                await _in_thread(self._file.note)
            self._file.close()

    def _is_complete(self) -> bool:
        return self._ready.is_set() and not self._missing and not self._asked_at

    async def _wait_for(self, tasks: Iterable[asyncio.Future[None]], condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, and meanwhile report, take notes, and give up streams without progress."""
        keeper = _Keeper()
        try:
            await self._wait_and_keep(tasks, condition, keeper)
        finally:
            await keeper.stop()

    async def _wait_and_keep(self, tasks: Iterable[asyncio.Future[None]], condition: Callable[[], bool],
                             keeper: _Keeper) -> None:
        while not condition():
            self._changed.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), NOTE_INTERVAL)
            if self._failure is not None:
                raise self._failure
            for task in tasks:
                if task.done():
                    task.result()  # what was not foreseen is raised
            now = clock.monotonic()
            self._end_stalled(now)
            if self._ready.is_set():
                self._report(now)
                if self._file is not None:
                    keeper.keep(self._file, now)
            if all(task.done() for task in tasks) and not condition():
                raise BlobError("no peer has sent the blob: " + "; ".join(
                    f"{source.peer.mid.hex()}: {source.reason}" for source in self._sources))

    def _end_stalled(self, now: float) -> None:
        for source in self._sources:
            if source.awaits_answer and source.stream is not None and now > source.heard + STALL_TIME:
                source.stream.reset()

    async def _open_file(self) -> None:
        """Open the file, and find out which chunks it has already."""
        manifest = self._manifest
        assert manifest is not None
        if manifest.size > self._max_size:
            raise TooLargeError(f"the blob has {manifest.size} bytes, and at most {self._max_size} are allowed")
        self._file = PartialFile(self._destination, self._blob, manifest)
        noted = await _in_thread(self._file.open)
        have: set[int] = set()
        for start in range(0, len(noted), CHECKED_TOGETHER):
            right = await _in_thread(self._file.check_noted, noted[start : start + CHECKED_TOGETHER])
            have.update(right)
            self._resumed += sum(map(manifest.size_of, right))
            self._verified = self._resumed
            self._report(clock.monotonic())
        self._missing.extend(chunk for chunk in range(manifest.chunks) if chunk not in have)
        self._ready.set()
        self._report(clock.monotonic())

    def _report(self, now: float) -> None:
        if self._progress is None or self._manifest is None:
            return
        fetched = self._verified - self._resumed
        speeds = self._speeds
        speeds.append((now, fetched))
        while len(speeds) > 2 and speeds[1][0] < now - SPEED_TIME:
            speeds.popleft()
        passed, had = now - speeds[0][0], speeds[0][1]
        self._progress(BlobProgress(self._verified, self._manifest.size, self._resumed,
                                    (fetched - had) / passed if passed else 0.0,
                                    sum(source.stream is not None for source in self._sources)))

    # One peer

    async def _use(self, source: _Source) -> None:
        """Ask a peer until the blob is there, or the peer is of no use."""
        failures = 0
        while failures <= len(RETRY_DELAYS):
            chunks = source.chunks
            try:
                await self._use_once(source)
                return
            except _Useless as e:
                source.reason = str(e)
                return
            except SessionRefused as e:
                source.reason = str(e)
                return
            except StreamReset as e:
                source.reason = str(e)
                if e.code in {CODE_UNKNOWN, CODE_REFUSED}:
                    return
            except (SessionTimeout, ConnectionError, EOFError, asyncio.TimeoutError) as e:
                source.reason = str(e) or "it did not answer in time"
            failures = 1 if source.chunks > chunks else failures + 1
            if failures <= len(RETRY_DELAYS):
                await asyncio.sleep(RETRY_DELAYS[failures - 1])

    async def _use_once(self, source: _Source) -> None:
        stream = source.stream = await self._open_stream(source.peer, STREAM_NAME, timeout=OPEN_TIMEOUT)
        try:
            if self._manifest is None:
                await self._learn(source, stream)
            await self._ready.wait()
            await self._draw(source, stream)
            with suppress(ConnectionError):
                await stream.finish()
        finally:
            source.stream, source.awaits_answer = None, False
            stream.reset()
            for chunk in source.asked:
                self._give_back(chunk)
            source.asked.clear()

    async def _learn(self, source: _Source, stream: BlobStream) -> None:
        """Ask for the manifest."""
        await self._ask(source, stream, Request(self._blob))
        await self._require_here(source, stream)
        size, = Answer.LENGTH.unpack(await stream.read_exactly(Answer.LENGTH.size))
        if size > MAX_MANIFEST:
            raise _Useless("it sent a manifest that is too long")
        binary = bytes(await self._read(source, stream, size))
        source.awaits_answer = False
        if await asyncio.to_thread(hash_of, binary) != self._blob:
            raise _Useless("it sent a wrong manifest")
        if self._manifest is None:
            try:
                self._manifest = Manifest.read(binary)
            except MalformedError as e:
                self._failure = BlobError(f"the id is not that of a blob: {e}")
            self._changed.set()

    async def _draw(self, source: _Source, stream: BlobStream) -> None:
        """Ask for chunks until all are there."""
        assert self._manifest is not None
        storing: asyncio.Future[None] | None = None
        try:
            while not self._is_complete():
                while len(source.asked) < OUTSTANDING and (wanted := self._take(source)) is not None:
                    source.asked.append(wanted)
                    await self._ask(source, stream, Request(self._blob, wanted, 1))
                if not source.asked:
                    source.awaits_answer = False
                    if storing is None:
                        await self._wait_for_more()
                    else:
                        await storing
                        storing = None
                    continue
                await self._require_here(source, stream)
                chunk = source.asked[0]
                data = await self._read(source, stream, self._manifest.size_of(chunk))
                if storing is not None:  # one at a time, so that a peer cannot fill the memory
                    source.awaits_answer = False  # the disk is waited for
                    await storing
                source.asked.popleft()
                source.awaits_answer, source.heard = bool(source.asked), clock.monotonic()
                storing = asyncio.ensure_future(self._store(source, chunk, data))
        finally:
            if storing is not None:
                await storing

    async def _ask(self, source: _Source, stream: BlobStream, request: Request) -> None:
        if not source.awaits_answer:
            source.awaits_answer, source.heard = True, clock.monotonic()
        await stream.write(request.binary)

    async def _require_here(self, source: _Source, stream: BlobStream) -> None:
        answer = await stream.read_exactly(1)
        source.heard = clock.monotonic()
        if answer != Answer.HERE:
            raise _Useless("it does not share the blob")

    @staticmethod
    async def _read(source: _Source, stream: BlobStream, size: int) -> bytearray:
        """So many bytes. The time of each part is noted."""
        data = bytearray()
        while len(data) < size:
            part = await stream.read(size - len(data))
            if not part:
                raise asyncio.IncompleteReadError(bytes(data[:HASH_SIZE]), size)
            data += part
            source.heard = clock.monotonic()
        return data

    async def _store(self, source: _Source, chunk: int, data: bytearray) -> None:
        """Check a chunk and write it."""
        assert self._file is not None
        right = False
        try:
            right = chunk not in self._asked_at or await _in_thread(self._file.store, chunk, data)
        except OSError as e:  # of this machine, not of the peer
            self._failure = e
            self._changed.set()
        finally:
            if not right:
                self._give_back(chunk)
        if self._failure is None and not right:
            raise _Useless("it sent a wrong chunk")
        if self._failure is None and self._asked_at.pop(chunk, None) is not None:
            assert self._manifest is not None
            source.chunks += 1
            self._verified += self._manifest.size_of(chunk)
            self._changed.set()
            if self._is_complete():
                self._more.set()

    # Who is asked for what

    def _take(self, source: _Source) -> int | None:
        """The next chunk to ask a peer for."""
        now = clock.monotonic()
        if self._missing:
            chunk = self._missing.popleft()
            self._asked_at[chunk] = [now]
            return chunk
        for chunk, times in self._asked_at.items():
            if now >= times[-1] + HURRY_AFTER and chunk not in source.asked:
                times.append(now)
                return chunk
        return None

    def _give_back(self, chunk: int) -> None:
        """Let others be asked for a chunk."""
        times = self._asked_at.get(chunk)
        if times is None:
            return
        times.pop()
        if not times:
            del self._asked_at[chunk]
            self._missing.appendleft(chunk)
            self._more.set()

    async def _wait_for_more(self) -> None:
        """Wait until there may be something to ask a peer for."""
        self._more.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._more.wait(), HURRY_AFTER)


async def _in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call something that blocks in a thread, and wait for its end even if this is cancelled."""
    working = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait((working,))
        if not working.cancelled():
            working.exception()
        raise
