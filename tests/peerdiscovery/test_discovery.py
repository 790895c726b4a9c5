from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, Mock

import pytest

from ipv8 import clock, entropy
from ipv8.community import Community
from ipv8.messaging.address import UDPv4Address
from ipv8.peer import Peer
from ipv8.peerdiscovery import discovery
from ipv8.peerdiscovery.discovery import DiscoveryStrategy, EdgeWalk, RandomWalk
from ipv8.peerdiscovery.graph.neighborhoods import FAIR_SHARE
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipv8.messaging.address import Address

SERVICE = b"s" * 20


def make_peer(number: int) -> Peer:
    return Peer(b"LibNaCLPK:" + number.to_bytes(64, "big"), UDPv4Address("1.2.3.4", number))


class Overlay:
    """Notes what a strategy makes it do."""

    def __init__(self) -> None:
        self.network = Network()
        self.walks: list[Address] = []
        self.introductions: list[Peer | None] = []
        self.bootstraps = 0

    def introduce(self, introducer: Peer, *addresses: Any) -> None:
        self.network.discover_services(introducer, [SERVICE])
        for address in addresses:
            self.network.discover_address(introducer, address, SERVICE)

    def join(self, *peers: Peer) -> None:
        for peer in peers:
            self.network.add_verified_peer(peer)
            self.network.discover_services(peer, [SERVICE])

    def get_peers(self) -> list[Peer]:
        return self.network.get_peers_for_service(SERVICE)

    def get_walkable_addresses(self) -> list[Address]:
        return self.network.get_walkable_addresses(SERVICE)

    def walk_to(self, address: Address) -> None:
        self.walks.append(address)

    def get_new_introduction(self, from_peer: Peer | None = None) -> None:
        self.introductions.append(from_peer)

    def bootstrap(self) -> None:
        self.bootstraps += 1


@pytest.fixture
def overlay() -> Any:
    return Overlay()


def test_peer_count(overlay: Any) -> None:
    overlay.join(make_peer(1), make_peer(2))
    assert RandomWalk(overlay).get_peer_count() == 2
    assert RandomWalk(None).get_peer_count() == 0  # type: ignore[type-var]  # programs do so in tests


def test_a_strategy_needs_a_step() -> None:
    class Idle(DiscoveryStrategy[Any]):
        pass

    with pytest.raises(TypeError):
        Idle(None)  # type: ignore[abstract]  # what is shown


# RandomWalk


def test_random_walk_defaults(overlay: Any) -> None:
    walk = RandomWalk(overlay)
    assert (walk.node_timeout, walk.window_size, walk.reset_chance, walk.target_interval) == (3.0, 5, 50, 0)
    assert walk.intro_timeouts == {}
    assert walk.last_step == 0
    with walk.walk_lock:
        assert walk.overlay is overlay


def test_random_walk_asks_when_there_is_nowhere_to_walk(overlay: Any, manual_clock: Any) -> None:
    walk = RandomWalk(overlay, reset_chance=0)
    walk.take_step()
    assert overlay.introductions == [None]
    assert overlay.walks == []
    assert walk.last_step == manual_clock.now


def test_random_walk_walks(overlay: Any, manual_clock: Any) -> None:
    overlay.introduce(make_peer(1), ("9.9.9.9", 1))
    walk = RandomWalk(overlay, reset_chance=0)
    walk.take_step()
    assert overlay.walks == [("9.9.9.9", 1)]
    assert walk.intro_timeouts == {("9.9.9.9", 1): manual_clock.now}
    walk.take_step()
    assert overlay.walks == [("9.9.9.9", 1)], "it is outstanding"
    assert overlay.introductions == [None]


@pytest.mark.parametrize(("drawn", "walks"), [(49, False), (50, True), (255, True), (0, False)])
def test_random_walk_reset_chance(overlay: Any, script_entropy: Callable[..., None], drawn: int, walks: bool) -> None:
    overlay.introduce(make_peer(1), ("9.9.9.9", 1))
    script_entropy(drawn)
    RandomWalk(overlay).take_step()
    assert bool(overlay.walks) is walks
    assert bool(overlay.introductions) is not walks


