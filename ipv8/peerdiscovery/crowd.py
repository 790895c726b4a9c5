"""Peers that have not proven to be reachable, by the part of the internet that they claim to be in."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ipv8.messaging.address import Address
    from ipv8.peer import Peer

__all__ = ["Crowd", "CrowdCount", "subnet_of"]

IPV4_SUBNET_BYTES = 3  # a /24
IPV6_SUBNET_BYTES = 6  # a /48


class CrowdCount(NamedTuple):
    """How many unproven peers share an address."""

    same_ip: int
    same_subnet: int


def subnet_of(host: str) -> bytes:
    """The /24 of an IPv4 address, the /48 of an IPv6 address; any other name is a subnet of its own.

    An IPv4 address that is mapped into IPv6 is in its IPv4 subnet.
    """
    try:
        parsed = ip_address(host)
    except ValueError:
        return host.encode(errors="surrogatepass")
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed.packed[:IPV6_SUBNET_BYTES]
        parsed = parsed.ipv4_mapped
    return parsed.packed[:IPV4_SUBNET_BYTES]


class Crowd:
    """Unproven peers, grouped by subnet, with the groups ordered by size.

    A peer stays in the subnet in which it was added: moving on does not make room for others.
    """

    __slots__ = ("_groups", "_hosts", "_places", "_sizes")

    def __init__(self) -> None:
        self._places: dict[Peer, tuple[str, bytes]] = {}
        self._hosts: dict[str, int] = {}
        self._groups: dict[bytes, dict[Peer, None]] = {}
        self._sizes: dict[int, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._places

    def add(self, peer: Peer) -> None:
        """Add ``peer``, if it is not there, under its preferred address."""
        if peer in self._places:
            return
        host = peer.address[0]
        subnet = subnet_of(host)
        self._places[peer] = host, subnet
        self._hosts[host] = self._hosts.get(host, 0) + 1
        group = self._groups.setdefault(subnet, {})
        group[peer] = None
        self._resize(subnet, len(group) - 1, len(group))

    def discard(self, peer: Peer) -> None:
        """Remove ``peer`` if it is there."""
        place = self._places.pop(peer, None)
        if place is None:
            return
        host, subnet = place
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        group = self._groups[subnet]
        del group[peer]
        self._resize(subnet, len(group) + 1, len(group))
        if not group:
            del self._groups[subnet]

    def count(self, address: Address) -> CrowdCount:
        """How many peers were added under the host of ``address``, and how many under its subnet."""
        host = address[0]
        return CrowdCount(self._hosts.get(host, 0), len(self._groups.get(subnet_of(host), ())))

    def first_to_go(self, created_before: float) -> Peer | None:
        """The oldest peer of the most crowded subnet that has one which was created before the given time.

        Of subnets with equally many peers the one that has been this crowded for the longest time is looked at. The
        cost grows with the number of different group sizes, so at most with the square root of the number of peers.
        """
        for size in sorted(self._sizes, reverse=True):
            oldest = next(iter(self._groups[next(iter(self._sizes[size]))]))
            if oldest.creation_time < created_before:
                return oldest
        oldest_of_all = next(iter(self._places), None)
        if oldest_of_all is not None and oldest_of_all.creation_time < created_before:
            return oldest_of_all
        return None

    def _resize(self, subnet: bytes, old: int, new: int) -> None:
        if old:
            del self._sizes[old][subnet]
            if not self._sizes[old]:
                del self._sizes[old]
        if new:
            self._sizes.setdefault(new, {})[subnet] = None
