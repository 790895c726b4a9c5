"""The ways to peers are kept open, peers that are gone are noticed, and a node that stops says goodbye."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ipv8 import clock
from ipv8.community import Community, CommunitySettings
from ipv8.contact import keeper
from ipv8.contact.keeper import PeerKeeper
from ipv8.contact.liveness import DEPARTURE_TOLERANCE, KEEP_ALIVE_INTERVAL, LONGEST_INTERVAL, PATIENCE
from ipv8.contact.liveness_messages import ANSWERS_AT_ONCE, LIVENESS_PREFIX, LivenessListener
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.payload_headers import BinMemberAuthenticationPayload
from ipv8.messaging.payload_liveness import GoodbyePayload, LivenessPingPayload, LivenessPongPayload
from ipv8.messaging.serialization import default_serializer
from ipv8.peer import Peer
from ipv8.peerdiscovery.community import DiscoveryCommunity
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from ipv8.test.simulation import NAT, Simulation
from ipv8.verification import AHEAD_MINIMUM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Club(Community):
    community_id = b"keeper-overlay-00001"


class OtherClub(Community):
    community_id = b"keeper-overlay-00002"


class KeptEndpoint(AutoMockEndpoint):
    """A mock endpoint behind which ways are kept open, and which keeps what it sent."""

    keeps_ways_open = True

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[Any, bytes]] = []

    def send(self, socket_address: Any, packet: bytes) -> None:
        self.sent.append((socket_address, packet))
        super().send(socket_address, packet)

    def liveness_messages(self) -> list[int]:
        return [packet[22] for _, packet in self.sent if packet.startswith(LIVENESS_PREFIX)]


def make(endpoint: Any = None, overlay_class: Any = Club, key: Any = None, network: Network | None = None,
         **more: Any) -> Any:
    endpoint = endpoint or KeptEndpoint()
    endpoint.open()
    peer = Peer(key or default_eccrypto.generate_key("curve25519"), endpoint.wan_address)
    return overlay_class(CommunitySettings(my_peer=peer, endpoint=endpoint, network=network or Network(), **more))


def acquaint(overlay: Any, other: Any) -> Peer:
    peer = Peer(other.my_peer.public_key, other.endpoint.wan_address)
    overlay.network.add_verified_peer(peer)
    overlay.network.discover_services(peer, [overlay.community_id])
    overlay.network.mark_proven(peer)
    peer.heard_now()
    return peer


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Any, Any]]:
    alice, bob = make(), make()
    acquaint(alice, bob)
    acquaint(bob, alice)
    yield alice, bob
    await alice.unload()
    await bob.unload()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def pack(payload: Any) -> bytes:
    return LIVENESS_PREFIX + bytes((payload.msg_id,)) + default_serializer.pack_serializable(payload)


def goodbye(author: Any, receiver: bytes, time: float, key: Any = None) -> bytes:
    body = [BinMemberAuthenticationPayload(author.my_peer.public_key.key_to_bin()),
            GoodbyePayload(receiver, int(time * 1000))]
    packet = LIVENESS_PREFIX + b"\x03" + default_serializer.pack_serializable_list(body)
    signature: bytes = (key or author.my_peer.key).signature(packet)
    return packet + signature


# In a simulated network, with NATs


@pytest.mark.timeout(600)
@pytest.mark.parametrize("idle", [100, 1000])
def test_all_peers_are_reached_after_idling(idle: float) -> None:
    with Simulation(seed=5, stand_in_signatures=True) as sim:
        sim.add_tracker()
        nodes = [sim.add_node(Club, nat=NAT.PORT_RESTRICTED) for _ in range(12)]
        sim.run(30 + idle)
        me = nodes[0].overlay
        listed = me.get_peers()
        before = {peer: peer.last_heard for peer in listed}
        for peer in listed:
            me.send_introduction_request(peer)
        sim.run(2)
        assert len(listed) >= 8
        assert [peer for peer in listed if peer.last_heard == before[peer]] == []


def times_of_loss(how: str) -> tuple[float, int]:
    """Seconds until all nodes have removed a node that was made to leave, and how many had it."""
    with Simulation(seed=6, stand_in_signatures=True) as sim:
        sim.add_tracker()
        nodes = [sim.add_node(Club) for _ in range(8)]
        sim.run(60)
        gone = nodes[0]
        mid = gone.overlay.my_peer.mid
        holders = [node.overlay for node in nodes[1:] if any(peer.mid == mid for peer in node.overlay.get_peers())]
        start = sim.time
        getattr(sim, how)(gone)
        while any(peer.mid == mid for overlay in holders for peer in overlay.get_peers()) and sim.time < start + 120:
            sim.run(0.5)
        return sim.time - start, len(holders)


def test_a_node_that_stops_is_gone_within_two_seconds() -> None:
    seconds, holders = times_of_loss("stop")
    assert holders >= 5
    assert seconds <= 2


def test_a_node_that_crashes_is_gone_within_a_minute() -> None:
    seconds, holders = times_of_loss("crash")
    assert holders >= 5
    assert 10 <= seconds <= 60


# On mock endpoints


async def test_bare_communities_of_the_test_kit_have_no_keeper() -> None:
    overlay = make(AutoMockEndpoint())
    assert overlay.endpoint.gate.prefix_listeners(LIVENESS_PREFIX) == []
    await overlay.unload()


@pytest.mark.parametrize("more", [{"keep_alive": False}, {"anonymize": True}])
async def test_an_overlay_can_do_without(more: dict[str, Any]) -> None:
    overlay = make(**more)
    assert overlay.endpoint.prefix_listeners(LIVENESS_PREFIX) == []
    await overlay.unload()


async def test_it_adds_no_task() -> None:
    before = len(asyncio.all_tasks())
    plain = make(AutoMockEndpoint())
    between = len(asyncio.all_tasks())
    kept = make()
    assert len(asyncio.all_tasks()) - between == between - before
    await plain.unload()
    await kept.unload()


async def test_overlays_of_one_endpoint_and_network_share_a_keeper() -> None:
    endpoint, network = KeptEndpoint(), Network()
    first = make(endpoint, network=network)
    second = make(endpoint, OtherClub, key=first.my_peer.key, network=network)
    (listener,) = endpoint.prefix_listeners(LIVENESS_PREFIX)
    keeper = first._keeper
    assert second._keeper is keeper
    assert len(keeper) == 2
    await first.unload()
    assert endpoint.prefix_listeners(LIVENESS_PREFIX) == [listener]
    await second.unload()
    assert endpoint.prefix_listeners(LIVENESS_PREFIX) == []
    assert network.peer_observers == set()
    again = make(endpoint, network=network)
    assert again._keeper is not keeper
    assert endpoint.prefix_listeners(LIVENESS_PREFIX) != [listener]
    await again.unload()


async def test_networks_of_one_endpoint_share_what_receives() -> None:
    """A message that one of the keepers accepts is no drop of the others, and gets one answer."""
    endpoint, other = KeptEndpoint(), make()
    first = make(endpoint)
    second = make(endpoint, OtherClub, key=first.my_peer.key)
    listener: Any
    (listener,) = endpoint.prefix_listeners(LIVENESS_PREFIX)
    assert first._keeper is not second._keeper
    peer = acquaint(second, other)
    acquaint(other, second)
    other._keeper.ask(other.get_peers()[0])
    await settle()
    assert endpoint.liveness_messages() == [2]
    acquaint(first, other)
    other._keeper.ask(other.get_peers()[0])
    await settle()
    assert endpoint.liveness_messages() == [2, 2]
    peer.last_heard = -1e9
    second._keeper.ask(peer)
    await settle()
    assert peer.last_heard == pytest.approx(clock.monotonic(), abs=60)
    assert listener.drops == {}
    await other.unload()
    await settle()
    assert first.get_peers() == second.get_peers() == []
    assert listener.drops == {}
    await first.unload()
    assert endpoint.prefix_listeners(LIVENESS_PREFIX) == [listener]
    await second.unload()
    assert endpoint.prefix_listeners(LIVENESS_PREFIX) == []


def drops_of(overlay: Any) -> dict[str, int]:
    listener: Any
    (listener,) = overlay.endpoint.prefix_listeners(LIVENESS_PREFIX)
    assert isinstance(listener, LivenessListener)
    return listener.drops


async def test_a_ping_of_a_peer_is_answered(pair: tuple[Any, Any]) -> None:
    alice, bob = pair
    (peer,) = alice.get_peers()
    peer.last_heard = -1e9
    alice._keeper.ask(peer)
    await settle()
    assert alice.endpoint.liveness_messages() == [1]
    assert bob.endpoint.liveness_messages() == [2]
    assert peer.last_heard == pytest.approx(clock.monotonic(), abs=60)


async def test_strangers_are_not_answered(pair: tuple[Any, Any]) -> None:
    alice, _ = pair
    alice.endpoint.notify_listeners((UDPv4Address("9.9.9.9", 9), pack(LivenessPingPayload(1))))
    assert alice.endpoint.sent == []
    assert drops_of(alice) == {DropCounter.UNSOLICITED: 1}


async def test_a_flood_of_pings_has_a_budget(pair: tuple[Any, Any], manual_clock: Any) -> None:
    alice, bob = pair
    for nonce in range(100):
        alice.endpoint.notify_listeners((bob.endpoint.wan_address, pack(LivenessPingPayload(nonce))))
    assert alice.endpoint.liveness_messages() == [2] * int(ANSWERS_AT_ONCE)


async def test_a_pong_that_was_not_asked_for_proves_nothing(pair: tuple[Any, Any]) -> None:
    alice, bob = pair
    (peer,) = alice.get_peers()
    heard = peer.last_heard
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, pack(LivenessPongPayload(5))))
    assert peer.last_heard == heard
    assert drops_of(alice) == {DropCounter.UNSOLICITED: 1}


def test_silent_peers_are_asked_and_removed() -> None:
    with Simulation(seed=1, stand_in_signatures=True) as sim:
        alice, bob = sim.add_node(Club), sim.add_node(Club)
        sim.run(0.1)
        alice.run(alice.overlay.walk_to, bob.address)
        sim.run(2)
        assert len(alice.overlay.get_peers()) == 1
        sim.crash(bob)
        sim.run(LONGEST_INTERVAL + sum(PATIENCE) + 1)
        assert alice.overlay.get_peers() == []


async def test_a_goodbye_removes_its_author(pair: tuple[Any, Any]) -> None:
    alice, bob = pair
    await bob.unload()
    await settle()
    assert bob.endpoint.liveness_messages() == [3]
    assert alice.get_peers() == []


async def test_only_the_last_overlay_of_a_key_says_goodbye() -> None:
    endpoint, network = KeptEndpoint(), Network()
    first = make(endpoint, network=network)
    second = make(endpoint, OtherClub, key=first.my_peer.key, network=network)
    other = make()
    acquaint(first, other)
    network.discover_services(first.get_peers()[0], [second.community_id])
    await first.unload()
    assert endpoint.liveness_messages() == []
    await second.unload()
    assert endpoint.liveness_messages() == [3]
    await other.unload()


async def test_a_newcomer_is_told_and_one_that_does_not_answer_is_not(manual_clock: Any) -> None:
    alice, bob, carol = make(), make(), make()
    acquaint(alice, bob).proven = False
    manual_clock.advance(KEEP_ALIVE_INTERVAL + 1)
    acquaint(alice, carol).proven = False
    alice.endpoint.sent.clear()
    await alice.unload()
    assert [(address, packet[22]) for address, packet in alice.endpoint.sent] == [(carol.endpoint.wan_address, 3)]
    await bob.unload()
    await carol.unload()


async def told_when_one_leaves(leaving: Any) -> None:
    """An overlay that knows a proven peer and a newcomer is unloaded: only the first one is told."""
    bob, carol = make(), make()
    acquaint(leaving, bob)
    acquaint(leaving, carol).proven = False
    await leaving.unload()
    assert [address for address, _ in leaving.endpoint.sent] == [bob.endpoint.wan_address]
    await bob.unload()
    await carol.unload()


async def test_a_node_with_a_large_key_tells_proven_peers_only() -> None:
    await told_when_one_leaves(make(key=default_eccrypto.generate_key("high")))


async def test_newcomers_do_not_keep_others_from_being_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(keeper, "MAX_GOODBYES", 1)
    await told_when_one_leaves(make())


@pytest.mark.parametrize("known", [0.3, 5, 20, 100])
def test_a_node_that_was_walked_to_is_gone_at_once_when_it_stops(known: float) -> None:
    """It may not have sent anything to the other one before."""
    with Simulation(seed=5) as sim:
        alice, bob = sim.add_node(Club, walkers=[]), sim.add_node(Club, walkers=[])
        sim.run(0.1)
        alice.run(alice.overlay.walk_to, bob.address)
        sim.run(known)
        assert len(alice.overlay.get_peers()) == 1
        sim.stop(bob)
        sim.run(2)
        assert alice.overlay.get_peers() == []


def test_a_goodbye_to_a_newcomer_is_no_amplification() -> None:
    """A request in a forged name causes less than three times its bytes, with the goodbye."""
    with Simulation(seed=5) as sim:
        alice, bob = sim.add_node(Club, walkers=[]), sim.add_node(Club, walkers=[])
        sim.run(0.1)
        alice.run(alice.overlay.walk_to, bob.address)
        sim.run(0.5)
        sim.stop(bob)
        sim.run(1)
        assert bob.endpoint.bytes_up <= 3 * bob.endpoint.bytes_down


@pytest.mark.parametrize(("shift", "removed"), [
    (0, True), (DEPARTURE_TOLERANCE - 5, True), (5 - DEPARTURE_TOLERANCE, True),
    (DEPARTURE_TOLERANCE + 5, False), (-DEPARTURE_TOLERANCE - 5, False),
])
async def test_a_goodbye_counts_at_its_time(pair: tuple[Any, Any], shift: float, removed: bool) -> None:
    alice, bob = pair
    packet = goodbye(bob, alice.my_peer.mid, clock.time() + shift)
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    assert (alice.get_peers() == []) == removed


async def test_an_overlay_that_fails_keeps_no_peer_from_being_lost(pair: tuple[Any, Any], manual_clock: Any,
                                                                   caplog: pytest.LogCaptureFixture) -> None:
    alice, bob = pair
    carol = make()
    acquaint(alice, carol)
    bob.endpoint.close()
    carol.endpoint.close()

    def fail(_: Peer) -> None:
        raise LookupError("of a program")

    alice.send_introduction_request = fail
    watching = PeerKeeper.of(alice.endpoint, alice.network)
    assert watching is not None
    for _ in range(2 + len(PATIENCE)):
        manual_clock.advance(LONGEST_INTERVAL)
        watching._on_time()
    assert alice.get_peers() == []
    assert "could not be asked" in caplog.text
    await carol.unload()


async def test_a_recorded_goodbye_removes_nobody(pair: tuple[Any, Any]) -> None:
    alice, bob = pair
    packet = goodbye(bob, alice.my_peer.mid, clock.time())
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    assert alice.get_peers() == []
    acquaint(alice, bob)
    alice.endpoint.notify_listeners((UDPv4Address("9.9.9.9", 9), packet))
    assert len(alice.get_peers()) == 1
    assert drops_of(alice) == {DropCounter.REPLAYED: 1}


async def test_a_goodbye_that_came_too_early_removes_nobody_later(pair: tuple[Any, Any]) -> None:
    """Its author was no peer when it left, and has come since."""
    alice, bob = pair
    packet = goodbye(bob, alice.my_peer.mid, clock.time())
    alice.network.remove_peer(alice.get_peers()[0])
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    acquaint(alice, bob)
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    assert len(alice.get_peers()) == 1
    assert drops_of(alice) == {DropCounter.UNSOLICITED: 1, DropCounter.REPLAYED: 1}
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, goodbye(bob, alice.my_peer.mid, clock.time() + 1)))
    assert alice.get_peers() == []


@pytest.mark.parametrize("ahead", [DEPARTURE_TOLERANCE + 10, 3600])
async def test_a_goodbye_of_a_clock_that_is_ahead_does_not_count_later(pair: tuple[Any, Any], manual_clock: Any,
                                                                       ahead: float) -> None:
    alice, bob = pair
    packet = goodbye(bob, alice.my_peer.mid, clock.time() + ahead)
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    manual_clock.advance(ahead)
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    assert len(alice.get_peers()) == 1


async def test_a_goodbye_counts_once_also_if_the_clock_is_set_back(pair: tuple[Any, Any], manual_clock: Any) -> None:
    alice, bob = pair
    packet = goodbye(bob, alice.my_peer.mid, clock.time())
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    assert alice.get_peers() == []
    manual_clock.advance(3600)
    manual_clock.step_wall(-3600)
    acquaint(alice, bob)
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    assert len(alice.get_peers()) == 1


async def test_a_node_with_two_keys_heeds_the_goodbyes_to_both(pair: tuple[Any, Any]) -> None:
    alice, bob = pair
    second = make(alice.endpoint)
    acquaint(second, bob)
    now = clock.time()
    for overlay in (alice, second):
        alice.endpoint.notify_listeners((bob.endpoint.wan_address, goodbye(bob, overlay.my_peer.mid, now)))
    assert alice.get_peers() == second.get_peers() == []
    await second.unload()


async def test_goodbyes_that_arrive_together(pair: tuple[Any, Any]) -> None:
    """Their signatures are verified in advance."""
    alice, _ = pair
    others = [make() for _ in range(AHEAD_MINIMUM)]
    for other in others:
        acquaint(alice, other)
    packets = [(other.endpoint.wan_address, goodbye(other, alice.my_peer.mid, clock.time())) for other in others]
    alice.endpoint.gate.announce(packets)
    for packet in packets:
        alice.endpoint.notify_listeners(packet)
    assert len(alice.get_peers()) == 1
    assert drops_of(alice) == {}
    for other in others:
        await other.unload()


async def test_goodbyes_for_others_and_forged_ones_remove_nobody(pair: tuple[Any, Any]) -> None:
    alice, bob = pair
    stranger = default_eccrypto.generate_key("curve25519")
    now = clock.time()
    for packet in (goodbye(bob, bytes(20), now), goodbye(bob, alice.my_peer.mid, now, stranger),
                   goodbye(bob, alice.my_peer.mid, now)[:-1]):
        alice.endpoint.notify_listeners((bob.endpoint.wan_address, packet))
    assert len(alice.get_peers()) == 1
    assert drops_of(alice)[DropCounter.UNSOLICITED] == 1
    assert drops_of(alice)[DropCounter.BAD_SIGNATURE] >= 2
    alice.endpoint.notify_listeners((bob.endpoint.wan_address, goodbye(bob, alice.my_peer.mid, now)))
    assert alice.get_peers() == [], "a forgery does not use up the real one"


@given(st.binary(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_bytes_are_survived(body: bytes) -> None:
    async def main() -> None:
        overlay = make()
        for message in range(5):
            overlay.endpoint.notify_listeners((UDPv4Address("1.2.3.4", 5), LIVENESS_PREFIX + bytes((message,)) + body))
        assert overlay.endpoint.drops == {}
        assert overlay.endpoint.sent == []
        await overlay.unload()

    asyncio.run(main())


async def test_the_discovery_overlay_pings_peers_that_have_it_too() -> None:
    alice = make(overlay_class=DiscoveryCommunity)
    bob = make(AutoMockEndpoint(), DiscoveryCommunity)
    peer = acquaint(alice, bob)
    keeper = alice._keeper
    keeper.ask(peer)  # to which old nodes give no answer
    keeper._liveness._watches[peer].answers_pings = False
    keeper.ask(peer)
    await settle()
    assert [packet[22] for _, packet in alice.endpoint.sent] == [1, 3]
    await alice.unload()
    await bob.unload()


def test_a_keeper_is_for_endpoints_only() -> None:
    assert PeerKeeper.of(object(), Network()) is None  # type: ignore[arg-type]
