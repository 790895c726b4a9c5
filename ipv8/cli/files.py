"""Files that one machine sends and another one fetches."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import clock
from ..blobs import BlobError
from ..community import Community
from ..configuration import Strategy, WalkerDefinition, default_bootstrap_defs
from ..messaging.session.quic import available_library
from ..runner import bootstrappers_of
from ..service import IPv8
from .dht import resolve
from .overlay_node import NodeOptions, builder_for
from .serving import print_event, serve_until_stopped
from .status import SUCCESS, UNSUCCESSFUL, print_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..blobs import BlobProgress
    from ..messaging.address import Address
    from ..peer import Peer

__all__ = ["FetchOptions", "FileNode", "FileOverlay", "NodeOptions", "fetch", "send"]

ALIAS = "files"
PEERS = 30
"""Peers that a node looks for."""
WALK_INTERVAL = 0.5
"""Seconds between two steps of the walk, and between two looks at who was found."""
MORE_SOURCES = 2.0
"""Seconds that further sources are waited for when there is one."""
REPORT_INTERVAL = 1.0
"""Seconds between two lines of JSON about the progress."""

Source = bytes | tuple[str, int]
"""The mid of a sender, or where it is."""


class FileOverlay(Community):
    """The overlay of ``ipv8 send`` and ``ipv8 fetch``, which has no messages of its own."""

    community_id = b"ipv8 files overlay 1"
    encryption = "require"


class FetchOptions(NamedTuple):
    """What is fetched.

    :param blob: the id of the file.
    :param destination: where to write it.
    :param sources: who sends it.
    :param wait: seconds until one of them must have been found.
    :param max_size: bytes of the largest file that is fetched.
    """

    blob: bytes
    destination: str
    sources: tuple[Source, ...]
    wait: float
    max_size: int


class FileNode:
    """A node of the overlay of files.

    :param options: how it takes part.
    :param asks_public: whether the public bootstrap servers are asked if no other ones are given.
    """

    def __init__(self, options: NodeOptions, asks_public: bool) -> None:
        builder = builder_for(options, ALIAS, WALK_INTERVAL)
        first = bootstrappers_of(options.bootstrap) if options.bootstrap else (
            default_bootstrap_defs if asks_public else [])
        walkers = [WalkerDefinition(Strategy.RandomWalk, PEERS, {})]
        builder.add_overlay(FileOverlay.__name__, ALIAS, walkers, first, {}, [])
        self._configuration = builder.finalize()
        self._ipv8: IPv8 | None = None

    async def start(self) -> FileOverlay:
        """Start the node.

        :raises ImportError: if there is no library for streams.
        :raises OSError: if it cannot listen where it should.
        """
        if available_library() is None:
            raise ImportError("files are sent with the package qh3 or aioquic. This command installs it:\n"
                              '  pip install "ipv8[streams]"')
        self._ipv8 = IPv8(self._configuration, extra_communities={FileOverlay.__name__: FileOverlay})
        await self._ipv8.start()
        self._ipv8.require_open()
        overlay = self._ipv8.get_overlay(FileOverlay)
        assert overlay is not None, "the configuration has it"
        return overlay

    async def stop(self) -> None:
        """Stop the node if it was started."""
        ipv8, self._ipv8 = self._ipv8, None
        if ipv8 is not None:
            await ipv8.stop()


# Sending

async def send(options: NodeOptions, file: str, as_json: bool = False) -> None:
    """Share a file until SIGINT or SIGTERM.

    :param as_json: whether to print lines of JSON instead of text.
    """
    node = FileNode(options, asks_public=True)

    async def start() -> None:
        overlay = await node.start()
        blob = await overlay.blobs.share(Path(file))
        size = Path(file).stat().st_size  # noqa: ASYNC240 - it was read just now
        host, port = overlay.my_estimated_lan
        if options.listen_address != NodeOptions().listen_address:
            host = options.listen_address  # it is reached nowhere else
        me = overlay.my_peer
        if as_json:
            print_event("started", id=blob.hex(), size=size, address={"host": host, "port": port}, mid=me.mid.hex(),
                        public_key=me.public_key.key_to_bin().hex())
            return
        print(f"{file} ({size} bytes) can be fetched until this command is stopped with Ctrl+C:",
              f"  ipv8 fetch {blob.hex()} --from {host}:{port}   # by who can reach this address",
              f"  ipv8 fetch {blob.hex()} --from {me.mid.hex()}   # by anybody, if it is found",
              sep="\n", flush=True)

    await serve_until_stopped(start, node.stop)
    if as_json:
        print_event("stopped")


# Fetching

async def fetch(options: NodeOptions, wanted: FetchOptions, as_json: bool = False) -> int:
    """Fetch a file, and return the exit status.

    :param as_json: whether to print lines of JSON instead of a progress bar.
    """
    node = FileNode(options, asks_public=any(isinstance(source, bytes) for source in wanted.sources))
    began = clock.monotonic()
    try:
        overlay = await node.start()
        peers = await _find(overlay, wanted)
        if not peers:
            return _tell_failure(f"no sender was found within {wanted.wait:g} seconds", as_json)
        with _Report(as_json) as report:
            await overlay.blobs.fetch(wanted.blob, Path(wanted.destination), peers, max_size=wanted.max_size,
                                      progress=report.show)
    except BlobError as e:
        return _tell_failure(str(e), as_json)
    finally:
        await node.stop()
    if as_json:
        print_event("fetched", file=wanted.destination, size=report.size, resumed=report.resumed,
                    seconds=round(clock.monotonic() - began, 3))
    else:
        print(wanted.destination)
    return SUCCESS


def _tell_failure(reason: str, as_json: bool) -> int:
    if as_json:
        print_event("failed", reason=reason)
    else:
        print_error(f"ipv8 fetch: {reason}")
    return UNSUCCESSFUL


async def _find(overlay: FileOverlay, wanted: FetchOptions) -> list[Peer]:
    """The senders that are found in time."""
    mids = {source for source in wanted.sources if isinstance(source, bytes)}
    places = [source for source in wanted.sources if not isinstance(source, bytes)]
    addresses = await resolve(places, wanted.wait)
    found: dict[bytes, Peer] = {}
    end = clock.monotonic() + wanted.wait
    while clock.monotonic() < end:
        known = len(found)
        found.update({peer.key_bin: peer for peer in _found(overlay, mids, addresses)})
        if len(found) == len(wanted.sources):
            break
        if found and not known:
            end = min(end, clock.monotonic() + MORE_SOURCES)
        for address in addresses:
            if overlay.network.get_verified_by_address(address) is None:
                overlay.walk_to(address)
        await asyncio.sleep(WALK_INTERVAL)
    return list(found.values())


def _found(overlay: FileOverlay, mids: set[bytes], addresses: Iterable[Address]) -> list[Peer]:
    at_addresses = map(overlay.network.get_verified_by_address, addresses)
    return [peer for peer in overlay.get_peers() if peer.mid in mids] + [peer for peer in at_addresses if peer]


class _Report:
    """Shows the progress: as a bar if this is a terminal and ``rich`` is installed, or as lines of JSON."""

    def __init__(self, as_json: bool) -> None:
        self.size = self.resumed = 0
        self._as_json = as_json
        self._told = float("-inf")
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _Report:  # noqa: PYI034 - Self is newer than Python 3.10
        if not self._as_json and sys.stderr is not None and sys.stderr.isatty():
            self._bar = _make_bar()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, progress: BlobProgress) -> None:
        """Show how far the fetch is."""
        self.size, self.resumed = progress.total, progress.resumed
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=progress.total)
            peers = f"{progress.peers} peer{'s' if progress.peers != 1 else ''}"
            self._bar.update(self._task, completed=progress.verified, description=peers)
        elif self._as_json and clock.monotonic() >= self._told + REPORT_INTERVAL:
            self._told = clock.monotonic()
            print_event("progress", **progress._asdict())


def _make_bar() -> Any:
    """A progress bar; ``None`` without ``rich``."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
    except ImportError:
        return None
    return Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
                    TextColumn("{task.description}"), console=Console(stderr=True))
