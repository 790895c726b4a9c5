"""Peers by the part of the Internet that they are in: keys cost nothing, addresses in many networks do."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from ... import entropy
from ...limits import BoundedDict
from ...messaging.inet import is_global, network_of

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping

    from ...messaging.address import Address
    from ...peer import Peer

__all__ = ["FAIR_SHARE", "Neighborhoods", "ServiceNeighborhoods", "neighborhood_of"]

FAIR_SHARE = 2
"""How many peers of one neighborhood have the same rights as all others. Further ones are surplus peers: they make room
for peers of other neighborhoods, and do not count when a walker has enough peers."""

RESERVED_PART = 6
"""One in this many places of an overlay of this node is not for surplus peers."""

MAX_TRACKED_SERVICES = 128
"""Services whose peers are kept by neighborhood. The oldest is evicted; it is counted anew when it is asked for."""

REMEMBERED_HOSTS = 8192
"""Host texts whose public network is not looked up again; the least recently used is evicted first."""


@lru_cache(REMEMBERED_HOSTS)
def _public_network_of(host: str) -> bytes | None:
    return network_of(host) if is_global(host) else None


def neighborhood_of(address: Address) -> Hashable:
    """The /24 (IPv6: /48) of a public address; any other address is a neighborhood of its own.

    Addresses that are not public are those of the own machine and of the LAN: nobody far away can get them, and often
    many nodes share them.
    """
    return _public_network_of(address[0]) or address


class Neighborhoods:
    """Peers, grouped by neighborhood; the neighborhoods are ordered by size.

    A peer stays in the neighborhood in which it was added until :meth:`move` is called, whatever its address becomes.
    """

    __slots__ = ("_groups", "_order", "_places", "_positions", "_sizes", "surplus")

    def __init__(self) -> None:
        #: How many surplus peers there are, in all neighborhoods together.
        self.surplus = 0
        self._places: dict[Peer, Hashable] = {}
        # The peers of each neighborhood: a single peer, as in most of them, or several in a dictionary.
        self._groups: dict[Hashable, Any] = {}
        # The neighborhoods in any order, and where each is in it, from the first time on that one is drawn.
        self._order: list[Hashable] | None = None
        self._positions: dict[Hashable, int] = {}
        # The neighborhoods with more than one peer, by size.
        self._sizes: dict[int, dict[Hashable, None]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._places

    def add(self, peer: Peer) -> None:
        """Add ``peer``, if it is absent, to the neighborhood of its preferred address."""
        if peer in self._places:
            return
        place = self._places[peer] = neighborhood_of(peer.address)
        group = self._groups.get(place)
        if group is None:
            self._groups[place] = peer
            if self._order is not None:
                self._positions[place] = len(self._order)
                self._order.append(place)
            return
        if type(group) is not dict:
            group = self._groups[place] = {group: None}
        group[peer] = None
        self._resize(place, len(group) - 1, len(group))

    def discard(self, peer: Peer) -> None:
        """Remove ``peer`` if it is present."""
        place = self._places.pop(peer, None)
        if place is None:
            return
        group = self._groups[place]
        if type(group) is dict:
            del group[peer]
            self._resize(place, len(group) + 1, len(group))
        if type(group) is not dict or not group:
            del self._groups[place]
            if self._order is not None:
                last, position = self._order.pop(), self._positions.pop(place)
                if last != place:
                    self._order[position] = last
                    self._positions[last] = position

    def move(self, peer: Peer) -> None:
        """Move ``peer``, if it is present, to the neighborhood of its preferred address."""
        place = self._places.get(peer)
        if place is not None and place != neighborhood_of(peer.address):
            self.discard(peer)
            self.add(peer)

    def size_of_own(self, peer: Peer) -> int:
        """How many peers are in the neighborhood of ``peer``, itself included; 0 if it is absent."""
        place = self._places.get(peer)
        return 0 if place is None else len(self._members(place))

    def count(self, address: Address) -> int:
        """How many peers are in the neighborhood of ``address``."""
        return len(self._members(neighborhood_of(address)))

    def oldest_of_largest(self, known_before: float) -> Peer | None:
        """The oldest peer of the largest neighborhood in which that peer was known before a (monotonic) time.

        Of neighborhoods of the same size, the one that has had this size for the longest time is looked at. The cost
        grows with the number of different sizes, so at most with the square root of the number of peers.
        """
        for size in sorted(self._sizes, reverse=True):
            oldest: Peer = next(iter(self._groups[next(iter(self._sizes[size]))]))
            if oldest.known_since < known_before:
                return oldest
        oldest_of_all = next(iter(self._places), None)
        if oldest_of_all is not None and oldest_of_all.known_since < known_before:
            return oldest_of_all
        return None

    def newest_of_largest(self) -> Peer | None:
        """The newest peer of the largest neighborhood, ``None`` if none has more than one peer.

        The cost is that of :meth:`oldest_of_largest`.
        """
        if not self._sizes:
            return None
        newest: Peer = next(reversed(self._groups[next(iter(self._sizes[max(self._sizes)]))]))
        return newest

    def draw(self) -> Peer | None:
        """A random peer of a random neighborhood, all of which are equally likely; ``None`` if there are no peers."""
        return next((peer for _, peer in self.draw_several(1)), None)

    def draw_several(self, count: int) -> Iterator[tuple[Hashable, Peer]]:
        """``count`` times a neighborhood and a random peer of it; nothing if there are no peers.

        The first neighborhood is random, others follow in an order of their own, and all have had a turn before the
        first one has another. To draw a peer costs more the more there are in its neighborhood. The peers must not
        change meanwhile.
        """
        if self._order is None:
            self._order = list(self._groups)
            self._positions = {place: position for position, place in enumerate(self._order)}
        order, groups = self._order, self._groups
        if not order:
            return
        start, size = entropy.randint(0, len(order) - 1), len(order)
        for position in range(start, start + count):
            place = order[position % size]
            group = groups[place]
            yield place, (next(islice(group, entropy.randint(0, len(group) - 1), None)) if type(group) is dict
                          else group)

    def _members(self, place: Hashable) -> Collection[Peer]:
        group = self._groups.get(place, ())
        return group if isinstance(group, (dict, tuple)) else (group,)

    def _resize(self, place: Hashable, old: int, new: int) -> None:
        self.surplus += max(new - FAIR_SHARE, 0) - max(old - FAIR_SHARE, 0)
        if old > 1:
            del self._sizes[old][place]
            if not self._sizes[old]:
                del self._sizes[old]
        if new > 1:
            self._sizes.setdefault(new, {})[place] = None


class ServiceNeighborhoods:
    """The verified peers of each service by neighborhood: all of them, and the unproven ones.

    Both are kept up to date from the first time that they are asked for.

    :param offering: the verified peers of each service; read, not changed.
    :param overlays: the overlay of this node for each service that it runs; read, not changed. Its ``max_peers``, if it
        has that, limits the surplus peers.
    """

    def __init__(self, offering: Mapping[bytes, Collection[Peer]], overlays: Mapping[bytes, object]) -> None:
        self._offering = offering
        self._overlays = overlays
        self._all: BoundedDict[bytes, Neighborhoods] = BoundedDict(MAX_TRACKED_SERVICES)
        self._unproven: BoundedDict[bytes, Neighborhoods] = BoundedDict(MAX_TRACKED_SERVICES)

    def track(self, services: int) -> None:
        """Keep the peers of so many services by neighborhood, and not of ``MAX_TRACKED_SERVICES``."""
        self._all.capacity = self._unproven.capacity = services

    def all_of(self, service: bytes) -> Neighborhoods:
        """All verified peers of a service."""
        tracked = self._all.get(service)
        if tracked is None:
            tracked = self._all[service] = _neighborhoods(self._offering.get(service, ()))
        return tracked

    def unproven_of(self, service: bytes) -> Neighborhoods:
        """The verified peers of a service that are not proven."""
        tracked = self._unproven.get(service)
        if tracked is None:
            tracked = self._unproven[service] = _neighborhoods(
                peer for peer in self._offering.get(service, ()) if not peer.proven)
        return tracked

    def add(self, service: bytes, peer: Peer) -> None:
        """Count ``peer``, a verified peer, among those of the service."""
        if service in self._all:
            self._all[service].add(peer)
        if service in self._unproven and not peer.proven:
            self._unproven[service].add(peer)

    def discard(self, service: bytes, peer: Peer) -> None:
        """Do not count ``peer`` among those of the service any more."""
        for tracked in (self._all, self._unproven):
            if service in tracked:
                tracked[service].discard(peer)

    def forget_service(self, service: bytes) -> None:
        """Do not keep a service up to date any more."""
        self._all.pop(service, None)
        self._unproven.pop(service, None)

    def prove(self, peer: Peer, services: Iterable[bytes]) -> None:
        """Count ``peer``, which offers ``services``, as a proven one at its present address.

        An earlier address may have been false.
        """
        for service in services:
            if service in self._unproven:
                self._unproven[service].discard(peer)
            if service in self._all:
                self._all[service].move(peer)

    def peer_to_drop(self, service: bytes, known_before: float) -> Peer | None:
        """The peer that is the first to make room for another one, known before a (monotonic) time.

        It is an unproven one of the largest neighborhood. If that has no more than its fair share while others have
        more, it is a surplus peer, proven or not.
        """
        everybody, unproven = self.all_of(service), self.unproven_of(service)
        peer = unproven.oldest_of_largest(known_before)
        while peer is not None and peer.proven:
            unproven.discard(peer)
            peer = unproven.oldest_of_largest(known_before)
        if everybody.surplus and (peer is None or everybody.size_of_own(peer) <= FAIR_SHARE):
            surplus = everybody.newest_of_largest()
            if surplus is not None and (surplus.proven or surplus.known_since < known_before):
                return surplus
        return peer

    def peer_limit(self, service: bytes) -> int:
        """The number of peers with which an overlay of this node takes one more at most; negative for no limit."""
        # Programs, and tests with mocks, may register anything as an overlay.
        limit = getattr(self._overlays.get(service), "max_peers", -1)
        return limit if isinstance(limit, int) else -1

    def surplus_limit(self, service: bytes) -> int:
        """The number of peers from which on an overlay of this node takes no surplus peers; negative for no limit."""
        limit = self.peer_limit(service)
        return limit - limit // RESERVED_PART if limit > 0 else limit

    def is_full(self, service: bytes) -> bool:
        """Whether an overlay of this node takes no further peer, wherever it is, unless another one leaves."""
        return (0 <= self.peer_limit(service) < len(self._offering.get(service, ()))
                and not self.all_of(service).surplus)

    def has_room_for(self, service: bytes, address: Address) -> bool:
        """Whether an overlay of this node takes another peer at ``address``; always if there is no such overlay."""
        limit = self.surplus_limit(service)
        return (limit < 0 or len(self._offering.get(service, ())) < limit
                or (self.all_of(service).count(address) < FAIR_SHARE and not self.is_full(service)))

    def surplus_peer_to_drop(self, service: bytes, newcomer: Peer) -> Peer | None:
        """The surplus peer that an overlay of this node loses now that it has ``newcomer``, which may be the one.

        ``None`` if no peer has to leave.
        """
        limit = self.surplus_limit(service)
        if limit < 0:
            return None
        everybody = self.all_of(service)
        if not everybody.surplus or len(everybody) <= limit:
            return None
        surplus = everybody.newest_of_largest()
        if surplus is None or everybody.size_of_own(newcomer) >= everybody.size_of_own(surplus):
            return newcomer
        return surplus


def _neighborhoods(peers: Iterable[Peer]) -> Neighborhoods:
    neighborhoods = Neighborhoods()
    for peer in peers:
        neighborhoods.add(peer)
    return neighborhoods
