"""Sharing and fetching blobs (doc/files.md)."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import blob_fetching, blob_files, blobs
from ipv8.blob_files import PartialFile
from ipv8.blobs import BlobError, BlobProgress, TooLargeError
from ipv8.messaging.session.manifest import CHUNK_SIZE, STREAM_NAME, Answer, Manifest, Request, hash_of
from ipv8.streams import CODE_TOO_MANY, StreamReset

from .blob_network import BlobNetwork, BlobOverlay, MemoryStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CONTENT = Random(1).randbytes(6 * CHUNK_SIZE + 12_345)
SIZES = [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE]


@pytest.fixture
async def network() -> AsyncIterator[BlobNetwork]:
    made = BlobNetwork()
    yield made
    await made.end()


@pytest.fixture
def here(network: BlobNetwork) -> BlobOverlay:
    return network.add()


async def sharing(network: BlobNetwork, content: bytes = CONTENT) -> tuple[BlobOverlay, bytes]:
    """An overlay that shares some bytes, and their id."""
    overlay = network.add()
    return overlay, await overlay.blobs.share(content)


def replace_chunks(overlay: BlobOverlay, change: Callable[[int, bytes], bytes | None]) -> list[int]:
    """Let an overlay send changed chunks; which it was asked for. It resets the stream instead of sending ``None``."""
    asked: list[int] = []
    answer = overlay.blobs._answer

    async def change_answer(prepared: Any, stream: Any) -> None:
        if prepared.request.number:
            asked.append(prepared.request.first)
            data = change(prepared.request.first, prepared.data[1:])
            if data is None:
                stream.reset()
                return
            prepared = prepared._replace(data=Answer.HERE + data)
        await answer(prepared, stream)

    overlay.blobs._answer = change_answer  # type: ignore[method-assign]
    return asked


def honest(_: int, data: bytes) -> bytes:
    return data


def lying(_: int, data: bytes) -> bytes:
    return bytes(len(data))


def files_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# Whole transfers

@pytest.mark.parametrize("size", SIZES)
async def test_a_file_arrives(size: int, network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT[:size])
    there = network.add()
    blob = await there.blobs.share(source)
    destination = tmp_path / "copy"
    assert await here.blobs.fetch(blob, destination, [there.peer]) == destination
    assert destination.read_bytes() == CONTENT[:size]
    assert files_in(tmp_path) == {"source", "copy"}


async def test_the_id_depends_on_the_content_alone(network: BlobNetwork, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(CONTENT)
    (tmp_path / "two").write_bytes(CONTENT)
    store = network.add().blobs
    ids = {await store.share(tmp_path / "one"), await store.share(tmp_path / "two"), await store.share(CONTENT)}
    assert len(ids) == 1


async def test_all_peers_are_used(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    peers, counts = [], []
    for _ in range(3):
        there, blob = await sharing(network)
        counts.append(replace_chunks(there, honest))
        peers.append(there.peer)
    await here.blobs.fetch(blob, tmp_path / "copy", [*peers, peers[0]])
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert all(counts)
    assert sorted(chain.from_iterable(counts)) == list(range(7))
    assert here.opened == 3


async def test_a_peer_is_asked_for_a_few_chunks_at_a_time(network: BlobNetwork, here: BlobOverlay,
                                                        tmp_path: Path) -> None:
    content = CONTENT[: 20] * (CHUNK_SIZE // 2)  # 10 chunks
    there, blob = await sharing(network, content)
    waiting: list[bytes] = []
    goes_on = asyncio.Event()

    async def serve(_: Any, stream: MemoryStream) -> None:
        prepared = await there.blobs._prepare(stream)
        assert prepared is not None
        await there.blobs._answer(prepared, stream)
        while request := await stream.read(41):
            waiting.append(request)
            if len(waiting) == 4:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(stream.read(1), 0.05)
                goes_on.set()
                return

    there.handlers[STREAM_NAME] = serve
    fetching = asyncio.ensure_future(here.blobs.fetch(blob, tmp_path / "copy", [there.peer]))
    await goes_on.wait()
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    assert [Request.read(1, request[1:]).first for request in waiting] == [0, 1, 2, 3]


async def test_progress(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    told: list[BlobProgress] = []
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer], progress=told.append)
    assert [each.verified for each in told] == sorted(each.verified for each in told)
    assert told[0].verified == 0
    assert told[-1].verified == told[-1].total == len(CONTENT)
    assert {each.resumed for each in told} == {0}
    assert max(each.peers for each in told) == 1
    assert told[-1].bytes_per_second > 0


async def test_an_error_of_the_caller_ends_the_fetch(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)

    def fail(_: BlobProgress) -> None:
        raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer], progress=fail)


# Peers that are wrong

async def test_a_wrong_chunk_leaves_a_peer_out(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    peers, asked = [], []
    for change in (honest, lying, honest):
        there, blob = await sharing(network)
        peers.append(there.peer)
        asked.append(replace_chunks(there, change))
    await here.blobs.fetch(blob, tmp_path / "copy", peers)
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert 1 <= len(asked[1]) <= 4
    assert here.opened == 3  # it was not asked again


async def test_a_fetch_from_liars_fails(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    replace_chunks(there, lambda chunk, data: bytes(len(data)) if chunk == 3 else data)
    with pytest.raises(BlobError, match=f"{there.peer.mid.hex()}: it sent a wrong chunk"):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert not (tmp_path / "copy").exists()


async def test_a_wrong_manifest_is_not_believed(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    there.blobs._shared[blob].manifest = Manifest.of(5, [hash_of(b"other")])
    with pytest.raises(BlobError, match="wrong manifest"):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    better, _ = await sharing(network)
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer, better.peer])
    assert (tmp_path / "copy").read_bytes() == CONTENT


async def test_a_manifest_that_is_too_long_is_not_read(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there = network.add()

    async def serve(_: Any, stream: MemoryStream) -> None:
        await stream.write(Answer.HERE + (1 << 25 | 1).to_bytes(4, "big") + bytes(100))

    there.handlers[STREAM_NAME] = serve
    with pytest.raises(BlobError, match="too long"):
        await here.blobs.fetch(bytes(32), tmp_path / "copy", [there.peer])


async def test_an_id_of_something_else(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there = network.add()
    nonsense = (5).to_bytes(8, "big")

    async def serve(_: Any, stream: MemoryStream) -> None:
        await stream.write(Answer.HERE + len(nonsense).to_bytes(4, "big") + nonsense)

    there.handlers[STREAM_NAME] = serve
    with pytest.raises(BlobError, match="not that of a blob"):
        await here.blobs.fetch(hash_of(nonsense), tmp_path / "copy", [there.peer])
    assert not files_in(tmp_path)


async def test_nothing_is_written_of_what_is_too_large(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    with pytest.raises(TooLargeError, match=str(len(CONTENT))):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer], max_size=len(CONTENT) - 1)
    assert not files_in(tmp_path)
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer], max_size=len(CONTENT))


async def test_peers_without_the_blob(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    sharing_another, _ = await sharing(network, b"another one")
    sharing_nothing = network.add()
    with pytest.raises(BlobError, match="does not share") as raised:
        await here.blobs.fetch(bytes(32), tmp_path / "copy", [sharing_another.peer, sharing_nothing.peer])
    assert sharing_nothing.peer.mid.hex() in str(raised.value)
    assert here.opened == 2


async def test_streams_that_are_lost_are_opened_again(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_fetching, "RETRY_DELAYS", (0.0,) * 4)
    there, blob = await sharing(network)
    lost_at = {0}

    def lose(each: BlobProgress) -> None:
        if each.verified not in lost_at:
            lost_at.add(each.verified)
            network.lose_streams()

    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer], progress=lose)
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert here.opened > 1


async def test_a_peer_that_resets_each_stream_is_left_out(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_fetching, "RETRY_DELAYS", (0.0, 0.0))
    there, blob = await sharing(network)
    asked = replace_chunks(there, lambda _chunk, _data: None)
    with pytest.raises(BlobError, match="reset"):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert here.opened == 3
    assert set(asked) <= set(range(4))


async def test_a_silent_peer_is_left_out(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_fetching, "RETRY_DELAYS", ())
    monkeypatch.setattr(blob_fetching, "STALL_TIME", 0.05)
    monkeypatch.setattr(blob_fetching, "NOTE_INTERVAL", 0.01)
    there = network.add()
    there.handlers[STREAM_NAME] = lambda _peer, _stream: asyncio.sleep(3600)
    with pytest.raises(BlobError, match="reset"):
        await here.blobs.fetch(bytes(32), tmp_path / "copy", [there.peer])


async def test_others_are_asked_for_what_a_slow_peer_does_not_send(network: BlobNetwork, here: BlobOverlay,
                                                                   tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_fetching, "HURRY_AFTER", 0.02)
    slow, blob = await sharing(network)
    quick, _ = await sharing(network)

    answer = slow.blobs._answer

    async def answer_slowly(prepared: Any, stream: Any) -> None:
        await (asyncio.sleep(3600) if prepared.request.number else answer(prepared, stream))

    slow.blobs._answer = answer_slowly  # type: ignore[method-assign]
    await here.blobs.fetch(blob, tmp_path / "copy", [slow.peer, quick.peer])
    assert (tmp_path / "copy").read_bytes() == CONTENT


async def test_slow_peers_cannot_keep_a_chunk_from_a_quick_one(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them there are."""
    monkeypatch.setattr(blob_fetching, "HURRY_AFTER", 0.02)
    content = CONTENT[:CHUNK_SIZE]
    asked, was_asked_twice = set(), asyncio.Event()
    peers = []
    for number in range(3):
        there, blob = await sharing(network, content)
        peers.append(there.peer)
        answer = there.blobs._answer

        async def answer_in_vain(prepared: Any, stream: Any, number: int = number, answer: Any = answer) -> None:
            if prepared.request.number:
                asked.add(number)
                was_asked_twice.set() if len(asked) == 2 else None
                await asyncio.sleep(3600)
            await answer(prepared, stream)

        async def answer_later(prepared: Any, stream: Any, answer: Any = answer) -> None:
            await was_asked_twice.wait()
            await answer(prepared, stream)

        there.blobs._answer = answer_in_vain if number < 2 else answer_later  # type: ignore[method-assign]
    await here.blobs.fetch(blob, tmp_path / "copy", peers)
    assert (tmp_path / "copy").read_bytes() == content


