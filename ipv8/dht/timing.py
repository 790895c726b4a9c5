"""How long to wait for answers, and how often to ask: what was measured so far (doc/protocol/dht.md section 8.2).

All times are given in seconds of one clock that never goes back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..limits import BoundedDict
from .routing import NODE_LIMIT_INTERVAL, NODE_LIMIT_QUERIES

if TYPE_CHECKING:
    from ..messaging.address import Address
    from .routing import Node

__all__ = ["Measurements", "OpenWays", "Pacer", "RoundTrips"]

MIN_PATIENCE = 0.2
"""Seconds after which an answer is late, at least."""
MAX_PATIENCE = 0.5
"""The same at most, for a node whose round trip time is unknown."""
NODE_PATIENCE = 3.0
"""The same for a node with a known round trip time, in multiples of that time."""

MAX_PACED = 4096
"""Nodes whose requests are counted; the one that was asked the longest ago is evicted first."""

PUNCTURELESS_SHARE = 0.5
"""If a smaller share of new nodes than this answers without a puncture, punctures are asked for at once."""
SHARE_WEIGHT = 0.05
OPEN_SECONDS = 30.0
"""Seconds after a packet from an address for which the way to it counts as open."""
MAX_OPEN = 4096
"""Addresses that are remembered as open; the longest without a packet is evicted first."""


class RoundTrips:
    """The smoothed round trip time of all nodes together and its deviation, as in RFC 6298."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._deviation = 0.0

    def add(self, rtt: float) -> None:
        """Add a measured round trip time, in seconds."""
        if not self._mean:
            self._mean, self._deviation = rtt, rtt / 2
        else:
            self._deviation += (abs(rtt - self._mean) - self._deviation) / 4
            self._mean += (rtt - self._mean) / 8

    def patience(self, node: Node) -> float:
        """Seconds after which an answer of ``node`` is late; it may still come."""
        if node.rtt:
            return max(MIN_PATIENCE, NODE_PATIENCE * node.rtt)
        if not self._mean:
            return MAX_PATIENCE
        return min(MAX_PATIENCE, max(MIN_PATIENCE, self._mean + 4 * self._deviation))


class Pacer:
    """Keeps the requests to each node below the number that it answers (ten in five seconds)."""

    LIMIT = NODE_LIMIT_QUERIES - 1
    # Requests may arrive closer together than they were sent.
    INTERVAL = NODE_LIMIT_INTERVAL + 1.0

    def __init__(self) -> None:
        self._sent: BoundedDict[bytes, deque[float]] = BoundedDict(MAX_PACED)

    def note(self, node: Node, now: float) -> None:
        """Count a request that is sent ``now``."""
        times = self._sent.get(node.key_bin) or deque(maxlen=self.LIMIT)
        times.append(now)
        self._sent[node.key_bin] = times

    def free_at(self, node: Node, now: float) -> float:
        """When the next request may be sent: ``now`` or later."""
        times = self._sent.get(node.key_bin)
        return now if times is None or len(times) < self.LIMIT else max(now, times[0] + self.INTERVAL)


class OpenWays:
    """Which addresses answer without a puncture, and whether most new nodes do."""

    def __init__(self) -> None:
        self._open: BoundedDict[Address, float] = BoundedDict(MAX_OPEN)
        self._share = 1.0

    def heard(self, address: Address, now: float) -> None:
        """Note that a packet arrived from ``address``."""
        self._open[address] = now

    def tried(self, answered: bool) -> None:
        """Note whether a new node answered without a puncture."""
        self._share += SHARE_WEIGHT * (answered - self._share)

    def needs_puncture(self, address: Address, now: float) -> bool:
        """Whether to ask for a puncture together with the first request to ``address``."""
        return self._share < PUNCTURELESS_SHARE and now - self._open.get(address, -OPEN_SECONDS) >= OPEN_SECONDS


class Measurements:
    """What the requests of a node have shown, common to all of them."""

    def __init__(self) -> None:
        self.round_trips = RoundTrips()
        self.pacer = Pacer()
        self.open_ways = OpenWays()
