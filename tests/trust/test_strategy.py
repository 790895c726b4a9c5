"""TrustWalk: whom it asks, whom it drops, and that it is a random walk without trust."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock, entropy
from ipv8.class_tables import _GENERAL_STRATEGIES
from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.peer import Peer
from ipv8.peerdiscovery.discovery import RandomWalk
from ipv8.peerdiscovery.network import Network
from ipv8.test.mocking.endpoint import AutoMockEndpoint
from ipv8.trust import TrustGraph
from ipv8.trust.strategy import TrustWalk
from tests.trust.helpers import HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Overlay(Community):
    community_id = b"trust walk overlay.."

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.asked: list[Peer | None] = []
        self.walked: list[Any] = []

    def get_new_introduction(self, from_peer: Peer | None = None) -> None:
        self.asked.append(from_peer)

    def walk_to(self, address: Any) -> None:
        self.walked.append(address)


@pytest.fixture
async def overlay() -> AsyncIterator[Overlay]:
    endpoint = AutoMockEndpoint()
    endpoint.open()
    with clock.use(HandClock()) as virtual, entropy.use(random.Random(3)):
        made = Overlay(CommunitySettings(my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint,
                                         network=Network()))
        made.virtual = virtual  # type: ignore[attr-defined]
        yield made
        await made.unload()


def add_peers(overlay: Overlay, count: int) -> list[Peer]:
    peers = []
    for number in range(count):
        peer = Peer(default_eccrypto.generate_key("curve25519").pub(), (f"{number + 1}.1.1.1", 1))
        overlay.network.add_verified_peer(peer)
        overlay.network.discover_services(peer, [overlay.community_id])
        peers.append(peer)
    return peers


def graph_for(overlay: Overlay, trusted: list[Peer]) -> TrustGraph:
    graph = TrustGraph(overlay.my_peer.public_key.key_to_bin(), walks=500, rng=1)
    for peer in trusted:
        graph.add(graph.root, peer.public_key.key_to_bin())
    return graph


async def test_trusted_peers_are_asked(overlay: Overlay) -> None:
    peers = add_peers(overlay, 6)
    graph = graph_for(overlay, peers[:2])
    graph.block(peers[5].public_key.key_to_bin())
    walk = TrustWalk(overlay, 1.0, trust=graph, explore=0.0)
    for _ in range(200):
        walk.take_step()
        overlay.virtual.advance(2.0)  # type: ignore[attr-defined]
    asked = Counter(overlay.asked)
    assert asked[peers[0]] + asked[peers[1]] > 190
    assert peers[5] not in asked


async def test_nobody_is_asked_twice_in_a_moment(overlay: Overlay) -> None:
    peers = add_peers(overlay, 3)
    walk = TrustWalk(overlay, 3.0, trust=graph_for(overlay, peers), explore=0.0)
    for _ in range(4):
        walk.take_step()
    assert set(overlay.asked[:3]) == set(peers)
    assert overlay.asked[3] is None  # a step of a random walk
    overlay.virtual.advance(3.5)  # type: ignore[attr-defined]
    walk.take_step()
    assert overlay.asked[4] in peers


async def test_temperature_and_exploration(overlay: Overlay) -> None:
    peers = add_peers(overlay, 4)
    walk = TrustWalk(overlay, 0.1, trust=graph_for(overlay, peers[:1]), explore=0.5, temperature=0.0)
    for _ in range(400):
        walk.take_step()
        overlay.virtual.advance(1.0)  # type: ignore[attr-defined]
    asked = Counter(overlay.asked)
    assert 150 < asked[None] < 250
    assert all(25 < asked[peer] < 85 for peer in peers)


async def test_the_trust_of_the_overlay_is_used(overlay: Overlay) -> None:
    peers = add_peers(overlay, 2)
    walk = TrustWalk(overlay, explore=0.0)
    walk.take_step()
    assert overlay.asked == [None]
    overlay.trust = graph_for(overlay, peers)
    walk.take_step()
    assert overlay.asked[1] in peers


async def test_the_interval_is_kept(overlay: Overlay) -> None:
    peers = add_peers(overlay, 4)
    walk = TrustWalk(overlay, target_interval=5, trust=graph_for(overlay, peers), explore=0.0)
    walk.take_step()
    walk.take_step()
    assert len(overlay.asked) == 1


async def test_the_least_trusted_peers_are_dropped(overlay: Overlay) -> None:
    peers = add_peers(overlay, 12)
    overlay.max_peers = 8
    graph = graph_for(overlay, peers[2:9])
    walk = TrustWalk(overlay, trust=graph, explore=0.0)
    walk.take_step()
    assert len(overlay.get_peers()) == 10
    for _ in range(3):
        walk.take_step()
    assert len(overlay.get_peers()) == 10  # not more than two in ten seconds
    overlay.virtual.advance(10.5)  # type: ignore[attr-defined]
    for _ in range(3):
        walk.take_step()
    remaining = overlay.get_peers()
    assert len(remaining) == 8
    assert set(peers[:2]) <= set(remaining)  # the oldest quarter, in spite of their scores
    assert len(set(peers[2:9]) & set(remaining)) == 6


async def test_without_trust_it_is_a_random_walk(overlay: Overlay) -> None:
    add_peers(overlay, 3)
    for number in range(10):
        overlay.network.discover_address(overlay.my_peer, (f"99.1.1.{number}", 5), overlay.community_id)
    done = []
    for kind in (RandomWalk, TrustWalk):
        overlay.asked.clear()
        overlay.walked.clear()
        with entropy.use(random.Random(7)):
            walk = kind(overlay, 3.0, 5, 50, 0)
            for _ in range(20):
                walk.take_step()
        done.append((list(overlay.asked), list(overlay.walked)))
    assert done[0] == done[1]


@pytest.mark.parametrize("parameters", [{"explore": 1.5}, {"reserve": -0.1}, {"temperature": -1.0}])
async def test_wrong_parameters(overlay: Overlay, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TrustWalk(overlay, **parameters)


def test_a_configuration_can_name_it() -> None:
    assert _GENERAL_STRATEGIES["TrustWalk"] is TrustWalk