# Going on

async def fetch_until(here: BlobOverlay, blob: bytes, destination: Path, peers: list[Any], size: int) -> None:
    """Begin a fetch, and cancel it when that many bytes are there."""
    enough = asyncio.Event()

    def look(each: BlobProgress) -> None:
        if each.verified >= size:
            enough.set()

    fetching = asyncio.ensure_future(here.blobs.fetch(blob, destination, peers, progress=look))
    await enough.wait()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching


async def test_a_fetch_goes_on_where_it_ended(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    gate = asyncio.Event()
    answer = there.blobs._answer

    async def answer_some(prepared: Any, stream: Any) -> None:
        if prepared.request.first >= 3:
            await gate.wait()
        await answer(prepared, stream)

    there.blobs._answer = answer_some  # type: ignore[method-assign]
    await fetch_until(here, blob, tmp_path / "copy", [there.peer], 3 * CHUNK_SIZE)
    assert files_in(tmp_path) == {"copy.part", "copy.part.have"}
    notes = (tmp_path / "copy.part.have").read_bytes()
    assert notes == blob + bytes((0b0000111,))
    gate.set()
    there.blobs._answer = answer  # type: ignore[method-assign]
    asked = replace_chunks(there, honest)
    told: list[BlobProgress] = []
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer], progress=told.append)
    assert sorted(asked) == [3, 4, 5, 6]
    assert told[-1].resumed == 3 * CHUNK_SIZE
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert files_in(tmp_path) == {"copy"}


