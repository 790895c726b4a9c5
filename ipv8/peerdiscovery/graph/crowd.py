"""Peers by the part of the internet that they are in: whoever has many identities rarely has as many networks."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from ... import entropy

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping

    from ...messaging.address import Address
    from ...peer import Peer

__all__ = ["FAIR_SHARE", "Crowd", "ServiceCrowds", "neighborhood_of", "subnet_of"]

IPV4_SUBNET_BYTES = 3  # a /24
IPV6_SUBNET_BYTES = 6  # a /48
KNOWN_HOSTS = 8192
"""Hosts whose subnet is remembered instead of worked out again; beyond that the least recently used is forgotten."""

FAIR_SHARE = 2
"""Peers of one neighborhood that have the same rights as all others. Further ones make room for peers from elsewhere,
and are no reason to stop looking for those."""

RESERVED_PART = 6
"""Of the places in an own overlay, one in so many is for peers within the fair shares of their neighborhoods only."""

MAX_TRACKED_SERVICES = 128
"""Services whose peers are kept account of; beyond that the first one is counted anew when it is asked for."""


@lru_cache(KNOWN_HOSTS)
def _locate(host: str) -> tuple[bytes, bool]:
    """The subnet of ``host``, and whether it is a part of the public internet."""
    try:
        parsed = ip_address(host)
    except ValueError:
        return host.encode(errors="surrogatepass"), False
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed.packed[:IPV6_SUBNET_BYTES], parsed.is_global
        parsed = parsed.ipv4_mapped
    return parsed.packed[:IPV4_SUBNET_BYTES], parsed.is_global


def subnet_of(host: str) -> bytes:
    """The /24 of an IPv4 address, the /48 of an IPv6 address; any other name is a subnet of its own.

    An IPv4 address that is mapped into IPv6 is in its IPv4 subnet.
    """
    return _locate(host)[0]


def neighborhood_of(address: Address) -> Hashable:
    """The subnet of a public address; any other address is a neighborhood of its own.

    Those of the own machine and LAN are not to be had from far away, and often there are many nodes.
    """
    subnet, is_public = _locate(address[0])
    return subnet if is_public else address


class Crowd:
    """Peers in neighborhoods, which are ordered by size.

    A peer stays in the neighborhood in which it was added, whatever its address becomes, until it is moved.
    """

    __slots__ = ("_groups", "_places", "_sizes", "surplus")

    def __init__(self) -> None:
        #: Peers beyond the fair shares of their neighborhoods.
        self.surplus = 0
        self._places: dict[Peer, Hashable] = {}
        # Who is there: one peer, as in most neighborhoods, or several in a dictionary.
        self._groups: dict[Hashable, Any] = {}
        # The neighborhoods with more than one peer, by size.
        self._sizes: dict[int, dict[Hashable, None]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._places

    def add(self, peer: Peer) -> None:
        """Add ``peer``, if it is not there, under its preferred address."""
        if peer in self._places:
            return
        place = self._places[peer] = neighborhood_of(peer.address)
        group = self._groups.get(place)
        if group is None:
            self._groups[place] = peer
            return
        if type(group) is not dict:
            group = self._groups[place] = {group: None}
        group[peer] = None
        self._resize(place, len(group) - 1, len(group))

    def discard(self, peer: Peer) -> None:
        """Remove ``peer`` if it is there."""
        place = self._places.pop(peer, None)
        if place is None:
            return
        group = self._groups[place]
        if type(group) is dict:
            del group[peer]
            self._resize(place, len(group) + 1, len(group))
        if type(group) is not dict or not group:
            del self._groups[place]

    def move(self, peer: Peer) -> None:
        """Let ``peer``, if it is there, be where its preferred address is now."""
        place = self._places.get(peer)
        if place is not None and place != neighborhood_of(peer.address):
            self.discard(peer)
            self.add(peer)

    def neighbors(self, peer: Peer) -> int:
        """How many peers, itself included, are where ``peer`` was added; 0 if it was not."""
        place = self._places.get(peer)
        return 0 if place is None else len(self._members(place))

    def count(self, address: Address) -> int:
        """How many peers were added in the neighborhood of ``address``."""
        return len(self._members(neighborhood_of(address)))

    def first_to_go(self, created_before: float) -> Peer | None:
        """The oldest peer of the largest neighborhood that has one which was created before the given time.

        Of neighborhoods with equally many peers the one that has had so many for the longest time is looked at. The
        cost grows with the number of different sizes, so at most with the square root of the number of peers.
        """
        for size in sorted(self._sizes, reverse=True):
            oldest: Peer = next(iter(self._groups[next(iter(self._sizes[size]))]))
            if oldest.creation_time < created_before:
                return oldest
        oldest_of_all = next(iter(self._places), None)
        if oldest_of_all is not None and oldest_of_all.creation_time < created_before:
            return oldest_of_all
        return None

    def last_of_largest(self) -> Peer | None:
        """The newest peer of the largest neighborhood, ``None`` if none has more than one peer.

        The cost is that of :meth:`first_to_go`.
        """
        if not self._sizes:
            return None
        newest: Peer = next(reversed(self._groups[next(iter(self._sizes[max(self._sizes)]))]))
        return newest

    def draw(self) -> Peer | None:
        """Any peer, such that all neighborhoods are equally likely; ``None`` if there are no peers.

        The cost grows with the number of neighborhoods.
        """
        return entropy.choice(tuple(self._members(entropy.choice(tuple(self._groups))))) if self._groups else None

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


class ServiceCrowds:
    """The verified peers of each service by neighborhood: everybody, and those that have not proven to be there.

    Both are kept account of from when they are first asked for.

    :param offering: the verified peers of each service; read, not changed.
    :param overlays: the own overlay of each service that has one; its ``max_peers``, if there is any, counts.
    """

    def __init__(self, offering: Mapping[bytes, Iterable[Peer]], overlays: Mapping[bytes, object]) -> None:
        self._offering = offering
        self._overlays = overlays
        self._everybody: dict[bytes, Crowd] = {}
        self._unproven: dict[bytes, Crowd] = {}

    def everybody(self, service: bytes) -> Crowd:
        """All peers of a service."""
        return self._everybody.get(service) or self._track(self._everybody, service, self._offering.get(service, ()))

    def unproven(self, service: bytes) -> Crowd:
        """Those peers of a service that have not proven to be there."""
        return self._unproven.get(service) or self._track(
            self._unproven, service, [peer for peer in self._offering.get(service, ()) if not peer.proven])

    def add(self, service: bytes, peer: Peer) -> None:
        """Count in ``peer``, which offers the service now."""
        if service in self._everybody:
            self._everybody[service].add(peer)
        if service in self._unproven and not peer.proven:
            self._unproven[service].add(peer)

    def discard(self, service: bytes, peer: Peer) -> None:
        """Do not count ``peer`` any more."""
        for crowds in (self._everybody, self._unproven):
            if service in crowds:
                crowds[service].discard(peer)

    def prove(self, peer: Peer) -> None:
        """Note that ``peer`` has proven to be where it is now: what it said about that before may have been a lie."""
        for crowd in self._unproven.values():
            crowd.discard(peer)
        for crowd in self._everybody.values():
            crowd.move(peer)

    def first_to_go(self, service: bytes, created_before: float) -> Peer | None:
        """An unproven peer that was created before the given time, or rather a guest, if the other one is none."""
        everybody, unproven = self.everybody(service), self.unproven(service)
        peer = unproven.first_to_go(created_before)
        while peer is not None and peer.proven:
            unproven.discard(peer)
            peer = unproven.first_to_go(created_before)
        if everybody.surplus and (peer is None or everybody.neighbors(peer) <= FAIR_SHARE):
            guest = everybody.last_of_largest()
            if guest is not None and (guest.proven or guest.creation_time < created_before):
                return guest
        return peer

    def guest_limit(self, service: bytes) -> int:
        """From how many peers on an own overlay takes no guests any more; negative for any number."""
        limit = getattr(self._overlays.get(service), "max_peers", -1)
        if not isinstance(limit, int):  # infinity, or what stands in for an overlay in a test
            return -1
        return limit - limit // RESERVED_PART if limit > 0 else limit

    def guest_to_go(self, service: bytes, newcomer: Peer) -> Peer | None:
        """Who has to leave an own overlay because ``newcomer`` has come: maybe that one itself, maybe nobody."""
        limit = self.guest_limit(service)
        if limit < 0:
            return None
        everybody = self.everybody(service)
        if not everybody.surplus or len(everybody) <= limit:
            return None
        guest = everybody.last_of_largest()
        return newcomer if guest is None or everybody.neighbors(newcomer) >= everybody.neighbors(guest) else guest

    @staticmethod
    def _track(crowds: dict[bytes, Crowd], service: bytes, peers: Iterable[Peer]) -> Crowd:
        crowd = crowds.get(service)
        if crowd is None:
            if len(crowds) >= MAX_TRACKED_SERVICES:
                del crowds[next(iter(crowds))]
            crowd = crowds[service] = Crowd()
            for peer in tuple(peers):
                crowd.add(peer)
        return crowd
