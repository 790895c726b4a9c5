"""How long to wait for answers, and how often to ask: measured, not guessed (spec 07 section 19.2)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .routing import NODE_LIMIT_INTERVAL, NODE_LIMIT_QUERIES

if TYPE_CHECKING:
    from ..messaging.address import Address
    from .routing import Node

__all__ = ["Pacer", "Reachability", "RoundTrips"]

MIN_PATIENCE = 0.2
"""Seconds that any node is given before others are asked in its place."""
MAX_PATIENCE = 0.5
"""The same for a node of which nothing is known."""
NODE_PATIENCE = 3.0
"""The same for a node with a known round trip time, in multiples of that."""

MAX_PACED = 4096
"""Nodes whose requests are counted; the one that was asked the longest ago is forgotten first."""

PUNCTURELESS_SHARE = 0.5
"""If fewer new nodes than this answer without having been asked to open the way, that is asked at once."""
SHARE_WEIGHT = 0.05
OPEN_SECONDS = 30.0
"""For so long a node that was heard of is believed to be reachable."""
MAX_OPEN = 4096


class RoundTrips:
    """The smoothed round trip time of all nodes together and its deviation, as in RFC 6298."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._deviation = 0.0

    def add(self, rtt: float) -> None:
        """Take a measured round trip time, in seconds, into account."""
        if not self._mean:
            self._mean, self._deviation = rtt, rtt / 2
        else:
            self._deviation += (abs(rtt - self._mean) - self._deviation) / 4
            self._mean += (rtt - self._mean) / 8

    def patience(self, node: Node) -> float:
        """Seconds after which an answer of ``node`` is late, though not too late."""
        if node.rtt:
            return max(MIN_PATIENCE, NODE_PATIENCE * node.rtt)
        if not self._mean:
            return MAX_PATIENCE
        return min(MAX_PATIENCE, max(MIN_PATIENCE, self._mean + 4 * self._deviation))


class Pacer:
    """Keeps requests to each node below what it answers (ten in five seconds)."""

    LIMIT = NODE_LIMIT_QUERIES - 1
    # Requests may arrive closer together than they were sent.
    INTERVAL = NODE_LIMIT_INTERVAL + 1.0

    def __init__(self) -> None:
        self._sent: dict[bytes, deque[float]] = {}

    def note(self, node: Node, now: float) -> None:
        """Count a request that is sent ``now``."""
        times = self._sent.pop(node.key_bin, None) or deque(maxlen=self.LIMIT)
        times.append(now)
        self._sent[node.key_bin] = times
        if len(self._sent) > MAX_PACED:
            del self._sent[next(iter(self._sent))]

    def free_at(self, node: Node, now: float) -> float:
        """When the next request may be sent: ``now`` or later."""
        times = self._sent.get(node.key_bin)
        return now if times is None or len(times) < self.LIMIT else max(now, times[0] + self.INTERVAL)


class Reachability:
    """Which addresses answer without a puncture, and whether most do."""

    def __init__(self) -> None:
        self._open: dict[Address, float] = {}
        self._share = 1.0

    def heard(self, address: Address, now: float) -> None:
        """Note that something arrived from ``address``."""
        self._open.pop(address, None)
        self._open[address] = now
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]

    def tried(self, answered: bool) -> None:
        """Note whether a new node answered without a puncture."""
        self._share += SHARE_WEIGHT * (answered - self._share)

    def needs_puncture(self, address: Address, now: float) -> bool:
        """Whether to have the way to a node opened before it is known whether that is needed."""
        return self._share < PUNCTURELESS_SHARE and now - self._open.get(address, -OPEN_SECONDS) >= OPEN_SECONDS