def test_random_walk_forgets_who_does_not_answer_in_the_next_step(overlay: Any, manual_clock: Any) -> None:
    overlay.introduce(make_peer(1), ("9.9.9.9", 1))
    walk = RandomWalk(overlay, timeout=0.0, reset_chance=0)
    walk.take_step()
    assert overlay.get_walkable_addresses() == [("9.9.9.9", 1)]
    manual_clock.advance(0.001)
    walk.take_step()
    assert overlay.get_walkable_addresses() == []
    assert walk.intro_timeouts == {}


def test_random_walk_waits_for_answers(overlay: Any, manual_clock: Any) -> None:
    overlay.introduce(make_peer(1), ("9.9.9.9", 1))
    walk = RandomWalk(overlay, timeout=3.0, reset_chance=0)
    walk.take_step()
    manual_clock.advance(3.0)
    walk.take_step()
    assert overlay.get_walkable_addresses() == [("9.9.9.9", 1)]


def test_random_walk_keeps_who_answered(overlay: Any, manual_clock: Any) -> None:
    peer = make_peer(2)
    overlay.introduce(make_peer(1), peer.address)
    walk = RandomWalk(overlay, reset_chance=0)
    walk.take_step()
    overlay.join(peer)
    manual_clock.advance(4)
    walk.take_step()
    assert walk.intro_timeouts == {}
    assert peer in overlay.get_peers()


def test_random_walk_window(overlay: Any, manual_clock: Any) -> None:
    overlay.introduce(make_peer(1), *(("9.9.9.9", number) for number in range(20)))
    walk = RandomWalk(overlay, window_size=3, reset_chance=0)
    for _ in range(10):
        walk.take_step()
    assert len(set(overlay.walks)) == len(overlay.walks) == 3
    assert overlay.introductions == []
    manual_clock.advance(4)
    walk.take_step()
    assert len(overlay.walks) == 4


@pytest.mark.parametrize("window_size", [0, None, -1])
def test_random_walk_without_window(overlay: Any, window_size: int | None) -> None:
    overlay.introduce(make_peer(1), *(("9.9.9.9", number) for number in range(20)))
    walk = RandomWalk(overlay, window_size=window_size, reset_chance=0)
    for _ in range(20):
        walk.take_step()
    assert sorted(overlay.walks) == [("9.9.9.9", number) for number in range(20)]


def test_random_walk_interval(overlay: Any, manual_clock: Any) -> None:
    walk = RandomWalk(overlay, target_interval=5)
    for expected in (1, 1, 2):
        walk.take_step()
        assert len(overlay.introductions) == expected
        manual_clock.advance(5 if expected == 1 and walk.last_step == manual_clock.now else 0.5)


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
def test_random_walk_does_not_mind_the_wall_clock(overlay: Any, manual_clock: Any, step: float) -> None:
    overlay.introduce(make_peer(1), ("9.9.9.9", 1))
    walk = RandomWalk(overlay, reset_chance=0, target_interval=5, failure_backoff=10.0)
    walk.take_step()
    assert overlay.walks == [("9.9.9.9", 1)]
    manual_clock.step_wall(step)
    walk.take_step()
    assert overlay.introductions == [], "the interval is not over"
    assert ("9.9.9.9", 1) in walk.intro_timeouts, "and neither is the time of the contact"
    manual_clock.advance(5.1)
    walk.take_step()
    assert walk.intro_timeouts == {}
    assert overlay.introductions == [None]
    assert walk.last_step == manual_clock.time()
    walk.last_step = 0
    walk.take_step()
    assert overlay.introductions == [None, None], "programs can make it forget its last step"


def test_random_walk_takes_its_first_step_at_once(overlay: Any, manual_clock: Any) -> None:
    with clock.use(type(manual_clock)(1.0)):  # the machine has just been started
        RandomWalk(overlay, target_interval=5).take_step()
    assert overlay.introductions == [None]


