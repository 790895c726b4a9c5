"""Choosing peers, budgets and blocks by trust (doc/trust.md, section 7)."""

from __future__ import annotations

from math import log
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from .. import clock, entropy
from ..limits import TokenBuckets
from ..reputation import is_refused, score_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from random import Random

    from ..attestation.trustchain.block import TrustChainBlock
    from ..peer import Peer
    from .graph import TrustGraph


__all__ = ["TrustGate", "evict_order", "select_peers"]

STRANGER_FACTOR = 0.1
"""The budget of all strangers together, relative to that of a peer with a median score."""

MOST_FACTOR = 10.0
"""The budget of a peer is at most so many times that of a peer with a median score."""

MEDIAN_LIFETIME = 30.0
"""Seconds for which the median score is not computed again."""

MAX_BUDGETS = 4096
"""Peers whose budgets are kept; the least recently used one is forgotten first."""


class _HasPeers(Protocol):
    def get_peers(self) -> list[Peer]:
        """The verified peers of an overlay."""


def select_peers(overlay: _HasPeers, trust: TrustGraph | Callable[[bytes], float], n: int, *, explore: float = 0.2,
                 exclude: Collection[Peer | bytes] = (), rng: Random | None = None) -> list[Peer]:
    """Draw at most ``n`` peers of an overlay, in proportion to their scores, without replacement.

    Peers without a score are drawn when no others are left. Those that are blocked or frauds are never drawn.

    :param explore: the part of the peers that is drawn from all alike.
    :param exclude: peers, or public keys, that are not drawn.
    :param rng: the source of chance; by default that of ``ipv8.entropy``.
    :raises ValueError: if ``explore`` is not between 0 and 1, or ``n`` is negative.
    """
    if not 0.0 <= explore <= 1.0 or n < 0:
        raise ValueError(f"explore is between 0 and 1 and n not negative, not {explore} and {n}")
    source: Any = entropy if rng is None else rng
    rest = {}
    for peer in overlay.get_peers():
        key = peer.public_key.key_to_bin()
        if peer not in exclude and key not in exclude and not is_refused(trust, key):
            rest[key] = peer
    uniform = min(len(rest), int(n * explore + source.random()))  # rounded up as often as it should be
    chosen = [rest.pop(key) for key in source.sample(list(rest), uniform)]
    return chosen + _weighted({peer: score_of(trust, key) for key, peer in rest.items()}, n - uniform, source)


def _weighted(weights: dict[Peer, float], count: int, source: Any) -> list[Peer]:
    """A weighted sample without replacement (Efraimidis and Spirakis 2006): the largest u ** (1 / weight)."""
    marks = []
    for peer, weight in weights.items():
        point = 1.0 - source.random()
        marks.append((weight > 0.0, log(point) / weight if weight > 0.0 else point, peer))
    marks.sort(key=lambda mark: mark[:2], reverse=True)
    return [peer for _, _, peer in marks[:count]]


class TrustGate:
    """A budget for each peer that grows with its score, for handlers that cost much.

    A peer with a median score may do ``budget`` things a second, others more or less in proportion, at most ten times
    as many. All strangers together have a tenth of it. Who is blocked or a fraud may do nothing.

    :param minimum: peers with this score or less are strangers.
    :param budget: tokens a second, and as many at once.
    """

    def __init__(self, trust: TrustGraph, minimum: float = 0.0, budget: float = 10.0) -> None:
        if not budget > 0.0:
            raise ValueError(f"budget is a positive number of tokens a second, not {budget}")
        self.trust = trust
        self.minimum = minimum
        self._buckets = TokenBuckets(budget, budget, MAX_BUDGETS)
        self._strangers = TokenBuckets(budget * STRANGER_FACTOR, max(1.0, budget * STRANGER_FACTOR), capacity=1)
        self._median = 0.0
        self._median_until = float("-inf")

    def allows(self, peer: Peer, cost: float = 1.0) -> bool:
        """Whether ``peer`` may do something that costs so many tokens; they are taken then."""
        key = peer.public_key.key_to_bin()
        if is_refused(self.trust, key):
            return False
        score = score_of(self.trust, key)
        if score <= self.minimum:
            return self._strangers.take(None, cost)
        factor = min(MOST_FACTOR, STRANGER_FACTOR + score / self._median_score(score))
        return self._buckets.take(key, cost / factor)

    def _median_score(self, default: float) -> float:
        now = clock.monotonic()
        if now >= self._median_until:
            scores = [value for key, value in self.trust.scores().items()
                      if value > self.minimum and key != self.trust.root]
            self._median = median(scores) if scores else 0.0
            self._median_until = now + MEDIAN_LIFETIME
        return self._median or default


def evict_order(blocks: Iterable[TrustChainBlock],
                trust: TrustGraph | Callable[[bytes], float]) -> list[TrustChainBlock]:
    """The blocks in the order in which they go when there is no room: least trusted authors first, then by age."""
    scores: dict[bytes, float] = {}

    def worth(block: TrustChainBlock) -> tuple[float, int]:
        key = block.public_key
        if key not in scores:
            scores[key] = score_of(trust, key)
        return scores[key], block.timestamp

    return sorted(blocks, key=worth)
