"""Addresses that the machine's own names resolve to."""

from __future__ import annotations

import socket

from ..addressprovider import AddressProvider

__all__ = ["SocketGetAddrInfo"]


class SocketGetAddrInfo(AddressProvider):
    """The IPv4 addresses of the full host name, the host name and the loopback name; may wait for DNS."""

    def get_addresses(self) -> set[str]:
        """Resolve the names; one that cannot be resolved adds nothing."""
        return {address for host in (socket.getfqdn(), socket.gethostname(), None) for address in self._resolve(host)}

    def _resolve(self, host: str | None) -> set[str]:
        try:
            addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, 0)}
        except (OSError, UnicodeError):
            self.on_exception()
            return set()
        return {address for address in addresses if "." in address}
