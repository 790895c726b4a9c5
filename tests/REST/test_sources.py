"""Where events come from: the peers, overlays, sessions and packets of a node."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.community import Community
from ipv8.events import EventBus
from ipv8.lazy_community import lazy_wrapper_unsigned
from ipv8.messaging.interfaces.gate import Route
from ipv8.messaging.lazy_payload import VariablePayloadWID, vp_compile
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.REST.observation.packets import PACKETS_PER_SECOND, PacketEvents
from ipv8.REST.observation.sources import EventSources, describe_address
from ipv8.REST.observation.traffic import Traffic
from ipv8.sessions import SessionService
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8
from tests.REST.world import peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipv8.events import Subscription
    from tests.REST.world import World

ADDRESS = ("10.0.0.2", 1002)


@vp_compile
class Hello(VariablePayloadWID):
    msg_id = 1
    format_list = ["varlenHutf8"]
    names = ["text"]

    text: str


class Talk(Community):
    community_id = b"talk-overlay-0000001"
    encryption = "prefer"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.add_message_handler(Hello, self.on_hello)

    @lazy_wrapper_unsigned(Hello)
    def on_hello(self, address: Any, payload: Hello) -> None:
        """Nothing is done."""


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def sources(world: World, bus: EventBus) -> Iterator[EventSources]:
    made = EventSources(world, bus)
    made.start()
    yield made
    made.stop()


def told(subscription: Subscription) -> list[tuple[str, dict[str, Any]]]:
    return [(event.topic, event.data) for event in subscription.take_nowait()]


# -- peers -----------------------------------------------------------------------------------------------------------

async def test_peers_that_come_and_go(world: World, bus: EventBus, sources: EventSources) -> None:
    other = peer(2)
    described = {"mid": other.mid.hex(), "public_key": other.public_key.key_to_bin().hex(),
                 "address": {"ip": "10.0.0.2", "port": 1002}}
    with bus.subscribe() as subscription:
        world.network.add_verified_peer(other)
        world.network.discover_services(other, [b"b" * 20, b"a" * 20])
        assert not told(subscription), "its services follow"
        await asyncio.sleep(0)
        assert told(subscription) == [("peer.added", {**described, "services": [b"a".hex() * 20, b"b".hex() * 20]})]
        world.network.remove_peer(other)
        await asyncio.sleep(0)
        assert told(subscription) == [("peer.removed", {**described, "services": []})]


async def test_peers_of_pseudonyms(world: World, bus: EventBus, sources: EventSources) -> None:
    channel = await world.manager.load("alice")
    sources.tick()
    own = channel.identity_overlay.network
    with bus.subscribe(["peer"]) as subscription:
        own.add_verified_peer(peer(2))
        own.add_verified_peer(peer(3))
        await asyncio.sleep(0)
        assert [topic for topic, _ in told(subscription)] == ["peer.added"] * 2
        world.network.add_verified_peer(peer(2))  # it is told of once
        await asyncio.sleep(0)
        own.remove_peer(peer(2))
        own.remove_peer(peer(3))
        await asyncio.sleep(0)
        assert [(topic, data["mid"]) for topic, data in told(subscription)] == [("peer.removed", peer(3).mid.hex())]
        await world.manager.unload("alice")
        sources.tick()
        own.add_verified_peer(peer(3))
        await asyncio.sleep(0)
        assert not told(subscription)
    assert not own.peer_observers


def test_without_an_event_loop(bus: EventBus) -> None:
    class Node:
        pass

    node: Any = Node()
    sources = EventSources(node, bus)
    sources.start()
    sources.tick()
    sources.stop()
    with bus.subscribe() as subscription:
        assert not subscription.take_nowait()


@pytest.mark.parametrize(("address", "expected"), [
    (("1.2.3.4", 5), {"ip": "1.2.3.4", "port": 5}), (("::1", 5, 0, 0), {"ip": "::1", "port": 5}), (("x",), None),
    (None, None), ("text", None)])
def test_addresses(address: Any, expected: Any) -> None:
    assert describe_address(address) == expected


# -- overlays --------------------------------------------------------------------------------------------------------

async def test_overlays_that_come_and_go(world: World, bus: EventBus, sources: EventSources) -> None:
    first = world.overlays[0]
    assert all(overlay.event_bus is bus for overlay in world.overlays)
    with bus.subscribe() as subscription:
        sources.tick()
        assert not told(subscription), "nothing has changed"
        new = Talk(Talk.settings_class(my_peer=world.my_peer, endpoint=world.endpoint, network=world.network))
        world.overlays.append(new)
        await world.unload_overlay(first)
        sources.tick()
        assert told(subscription) == [
            ("overlay.unloaded", {"id": DiscoveryCommunity.community_id.hex(), "name": "DiscoveryCommunity"}),
            ("overlay.loaded", {"id": Talk.community_id.hex(), "name": "Talk"})]
    assert first.event_bus is None
    assert new.event_bus is bus


async def test_nothing_stays_on_the_node(world: World, bus: EventBus) -> None:
    own = world.overlays[1].event_bus = EventBus()
    before = set(world.network.peer_observers)
    sources = EventSources(world, bus)
    sources.start()
    with bus.subscribe() as subscription:
        world.network.add_verified_peer(peer(2))
        sources.stop()
        await asyncio.sleep(0)
        assert not told(subscription)
    assert world.network.peer_observers == before
    assert [vars(overlay).get("event_bus") for overlay in world.overlays] == [None, own, None]


# -- sessions --------------------------------------------------------------------------------------------------------

class Sessions(TestBase[Talk]):
    """Two nodes that have a session."""

    async def test_sessions_that_open_and_close(self) -> None:
        for _ in range(2):
            self.nodes.append(MockIPv8("curve25519", Talk))
        first, second = self.nodes
        bus = EventBus()
        sources = EventSources(first, bus)
        sources.start()
        service = SessionService.find(first.endpoint)
        assert service is not None
        for _ in range(2):
            await self.introduce_nodes()
        with bus.subscribe(["session"]) as subscription:
            opened = await first.overlay.secure(first.network.get_verified_by_mid(second.overlay.my_peer.mid))
            opened.close()
            await self.deliver_messages()
            described = {"mid": second.overlay.my_peer.mid.hex(), "address": describe_address(opened.address)}
            assert [(topic, {**data, "reason": ""}) for topic, data in told(subscription)] == [
                ("session.opened", {**described, "reason": ""}), ("session.closed", {**described, "reason": ""})]
        sources.stop()
        assert not service._events.observers


# -- packets ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def packets(world: World, bus: EventBus) -> Iterator[PacketEvents]:
    world.overlays.append(Talk(Talk.settings_class(my_peer=world.my_peer, endpoint=world.endpoint,
                                                   network=world.network)))
    traffic = Traffic(world)
    traffic.start()
    made = PacketEvents(world, bus, traffic)
    made.start()
    yield made
    made.stop()
    traffic.stop()
    assert world.endpoint.gate.trace is None
    assert world.endpoint.gate.meter is None


def hello(world: World) -> bytes:
    packet: bytes = world.overlays[-1].ezr_pack(Hello.msg_id, Hello("x"), sig=False)
    return packet


async def test_counts_of_each_second(world: World, bus: EventBus, packets: PacketEvents) -> None:
    packet, gate = hello(world), world.endpoint.gate
    gate.receive((ADDRESS, packet), Route.SOCKET)
    packets.tick()
    with bus.subscribe(["packets"]) as subscription:
        packets.tick()
        assert not told(subscription), "there is no second yet"
        for _ in range(3):
            gate.receive((ADDRESS, packet), Route.SOCKET)
        world.endpoint.send(ADDRESS, packet)
        packets.tick()
        counted = {"packets_up": 1, "packets_down": 3, "bytes_up": len(packet), "bytes_down": 3 * len(packet)}
        assert told(subscription) == [("packets", {"overlays": [{
            "id": Talk.community_id.hex(), "name": "Talk", **counted,
            "messages": [{"id": 1, "name": "on_hello", **counted}]}]})]
        packets.tick()
        assert told(subscription) == [("packets", {"overlays": []})]


async def test_single_packets(world: World, bus: EventBus, packets: PacketEvents) -> None:
    packet, gate = hello(world), world.endpoint.gate
    with bus.subscribe() as subscription:
        assert gate.trace is None, "single packets have to be named"
        with bus.subscribe(["packet"]) as named:
            gate.receive((ADDRESS, packet), Route.SOCKET)
            gate.receive((ADDRESS, b"short"), Route.SOCKET)
            world.endpoint.send(ADDRESS, packet)
            received, unknown, sent = (data for _, data in told(named))
        assert gate.trace is None
        assert not told(subscription)
    assert received == {"outgoing": False, "route": "SOCKET", "address": {"ip": "10.0.0.2", "port": 1002},
                        "overlay": Talk.community_id.hex(), "name": "Talk", "message": 1, "message_name": "on_hello",
                        "size": len(packet), "verdict": "delivered", "skipped": 0}
    assert (unknown["overlay"], unknown["name"], unknown["message"], unknown["message_name"], unknown["verdict"]) == (
        b"short".hex(), None, -1, None, "short")
    assert (sent["outgoing"], sent["verdict"]) == (True, "sent")


async def test_only_so_many_single_packets(world: World, bus: EventBus, packets: PacketEvents) -> None:
    packet, gate = hello(world), world.endpoint.gate
    with bus.subscribe(["packet"]) as subscription:
        for _ in range(PACKETS_PER_SECOND + 5):
            gate.receive((ADDRESS, packet), Route.SOCKET)
        assert len(told(subscription)) == PACKETS_PER_SECOND
        packets.tick()
        for skipped in (5, 0):
            gate.receive((ADDRESS, packet), Route.SOCKET)
            assert [data["skipped"] for _, data in told(subscription)] == [skipped]


async def test_a_trace_of_a_program_goes_on(world: World, bus: EventBus, packets: PacketEvents) -> None:
    packet, gate = hello(world), world.endpoint.gate
    seen: list[Any] = []
    gate.trace = seen.append
    with bus.subscribe(["packet"]) as subscription:
        gate.receive((ADDRESS, packet), Route.SOCKET)
        assert len(told(subscription)) == len(seen) == 1
    assert gate.trace == seen.append
    gate.receive((ADDRESS, packet), Route.SOCKET)
    assert len(seen) == 2
    with bus.subscribe(["packet"]):
        gate.trace = None
    assert gate.trace is None, "what the program has set meanwhile stays"
