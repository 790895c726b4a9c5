"""What no message of any kind can do, be it spoofed, replayed, truncated or unsolicited.

It cannot fill the places of peers for good, move our own address or that of a peer, make us send more to anybody than
came in his name, or grow a table beyond its cap.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.contact.introductions import UNPROVEN_GRACE
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.payload import (
    IntroductionRequestPayload,
    IntroductionResponsePayload,
    NewIntroductionRequestPayload,
    NewIntroductionResponsePayload,
    NewPuncturePayload,
    NewPunctureRequestPayload,
    PuncturePayload,
    PunctureRequestPayload,
)
from ipv8.messaging.payload_relay import RelayPayload
from ipv8.peer import Peer
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.network import MAX_SERVICES_PER_PEER, MAX_UNVERIFIED_SERVICES
from ipv8.peerdiscovery.payload import (
    PingPayload,
    PongPayload,
    SimilarityRequestPayload,
    SimilarityResponsePayload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VICTIM = UDPv4Address("99.9.9.9", 53)
"""Somebody who has no part in this, whose address is in all fields where an address may be."""

NOTHING = UDPv4Address("0.0.0.0", 0)
SERVICES = [number.to_bytes(20, "big") for number in range(50)]
FLAGS = (0,) * 7
ATTACKERS = 40
PACKETS_EACH = 5
MAX_PEERS = 5

SIGNED: dict[str, Callable[[int], Any]] = {
    "request": lambda n: IntroductionRequestPayload(VICTIM, VICTIM, VICTIM, True, "unknown", n, b""),
    "new request": lambda n: NewIntroductionRequestPayload(VICTIM, VICTIM, VICTIM, n, 0, *FLAGS, b""),
    "response": lambda n: IntroductionResponsePayload(VICTIM, VICTIM, VICTIM, VICTIM, VICTIM, "unknown", n, b""),
    "new response": lambda n: NewIntroductionResponsePayload(*[VICTIM] * 5, n, 0, *FLAGS, b""),
    "puncture": lambda n: PuncturePayload(VICTIM, VICTIM, n),
    "new puncture": lambda n: NewPuncturePayload(VICTIM, VICTIM, n),
    "similarity request": lambda n: SimilarityRequestPayload(n, VICTIM, VICTIM, "unknown", SERVICES),
    "similarity response": lambda n: SimilarityResponsePayload(n, SERVICES, ()),
    "relay": lambda n: RelayPayload(VICTIM, n, bytes(100)),
}
UNSIGNED: dict[str, Callable[[int], Any]] = {
    "puncture request": lambda n: PunctureRequestPayload(VICTIM, VICTIM, n),
    "new puncture request": lambda n: NewPunctureRequestPayload(VICTIM, VICTIM, n),
    "ping": PingPayload,
    "pong": PongPayload,
}
KINDS = [*SIGNED, *UNSIGNED]


def build(sender: Any, kind: str, number: int) -> bytes:
    """A well-formed message of ``kind`` by ``sender``."""
    make = SIGNED.get(kind) or UNSIGNED[kind]
    payload = make(number)
    if kind == "relay":
        return sender.ezr_pack(payload.msg_id, payload)  # type: ignore[no-any-return]  # the overlay is any
    return sender._pack_timed(payload, number, sig=kind in SIGNED)  # type: ignore[no-any-return]  # the overlay is any


class Scene:
    """A node with two peers that have answered it; whatever it sends from now on is recorded and not delivered."""

    def __init__(self, make_overlay: Any) -> None:
        self.make_overlay = make_overlay
        self.node = make_overlay(DiscoveryCommunity, max_peers=MAX_PEERS)
        self.friends = [make_overlay(DiscoveryCommunity) for _ in range(2)]
        self.received: Counter[str] = Counter()

    async def begin(self) -> Scene:
        for friend in self.friends:
            friend.walk_to(self.node.endpoint.wan_address)
            self.node.walk_to(friend.endpoint.wan_address)
        for _ in range(30):
            await asyncio.sleep(0)
        assert set(self.node.get_peers()) >= {friend.my_peer for friend in self.friends}
        for overlay in (self.node, *self.friends):
            overlay.endpoint.deliver = False
        self.note()
        return self

    def note(self) -> None:
        """Remember how things are: so they shall stay."""
        self.node.endpoint.sent.clear()
        self.wan = self.node.my_estimated_wan
        self.addresses = {peer: dict(peer.addresses) for peer in self.node.get_peers()}
        self.walkable = set(self.node.get_walkable_addresses())

    def receive(self, source: UDPv4Address, packet: bytes) -> None:
        """Let a packet arrive, by way of the node's endpoint."""
        self.received[source.ip] += len(packet)
        self.node.endpoint.notify_listeners((source, packet))

    def check(self) -> None:
        """Nothing has moved, no table is beyond its cap, nobody gets more than came in his name or by all together."""
        node = self.node
        assert node.my_estimated_wan == self.wan
        for peer, addresses in self.addresses.items():
            assert peer in node.get_peers()
            assert {kind: address for kind, address in peer.addresses.items() if kind in addresses} == addresses
        assert set(node.get_walkable_addresses()) <= self.walkable | {
            address for peer in node.network.verified_peers for address in peer.addresses.values()}
        assert len(node.get_peers()) <= MAX_PEERS + 1
        assert all(len(services) <= MAX_SERVICES_PER_PEER for services in node.network.services_per_peer.values())
        assert sum(map(len, node.network.services_per_peer.values())) <= MAX_UNVERIFIED_SERVICES
        assert node.drops.get("listener_error", 0) == 0
        sent: Counter[str] = Counter()
        for to, packet in node.endpoint.sent:
            sent[to[0]] += len(packet)
        friends = {friend.endpoint.wan_address[0] for friend in self.friends}
        for host, size in sent.items():
            # Peers are asked to puncture for whoever asks: they get less than all others have sent together.
            named = host in self.received and host not in friends
            assert size <= (3 * self.received[host] if named else sum(self.received.values())), host

    async def check_newcomers_get_in(self, manual_clock: Any) -> None:
        """Somebody who answers gets a place, whoever was there before."""
        manual_clock.advance(UNPROVEN_GRACE + 1)
        newcomer = self.make_overlay(DiscoveryCommunity)
        self.node.endpoint.deliver = True
        newcomer.walk_to(self.node.endpoint.wan_address)
        for _ in range(30):
            await asyncio.sleep(0)
        assert newcomer.my_peer in self.node.get_peers()


