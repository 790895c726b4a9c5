"""Choosing peers, budgets and blocks by trust."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.trust import TrustGate, TrustGraph, evict_order, select_peers
from tests.trust.helpers import HandClock, Node

if TYPE_CHECKING:
    from collections.abc import Iterator


class Key:
    def __init__(self, name: bytes) -> None:
        self.name = name

    def key_to_bin(self) -> bytes:
        return self.name


class FakePeer:
    def __init__(self, name: bytes) -> None:
        self.public_key = Key(name)


class Peers:
    def __init__(self, count: int) -> None:
        self.peers = [FakePeer(b"peer%03d" % number) for number in range(count)]

    def get_peers(self) -> Any:
        return self.peers


def names(peers: Any) -> list[bytes]:
    return [peer.public_key.name for peer in peers]


def frequencies(draws: int, overlay: Any, trust: Any, n: int, **options: Any) -> Counter[bytes]:
    rng = random.Random(1)
    return Counter(name for _ in range(draws) for name in names(select_peers(overlay, trust, n, rng=rng, **options)))


def chi_square(found: Counter[bytes], expected: dict[bytes, float]) -> float:
    return sum((found[name] - value) ** 2 / value for name, value in expected.items())


def test_draws_follow_the_scores() -> None:
    overlay = Peers(6)
    weights = {name: float(number + 1) for number, name in enumerate(names(overlay.peers))}
    draws = 20_000
    found = frequencies(draws, overlay, weights.__getitem__, 1, explore=0.0)
    # 20.5 is what chi-square with 5 degrees of freedom exceeds with probability 0.001.
    assert chi_square(found, {name: draws * weight / 21 for name, weight in weights.items()}) < 20.5
    found = frequencies(draws, overlay, lambda _: 0.0, 1)
    assert chi_square(found, dict.fromkeys(weights, draws / 6)) < 20.5
    found = frequencies(draws, overlay, weights.__getitem__, 1, explore=0.5)
    assert chi_square(found, {name: draws * (weight / 42 + 1 / 12) for name, weight in weights.items()}) < 20.5


def test_many_addresses_without_trust_get_little() -> None:
    overlay = Peers(100)
    trust = {name: 0.05 / 90 if number < 90 else 0.095 for number, name in enumerate(names(overlay.peers))}
    found = frequencies(5000, overlay, trust.__getitem__, 1, explore=0.2)
    attacker = sum(count for name, count in found.items() if name < b"peer090")
    assert attacker / 5000 <= 0.2 * 0.9 + 0.8 * 0.1


def test_what_is_never_drawn() -> None:
    overlay = Peers(6)
    graph = TrustGraph(b"root", walks=100)
    for name in names(overlay.peers)[:4]:
        graph.add(b"root", name)
    graph.block(b"peer000")
    graph.mark_fraud(b"peer001")
    drawn = select_peers(overlay, graph, 10, exclude=[overlay.peers[2], b"peer003"])  # type: ignore[list-item]
    assert sorted(names(drawn)) == [b"peer004", b"peer005"]
    assert select_peers(overlay, graph, 0) == []
    drawn = select_peers(overlay, graph, 2, explore=0.0)
    assert set(names(drawn)) == {b"peer002", b"peer003"}  # before strangers
    with pytest.raises(ValueError, match="explore"):
        select_peers(overlay, graph, 1, explore=2.0)


@pytest.fixture
def time() -> Iterator[Any]:
    with clock.use(HandClock()) as virtual:
        yield virtual


def count_allowed(gate: TrustGate, peer: Any) -> int:
    count = 0
    while gate.allows(peer):
        count += 1
    return count


def test_gate(time: Any) -> None:
    overlay = Peers(8)
    graph = TrustGraph(b"root", walks=20_000, rng=1)
    for peer, weight in zip(overlay.peers, (1.0, 1.0, 1.0, 50.0), strict=False):
        graph.add(b"root", peer.public_key.name, weight)
    graph.mark_fraud(b"peer007")
    gate = TrustGate(graph, budget=20.0)
    assert 15 <= count_allowed(gate, overlay.peers[0]) <= 30
    assert count_allowed(gate, overlay.peers[3]) in {199, 200}
    assert count_allowed(gate, overlay.peers[7]) == 0
    assert sum(count_allowed(gate, overlay.peers[number]) for number in (4, 5, 6)) == 2
    time.advance(1.0)
    assert count_allowed(gate, overlay.peers[5]) == 2
    assert count_allowed(gate, overlay.peers[3]) in {199, 200}
    strict = TrustGate(graph, minimum=0.5, budget=20.0)
    assert count_allowed(strict, overlay.peers[0]) == 2
    with pytest.raises(ValueError, match="budget"):
        TrustGate(graph, budget=0.0)


def test_order_of_eviction() -> None:
    database = TrustChainDB(":memory:", "x")
    a, b, c = (Node(database) for _ in range(3))
    blocks = [node.sign(other) for node, other in ((a, b), (b, a), (c, a), (b, c))]
    for age, block in enumerate(blocks):
        block.timestamp = 100 - age
    graph = TrustGraph(a.key, walks=100)
    graph.add(a.key, b.key)
    assert evict_order(blocks, graph) == [blocks[2], blocks[3], blocks[1], blocks[0]]
    assert evict_order(blocks, lambda _: 0.0) == blocks[::-1]
    database.close()