async def leave(directory: Path, blob: bytes, chunks: int, content: bytes = CONTENT) -> None:
    """Leave what a killed fetch leaves."""
    (directory / "copy.part").write_bytes(content)
    (directory / "copy.part.have").write_bytes(blob + bytes(((1 << chunks) - 1,)))


async def test_what_was_changed_meanwhile_is_fetched_again(network: BlobNetwork, here: BlobOverlay,
                                                           tmp_path: Path) -> None:
    there, blob = await sharing(network)
    asked = replace_chunks(there, honest)
    changed = bytearray(CONTENT[: 3 * CHUNK_SIZE + 100])
    changed[CHUNK_SIZE] ^= 1
    await leave(tmp_path, blob, 4, bytes(changed))
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert sorted(asked) == [1, 3, 4, 5, 6]
    assert (tmp_path / "copy").read_bytes() == CONTENT


@pytest.mark.parametrize("notes", [b"", b"\1" * 32, b"\1" * 33, b"\1" * 1000])
async def test_notes_of_something_else_are_not_used(notes: bytes, network: BlobNetwork, here: BlobOverlay,
                                                    tmp_path: Path) -> None:
    there, blob = await sharing(network)
    asked = replace_chunks(there, honest)
    await leave(tmp_path, blob, 7, b"of another blob")
    (tmp_path / "copy.part.have").write_bytes(notes)
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert sorted(asked) == list(range(7))
    assert (tmp_path / "copy").read_bytes() == CONTENT


