"""Nodes of the other library notice nothing of encrypted sessions, and talk to nodes that have them as ever."""

from __future__ import annotations

import asyncio
import socket
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from interop.nodes.overlays import MESSAGES
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address
from ipv8.messaging.session.wire import SERVICE_PREFIX
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from interop.conftest import StartNode

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

NUMBER, TEXT, MAKE = MESSAGES["varlenHutf8"]
CARRIERS, BURST = 100_000, 50
SIZES = (23, 24, 27, 59, 60, 208, 274, 512, 1232, 1252)


class Ours(Community):
    """The overlay of the nodes in the tests, with sessions."""

    community_id = b"interoperability id."
    encryption = "prefer"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.got: list[tuple[Peer, Any, bool]] = []
        self.has_heard = asyncio.Event()
        self.add_message_handler(NUMBER, self.on_text)

    @lazy_wrapper(TEXT)
    def on_text(self, peer: Peer, payload: Any) -> None:
        self.got.append((peer, payload.values[0], self.delivery is not None))
        self.has_heard.set()

    @property
    def port(self) -> int:
        return self.endpoint.get_address()[1]

    async def meet(self, address: Any) -> Peer:
        """Walk to a node until it is a proven peer."""
        address = UDPv4Address(*address)
        while True:
            self.walk_to(address)
            await asyncio.sleep(0.05)
            peer = self.network.get_verified_by_address(address)
            if peer is not None and peer.proven:
                return peer


@pytest.fixture
async def overlays() -> AsyncIterator[list[Ours]]:
    made = []
    for _ in range(2):
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        me = Peer(default_eccrypto.generate_key("curve25519"))
        made.append(Ours(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network())))
    yield made
    for overlay in made:
        await overlay.unload()
        overlay.endpoint.close()


async def test_carrier_datagrams_are_silent(start: StartNode, overlays: list[Ours]) -> None:
    """No answer, no line in the log, and the node goes on."""
    theirs = await start("theirs", log_level="WARNING")
    chance = Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        for _ in range(CARRIERS // BURST):
            for _ in range(BURST):
                datagram = SERVICE_PREFIX + bytes((chance.randrange(8),)) + chance.randbytes(chance.choice(SIZES) - 23)
                sock.sendto(datagram, tuple(theirs.address))
            await asyncio.sleep(0)
        await overlays[0].meet(theirs.address)
        with pytest.raises(BlockingIOError):
            sock.recvfrom(65535)
    assert await theirs.stop() == ""


async def test_introductions_with_the_bit_are_accepted(start: StartNode, overlays: list[Ours]) -> None:
    theirs, ours = await start("theirs", log_level="WARNING"), overlays[0]
    peer = await ours.meet(theirs.address)
    assert not peer.session_capable_until
    mid = ours.my_peer.mid.hex()
    await theirs.expect("request", mid=mid, style=246)
    ours.send_introduction_request(peer)
    await theirs.expect("request", mid=mid, style=234)
    await theirs.command("walk", address=["127.0.0.1", ours.port])
    await theirs.expect("response", mid=mid)
    assert await theirs.stop() == ""


async def test_all_pairs_talk_and_new_pairs_are_encrypted(start: StartNode, overlays: list[Ours]) -> None:
    theirs, (first, second) = await start("theirs", log_level="WARNING"), overlays
    old = await first.meet(theirs.address)
    new = await first.meet(("127.0.0.1", second.port))
    first.ez_send(old, MAKE(["in clear"]))
    assert (await theirs.expect("received", message="varlenHutf8"))["mid"] == first.my_peer.mid.hex()
    for _ in range(100):
        first.ez_send(new, MAKE(["sealed"]))
        second.has_heard.clear()
        await second.has_heard.wait()
        if second.got[-1][2]:
            break
    assert second.got[-1] == (first.my_peer, "sealed", True)
    await theirs.command("send", address=["127.0.0.1", first.port], message="varlenHutf8", signed=True,
                         values=["back"])
    await first.has_heard.wait()
    assert first.got[-1][1:] == ("back", False)
    assert await theirs.stop() == ""