def test_random_walk_is_random(overlay: Any) -> None:
    overlay.introduce(make_peer(1), *(("9.9.9.9", number) for number in range(5)))
    first = set()
    with entropy.use(random.Random(1)):
        for _ in range(100):
            overlay.walks.clear()
            walk = RandomWalk(overlay, reset_chance=0)
            walk.intro_timeouts = {("9.9.9.9", 0): 1e12, ("8.8.8.8", 1): 1e12}
            walk.take_step()
            first.update(overlay.walks)
    assert first == {("9.9.9.9", number) for number in range(1, 5)}


def test_random_walk_backs_off(overlay: Any, manual_clock: Any) -> None:
    introducer, address = make_peer(1), ("9.9.9.9", 1)
    walk = RandomWalk(overlay, reset_chance=0, failure_backoff=10.0)

    def fails_after(pause: float) -> bool:
        """Whether the address, introduced again, is contacted once the pause is over, but not before."""
        overlay.walks.clear()
        overlay.introduce(introducer, address)
        if pause:
            manual_clock.advance(pause - 0.5)
            walk.take_step()
            assert overlay.walks == []
            manual_clock.advance(0.5)
        walk.take_step()
        contacted: bool = overlay.walks == [address]
        manual_clock.advance(3.5)
        walk._expire(manual_clock.now)
        return contacted

    assert fails_after(0)
    assert fails_after(0)
    assert fails_after(10)
    assert fails_after(20)
    assert fails_after(40)
    overlay.walks.clear()
    overlay.introduce(introducer, address)
    manual_clock.advance(80)
    walk.take_step()
    overlay.join(Peer(make_peer(2).key, UDPv4Address(*address)))
    manual_clock.advance(4)
    walk.take_step()
    overlay.network.remove_by_address(address)
    assert fails_after(0), "an answer makes up for all failures"


def test_random_walk_does_not_remember_failures_by_default(overlay: Any, manual_clock: Any) -> None:
    walk = RandomWalk(overlay, reset_chance=0)
    for expected in range(1, 5):
        overlay.introduce(make_peer(1), ("9.9.9.9", 1))
        walk.take_step()
        assert len(overlay.walks) == expected
        manual_clock.advance(4)
        walk._expire(manual_clock.now)


