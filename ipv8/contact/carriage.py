"""What a node remembers to carry packets for others and to have its own carried: plain state, no sockets."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from .. import clock
from ..limits import TokenBuckets
from ..messaging.inet import ipv6_to_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..messaging.address import Address
    from ..peer import Peer

__all__ = ["RELAYED_PORT", "CarriageBudget", "Meetings", "ReplayWindow", "Routes", "is_overlay_host", "overlay_host"]

OVERLAY_PREFIX = 0x2001002 << 100
"""2001:20::/28, from which no address is ever routed: it is kept for hashes of keys (RFC 7343)."""

SHA1_OF_KEY = 1 << 96
"""The four bits behind the prefix, which name the hash: SHA-1 of a public key, shortened to its first 96 bits."""

OVERLAY_HOSTS = "2001:21:"
"""How the texts of such addresses begin."""

RELAYED_PORT = 1
"""The port that goes with such addresses, where one must be."""

ROUTE_LIMIT = 512
ROUTE_LIFETIME = 300.0
"""Destinations whose next hop is remembered; the longest unused go first, and after so many seconds without use."""

MEETING_LIMIT = 256
"""Addresses whose owners are known, because they answered by relay; the oldest go first."""

DIRECT_PAUSE = 60.0
"""Seconds between two attempts to reach such an owner there without a relay."""

ORIGIN_LIMIT = 512
"""Authors of envelopes of whom counters are remembered; the one that was quiet the longest is forgotten first."""

COUNTERS_PER_ORIGIN = 64
"""How many envelopes of one author may overtake each other."""

BYTES_PER_SECOND, BYTES_AT_ONCE = 32768.0, 131072.0
"""What is carried for one author, and likewise to one destination."""

TOTAL_BYTES_PER_SECOND, TOTAL_BYTES_AT_ONCE = 131072.0, 524288.0
"""What is carried for all others together."""

ATTEMPTS_PER_SECOND, ATTEMPTS_AT_ONCE = 0.2, 6.0
"""Requests to strangers that others are asked to carry for us."""

ATTEMPTS_PER_SECOND_PER_CARRIER, ATTEMPTS_AT_ONCE_PER_CARRIER = 1 / 30, 4.0
"""The same for one of those who are asked, who may not even know how to carry."""

ATTEMPT_PAUSE = 10.0
"""Seconds in which nobody is asked again to carry something to the same stranger."""


def overlay_host(mid: bytes) -> str:
    """The IPv6 address that stands for the public key with the SHA-1 ``mid`` (20 bytes), as text.

    It belongs to the overlay routable cryptographic hash identifiers of RFC 7343.
    """
    return ipv6_to_text((OVERLAY_PREFIX | SHA1_OF_KEY | int.from_bytes(mid[:12], "big")).to_bytes(16, "big"))


def is_overlay_host(host: str) -> bool:
    """Whether ``host`` is an address as :func:`overlay_host` makes them, which leads nowhere on any network."""
    return host.startswith(OVERLAY_HOSTS)


class Routes:
    """By which peer each destination is reached; a peer that is asked to carry is reached by itself."""

    def __init__(self) -> None:
        self._hops: dict[Address, tuple[Peer, float]] = {}

    def __len__(self) -> int:
        return len(self._hops)

    def note(self, destination: Address, hop: Peer) -> None:
        """What is for ``destination`` is for ``hop`` to carry from now on."""
        self._hops.pop(destination, None)
        self._hops[destination] = hop, clock.monotonic()
        if len(self._hops) > ROUTE_LIMIT:
            del self._hops[next(iter(self._hops))]

    def hop(self, destination: Address) -> Peer | None:
        """Who carries to ``destination``, if that is known."""
        hop, noted = self._hops.get(destination, (None, 0.0))
        if hop is None or noted + ROUTE_LIFETIME < clock.monotonic():
            return None
        self.note(destination, hop)
        return hop


class Meetings:
    """Who is at the addresses that do not answer: those who answered by relay."""

    def __init__(self) -> None:
        self._met: dict[Address, tuple[Peer, float]] = {}

    def note(self, asked: Address | None, peer: Peer) -> None:
        """A request that was to reach ``asked`` was answered by ``peer``, who is reached by relay."""
        if asked is not None and not is_overlay_host(asked[0]):
            self._met.pop(asked, None)
            self._met[asked] = peer, clock.monotonic()
            if len(self._met) > MEETING_LIMIT:
                del self._met[next(iter(self._met))]

    def is_with_peer(self, address: Address, peers: Collection[Peer]) -> bool:
        """Whether one of ``peers`` is at ``address``, and is not due to be tried there again."""
        peer, tried = self._met.get(address, (None, 0.0))
        if peer is None or peer not in peers:
            return False
        now = clock.monotonic()
        if tried + DIRECT_PAUSE > now:
            return True
        self._met[address] = peer, now
        return False


class ReplayWindow:
    """Tells new envelopes from recorded ones, for each author; envelopes may overtake each other."""

    def __init__(self) -> None:
        self._seen: dict[bytes, list[int]] = {}

    def accept(self, origin: bytes, counter: int) -> bool:
        """Whether the author with the key hash ``origin`` has not used ``counter`` before, as far as is remembered."""
        seen = self._seen.pop(origin, [])
        self._seen[origin] = seen
        if len(self._seen) > ORIGIN_LIMIT:
            del self._seen[next(iter(self._seen))]
        place = bisect_left(seen, counter)
        if seen[place:place + 1] == [counter] or (place == 0 and len(seen) >= COUNTERS_PER_ORIGIN):
            return False
        seen.insert(place, counter)
        del seen[:-COUNTERS_PER_ORIGIN]
        return True


class CarriageBudget:
    """How much is carried for whom, in bytes."""

    def __init__(self) -> None:
        self._origins = TokenBuckets(BYTES_PER_SECOND, BYTES_AT_ONCE)
        self._destinations = TokenBuckets(BYTES_PER_SECOND, BYTES_AT_ONCE)
        self._all = TokenBuckets(TOTAL_BYTES_PER_SECOND, TOTAL_BYTES_AT_ONCE)
        self._attempts = TokenBuckets(ATTEMPTS_PER_SECOND, ATTEMPTS_AT_ONCE)
        self._carriers = TokenBuckets(ATTEMPTS_PER_SECOND_PER_CARRIER, ATTEMPTS_AT_ONCE_PER_CARRIER)
        self._strangers = TokenBuckets(1.0 / ATTEMPT_PAUSE, 1.0)

    def allow(self, origin: bytes, destination: bytes, size: int) -> bool:
        """Whether ``size`` bytes may go from one key hash to another."""
        return (self._origins.take(origin, size) and self._destinations.take(destination, size)
                and self._all.take(None, size))

    def may_attempt(self, carrier: bytes, stranger: Address) -> bool:
        """Whether the owner of a key hash may now be asked to carry a first request to ``stranger``."""
        return self._strangers.take(stranger) and self._carriers.take(carrier) and self._attempts.take()


class RelayState:
    """All that an overlay remembers of what is carried."""

    __slots__ = ("budget", "counters", "last_counter", "meetings", "routes")

    def __init__(self) -> None:
        self.routes = Routes()
        self.meetings = Meetings()
        self.counters = ReplayWindow()
        self.budget = CarriageBudget()
        self.last_counter = 0
