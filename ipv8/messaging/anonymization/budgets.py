"""How many requests of strangers are served: of one host, of one network, and of all together."""

from __future__ import annotations

from typing import NamedTuple

from ...limits import TokenBuckets, drawn
from ..inet import HOST_BITS, network_of

__all__ = ["Rate", "SourceBudget"]

NETWORK_SHARE = 4
"""A network, which is a /24 of IPv4 or a /48 of IPv6, may send as much as this many hosts."""

MAX_SOURCES = 4096
"""Hosts, and as many networks, whose budgets are kept; the least recently used is evicted first."""


class Rate(NamedTuple):
    """Requests each second, in the long run and at once."""

    rate: float
    burst: float


class SourceBudget:
    """The budget of each host, of each network, and of all.

    One host that sends too much does not keep others from being served. When all together are over the budget, each
    request has the same chance.

    :param host: for one host.
    :param total: for all hosts.
    """

    __slots__ = ("_hosts", "_networks", "_total")

    def __init__(self, host: Rate, total: Rate) -> None:
        self._hosts = TokenBuckets(*host, capacity=MAX_SOURCES)
        self._networks = TokenBuckets(NETWORK_SHARE * host.rate, NETWORK_SHARE * host.burst, capacity=MAX_SOURCES)
        self._total = TokenBuckets(*total, capacity=1)

    def admits(self, ip: str, now: float) -> bool:
        """Whether a request from ``ip`` is served; if so, it is charged."""
        if not self._hosts.take(network_of(ip, *HOST_BITS), now=now):
            return False
        return self._networks.take(network_of(ip), now=now) and self.admits_any(now)

    def admits_any(self, now: float) -> bool:
        """As :meth:`admits`, for a request whose source tells nothing."""
        if not drawn(self._total.chance(now=now)):
            return False
        self._total.charge(now=now)
        return True
