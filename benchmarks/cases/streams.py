"""Streams in sessions over loopback, each end in a process of its own, for each QUIC library that is installed.

The bare library is measured beside it: two ends in one process, without sessions, sockets and event loop. The other
library has no streams; nothing is measured of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.library import Library
from benchmarks.measure import Figure
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

MEGABYTE = 1 << 20
MEGABYTES = {"qh3": 48, "aioquic": 12}
ROUNDS = 3
CHUNK = 65_536
BEHIND = 8 * MEGABYTE
LOOPBACK = "127.0.0.1"


class Sink(Community):
    """Counts the bytes of a stream."""

    community_id = b"measured with stream"
    encryption = "require"

    async def count(self, _peer: Peer, stream: Any) -> None:
        """Read a stream, and answer with its size."""
        size = 0
        async for chunk in stream:
            size += len(chunk)
        await stream.write(size.to_bytes(8, "big"))


async def _overlay() -> Sink:
    endpoint = UDPEndpoint(0, LOOPBACK)
    await endpoint.open()
    overlay = Sink(CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint,
                                     network=Network()))
    overlay.add_stream_handler("count", overlay.count)
    return overlay


async def serve(library: str) -> None:
    """Be the receiving process: print the port and the public key, and serve."""
    _use(library)
    overlay = await _overlay()
    address = overlay.endpoint.get_address()
    print(address[1], overlay.my_peer.key_bin.hex(), flush=True)
    await asyncio.Event().wait()


def _use(library: str) -> None:
    """Have ``library`` used, whatever others are installed."""
    from ipv8.messaging.session import quic

    quic.LIBRARIES = (library,)


def _processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


async def _transfer(library: str) -> tuple[float, float]:
    """MB/s, and milliseconds of processor time for a MB at both ends."""
    receiver = await asyncio.create_subprocess_exec(*Library.running().command("benchmarks.cases.streams", library),
                                                    stdout=asyncio.subprocess.PIPE)
    assert receiver.stdout is not None
    port, key = (await receiver.stdout.readline()).split()
    overlay: Any = await _overlay()
    peer = Peer(bytes.fromhex(key.decode()), UDPv4Address(LOOPBACK, int(port)))
    speeds, costs, megabytes = [], [], MEGABYTES[library]
    try:
        for _ in range(ROUNDS):
            processor, begin = time.process_time() + _processor_time(receiver.pid), time.perf_counter()
            async with overlay.open_stream(peer, "count") as stream:
                for _ in range(megabytes * MEGABYTE // CHUNK):
                    await stream.write(bytes(CHUNK))
                stream.end()
                assert int.from_bytes(await stream.read_exactly(8), "big") == megabytes * MEGABYTE
            speeds.append(megabytes / (time.perf_counter() - begin))
            costs.append((time.process_time() + _processor_time(receiver.pid) - processor) / megabytes * 1e3)
        await overlay.unload()
        await _stop_service(overlay)
    finally:
        receiver.send_signal(signal.SIGKILL)
        await receiver.wait()
    return max(speeds), median(costs)


async def _stop_service(overlay: Any) -> None:
    from ipv8.sessions import SessionService

    service = SessionService.find(overlay.endpoint)
    if service is not None:
        await service.unload()
    closing = overlay.endpoint.close()
    if closing is not None:
        await closing


def _bare(library: str) -> float:
    """Milliseconds of processor time for a MB between two ends of the bare library."""
    from ipv8.messaging.session.quic import Certificate, QuicConnection, QuicSettings, StreamData

    settings, now = QuicSettings("bare/1"), time.monotonic
    client = QuicConnection.connect(settings, now(), library)
    first, *others = client.datagrams(now())
    server = QuicConnection.accept(first, settings, Certificate.make(), library)
    assert server is not None
    for packet in (first, *others):
        server.receive(packet, now())
    total, sent, received, stream = MEGABYTES[library] * MEGABYTE, 0, 0, -1
    begin = time.process_time()
    while received < total:
        if client.is_connected:
            stream = client.open_stream() if stream < 0 else stream
            while sent < min(total, received + BEHIND):
                client.send(stream, bytes(CHUNK))
                sent += CHUNK
        for packet in client.datagrams(now()):
            server.receive(packet, now())
        received += sum(len(event.data) for event in server.events() if isinstance(event, StreamData))
        for packet in server.datagrams(now()):
            client.receive(packet, now())
        client.events()
        for end in (client, server):
            deadline = end.deadline()
            if deadline is not None and deadline < now():
                end.tick(now())
    return (time.process_time() - begin) / (total / MEGABYTE) * 1e3


def measure() -> Iterator[Figure]:
    """Yield speed and processor time for each library."""
    if find_spec("ipv8.session_streams") is None:
        return
    for library in MEGABYTES:
        if find_spec(library) is not None:
            _use(library)
            speed, cost = asyncio.run(_transfer(library))
            yield Figure(f"stream, {library}", speed, "MB/s", more_is_better=True)
            yield Figure(f"processor time of both ends, {library}", cost, "ms/MB")
            yield Figure(f"the same of the bare library, {library}", _bare(library), "ms/MB")


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
