"""Finding first peers through well-known bootstrap servers, so-called trackers (spec 05 section 11.2)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ipv8 import clock, entropy
from ipv8.bootstrapping.bootstrapper_interface import Bootstrapper
from ipv8.bootstrapping.resolver import shared_resolver
from ipv8.messaging.address import UDPv4Address, UDPv6Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipv8.community import Community
    from ipv8.messaging.address import Address

__all__ = ["Bootstrapper", "DispersyBootstrapper"]

logger = logging.getLogger(__name__)

#: The pause between two fruitless rounds is doubled this many times at most.
MAX_DOUBLINGS = 16


class DispersyBootstrapper(Bootstrapper):
    """Walks to every known bootstrap server, which answers with the address of a peer of the same overlay.

    Names are resolved, IPv4 and IPv6, while the known addresses are walked to already; each address that is found is
    walked to at once. Names that could not be resolved are tried again in every later round.

    :param ip_addresses: (IP, port) pairs of servers.
    :param dns_addresses: (name, port) pairs of servers.
    :param bootstrap_timeout: seconds between two rounds, at least.
    :param max_bootstrap_timeout: if given, the pause doubles after every round in which the overlay had no peers, up
        to this many seconds.
    """

    def __init__(self, ip_addresses: Iterable[tuple[str, int]], dns_addresses: Iterable[tuple[str, int]],
                 bootstrap_timeout: float = 30.0, max_bootstrap_timeout: float | None = None) -> None:
        super().__init__()
        self.ip_addresses: list[Address] = [
            UDPv6Address(host, port) if ":" in host else UDPv4Address(host, port) for host, port in ip_addresses
        ]
        self.dns_addresses = [(host, port) for host, port in dns_addresses]
        self.bootstrap_timeout = bootstrap_timeout
        self.max_bootstrap_timeout = max_bootstrap_timeout
        self.last_bootstrap: float = 0
        self._fruitless_rounds = 0
        self._resolved: set[tuple[str, int]] = set()

    async def resolve_dns_bootstrap_addresses(self) -> None:
        """Look all names up that have not been resolved yet, and add their addresses to ``ip_addresses``."""
        await self._resolve(lambda _: None)

    async def initialize(self, overlay: Community) -> bool:
        """Blacklist the servers and resolve their names; always ``True``."""
        if not self.initialized:
            self.initialized = True
            overlay.network.blacklist.extend(self.ip_addresses)
            await self._resolve(lambda address: self._contact(overlay, address))
        return True

    async def get_addresses(self, overlay: Community, timeout: float) -> list[Address]:
        """Walk to all servers, unless that was done less than a pause ago; the result is always empty."""
        now = clock.time()
        if self.last_bootstrap and now < self.last_bootstrap + self._pause():
            return []
        self.last_bootstrap = now
        self._fruitless_rounds = 0 if overlay.get_peers() else min(self._fruitless_rounds + 1, MAX_DOUBLINGS)
        for address in tuple(self.ip_addresses):
            self._contact(overlay, address)
        if self.initialized:
            try:
                await asyncio.wait_for(self._resolve(lambda address: self._contact(overlay, address)), timeout)
            except asyncio.TimeoutError:
                logger.info("the names of some bootstrap servers could not be resolved in time")
        return []

    def keep_alive(self, overlay: Community) -> None:
        """Walk to any one of the servers."""
        self._fruitless_rounds = 0
        if self.ip_addresses:
            self._contact(overlay, entropy.choice(self.ip_addresses))

    def blacklist(self) -> Iterable[Address]:
        """The known addresses of the servers."""
        return self.ip_addresses

    def unload(self) -> None:
        """Nothing is held."""

    def _pause(self) -> float:
        if self.max_bootstrap_timeout is None or not self._fruitless_rounds:
            return self.bootstrap_timeout
        longest = max(self.bootstrap_timeout, self.max_bootstrap_timeout)
        return float(min(longest, self.bootstrap_timeout * 2.0 ** (self._fruitless_rounds - 1)))

    @staticmethod
    def _contact(overlay: Community, address: Address) -> None:
        overlay.ensure_blacklisted(address)
        overlay.walk_to(address)

    async def _resolve(self, on_address: Callable[[Address], None]) -> None:
        resolver = shared_resolver()

        async def resolve(name: tuple[str, int]) -> None:
            addresses = await resolver.resolve(*name)
            if addresses:
                self._resolved.add(name)
            for address in addresses:
                if address not in self.ip_addresses:
                    self.ip_addresses.append(address)
                    on_address(address)

        await asyncio.gather(*(resolve(name) for name in self.dns_addresses if name not in self._resolved))
