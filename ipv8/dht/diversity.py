"""Limits on what one host or one network may occupy (doc/protocol/dht.md section 13).

They are for globally routable addresses only. Other addresses cost nothing, and many networks of nodes have no others.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..messaging.inet import HOST_BITS, is_global, network_of, parse_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address

__all__ = ["PlaceCounter", "has_room", "is_contactable"]

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

BROADCAST = "255.255.255.255"


def is_contactable(address: Address, source: Address) -> bool:
    """Whether to believe ``source`` that there is a node at ``address``.

    Somebody at a global address who tells of a private one is not believed.
    """
    host, port = address[0], address[1]
    if not 0 < port < 65536 or host == BROADCAST:
        return False
    ip = parse_host(host)
    if ip is None or ip.is_multicast or ip.is_unspecified:
        return False
    return not ip.is_private or not is_global(source[0])


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
    """Counts the contacts with each host and each network."""

    def __init__(self) -> None:
        self._hosts: Counter[bytes] = Counter()
        self._networks: Counter[bytes] = Counter()

    def take(self, host: str) -> bool:
        """Count another contact with ``host``; ``False``, and not counted, if there were enough."""
        if not is_global(host):
            return True
        same_host, network = network_of(host, *HOST_BITS), network_of(host)
        if (self._hosts[same_host] >= MAX_CONTACTS_PER_HOST
                or self._networks[network] >= MAX_CONTACTS_PER_NETWORK):
            return False
        self._hosts[same_host] += 1
        self._networks[network] += 1
        return True
