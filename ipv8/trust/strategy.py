"""Finding peers by way of those that are trusted (doc/trust.md, section 7)."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Any

from .. import entropy
from ..limits import ExpiringDict
from ..peerdiscovery.discovery import CHAIN_LENGTH, OverlayType, RandomWalk, as_introducing
from ..reputation import is_refused, score_of

if TYPE_CHECKING:
    from ..peer import Peer

__all__ = ["TrustWalk"]

LEAST_WEIGHT = 1e-4
"""What is added to each score, so that strangers are asked too."""

MAX_ASKED = 1024
"""Peers that are known to have been asked a moment ago; the one that was asked the longest ago is forgotten first."""

DROPS, DROP_SECONDS = 2, 10.0
"""At most so many peers are dropped in so many seconds."""


class TrustWalk(RandomWalk[OverlayType]):
    """A random walk that asks trusted peers for introductions more often than others.

    If the overlay has more than ``max_peers``, the peers with the lowest scores are dropped, a few at a time.

    :param timeout: as for a random walk, and the seconds in which no peer is asked twice.
    :param trust: a :class:`TrustGraph` or a function from public keys to scores; by default the attribute ``trust`` of
        the overlay. Without either, this is a random walk.
    :param explore: the part of the steps that are those of a random walk.
    :param temperature: the power of scores with which peers are drawn; 0 for all alike.
    :param reserve: the part of ``max_peers`` that is left to the peers that are there longest, whatever their scores.
    :raises ValueError: if ``explore`` or ``reserve`` is not between 0 and 1, or ``temperature`` is negative.
    """

    def __init__(self, overlay: OverlayType, timeout: float = 3.0, window_size: int | None = 5, reset_chance: int = 50,
                 target_interval: float = 0, failure_backoff: float = 0, chain_length: int = CHAIN_LENGTH, *,
                 trust: Any = None, explore: float = 0.3, temperature: float = 1.0, reserve: float = 0.25) -> None:
        if not 0.0 <= explore <= 1.0 or not 0.0 <= reserve <= 1.0 or not temperature >= 0.0:
            raise ValueError("explore and reserve are between 0 and 1, and temperature is not negative")
        super().__init__(overlay, timeout, window_size, reset_chance, target_interval, failure_backoff, chain_length)
        self.explore = explore
        self.temperature = temperature
        self.reserve = reserve
        self._trust = trust
        self._asked: ExpiringDict[bytes, None] = ExpiringDict(MAX_ASKED, max(timeout, 1e-3))
        self._drops: deque[float] = deque(maxlen=DROPS)

    @property
    def trust(self) -> Any:
        """The source of scores; ``None`` if there is none."""
        # The attribute is set by programs, at any time, on overlays that know nothing of it.
        return self._trust if self._trust is not None else getattr(self.overlay, "trust", None)

    def move(self, now: float) -> None:
        """Drop a peer if there are too many, then ask a trusted one, or do what a random walk does."""
        trust = self.trust
        if trust is None:
            super().move(now)
            return
        self._drop(trust, now)
        peer = None if entropy.random() < self.explore else self._draw(trust, now)
        if peer is None:
            super().move(now)
        else:
            self.overlay.get_new_introduction(from_peer=peer)

    def _draw(self, trust: Any, now: float) -> Peer | None:
        """A peer that was not asked a moment ago, by its score; ``None`` if there is none."""
        peers = {peer.public_key.key_to_bin(): peer for peer in self.overlay.get_peers()}
        keys = [key for key in peers if self._asked.age(key, now) is None and not is_refused(trust, key)]
        if not keys:
            return None
        weights = [(score_of(trust, key) + LEAST_WEIGHT) ** self.temperature for key in keys]
        point = entropy.random() * sum(weights)
        chosen = keys[-1]
        for key, weight in zip(keys, weights, strict=True):
            point -= weight
            if point < 0.0:
                chosen = key
                break
        self._asked.set(chosen, None, now)
        return peers[chosen]

    def _drop(self, trust: Any, now: float) -> None:
        """Drop the peers with the lowest scores beyond ``max_peers``, but not the oldest ones and not many at once."""
        introducing = as_introducing(self.overlay)
        limit = -1 if introducing is None else introducing.max_peers
        while limit >= 0:
            peers = self.overlay.get_peers()
            if len(peers) <= limit or (len(self._drops) == DROPS and now < self._drops[0] + DROP_SECONDS):
                return
            candidates = list(peers[ceil(self.reserve * limit):])  # peers are in the order of their arrival
            if not candidates:
                return
            entropy.shuffle(candidates)  # among those with the same score, chance decides
            worst = min(candidates, key=lambda peer: score_of(trust, peer.public_key.key_to_bin()))
            self._drops.append(now)
            self.overlay.network.remove_peer(worst)
            if worst in self.overlay.get_peers():
                return
