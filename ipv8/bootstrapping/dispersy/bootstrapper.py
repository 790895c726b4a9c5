"""Finding first peers by bootstrap servers with well-known addresses, called trackers.

See doc/protocol/trackers.md section 2.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING

from ... import clock, entropy
from ...messaging.address import UDPv4Address, UDPv6Address
from ...messaging.interfaces.dispatcher.endpoint import guess_interface
from ...messaging.interfaces.endpoint import Endpoint
from ...peerdiscovery.discovery import as_introducing
from ...reexports import reexports
from ..bootstrapper_interface import Bootstrapper
from ..resolver import shared_resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...community import Community
    from ...messaging.address import Address
    from ...peer import Peer

__all__ = ["Bootstrapper", "DispersyBootstrapper"]

logger = logging.getLogger(__name__)

#: Seconds until the second round if no peer has ever answered; from there the pause doubles up to the usual one.
FIRST_PAUSE = 1.0
#: How often the pause is doubled at most.
MAX_DOUBLINGS = 16
#: The share of a pause, other than the usual one, by which it is shortened at random, at most: so nodes that started at
#: the same time do not all ask at the same time.
JITTER = 0.25

#: The kind of socket behind each interface.
FAMILIES = {"UDPIPv4": AF_INET, "UDPIPv6": AF_INET6}


def _has_interface_for(endpoint: object, address: Address) -> bool:
    """Whether ``endpoint`` can send to ``address``; ``True`` if that is not known."""
    needed = guess_interface(address)
    if needed is None or not isinstance(endpoint, Endpoint):
        return True
    if endpoint.interfaces:
        return needed in endpoint.interfaces
    return endpoint.SOCKET_FAMILY in {None, FAMILIES[needed]}


class DispersyBootstrapper(Bootstrapper):
    """Walks to every known bootstrap server. A server answers with the address of a peer of the same overlay.

    The known addresses are walked to at once. Names are resolved meanwhile, for IPv4 and IPv6, and each address that is
    found is walked to. Names are resolved again in every round, as servers may move. An address is left out if
    the endpoint of the overlay has no interface for its family.

    While no peer has ever answered, rounds follow each other sooner, after 1, 2, 4, ... seconds, up to the usual pause:
    packets may have been lost, or the introduced peers may not be reachable.

    :param ip_addresses: (IP, port) pairs of servers.
    :param dns_addresses: (name, port) pairs of servers.
    :param bootstrap_timeout: seconds between two rounds, at least, once a peer has answered.
    :param max_bootstrap_timeout: if given, the pause doubles after every round in which the overlay had no peers, up
        to this many seconds.
    """

    #: When the last round began, in seconds since the Unix epoch; 0 if none did.
    last_bootstrap = clock.WallTime("_bootstrapped_at")

    def __init__(self, ip_addresses: Iterable[tuple[str, int]], dns_addresses: Iterable[tuple[str, int]],
                 bootstrap_timeout: float = 30.0, max_bootstrap_timeout: float | None = None) -> None:
        super().__init__()
        self.ip_addresses: list[Address] = [
            UDPv6Address(host, port) if ":" in host else UDPv4Address(host, port) for host, port in ip_addresses
        ]
        self.dns_addresses = [(host, port) for host, port in dns_addresses]
        self.bootstrap_timeout = bootstrap_timeout
        self.max_bootstrap_timeout = max_bootstrap_timeout
        self._bootstrapped_at = -inf
        self._fruitless_rounds = 0
        self._has_joined = False
        self._jitter: float | None = None
        self._given: set[Address] = set(self.ip_addresses)
        self._resolved: dict[tuple[str, int], list[Address]] = {}

    async def resolve_dns_bootstrap_addresses(self) -> None:
        """Resolve the names, and put their addresses into ``ip_addresses``, in place of earlier ones of each name."""
        await self._resolve(lambda _: None)

    async def initialize(self, overlay: Community) -> bool:
        """Blacklist the servers and resolve their names; always ``True``."""
        if not self.initialized:
            self.initialized = True
            introducing = as_introducing(overlay)
            if introducing is not None:
                introducing.introduction_observers[self] = None
            overlay.network.blacklist.extend(self.ip_addresses)
            await self._resolve(lambda address: self._contact(overlay, address))
        return True

    async def get_addresses(self, overlay: Community, timeout: float) -> list[Address]:
        """Walk to all servers, unless the pause since the last round is not over; the result is always empty."""
        if clock.monotonic() < self._bootstrapped_at + self._pause():
            return []
        self.last_bootstrap = clock.time()
        self._jitter = None
        self._fruitless_rounds = 0 if overlay.get_peers() else min(self._fruitless_rounds + 1, MAX_DOUBLINGS)
        for address in tuple(self.ip_addresses):
            self._contact(overlay, address)
        if self.initialized:
            try:
                await asyncio.wait_for(self._resolve(lambda address: self._contact(overlay, address)), timeout)
            except asyncio.TimeoutError:
                logger.info("the names of some bootstrap servers could not be resolved in time")
        return []

    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:  # noqa: ARG002 - as it is called
        """Note that a peer answered, unless ``peer`` is one of the servers."""
        if not self._has_joined:
            self._has_joined = all(address not in self.ip_addresses for address in peer.addresses.values())

    def keep_alive(self, overlay: Community) -> None:
        """Walk to one of the servers, chosen at random."""
        self._fruitless_rounds = 0
        reachable = [address for address in self.ip_addresses if _has_interface_for(overlay.endpoint, address)]
        if reachable:
            self._contact(overlay, entropy.choice(reachable))

    def blacklist(self) -> Iterable[Address]:
        """The known addresses of the servers."""
        return self.ip_addresses

    def unload(self) -> None:
        """Do nothing: there are no resources to free."""

    def _pause(self) -> float:
        usual = self.bootstrap_timeout
        if not self._fruitless_rounds:
            return usual
        first = usual if self._has_joined else min(FIRST_PAUSE, usual)
        longest = max(usual, self.max_bootstrap_timeout or 0.0)
        pause = min(longest, first * 2.0 ** (self._fruitless_rounds - 1))
        if pause == usual:
            return float(usual)
        if self._jitter is None:  # drawn once for each round
            self._jitter = JITTER * entropy.random()
        shortened = pause * (1.0 - self._jitter)
        return float(shortened if pause < usual else max(usual, shortened))

    @staticmethod
    def _contact(overlay: Community, address: Address) -> None:
        overlay.ensure_blacklisted(address)
        if _has_interface_for(overlay.endpoint, address):
            overlay.walk_to(address)

    async def _resolve(self, on_address: Callable[[Address], None]) -> None:
        """Resolve all names; the resolver remembers answers for a while. ``on_address`` is told of each new address."""
        resolver = shared_resolver()

        async def resolve(name: tuple[str, int]) -> None:
            addresses = await resolver.resolve(*name)
            if addresses:
                self._replace(name, [*addresses], on_address)

        await asyncio.gather(*map(resolve, self.dns_addresses))

    def _replace(self, name: tuple[str, int], addresses: list[Address], on_address: Callable[[Address], None]) -> None:
        """Use other addresses of the server with this name from now on."""
        before = self._resolved.get(name, [])
        self._resolved[name] = addresses
        for address in addresses:
            if address not in self.ip_addresses:
                self.ip_addresses.append(address)
                on_address(address)
        in_use = {address for others in self._resolved.values() for address in others}
        for address in before:
            if address not in in_use and address not in self._given and address in self.ip_addresses:
                self.ip_addresses.remove(address)


if TYPE_CHECKING:  # programs import these from here
    from ...messaging.address import Address as Address
else:
    __getattr__, __dir__ = reexports(__name__, {"...messaging.address": "Address"})
