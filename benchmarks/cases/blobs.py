"""A file from one overlay to another one by UDP on loopback, beside a plain stream; both ends are in this process.

``python -m benchmarks.cases.blobs [MIB]`` prints the same for another size, by default 1024 MiB.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from benchmarks.measure import Figure
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ipv8.streams import Stream

MIB = 1 << 20
SIZE, FULL_SIZE = 128, 1024
"""MiB of the file."""
ROUNDS = 3
HAS_STREAMS = find_spec("ipv8.blobs") is not None and any(find_spec(name) for name in ("qh3", "aioquic"))
LOOPBACK = "127.0.0.1"
MEMORY = Path("/dev/shm")
"""Where files are in memory, on Linux: the speed of the disk is not what is measured."""


class Overlay(Community):
    """Has nothing but streams."""

    community_id = b"measured with blobs "
    encryption = "require"


async def _overlays() -> tuple[Overlay, Overlay, Peer]:
    """Two overlays, and the second one as a peer of the first."""
    made = []
    for _ in range(2):
        endpoint = UDPEndpoint(0, LOOPBACK)
        await endpoint.open()
        me = Peer(default_eccrypto.generate_key("curve25519"))
        made.append(Overlay(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network())))
    first, second = made
    return first, second, Peer(second.my_peer.public_key, UDPv4Address(LOOPBACK, second.endpoint.get_address()[1]))


async def _end(*overlays: Overlay) -> None:
    from ipv8.sessions import SessionService

    for overlay in overlays:
        await overlay.unload()
        await SessionService.of(overlay.endpoint).unload()
        overlay.endpoint.close()


async def _timed(*transfers: Callable[[], Awaitable[object]]) -> list[tuple[float, float]]:
    """Seconds, and seconds of processor time, of the fastest of several rounds of each transfer.

    They take turns, so that a machine that is slow for a while is slow for all of them.
    """
    times: list[list[tuple[float, float]]] = [[] for _ in transfers]
    for _ in range(ROUNDS):
        for transfer, taken in zip(transfers, times, strict=True):
            start, processor = perf_counter(), process_time()
            await transfer()
            taken.append((perf_counter() - start, process_time() - processor))
    return list(map(min, times))


async def _measure(size: int, directory: Path) -> list[Figure]:
    first, second, peer = await _overlays()

    async def send(_peer: Peer, stream: Stream) -> None:
        for _ in range(size):
            await stream.write(bytes(MIB))

    async def draw() -> None:
        async with first.open_stream(peer, "plain") as stream:
            async for _ in stream:
                pass

    second.add_stream_handler("plain", send)
    source = directory / "source"
    chance = Random(1)
    with source.open("wb") as file:
        for _ in range(size):
            file.write(chance.randbytes(MIB))
    start = perf_counter()
    blob = await second.blobs.share(source)
    sharing = perf_counter() - start
    plain, fetched = await _timed(draw, lambda: first.blobs.fetch(blob, directory / "copy", [peer]))
    await _end(first, second)
    amount = size * MIB / 1e6
    return [
        Figure("speed of a stream", amount / plain[0], "MB/s", more_is_better=True),
        Figure("speed of a fetch", amount / fetched[0], "MB/s", more_is_better=True),
        Figure("a fetch beside a stream", 100 * plain[0] / fetched[0], "%", more_is_better=True),
        Figure("processor time of a stream, both ends", 1000 * plain[1] / amount, "ms/MB"),
        Figure("processor time of a fetch, both ends", 1000 * fetched[1] / amount, "ms/MB"),
        Figure("hashing of what is shared", amount / sharing, "MB/s", more_is_better=True),
    ]


def measure(size: int = SIZE) -> Iterator[Figure]:
    """Yield the speed of a fetch and of a plain stream, and what they cost."""
    if HAS_STREAMS:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
            yield from asyncio.run(_measure(size, Path(directory)))


if __name__ == "__main__":
    for figure in measure(int(sys.argv[1]) if len(sys.argv) > 1 else FULL_SIZE):
        print(f"{figure.name}: {figure.value:.1f} {figure.unit}")