def test_random_walk_remembers_so_many_failures(overlay: Any, manual_clock: Any,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MAX_FAILURES", 3)
    walk = RandomWalk(overlay, reset_chance=0, window_size=0, failure_backoff=1.0)
    for number in range(5):
        overlay.introduce(make_peer(1), ("9.9.9.9", number))
        walk.take_step()
    manual_clock.advance(4)
    walk.take_step()
    assert list(walk._failures) == [("9.9.9.9", number) for number in range(2, 5)]


def test_random_walk_pause_is_limited(overlay: Any, manual_clock: Any) -> None:
    walk = RandomWalk(overlay, failure_backoff=10.0)
    for _ in range(1200):
        walk._note_failure(("9.9.9.9", 1), manual_clock.now)
    assert walk._failures["9.9.9.9", 1][1] == manual_clock.now + discovery.MAX_BACKOFF


@pytest.mark.parametrize("mock", [Mock, MagicMock])
def test_random_walk_of_a_mocked_overlay(mock: Callable[[], Any], manual_clock: Any) -> None:
    overlay = mock()
    overlay.get_peers.return_value = [make_peer(1), make_peer(2)]
    overlay.get_walkable_addresses.return_value = [("9.9.9.9", 1)]
    walk = RandomWalk(overlay, reset_chance=0)
    walk.take_step()
    overlay.walk_to.assert_called_once_with(("9.9.9.9", 1))
    assert walk.intro_timeouts == {("9.9.9.9", 1): manual_clock.now}
    assert walk.get_peer_count() == 2
    manual_clock.advance(2.0)
    walk.take_step()
    overlay.get_new_introduction.assert_called_once_with()
    overlay.retry_walk.assert_not_called()
    overlay.on_walk_failed.assert_not_called()


def test_random_walk_with_a_mocked_network(overlay: Any) -> None:
    overlay.community_id = SERVICE
    overlay.join(make_peer(1))
    overlay.get_peers = Mock(return_value=[make_peer(1)])
    overlay.get_walkable_addresses = Mock(return_value=[("9.9.9.9", 1)])
    overlay.network = Mock()
    walk = RandomWalk(overlay, reset_chance=0)
    walk.take_step()
    assert overlay.walks == [("9.9.9.9", 1)]
    assert walk.get_peer_count() == 1


class TellingOverlay(Overlay):
    """Also tells about answers."""

    def __init__(self) -> None:
        super().__init__()
        self.max_peers = 30
        self.introduction_observers: dict[Any, None] = {}
        self.retries: list[Address] = []
        self.failed_walks: list[Address] = []

    def retry_walk(self, address: Address) -> None:
        self.retries.append(address)

    def on_walk_failed(self, address: Address) -> None:
        self.failed_walks.append(address)


@pytest.fixture
def telling() -> Any:
    overlay = TellingOverlay()
    overlay.join(make_peer(1))
    return overlay


def chained(overlay: Any, **arguments: Any) -> RandomWalk[Any]:
    """A walker that has just taken a step, the contact of which is to be answered by the peer with number 2."""
    walk = RandomWalk(overlay, reset_chance=0, **arguments)
    assert list(overlay.introduction_observers) == [walk]
    overlay.introduce(make_peer(1), make_peer(2).address)
    walk.take_step()
    assert overlay.walks == [make_peer(2).address]
    overlay.walks.clear()
    return walk


def answer(overlay: Any, walk: RandomWalk[Any], number: int, *introduced: Any) -> None:
    """The peer with this number answers."""
    peer = make_peer(number)
    overlay.join(peer)
    overlay.introduce(peer, *introduced)
    walk.on_introduction(peer, introduced)


def test_random_walk_goes_on_at_once(telling: Any, manual_clock: Any) -> None:
    walk = chained(telling)
    answer(telling, walk, 2, ("9.9.9.9", 1), ("192.168.1.9", 1))
    assert telling.walks == [("9.9.9.9", 1), ("192.168.1.9", 1)]
    assert walk.intro_timeouts.keys() == {("9.9.9.9", 1), ("192.168.1.9", 1)}, "what was answered is not outstanding"


def test_random_walk_goes_on_to_others(telling: Any, manual_clock: Any) -> None:
    telling.introduce(make_peer(1), ("9.9.9.9", 1))
    walk = RandomWalk(telling, reset_chance=256)
    walk.take_step()
    answer(telling, walk, 1)
    assert telling.walks == [("9.9.9.9", 1)]


def test_random_walk_asks_at_once_while_it_finds_somebody(telling: Any, manual_clock: Any) -> None:
    walk = chained(telling)
    answer(telling, walk, 2)
    assert telling.introductions == [None]
    manual_clock.advance(discovery.MOMENTUM)
    walk.on_introduction(make_peer(1), [])
    assert telling.introductions == [None]


def test_random_walk_has_a_budget_between_steps(telling: Any, manual_clock: Any) -> None:
    walk = chained(telling, window_size=0, chain_length=3)
    for number in range(2, 12):
        answer(telling, walk, number, make_peer(number + 1).address)
    assert len(telling.walks) == 3
    walk.take_step()
    for number in range(12, 22):
        answer(telling, walk, number, make_peer(number + 1).address)
    assert len(telling.walks) == 7


def test_random_walk_does_not_go_on_without_room(telling: Any, manual_clock: Any) -> None:
    walk = chained(telling)
    telling.max_peers = 2
    answer(telling, walk, 2, ("9.9.9.9", 1))
    assert telling.walks == []


def test_random_walk_respects_its_window_between_steps(telling: Any, manual_clock: Any) -> None:
    walk = chained(telling, window_size=1)
    walk.on_introduction(make_peer(1), [])
    telling.introduce(make_peer(1), ("9.9.9.9", 1))
    walk.on_introduction(make_peer(1), [("9.9.9.9", 1)])
    assert telling.walks == [], "the contact is outstanding"
    manual_clock.advance(discovery.PATIENCE + 0.1)
    walk.on_introduction(make_peer(1), [("9.9.9.9", 1)])
    assert telling.walks == [("9.9.9.9", 1)], "it had its time"


def test_random_walk_tries_again_once(telling: Any, manual_clock: Any) -> None:
    walk = chained(telling)
    for _ in range(4):
        manual_clock.advance(discovery.RETRY_AFTER)
        walk.take_step()
    assert telling.retries == [make_peer(2).address]
    manual_clock.advance(4)
    walk.take_step()
    assert walk._retried == set()


@pytest.mark.parametrize("strategy_class", [RandomWalk, EdgeWalk])
async def test_an_address_that_cannot_be_contacted_is_forgotten(make_overlay: Any, strategy_class: Any,
                                                                caplog: pytest.LogCaptureFixture) -> None:
    """The others are contacted, and the steps raise nothing."""
    class Walked(Community):
        community_id = SERVICE

    overlay = make_overlay(Walked)
    network = overlay.network
    for address in (UDPv4Address("box.local", 1), UDPv4Address("9.9.9.9", 99999), UDPv4Address("fe80::1%no_such", 5),
                    UDPv4Address("9.9.9.9", 9)):
        network.discover_address(make_peer(1), address, SERVICE)
    contacted: list[Address] = []
    overlay.endpoint.send = lambda address, _: contacted.append(address)
    strategy = strategy_class(overlay)
    for _ in range(40):
        strategy.take_step()
    assert UDPv4Address("9.9.9.9", 9) in contacted
    assert set(network.get_walkable_addresses(SERVICE)) <= {("9.9.9.9", 9)}
    assert caplog.text.count("cannot be contacted, and is forgotten") == 3


class CrowdedOverlay(Overlay):
    """Has room for 12 peers, of which it knows ten in one subnet."""

    community_id = SERVICE

    def __init__(self) -> None:
        super().__init__()
        self.max_peers = 12
        self.bootstrappers: list[Any] = []
        self.network.register_service_provider(SERVICE, self)  # type: ignore[arg-type]  # as far as it is needed
        self.join(*(make_peer(number) for number in range(1, 11)))


@pytest.fixture
def crowded() -> Any:
    return CrowdedOverlay()


def test_random_walk_counts_fair_shares(crowded: Any) -> None:
    walk = RandomWalk(crowded)
    assert walk.get_peer_count() == FAIR_SHARE
    crowded.join(Peer(b"LibNaCLPK:" + bytes(64), UDPv4Address("9.9.9.9", 9)))
    assert walk.get_peer_count() == FAIR_SHARE + 1


def test_random_walk_leaves_full_subnets_alone(crowded: Any) -> None:
    crowded.introduce(make_peer(1), *(("1.2.3.5", number) for number in range(100, 110)))
    walk = RandomWalk(crowded, reset_chance=0)
    walk.take_step()
    assert crowded.walks == []
    assert len(crowded.introductions) == 1
    assert crowded.introductions[0] in crowded.get_peers()
    crowded.introduce(make_peer(1), ("9.9.9.9", 9))
    walk.take_step()
    assert crowded.walks == [("9.9.9.9", 9)]
    walk.take_step()
    assert crowded.walks == [("9.9.9.9", 9)]


def test_random_walk_prefers_subnets_without_peers(crowded: Any) -> None:
    crowded.max_peers = 40
    crowded.introduce(make_peer(1), *(("1.2.3.5", number) for number in range(100, 110)), ("9.9.9.9", 9))
    walk = RandomWalk(crowded, reset_chance=0)
    walk.take_step()
    assert crowded.walks == [("9.9.9.9", 9)]
    walk.take_step()
    assert len(crowded.walks) == 2, "there is room"


def test_random_walk_asks_servers_about_others_than_one_subnet(crowded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        initialized = True
        asked = 0

        def keep_alive(self, overlay: Any) -> None:
            assert overlay is crowded
            self.asked += 1

    server = Server()
    crowded.bootstrappers.append(server)
    monkeypatch.setattr(entropy, "_current", random.Random(1))
    walk = RandomWalk(crowded)
    for _ in range(100):
        walk.take_step()
    assert 10 < server.asked < 50
    assert len(crowded.introductions) == 100 - server.asked
    assert None not in crowded.introductions


def test_random_walk_becomes_patient_when_there_is_only_one_subnet(crowded: Any, manual_clock: Any) -> None:
    peers = crowded.get_peers()[:]
    for peer in peers[FAIR_SHARE:]:
        crowded.network.remove_peer(peer)
    walk = RandomWalk(crowded)

    def steps(seconds: float) -> int:
        before = len(crowded.introductions)
        for _ in range(int(2 * seconds)):
            manual_clock.advance(0.5)
            walk.take_step()
        return len(crowded.introductions) - before

    assert steps(700) == 1400
    crowded.join(*peers[FAIR_SHARE:])
    assert steps(600) == 1200
    assert steps(100) == 20
    crowded.network.remove_peer(peers[0])
    for peer in peers[FAIR_SHARE + 1:]:
        crowded.network.remove_peer(peer)
    assert steps(10) == 20


@pytest.mark.parametrize("seed", range(8))
async def test_random_walk_meets_an_introduced_peer_in_the_same_step_and_all_in_more(
        make_overlay: Any, manual_clock: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(entropy, "_current", random.Random(seed))
    overlays = [make_overlay(WalkedCommunity) for _ in range(4)]
    walker, hub, *others = overlays
    for other in others:
        other.walk_to(hub.my_peer.address)
        await settle()
    walk = RandomWalk(walker, reset_chance=0)
    introducer = Peer(others[0].my_peer.key_bin, others[0].my_peer.address)
    walker.network.discover_address(introducer, UDPv4Address(*hub.my_peer.address), SERVICE)
    walk.take_step()
    for _ in range(10):
        await settle()
    # Whom the hub introduces first is chance, and so is whom the walker asks next.
    assert hub.my_peer in walker.get_peers()
    assert {other.my_peer for other in others} & set(walker.get_peers())
    for _ in range(50):
        manual_clock.advance(0.5)
        walk.take_step()
        for _ in range(10):
            await settle()
        if len(walker.get_peers()) == 3:
            return
    pytest.fail("somebody was never found")


# EdgeWalk


def test_edge_walk_gathers_neighbors(overlay: Any) -> None:
    overlay.join(make_peer(1))
    overlay.introduce(make_peer(1), *(("9.9.9.9", number) for number in range(5)))
    walk = EdgeWalk(overlay, neighborhood_size=2)
    walk.take_step()
    assert walk._neighborhood == [make_peer(1)]
    assert overlay.bootstraps == 1
    assert overlay.walks == [("9.9.9.9", 0), ("9.9.9.9", 1)]
    assert walk.get_available_root() == make_peer(1)


def test_edge_walk_defaults(overlay: Any) -> None:
    walk = EdgeWalk(overlay)
    assert (walk.edge_length, walk.neighborhood_size, walk.edge_timeout) == (4, 6, 3.0)
    assert walk.complete_edges == walk._neighborhood == []
    assert walk.under_construction == {}
    assert walk.last_edge_responses == {}
    assert walk.get_available_root() is None


def test_edge_walk_completes_an_edge(overlay: Any, manual_clock: Any) -> None:
    root, second, third = make_peer(1), make_peer(2), make_peer(3)
    overlay.join(root)
    walk = EdgeWalk(overlay, edge_length=3, neighborhood_size=1, edge_timeout=1.0)
    walk.take_step()
    walk.take_step()
    assert overlay.introductions == [root]
    assert walk.under_construction == {root: [root]}
    assert walk.last_edge_responses == {root: manual_clock.now}

    overlay.introduce(root, second.address)
    walk.take_step()
    assert overlay.walks == [second.address]
    assert walk.under_construction == {root: [root]}

    overlay.join(second)
    manual_clock.advance(0.5)
    walk.take_step()
    assert walk.under_construction == {root: [root, second]}
    assert walk.last_edge_responses == {root: manual_clock.now}
    assert overlay.walks == [second.address, second.address]

    overlay.introduce(second, third.address, root.address)
    overlay.join(third)
    walk.take_step()
    assert walk.complete_edges == [[root, second, third]]
    assert walk.under_construction == {}
    assert walk.last_edge_responses == {}

    walk.take_step()
    assert overlay.introductions == [root, root], "the next edge is begun"


def test_edge_walk_gives_up(overlay: Any, manual_clock: Any) -> None:
    root, second = make_peer(1), make_peer(2)
    overlay.join(root)
    walk = EdgeWalk(overlay, neighborhood_size=1, edge_timeout=1.0)
    walk.take_step()
    walk.take_step()
    overlay.introduce(root, second.address)
    manual_clock.advance(1.0)
    walk.take_step()
    assert walk.under_construction == {root: [root]}
    manual_clock.advance(0.1)
    walk.take_step()
    assert walk.under_construction == {}
    assert walk.complete_edges == [], "a root alone is no edge"

    walk.take_step()
    overlay.join(second)
    walk.take_step()
    manual_clock.advance(1.1)
    walk.take_step()
    assert walk.complete_edges == [[root, second]]


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
def test_edge_walk_does_not_mind_the_wall_clock(overlay: Any, manual_clock: Any, step: float) -> None:
    root = make_peer(1)
    overlay.join(root)
    walk = EdgeWalk(overlay, neighborhood_size=1, edge_timeout=1.0)
    walk.take_step()
    walk.take_step()
    manual_clock.step_wall(step)
    walk.take_step()
    assert walk.under_construction == {root: [root]}
    manual_clock.advance(1.1)
    walk.take_step()
    assert walk.under_construction == {}


def test_edge_walk_grows_several_edges(overlay: Any) -> None:
    roots = [make_peer(1), make_peer(2)]
    ends = [make_peer(3), make_peer(4)]
    overlay.join(*roots)
    walk = EdgeWalk(overlay, edge_length=2, neighborhood_size=2)
    for _ in range(3):
        walk.take_step()
    assert sorted(map(str, overlay.introductions)) == sorted(map(str, roots))
    for root, end in zip(roots, ends, strict=True):
        overlay.introduce(root, end.address)
    overlay.join(*ends)
    walk.take_step()
    assert sorted(map(str, walk.complete_edges)) == sorted(map(str, map(list, zip(roots, ends, strict=True))))


# With real overlays


class WalkedCommunity(Community):
    community_id = SERVICE


async def settle() -> None:
    """Let mock endpoints deliver what was sent, the answers to it, and the answers to those."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_random_walk_finds_an_introduced_community(make_overlay: Any) -> None:
    walker, introducer, other = (make_overlay(WalkedCommunity) for _ in range(3))
    walker.network.discover_address(Peer(introducer.my_peer.key_bin, introducer.my_peer.address),
                                    UDPv4Address(*other.my_peer.address), SERVICE)
    RandomWalk(walker, reset_chance=0).take_step()
    await settle()
    assert other.my_peer in walker.get_peers()


async def test_edge_walk_finds_an_introduced_community(make_overlay: Any) -> None:
    walker, introducer, other = (make_overlay(WalkedCommunity) for _ in range(3))
    introducer.walk_to(other.my_peer.address)
    await settle()
    walker.walk_to(introducer.my_peer.address)
    await settle()
    walk = EdgeWalk(walker, edge_length=2, neighborhood_size=1, edge_timeout=1.0)
    for _ in range(4):
        walk.take_step()
        await settle()
    assert walk.complete_edges == [[introducer.my_peer, other.my_peer]]
