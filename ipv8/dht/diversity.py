"""Which addresses count as different places: caps on what one host or network may occupy (spec 07 section 17.2).

The caps are about globally routable addresses only: those of private networks, loopback and test ranges are
distinguished by nothing that costs an attacker anything, and whole deployments live on a few of them.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address

__all__ = ["PlaceCounter", "budget_key", "is_contactable", "is_global", "network_of", "room_for"]

MAX_PER_HOST = 2
"""Nodes of one IP address in a routing table."""
MAX_PER_NETWORK_IN_BUCKET = 2
"""Nodes of one /24 (IPv6: /48) in a bucket."""
MAX_PER_NETWORK_IN_TABLE = 8
"""Nodes of one /24 (IPv6: /48) in a routing table."""
MAX_CONTACTS_PER_HOST = 2
"""Nodes of one IP address that a lookup contacts."""
MAX_CONTACTS_PER_NETWORK = 3
"""Nodes of one /24 (IPv6: /48) that a lookup contacts."""

REMEMBERED_HOSTS = 8192


@lru_cache(maxsize=REMEMBERED_HOSTS)
def network_of(host: str) -> str | None:
    """A name for the /24 of a global IPv4 address or the /48 of a global IPv6 address, ``None`` for other hosts."""
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    if not ip.is_global or ip.is_multicast:
        return None
    return ip.exploded[:14] if ip.version == 6 else host.rpartition(".")[0]


def is_global(host: str) -> bool:
    """Whether ``host`` is an IP address on the public Internet."""
    return network_of(host) is not None


@lru_cache(maxsize=REMEMBERED_HOSTS)
def budget_key(host: str) -> str:
    """What budgets are kept for: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in host:
        return host
    try:
        return IPv6Address(host).exploded[:19]
    except ValueError:
        return host


@lru_cache(maxsize=REMEMBERED_HOSTS)
def _is_unicast(host: str) -> bool:
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    return not (ip.is_multicast or ip.is_unspecified or host == "255.255.255.255")


def is_contactable(address: Address, source: Address) -> bool:
    """Whether to believe ``source`` that there is a node at ``address``.

    Public nodes have no business with private addresses.
    """
    host, port = address[0], address[1]
    return (0 < port < 65536 and _is_unicast(host)
            and (is_global(host) or not is_global(source[0]) or not ip_address(host).is_private))


def room_for(address: Address, bucket: Iterable[Address], table: Iterable[Address]) -> bool:
    """Whether a table may take in one more node at ``address``, given the addresses in its bucket and in all of it."""
    network = network_of(address[0])
    if network is None:
        return True
    if sum(network_of(other[0]) == network for other in bucket) >= MAX_PER_NETWORK_IN_BUCKET:
        return False
    neighbours = [other[0] for other in table if network_of(other[0]) == network]
    return len(neighbours) < MAX_PER_NETWORK_IN_TABLE and neighbours.count(address[0]) < MAX_PER_HOST


class PlaceCounter:
    """How often each host and network was contacted."""

    def __init__(self) -> None:
        self._hosts: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()

    def take(self, host: str) -> bool:
        """Count one more contact with ``host``; ``False``, and not counted, if there were enough."""
        network = network_of(host)
        if network is None:
            return True
        if self._hosts[host] >= MAX_CONTACTS_PER_HOST or self._networks[network] >= MAX_CONTACTS_PER_NETWORK:
            return False
        self._hosts[host] += 1
        self._networks[network] += 1
        return True
