"""Limits on what one host or one network may occupy (doc/protocol/dht.md section 13).

They are for globally routable addresses only. Other addresses cost nothing, and many networks of nodes have no others.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from ..contact.targets import is_target
from ..messaging.inet import HOST_BITS, is_global, network_of, parse_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address
    from .routing import Node

__all__ = ["PlaceCounter", "Source", "has_room", "is_contactable", "is_spread", "network_to_charge", "source_of",
           "spread"]

MAX_PER_HOST = 2
"""Nodes of one host in a routing table."""
MAX_PER_NETWORK_IN_BUCKET = 2
"""Nodes of one /24 (IPv6: /48) in a bucket."""
MAX_PER_NETWORK_IN_TABLE = 8
"""Nodes of one /24 (IPv6: /48) in a routing table."""
MAX_CONTACTS_PER_HOST = 2
"""Nodes of one host that a lookup contacts."""
MAX_CONTACTS_PER_NETWORK = 3
"""Nodes of one /24 (IPv6: /48) that a lookup contacts."""
MAX_PLACES_PER_NETWORK = 1
"""Nodes of one /24 (IPv6: /48) among the eight nodes that have the places of a key, if others suffice."""
MAX_PLACES_PER_REGION = 2
"""Nodes of one /16 (IPv6: /32) among them."""
REGION_BITS = (16, 32)
"""Prefix lengths of what one provider may have been given as a whole, for IPv4 and IPv6."""

NETWORK_BITS = (24, 48)
"""Prefix lengths of what one site has been given, for IPv4 and IPv6."""

REMEMBERED_HOSTS = 8192
"""Hosts whose networks are remembered; the one that was looked up the longest ago is forgotten first."""


class Source(NamedTuple):
    """Where a value came from.

    :param network: the /24 of an IPv4 address, or the /48 of an IPv6 address. Addresses that are not global have no
        network in common with others: then it is the same as the host.
    :param host: the IPv4 address, or the /64 of the IPv6 address.
    """

    network: bytes
    host: bytes


def network_to_charge(host: str) -> bytes:
    """The network whose account the host with this address shares; see :class:`Source`."""
    return network_of(host) if is_global(host) else network_of(host, *HOST_BITS)


@lru_cache(REMEMBERED_HOSTS)
def source_of(host: str) -> Source:
    """The source that an address belongs to; the address of this node itself is empty."""
    return Source(network_to_charge(host), network_of(host, *HOST_BITS))


def is_contactable(address: Address, source: Address, own: Iterable[Address] = ()) -> bool:
    """Whether to believe ``source`` that there is a node at ``address``.

    Somebody at a global address who tells of a private one is not believed.

    :param own: the addresses of this node.
    """
    ip = parse_host(address[0])
    return (ip is not None and is_target(address, source, own)
            and (not ip.is_private or not is_global(source[0])))


def has_room(host: str, bucket: Iterable[str], table: Iterable[str]) -> bool:
    """Whether a node at ``host`` may be added to a routing table.

    :param bucket: the hosts of the nodes in its bucket.
    :param table: the hosts of all nodes in the table.
    """
    if not is_global(host):
        return True
    network = network_of(host)
    if sum(network_of(other) == network for other in bucket) >= MAX_PER_NETWORK_IN_BUCKET:
        return False
    neighbours = [other for other in table if network_of(other) == network]
    same_host = network_of(host, *HOST_BITS)
    return (len(neighbours) < MAX_PER_NETWORK_IN_TABLE
            and sum(network_of(other, *HOST_BITS) == same_host for other in neighbours) < MAX_PER_HOST)


class PlaceCounter:
    """Counts nodes by their networks.

    :param limits: how many nodes of one network are counted, by the prefix lengths of such networks for IPv4 and IPv6.
    """

    __slots__ = ("_counts", "_limits", "_prefix_lengths")

    def __init__(self, limits: dict[tuple[int, int], int]) -> None:
        self._prefix_lengths = tuple(limits)
        self._limits = tuple(limits.values())
        self._counts: dict[bytes, int] = {}

    @classmethod
    def for_contacts(cls) -> PlaceCounter:
        """For the nodes that a lookup contacts."""
        return cls({HOST_BITS: MAX_CONTACTS_PER_HOST, NETWORK_BITS: MAX_CONTACTS_PER_NETWORK})

    @classmethod
    def for_places(cls) -> PlaceCounter:
        """For the nodes that have the places of a key."""
        return cls({NETWORK_BITS: MAX_PLACES_PER_NETWORK, REGION_BITS: MAX_PLACES_PER_REGION})

    def take(self, host: str) -> bool:
        """Count another node at ``host``; ``False``, and not counted, if there were enough."""
        networks = _networks_of(host, self._prefix_lengths)
        counts = self._counts
        for network, limit in zip(networks, self._limits, strict=False):
            if counts.get(network, 0) >= limit:
                return False
        for network in networks:
            counts[network] = counts.get(network, 0) + 1
        return True


@lru_cache(REMEMBERED_HOSTS)
def _networks_of(host: str, prefix_lengths: tuple[tuple[int, int], ...]) -> tuple[bytes, ...]:
    """The networks of a host, none if its address is not global."""
    return tuple(network_of(host, *bits) for bits in prefix_lengths) if is_global(host) else ()


def is_spread(nodes: Iterable[Node], count: int) -> bool:
    """Whether ``count`` of the nodes are in networks so different that they can have the places of a key."""
    places = PlaceCounter.for_places()
    taken = 0
    for node in nodes:
        taken += places.take(node.address[0])
        if taken == count:
            return True
    return False


def spread(nodes: Iterable[Node], count: int) -> list[Node]:
    """The first ``count`` nodes, in their order, but only a few of one network, unless those of others do not suffice.

    Somebody with a network of addresses can be many nodes near to a key, but has only a few of its places so.
    """
    nodes = list(nodes)
    nearest = nodes[:count]
    regions = [region for node in nearest for region in _networks_of(node.address[0], (REGION_BITS,))]
    if len(set(regions)) == len(regions):  # as almost always
        return nearest
    places = PlaceCounter.for_places()
    chosen: list[tuple[int, Node]] = []
    others: list[tuple[int, Node]] = []
    for entry in enumerate(nodes):
        if len(chosen) == count:
            break
        (chosen if places.take(entry[1].address[0]) else others).append(entry)
    if len(chosen) < count and others:
        chosen = sorted(chosen + others[:count - len(chosen)], key=itemgetter(0))
    return [node for _, node in chosen]
