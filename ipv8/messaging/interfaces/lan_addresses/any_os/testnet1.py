"""The addresses that packets to the Internet would leave from."""

from __future__ import annotations

import socket

from ..addressprovider import AddressProvider

__all__ = ["TestNet1"]

_DESTINATIONS = ((socket.AF_INET, "192.0.2.0"), (socket.AF_INET6, "::ffff:0:192.0.2.0"))
"""Addresses that no machine has: TEST-NET-1 of RFC 5737 and its IPv4-translated form (RFC 2765)."""


class TestNet1(AddressProvider):
    """Connects UDP sockets, which sends nothing, and reads which own addresses the system chose for them."""

    __test__ = False  # despite its name, nothing for pytest to collect

    def get_addresses(self) -> set[str]:
        """The addresses of the default routes, at most one for each IP version."""
        return {address for family, host in _DESTINATIONS for address in self._source_towards(family, host)}

    def _source_towards(self, family: socket.AddressFamily, host: str) -> set[str]:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((host, 80))
                return {probe.getsockname()[0]}
        except OSError:
            self.on_exception()
            return set()
