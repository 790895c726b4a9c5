"""Streams in sessions over sockets of this machine, whose packets arrive together."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import Community, Peer, Stream, message, stream
from ipv8.community import CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.messaging.session import quic
from ipv8.messaging.session.wire import MAX_QUIC_DATAGRAM
from ipv8.peerdiscovery.network import Network
from ipv8.sessions import SessionService
from ipv8.streams import LARGEST_CHUNK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DATA = random.Random(1).randbytes(2_000_000)
PIECE = 50_000


class Echo(Community):
    community_id = b"streams over sockets"
    encryption = "require"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.seen: list[int] = []

    @stream("echo")
    async def echo(self, peer: Peer, stream: Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)

    @message(1)
    def note(self, peer: Peer, number: int) -> None:
        self.seen.append(number)


@pytest.fixture(params=["qh3", "aioquic"])
def library(request: Any, monkeypatch: Any) -> str:
    pytest.importorskip(request.param)
    monkeypatch.setattr(quic, "LIBRARIES", (request.param,))
    return str(request.param)


@pytest.fixture
async def overlays() -> AsyncIterator[list[Echo]]:
    made = []
    for _ in range(2):
        endpoint = UDPEndpoint(0, "127.0.0.1")
        assert await endpoint.open()
        me = Peer(default_eccrypto.generate_key("curve25519"))
        made.append(Echo(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network())))
    yield made
    for overlay in made:
        service = SessionService.of(overlay.endpoint)
        await overlay.unload()
        await service.unload()
        overlay.endpoint.close()


def peer_of(overlay: Echo) -> Peer:
    return Peer(overlay.my_peer.public_key, UDPv4Address("127.0.0.1", overlay.endpoint.get_address()[1]))


async def transfer(first: Echo, second: Echo) -> list[bytes]:
    """Send data there and back, with messages in between; the chunks that came back."""
    peer = peer_of(second)

    async def send(stream: Stream) -> None:
        for start in range(0, len(DATA), PIECE):
            first.note.send(peer, start)
            await stream.write(DATA[start:start + PIECE])
        stream.end()

    async with first.open_stream(peer, "echo") as stream:
        sending = asyncio.ensure_future(send(stream))
        chunks = [chunk async for chunk in stream]
        await sending
    return chunks


@pytest.mark.parametrize("is_traced", [False, True])
async def test_packets_are_taken_together_unless_each_is_looked_at(library: str, overlays: list[Echo],
                                                                   monkeypatch: Any, is_traced: bool) -> None:
    singly = 0
    on_packet = SessionService.on_packet

    def count(service: SessionService, packet: Any) -> None:
        nonlocal singly
        singly += len(packet[1]) == MAX_QUIC_DATAGRAM
        on_packet(service, packet)

    monkeypatch.setattr(SessionService, "on_packet", count)
    first, second = overlays
    if is_traced:
        for overlay in overlays:
            overlay.endpoint.trace = lambda _: None
    chunks = await transfer(first, second)
    assert b"".join(chunks) == DATA
    assert max(map(len, chunks)) <= LARGEST_CHUNK
    assert second.seen == sorted(second.seen)
    assert second.seen[0] == 0
    received = sum(SessionService.of(overlay.endpoint).streams.statistics().packets_down for overlay in overlays)
    assert received > 2 * len(DATA) // MAX_QUIC_DATAGRAM
    assert singly > received / 2 if is_traced else singly < received / 4


async def test_they_are_taken_together_as_long_as_there_are_connections(library: str, overlays: list[Echo]) -> None:
    first, second = overlays
    services = [SessionService.of(overlay.endpoint) for overlay in overlays]
    await first.secure(peer_of(second))
    assert [service._take_packets for service in services] == [None, None]
    await transfer(first, second)
    assert None not in [service._take_packets for service in services]
    for service in services:
        service.streams.close()
    assert [service._take_packets for service in services] == [None, None]


async def test_a_subclass_sees_each_packet(overlays: list[Echo]) -> None:
    class Watching(SessionService):
        seen = 0

        def on_packet(self, packet: Any) -> None:
            self.seen += 1
            super().on_packet(packet)

    endpoint = UDPEndpoint(0, "127.0.0.1")
    assert await endpoint.open()
    service = Watching.of(endpoint)
    third = Echo(CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint,
                                   network=Network()))
    try:
        assert b"".join(await transfer(overlays[0], third)) == DATA
        assert isinstance(service, Watching)
        assert service.seen > len(DATA) / MAX_QUIC_DATAGRAM
    finally:
        await third.unload()
        await service.unload()
        endpoint.close()
