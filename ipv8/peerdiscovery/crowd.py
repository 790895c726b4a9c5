"""Peers by the part of the internet that they are in: whoever has many identities rarely has as many networks."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from ipv8 import entropy

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from ipv8.messaging.address import Address
    from ipv8.peer import Peer

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
    return subnet if is_public else (*address,)


class Crowd:
    """Peers in neighborhoods, which are ordered by size.

    A peer stays in the neighborhood in which it was added, whatever its address becomes, until it is moved.
    """

    __slots__ = ("_groups", "_numbers", "_places", "_sizes", "_where", "surplus")

    def __init__(self) -> None:
        #: Peers beyond the fair shares of their neighborhoods.
        self.surplus = 0
        self._places: dict[Peer, Hashable] = {}
        self._groups: dict[Hashable, dict[Peer, None]] = {}
        self._sizes: dict[int, dict[Hashable, None]] = {}
        # All neighborhoods, in no order, and the number of each among them: one can be drawn without a search.
        self._where: list[Hashable] = []
        self._numbers: dict[Hashable, int] = {}

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
            group = self._groups[place] = {}
            self._numbers[place] = len(self._where)
            self._where.append(place)
        group[peer] = None
        self._resize(place, len(group) - 1, len(group))

    def discard(self, peer: Peer) -> None:
        """Remove ``peer`` if it is there."""
        place = self._places.pop(peer, None)
        if place is None:
            return
        group = self._groups[place]
        del group[peer]
        self._resize(place, len(group) + 1, len(group))
        if not group:
            del self._groups[place]
            last = self._where.pop()
            number = self._numbers.pop(place)
            if last != place:
                self._where[number] = last
                self._numbers[last] = number

    def move(self, peer: Peer) -> None:
        """Let ``peer``, if it is there, be where its preferred address is now."""
        place = self._places.get(peer)
        if place is not None and place != neighborhood_of(peer.address):
            self.discard(peer)
            self.add(peer)

    def neighbors(self, peer: Peer) -> int:
        """How many peers, itself included, are where ``peer`` was added; 0 if it was not."""
        place = self._places.get(peer)
        return 0 if place is None else len(self._groups[place])

    def count(self, address: Address) -> int:
        """How many peers were added in the neighborhood of ``address``."""
        return len(self._groups.get(neighborhood_of(address), ()))

    def first_to_go(self, created_before: float) -> Peer | None:
        """The oldest peer of the largest neighborhood that has one which was created before the given time.

        Of neighborhoods with equally many peers the one that has had so many for the longest time is looked at. The
        cost grows with the number of different sizes, so at most with the square root of the number of peers.
        """
        for size in sorted(self._sizes, reverse=True):
            oldest = next(iter(self._groups[next(iter(self._sizes[size]))]))
            if oldest.creation_time < created_before:
                return oldest
        oldest_of_all = next(iter(self._places), None)
        if oldest_of_all is not None and oldest_of_all.creation_time < created_before:
            return oldest_of_all
        return None

    def last_of_largest(self) -> Peer | None:
        """The newest peer of the largest neighborhood, ``None`` if there are no peers.

        The cost is that of :meth:`first_to_go`.
        """
        if not self._sizes:
            return None
        return next(reversed(self._groups[next(iter(self._sizes[max(self._sizes)]))]))

    def draw(self) -> Peer | None:
        """Any peer, such that all neighborhoods are equally likely; ``None`` if there are no peers."""
        return entropy.choice(tuple(self._groups[entropy.choice(self._where)])) if self._where else None

    def _resize(self, place: Hashable, old: int, new: int) -> None:
        self.surplus += max(new - FAIR_SHARE, 0) - max(old - FAIR_SHARE, 0)
        if old:
            del self._sizes[old][place]
            if not self._sizes[old]:
                del self._sizes[old]
        if new:
            self._sizes.setdefault(new, {})[place] = None


class ServiceCrowds:
    """The verified peers of each service by neighborhood: everybody, and those that have not proven to be there.

    A service is kept account of from when it is first asked for.

    :param offering: the verified peers of each service; read, not changed.
    :param overlays: the own overlay of each service that has one; its ``max_peers``, if there is any, counts.
    """

    def __init__(self, offering: Mapping[bytes, Iterable[Peer]], overlays: Mapping[bytes, object]) -> None:
        self._offering = offering
        self._overlays = overlays
        self._crowds: dict[bytes, tuple[Crowd, Crowd]] = {}

    def everybody(self, service: bytes) -> Crowd:
        """All peers of a service."""
        return self._track(service)[0]

    def add(self, service: bytes, peer: Peer) -> None:
        """Count in ``peer``, which offers the service now."""
        if service in self._crowds:
            everybody, unproven = self._crowds[service]
            everybody.add(peer)
            if not peer.proven:
                unproven.add(peer)

    def discard(self, service: bytes, peer: Peer) -> None:
        """Do not count ``peer`` any more."""
        for crowd in self._crowds.get(service, ()):
            crowd.discard(peer)

    def prove(self, peer: Peer) -> None:
        """Note that ``peer`` has proven to be where it is now: what it said about that before may have been a lie."""
        for everybody, unproven in self._crowds.values():
            unproven.discard(peer)
            everybody.move(peer)

    def first_to_go(self, service: bytes, created_before: float) -> Peer | None:
        """An unproven peer that was created before the given time, or rather a guest, if the other one is none."""
        everybody, unproven = self._track(service)
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
        limit: int = getattr(self._overlays.get(service), "max_peers", -1)
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

    def _track(self, service: bytes) -> tuple[Crowd, Crowd]:
        crowds = self._crowds.get(service)
        if crowds is None:
            if len(self._crowds) >= MAX_TRACKED_SERVICES:
                del self._crowds[next(iter(self._crowds))]
            crowds = self._crowds[service] = Crowd(), Crowd()
            for peer in tuple(self._offering.get(service, ())):
                self.add(service, peer)
        return crowds