async def test_a_complete_part_only_needs_the_manifest(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    asked = replace_chunks(there, honest)
    await leave(tmp_path, blob, 7)
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert not asked
    assert (tmp_path / "copy").read_bytes() == CONTENT


async def test_the_file_of_somebody_else_is_not_touched(network: BlobNetwork, here: BlobOverlay,
                                                        tmp_path: Path) -> None:
    there, blob = await sharing(network)
    (tmp_path / "copy.part").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert (tmp_path / "copy.part").read_bytes() == b"mine"
    assert files_in(tmp_path) == {"copy.part"}


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links are followed here")
@pytest.mark.parametrize("name", ["copy.part", "copy.part.have", "copy.part.have.new"])
async def test_links_are_not_followed(name: str, network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_bytes(b"mine")
    await leave(inside, blob, 1)
    (inside / name).unlink(missing_ok=True)
    (inside / name).symlink_to(outside)
    with suppress(OSError):
        await here.blobs.fetch(blob, inside / "copy", [there.peer])
    assert outside.read_bytes() == b"mine"


async def test_an_existing_file_is_replaced_at_the_end(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    destination = tmp_path / "copy"
    destination.write_bytes(b"old")
    contents = set()
    await here.blobs.fetch(blob, destination, [there.peer], progress=lambda _: contents.add(destination.read_bytes()))
    assert contents == {b"old"}
    assert destination.read_bytes() == CONTENT


async def test_a_full_disk_is_no_fault_of_a_peer(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    there, blob = await sharing(network)

    def store(*_: Any) -> bool:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(PartialFile, "store", store)
    with pytest.raises(OSError, match="no space left"):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])


@pytest.mark.parametrize("call", ["ftruncate", "fsync"])
async def test_the_error_says_which_file_cannot_be_written(call: str, network: BlobNetwork, here: BlobOverlay,
                                                           tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, blob = await sharing(network)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=r"no space left.*copy\.part"):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])