@pytest.fixture
async def scene(make_overlay: Any, manual_clock: Any) -> Scene:
    return await Scene(make_overlay).begin()


@pytest.fixture(scope="module")
def identities() -> list[Peer]:
    return [Peer(default_eccrypto.generate_key("curve25519")) for _ in range(ATTACKERS)]


def spoofed(scene: Scene, kind: str, identities: Iterable[Peer]) -> None:
    """Each identity sends a few packets from an address of its own, where nobody is."""
    author = scene.make_overlay(DiscoveryCommunity, deliver=False)
    for number, identity in enumerate(identities):
        author.my_peer = identity
        for again in range(PACKETS_EACH):
            scene.receive(UDPv4Address(f"66.{number}.6.6", 6), build(author, kind, number * PACKETS_EACH + again))


@pytest.mark.parametrize("kind", KINDS)
async def test_spoofed(scene: Scene, kind: str, identities: list[Peer], manual_clock: Any) -> None:
    spoofed(scene, kind, identities)
    scene.check()
    await scene.check_newcomers_get_in(manual_clock)


@pytest.mark.parametrize("kind", KINDS)
async def test_spoofed_in_the_name_of_one_victim(scene: Scene, kind: str) -> None:
    author = scene.make_overlay(DiscoveryCommunity, deliver=False)
    for number in range(200):
        scene.receive(VICTIM, build(author, kind, number))
    scene.check()


@pytest.mark.parametrize("kind", KINDS)
async def test_replayed(scene: Scene, kind: str, manual_clock: Any) -> None:
    friend = scene.friends[0]
    recorded = build(friend, kind, 4711)
    scene.receive(friend.endpoint.wan_address, recorded)
    scene.note()  # the friend may say of itself what it wants
    for number in range(100):
        scene.receive(UDPv4Address(f"66.{number % 20}.6.6", 6), recorded)
    scene.check()
    await scene.check_newcomers_get_in(manual_clock)


@pytest.mark.parametrize("kind", KINDS)
async def test_truncated(scene: Scene, kind: str) -> None:
    friend = scene.friends[0]
    packet = build(friend, kind, 4711)
    for size in range(len(packet)):
        scene.receive(friend.endpoint.wan_address, packet[:size])
    scene.check()
    assert scene.node.endpoint.sent == []
    dropped = sum(scene.node.drops.values()) + sum(scene.node.endpoint.drops.values())
    assert dropped == len(packet)


@pytest.mark.parametrize("kind", KINDS)
async def test_with_a_surplus_byte(scene: Scene, kind: str) -> None:
    friend = scene.friends[0]
    scene.receive(friend.endpoint.wan_address, build(friend, kind, 4711) + b"\x00")
    scene.check()
    assert scene.node.endpoint.sent == []
    assert sum(scene.node.drops.values()) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "response" in kind or "pong" in kind])
@pytest.mark.parametrize("by_friend", [True, False])
async def test_unsolicited(scene: Scene, kind: str, by_friend: bool) -> None:
    author = scene.friends[0] if by_friend else scene.make_overlay(DiscoveryCommunity)
    for number in range(300):
        scene.receive(author.endpoint.wan_address, build(author, kind, number))
    scene.check()
    assert scene.node.endpoint.sent == []
    assert VICTIM not in scene.node.get_walkable_addresses()


def test_each_message_that_is_handled_is_tested(make_overlay: Any) -> None:
    node = make_overlay(DiscoveryCommunity)
    handled = {number for number, handler in enumerate(node.decode_map)
               if handler is not None and number not in node.deprecated_message_names}
    made = {(SIGNED.get(kind) or UNSIGNED[kind])(1).msg_id for kind in KINDS}
    assert made == handled
