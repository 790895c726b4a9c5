"""What a node remembers to carry packets for others and to have its own carried: plain state, no sockets, no clock.

Methods take ``now``, a time of ``clock.monotonic``, or ``wall``, seconds since the Unix epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from math import exp
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from ..limits import BoundedDict, ExpiringDict, TokenBuckets
from ..messaging.inet import is_overlay_host
from ..messaging.interfaces.network_stats import DropCounter

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from ..messaging.address import Address
    from ..peer import Peer

__all__ = ["CarriageBudget", "FairBudget", "Meetings", "ReplayWindow", "Routes"]

K = TypeVar("K")

ROUTE_LIMIT = 512
ROUTE_LIFETIME = 300.0
"""Destinations whose carrier is remembered, the longest unused evicted first, and the seconds without use that it is.
"""

ROUTES_PER_CARRIER = 32
"""Of these, destinations with the same carrier: it cannot make this node forget the routes by others."""

MEETING_LIMIT = 256
"""Addresses whose owners are known, because they answered by relay; the oldest is evicted first."""

DIRECT_PAUSE = 60.0
"""Seconds between two attempts to reach such an owner there without a relay."""

ORIGIN_LIMIT = 512
"""Authors of envelopes of whom counters are remembered; of those that may be forgotten, the quietest is first."""

ORIGINS_PER_CARRIER = 32
"""Of these, authors whose first envelope came from the same neighbour: it cannot make this node forget those of others.
"""

ORIGINS_LOOKED_AT = 64
"""How many of the quietest authors are looked at, at most, to find one that may be forgotten."""

COUNTERS_PER_ORIGIN = 64
"""How many envelopes of one author may overtake each other."""

SETTLED_MICROSECONDS = 60 * 1_000_000
"""How old an author's newest envelope is, by its counter, before the author may be forgotten."""

AHEAD_MICROSECONDS = 24 * 3600 * 1_000_000
"""How far a counter, which is a time, may be ahead of the own clock."""

BYTES_PER_SECOND, BYTES_AT_ONCE = 32768.0, 131072.0
"""What is carried for one author."""

DESTINATION_BYTES_PER_SECOND, DESTINATION_BYTES_AT_ONCE = 65536.0, 262144.0
"""What is carried to one destination, for all authors together; one of them alone gets at most half of it."""

TOTAL_BYTES_PER_SECOND, TOTAL_BYTES_AT_ONCE = 131072.0, 524288.0
"""What is carried for all others together; one of them alone gets at most half of it."""

DESTINATION_LIMIT = 512
"""Destinations with a budget; the one that got nothing for the longest time is evicted first."""

AUTHORS_PER_BUDGET = 128
"""Authors of whom is known how much of one budget they have used; the quietest is evicted first."""

ATTEMPTS_PER_SECOND, ATTEMPTS_AT_ONCE = 0.2, 6.0
"""Requests to strangers that others are asked to carry for us."""

ATTEMPTS_PER_SECOND_PER_CARRIER, ATTEMPTS_AT_ONCE_PER_CARRIER = 1 / 30, 4.0
"""The same for one of those who are asked, who may not even know how to carry."""

ATTEMPT_PAUSE = 10.0
"""Seconds in which nobody is asked again to carry something to the same stranger."""