async def test_what_cannot_be_kept_ends_the_fetch(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out while the fetch runs, and not only at its end."""
    there, blob = await sharing(network)
    replace_chunks(there, lambda chunk, data: data if chunk < 2 else None)
    monkeypatch.setattr(blob_fetching, "NOTE_INTERVAL", 0.01)
    monkeypatch.setattr(blob_fetching, "RETRY_DELAYS", (60.0,) * 4)

    def keep(_: PartialFile) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(PartialFile, "keep", keep)
    with pytest.raises(OSError, match="the disk is broken"):
        await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])


def test_chunks_are_noted_after_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [CONTENT[start:start + CHUNK_SIZE] for start in range(0, len(CONTENT), CHUNK_SIZE)]
    manifest = Manifest.of(len(CONTENT), map(hash_of, chunks))
    file = PartialFile(tmp_path / "copy", manifest.id, manifest)
    assert file.open() == []
    notes = tmp_path / "copy.part.have"
    at_sync: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: at_sync.append(notes.read_bytes()[32:]))
    for chunk, noted in ((0, b"\x01"), (2, b"\x05")):
        assert file.store(chunk, chunks[chunk])
        file.keep()
        assert notes.read_bytes() == manifest.id + noted
    assert at_sync == [b"\x00", b"\x01"]
    file.close()


# Mistakes of the caller

async def test_mistakes(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    with pytest.raises(ValueError, match="32 bytes"):
        await here.blobs.fetch(b"short", tmp_path / "copy", [there.peer])
    with pytest.raises(ValueError, match="at least one"):
        await here.blobs.fetch(blob, tmp_path / "copy", [])
    with pytest.raises(IsADirectoryError):
        await here.blobs.fetch(blob, tmp_path, [there.peer])
    with pytest.raises(FileNotFoundError):
        await here.blobs.fetch(blob, tmp_path / "missing" / "copy", [there.peer])
    with pytest.raises(FileNotFoundError):
        await there.blobs.share(tmp_path / "missing")
    with pytest.raises(OSError, match=r"."):
        await there.blobs.share(tmp_path)
    assert not files_in(tmp_path)


async def test_one_fetch_to_a_file_at_a_time(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    there.handlers[STREAM_NAME] = lambda _peer, _stream: asyncio.sleep(3600)
    first = asyncio.ensure_future(here.blobs.fetch(blob, tmp_path / "copy", [there.peer]))
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="already"):
        await here.blobs.fetch(blob, tmp_path / ".." / tmp_path.name / "copy", [there.peer])
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


# Several fetches to one file

async def begin_to(network: BlobNetwork, here: BlobOverlay, destination: Path, content: bytes) -> Any:
    """A fetch that waits for its second chunk, and what lets it go on."""
    there, blob = await sharing(network, content)
    goes_on, has_some = asyncio.Event(), asyncio.Event()
    answer = there.blobs._answer

    async def answer_some(prepared: Any, stream: Any) -> None:
        if prepared.request.first:
            await goes_on.wait()
        await answer(prepared, stream)

    def look(each: BlobProgress) -> None:
        if each.verified:
            has_some.set()

    there.blobs._answer = answer_some  # type: ignore[method-assign]
    fetching = asyncio.ensure_future(here.blobs.fetch(blob, destination, [there.peer], progress=look))
    await has_some.wait()
    return fetching, goes_on, there, blob


@pytest.mark.skipif(os.name != "posix", reason="files are not locked here")
@pytest.mark.parametrize("is_same", [True, False])
async def test_two_programs_fetch_to_one_file(is_same: bool, network: BlobNetwork, here: BlobOverlay,
                                              tmp_path: Path) -> None:
    destination, other = tmp_path / "copy", network.add()
    fetching, goes_on, there, blob = await begin_to(network, here, destination, CONTENT)
    if not is_same:
        there, blob = await sharing(network, CONTENT[::-1])
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (destination, tmp_path / "link" / "copy"):
        with pytest.raises(OSError, match=r"another fetch writes to it.*copy\.part"):
            await other.blobs.fetch(blob, path, [there.peer])
    goes_on.set()
    await fetching
    assert destination.read_bytes() == CONTENT
    (tmp_path / "link").unlink()
    assert files_in(tmp_path) == {"copy"}
    await other.blobs.fetch(blob, destination, [there.peer])
    assert destination.read_bytes() == (CONTENT if is_same else CONTENT[::-1])
    assert files_in(tmp_path) == {"copy"}


@pytest.mark.skipif(os.name != "posix", reason="files are not locked here")
def test_a_file_that_was_finished_a_moment_ago_is_not_written_to(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest.of(4, [hash_of(b"data")])
    first, second = (PartialFile(tmp_path / "copy", manifest.id, manifest) for _ in range(2))
    first.open()
    first.store(0, b"data")
    lock = blob_files._lock

    def lock_late(descriptor: int) -> bool:
        first.finish()
        return lock(descriptor)

    monkeypatch.setattr(blob_files, "_lock", lock_late)
    with pytest.raises(OSError, match="another fetch"):
        second.open()
    assert (tmp_path / "copy").read_bytes() == b"data"
    assert files_in(tmp_path) == {"copy"}


async def test_where_files_cannot_be_locked(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    there, blob = await sharing(network)
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert (tmp_path / "copy").read_bytes() == CONTENT


async def test_a_fetch_that_was_killed_at_once_is_begun_again(network: BlobNetwork, here: BlobOverlay,
                                                              tmp_path: Path) -> None:
    """It has made its file, and has noted nothing."""
    there, blob = await sharing(network)
    (tmp_path / "copy.part").touch()
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])
    assert (tmp_path / "copy").read_bytes() == CONTENT


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
async def test_only_files_are_replaced(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(FileExistsError, match="no regular file"):
            await here.blobs.fetch(blob, path, [there.peer])
    assert files_in(tmp_path) == {"pipe"}


# Serving

async def ask(here: BlobOverlay, there: BlobOverlay, requests: bytes, size: int) -> bytes:
    """Send bytes on a stream, and return that many of the answer."""
    stream = await here.open_stream(there.peer, STREAM_NAME, timeout=1)
    await stream.write(requests)
    answer = await stream.read_exactly(size)
    await stream.finish()
    assert await stream.read() == b""
    return answer


async def test_several_requests_on_a_stream(network: BlobNetwork, here: BlobOverlay) -> None:
    there, blob = await sharing(network)
    manifest = Manifest.of(len(CONTENT), [])._replace(hashes=there.blobs._shared[blob].manifest.hashes)
    requests = b"".join(request.binary for request in (Request(blob), Request(blob, 5, 2), Request(bytes(32)),
                                                       Request(blob, 6, 1)))
    rest = CONTENT[6 * CHUNK_SIZE :]
    expected = (b"\0" + len(manifest.binary).to_bytes(4, "big") + manifest.binary
                + b"\0" + CONTENT[5 * CHUNK_SIZE :] + b"\1" + b"\0" + rest)
    assert await ask(here, there, requests, len(expected)) == expected


@pytest.mark.parametrize(("first", "count"), [(0, 8), (7, 1), (2**32 - 1, 2**32 - 1), (6, 2)])
async def test_chunks_that_do_not_exist(first: int, count: int, network: BlobNetwork, here: BlobOverlay) -> None:
    there, blob = await sharing(network)
    assert await ask(here, there, Request(blob, first, count).binary, 1) == b"\1"


@pytest.mark.parametrize("wrong", [b"\2" + bytes(32), b"\1" + bytes(40), b"\xff"])
async def test_what_is_no_request_ends_the_stream(wrong: bytes, network: BlobNetwork, here: BlobOverlay) -> None:
    there, _ = await sharing(network)
    with pytest.raises(StreamReset):
        await ask(here, there, wrong, 1)


async def test_a_request_that_is_cut_off_ends_the_stream(network: BlobNetwork, here: BlobOverlay) -> None:
    there, blob = await sharing(network)
    stream = await here.open_stream(there.peer, STREAM_NAME, timeout=1)
    await stream.write(Request(blob).binary[:-1])
    await stream.finish()
    with pytest.raises(StreamReset):
        await stream.read()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_random_requests_never_fail_here(data: bytes) -> None:
    async def serve() -> None:
        network = BlobNetwork()
        here = network.add()
        there, blob = await sharing(network, b"some bytes")
        stream = await here.open_stream(there.peer, STREAM_NAME, timeout=1)
        await stream.write(data.replace(b"\xaa", blob))
        await stream.finish()
        task = network.tasks.pop()
        await task

    asyncio.run(serve())


async def test_what_is_unshared_is_not_sent(network: BlobNetwork, here: BlobOverlay, tmp_path: Path) -> None:
    there, blob = await sharing(network)
    there.blobs.unshare(blob)
    there.blobs.unshare(blob)
    assert await ask(here, there, Request(blob).binary + Request(blob, 0, 1).binary, 2) == b"\1\1"


async def test_a_file_that_was_changed_is_not_sent(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                   caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    there = network.add()
    blob = await there.blobs.share(source)
    source.write_bytes(CONTENT + b"more")
    assert await ask(here, there, Request(blob, 0, 1).binary + Request(blob).binary, 2) == b"\1\1"
    assert "changed" in caplog.text


async def test_a_file_that_changes_while_it_is_read_is_not_sent(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets a wrong chunk would not ask again."""
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    there = network.add()
    blob = await there.blobs.share(source)
    read = blob_files._read_all

    def change_first(file: Any, size: int) -> bytes:
        source.write_bytes(bytes(len(CONTENT)) + b"more")
        return read(file, size)

    monkeypatch.setattr(blob_files, "_read_all", change_first)
    assert await ask(here, there, Request(blob, 0, 1).binary, 1) == b"\1"


async def test_the_directory_of_the_program_may_change(network: BlobNetwork, here: BlobOverlay, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    there = network.add()
    blob = await there.blobs.share(Path("source"))
    monkeypatch.chdir("/")
    await here.blobs.fetch(blob, tmp_path / "copy", [there.peer])


async def test_a_peer_has_a_few_streams_at_a_time(network: BlobNetwork, here: BlobOverlay) -> None:
    there, _ = await sharing(network)
    streams = [await here.open_stream(there.peer, STREAM_NAME, timeout=1) for _ in range(blobs.MAX_SERVED_PER_PEER + 1)]
    with pytest.raises(StreamReset) as raised:
        await streams[-1].read()
    assert raised.value.code == CODE_TOO_MANY
    for stream in streams[:-1]:
        await stream.finish()
        assert await stream.read() == b""
    await asyncio.gather(*network.tasks)
    assert not there.blobs._served


async def test_a_stream_without_requests_ends(network: BlobNetwork, here: BlobOverlay,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "IDLE_TIME", 0.01)
    there, _ = await sharing(network)
    stream = await here.open_stream(there.peer, STREAM_NAME, timeout=1)
    with pytest.raises(StreamReset):
        await stream.read()


async def test_the_time_of_a_slow_answer_is_no_idle_time(network: BlobNetwork, here: BlobOverlay,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    there, blob = await sharing(network)
    stream = await here.open_stream(there.peer, STREAM_NAME, timeout=1)
    wait_for, limits, changed = asyncio.wait_for, [0.0], asyncio.Event()

    async def watch(awaited: Any, limit: float) -> Any:
        limits.append(limit)
        changed.set()
        try:
            return await wait_for(awaited, limit)
        finally:
            limits.remove(limit)

    monkeypatch.setattr(asyncio, "wait_for", watch)
    request = Request(blob, 5, 2).binary
    expected = Answer.HERE + CONTENT[5 * CHUNK_SIZE :]
    for _ in range(2):
        await stream.write(request)
        while limits[-1] != blobs.PIECE_TIME:  # it is not read, so the answer waits
            changed.clear()
            await changed.wait()
        assert blobs.IDLE_TIME not in limits
        assert await stream.read_exactly(len(expected)) == expected
    stream.reset()
