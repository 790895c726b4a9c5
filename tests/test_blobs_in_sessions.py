"""Blobs between overlays with encrypted sessions (doc/files.md)."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import Community
from ipv8.blobs import BlobError, BlobStore
from ipv8.messaging.session.manifest import CHUNK_SIZE, STREAM_NAME
from ipv8.messaging.session.quic import available_library
from ipv8.sessions import SessionRefused
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(available_library() is None, reason="there is no library for streams")

TEXT = b"This is what everybody on the way would like to read. "
CONTENT = TEXT + Random(3).randbytes(2 * CHUNK_SIZE) + TEXT


class Files(Community):
    community_id = b"overlay with blobs  "
    encryption = "require"


class Plain(Community):
    community_id = b"overlay with blobs  "


class Own(Community):
    """Has an attribute of that name itself."""

    community_id = b"overlay with blobs  "

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.blobs: Any = ["of the program"]  # as programs do that know nothing of blobs


class TestBlobs(TestBase[Community]):
    @pytest.fixture(autouse=True)
    def in_directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    async def make(self, *classes: type[Community]) -> list[Community]:
        for overlay_class in classes:
            self.nodes.append(MockIPv8("curve25519", overlay_class))
        self.wire: list[bytes] = []
        for node in self.nodes:
            node.endpoint.send = self.recording(node.endpoint.send)
        for _ in range(2):
            await self.introduce_nodes()
        return [node.overlay for node in self.nodes]

    def recording(self, send: Any) -> Any:
        def record(address: Any, packet: bytes) -> None:
            self.wire.append(packet)
            send(address, packet)

        return record

    async def test_a_file_arrives_and_nobody_on_the_way_can_read_it(self) -> None:
        here, there = await self.make(Files, Files)
        (self.directory / "source").write_bytes(CONTENT)
        blob = await there.blobs.share(self.directory / "source")
        await here.blobs.fetch(blob, self.directory / "copy", [self.peer(1)])
        assert (self.directory / "copy").read_bytes() == CONTENT
        on_the_way = b"".join(self.wire)
        assert len(on_the_way) > len(CONTENT)
        assert all(secret not in on_the_way for secret in (TEXT[:20], TEXT[-20:], blob, STREAM_NAME.encode()))

    async def test_three_sources_of_which_one_lies(self) -> None:
        here, *others = await self.make(Files, Files, Files, Files)
        for number, other in enumerate(others):
            blob = await other.blobs.share(CONTENT)
            if number == 1:
                lying: Any = other.blobs._shared[blob]
                lying.read = lambda _: bytes(CHUNK_SIZE)
        peers = [self.peer(number) for number in (1, 2, 3)]
        await here.blobs.fetch(blob, self.directory / "copy", peers)
        assert (self.directory / "copy").read_bytes() == CONTENT

    async def test_a_peer_that_stops_and_another_one(self) -> None:
        here, first, second = await self.make(Files, Files, Files)
        blob = await first.blobs.share(CONTENT)
        await second.blobs.share(CONTENT)
        stopped = asyncio.Event()

        async def stop(*_: Any) -> bytes | None:
            if not stopped.is_set():
                stopped.set()
                first.register_anonymous_task("stop", first.unload)
            return None

        async def read_later(*arguments: Any) -> bytes | None:
            await stopped.wait()  # so that not all comes from this one
            data: bytes | None = await read(*arguments)
            return data

        stores: list[Any] = [first.blobs, second.blobs]
        read = stores[1]._read
        stores[0]._read, stores[1]._read = stop, read_later
        await here.blobs.fetch(blob, self.directory / "copy", [self.peer(1), self.peer(2)])
        assert stopped.is_set()
        assert (self.directory / "copy").read_bytes() == CONTENT

    async def test_a_peer_that_shares_nothing(self) -> None:
        here, _ = await self.make(Files, Files)
        with pytest.raises(BlobError, match=self.peer(1).mid.hex()):
            await here.blobs.fetch(bytes(32), self.directory / "copy", [self.peer(1)])

    async def test_this_node_is_no_source(self) -> None:
        here, = await self.make(Files)
        with pytest.raises(ValueError, match="itself"):
            await here.blobs.fetch(bytes(32), self.directory / "copy", [here.my_peer])

    async def test_without_sessions_the_error_says_what_to_do(self) -> None:
        here, _ = await self.make(Plain, Plain)
        with pytest.raises(BlobError, match="encryption"):
            await here.blobs.fetch(bytes(32), self.directory / "copy", [self.peer(1)])
        with pytest.raises(SessionRefused, match="encryption"):
            await here.secure(self.peer(1))

    async def test_the_attribute_of_a_program(self) -> None:
        own: Any
        own, other = await self.make(Own, Files)
        assert own.blobs == ["of the program"]
        assert isinstance(other.blobs, BlobStore)
        assert other.blobs is other.blobs