class _Shares(Generic[K]):
    """Which keys of a table each owner has, the oldest first."""

    __slots__ = ("_keys", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._keys: dict[Hashable, dict[K, None]] = {}

    def of(self, owner: Hashable) -> Collection[K]:
        return self._keys.get(owner, ())

    def is_used_up(self, owner: Hashable) -> bool:
        return len(self.of(owner)) >= self.limit

    def add(self, owner: Hashable, key: K) -> None:
        keys = self._keys.setdefault(owner, {})
        keys.pop(key, None)
        keys[key] = None

    def discard(self, owner: Hashable, key: K) -> None:
        keys = self._keys.get(owner, {})
        keys.pop(key, None)
        if not keys:
            self._keys.pop(owner, None)


class Routes:
    """Which peer carries what is for a destination."""

    __slots__ = ("_hops", "_shares")

    def __init__(self) -> None:
        self._shares: _Shares[Address] = _Shares(ROUTES_PER_CARRIER)
        self._hops: ExpiringDict[Address, Peer] = ExpiringDict(
            ROUTE_LIMIT, ROUTE_LIFETIME, lambda destination, hop: self._shares.discard(hop, destination))

    def note(self, destination: Address, hop: Peer, now: float) -> None:
        """What is for ``destination`` is for ``hop`` to carry from now on."""
        previous = self._hops.pop(destination, None, now)
        if previous is not None:
            self._shares.discard(previous, destination)
        if self._shares.is_used_up(hop):
            oldest = next(iter(self._shares.of(hop)))
            self._hops.pop(oldest, None, now)
            self._shares.discard(hop, oldest)
        self._hops.set(destination, hop, now)
        self._shares.add(hop, destination)

    def hop(self, destination: Address, now: float) -> Peer | None:
        """Who carries to ``destination``, if that is known; it stays known for another lifetime then."""
        hop = self._hops.get(destination, None, now)
        if hop is not None:
            self._hops.set(destination, hop, now)
            self._shares.add(hop, destination)
        return hop

    def known(self, destination: Address, now: float) -> Peer | None:
        """As :meth:`hop`, but it is no use of the route."""
        return self._hops.get(destination, None, now)


class Meetings:
    """Who is at the addresses that do not answer: those who answered by relay."""

    __slots__ = ("_met",)

    def __init__(self) -> None:
        self._met: BoundedDict[Address, tuple[Peer, float]] = BoundedDict(MEETING_LIMIT)

    def note(self, asked: Address | None, peer: Peer, now: float) -> None:
        """A request that was to reach ``asked`` was answered by ``peer``, who is reached by relay."""
        if asked is not None and not is_overlay_host(asked[0]):
            self._met[asked] = peer, now

    def is_with_peer(self, address: Address, peers: Collection[Peer], now: float) -> bool:
        """Whether one of ``peers`` is at ``address``, and is not due to be tried there again."""
        peer, tried = self._met.get(address, (None, 0.0))
        if peer is None or peer not in peers:
            return False
        if tried + DIRECT_PAUSE > now:
            return True
        self._met[address] = peer, now
        return False


class _Origin(NamedTuple):
    """An author of envelopes: its counters in rising order, and who brought its first envelope."""

    counters: list[int]
    carrier: bytes


class ReplayWindow:
    """Tells new envelopes from recorded ones, for each author; envelopes may overtake each other.

    An author that is forgotten leaves a trace: from then on, unknown authors are believed only if their counter is
    higher than all counters of all forgotten ones. Counters are times in microseconds, and an author is forgotten only
    when its newest one is a minute old, so this refuses nobody whose clock is right within a minute.
    """

    __slots__ = ("_forgotten", "_origins", "_shares")

    def __init__(self) -> None:
        self._origins: BoundedDict[bytes, _Origin] = BoundedDict(ORIGIN_LIMIT)
        self._shares: _Shares[bytes] = _Shares(ORIGINS_PER_CARRIER)
        self._forgotten = -1

    def __len__(self) -> int:
        return len(self._origins)

    def refusal(self, origin: bytes, counter: int, carrier: bytes, wall: float) -> str | None:
        """Why not to accept an envelope; ``None`` if it is accepted, and then it is not accepted again.

        :param origin: the key hash of the author; ``carrier`` is that of the neighbour who brought the envelope.
        :returns: a reason of ``DropCounter``.
        """
        present = int(wall * 1e6)
        if counter > present + AHEAD_MICROSECONDS:
            return DropCounter.REPLAYED
        known = self._origins.get(origin)
        if known is None:
            if counter <= self._forgotten:
                return DropCounter.REPLAYED
            if not self._make_room(carrier, present - SETTLED_MICROSECONDS):
                return DropCounter.RATE_LIMITED
            self._origins[origin] = _Origin([counter], carrier)
            self._shares.add(carrier, origin)
            return None
        self._origins.touch(origin)
        seen = known.counters
        place = bisect_left(seen, counter)
        if seen[place:place + 1] == [counter] or (place == 0 and len(seen) >= COUNTERS_PER_ORIGIN):
            return DropCounter.REPLAYED
        seen.insert(place, counter)
        del seen[:-COUNTERS_PER_ORIGIN]
        return None

    def _make_room(self, carrier: bytes, horizon: int) -> bool:
        """Forget an author that sent nothing since ``horizon`` if another one of ``carrier`` needs its place."""
        candidates: Iterable[bytes]
        if self._shares.is_used_up(carrier):
            candidates = self._shares.of(carrier)
        elif len(self._origins) >= ORIGIN_LIMIT:
            candidates = islice(self._origins, ORIGINS_LOOKED_AT)
        else:
            return True
        settled = next((origin for origin in candidates if self._origins[origin].counters[-1] <= horizon), None)
        if settled is None:
            return False
        forgotten = self._origins.pop(settled)
        self._shares.discard(forgotten.carrier, settled)
        self._forgotten = max(self._forgotten, forgotten.counters[-1])
        return True


class _Pool:
    """How much of a budget is used, in all and by each author; what is used decays exponentially."""

    __slots__ = ("authors", "used")

    def __init__(self) -> None:
        self.used = 0.0, 0.0
        self.authors: BoundedDict[bytes, tuple[float, float]] = BoundedDict(AUTHORS_PER_BUDGET)


class FairBudget:
    """Budgets that several authors share: nobody may use more than what is left then.

    So one author alone gets half of a budget, two authors a third each, and so on, and something is always left for
    another one (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM
    Transactions on Networking 6(2), 1998).

    :param rate: what comes back each second while a budget is used up.
    :param burst: what a budget has.
    :param capacity: how many budgets there are.
    """

    __slots__ = ("_pools", "burst", "rate")

    def __init__(self, rate: float, burst: float, capacity: int) -> None:
        self.rate = rate
        self.burst = burst
        self._pools: BoundedDict[Hashable, _Pool] = BoundedDict(capacity)

    def __len__(self) -> int:
        return len(self._pools)

    def _left_of(self, used: tuple[float, float], now: float) -> float:
        amount, stamp = used
        return amount * exp((stamp - now) * self.rate / self.burst)

    def holds(self, key: Hashable, author: bytes, cost: float, now: float) -> bool:
        """Whether the budget of ``key`` has ``cost`` for ``author``; takes nothing."""
        pool = self._pools.get(key)
        if pool is None:
            return 2 * cost <= self.burst
        own = self._left_of(pool.authors.get(author, (0.0, now)), now)
        return own + 2 * cost + self._left_of(pool.used, now) <= self.burst

    def take(self, key: Hashable, author: bytes, cost: float, now: float) -> None:
        """Take ``cost`` out of the budget of ``key`` for ``author``."""
        pool = self._pools.get(key) or _Pool()
        self._pools[key] = pool
        pool.used = self._left_of(pool.used, now) + cost, now
        pool.authors[author] = self._left_of(pool.authors.get(author, (0.0, now)), now) + cost, now


class CarriageBudget:
    """How much is carried for whom, in bytes."""

    __slots__ = ("_all", "_attempts", "_carriers", "_destinations", "_origins", "_strangers")

    def __init__(self) -> None:
        self._origins = TokenBuckets(BYTES_PER_SECOND, BYTES_AT_ONCE)
        self._destinations = FairBudget(DESTINATION_BYTES_PER_SECOND, DESTINATION_BYTES_AT_ONCE, DESTINATION_LIMIT)
        self._all = FairBudget(TOTAL_BYTES_PER_SECOND, TOTAL_BYTES_AT_ONCE, 1)
        self._attempts = TokenBuckets(ATTEMPTS_PER_SECOND, ATTEMPTS_AT_ONCE)
        self._carriers = TokenBuckets(ATTEMPTS_PER_SECOND_PER_CARRIER, ATTEMPTS_AT_ONCE_PER_CARRIER)
        self._strangers = TokenBuckets(1.0 / ATTEMPT_PAUSE, 1.0)

    def allow(self, origin: bytes, destination: bytes, size: int, now: float) -> bool:
        """Whether ``size`` bytes may go from one key hash to another."""
        if not (self._destinations.holds(destination, origin, size, now) and self._all.holds(None, origin, size, now)
                and self._origins.take(origin, size, now)):
            return False
        self._destinations.take(destination, origin, size, now)
        self._all.take(None, origin, size, now)
        return True

    def may_attempt(self, carrier: bytes, stranger: Address, now: float) -> bool:
        """Whether the owner of a key hash may now be asked to carry a first request to ``stranger``."""
        return (self._strangers.take(stranger, now=now) and self._carriers.take(carrier, now=now)
                and self._attempts.take(now=now))
