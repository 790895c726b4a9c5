"""Addresses by the ``ifaddr`` package, which asks the C library or the Windows API."""

from __future__ import annotations

from ..addressprovider import AddressProvider, broadcasts_of

__all__ = ["IfAddr"]


class IfAddr(AddressProvider):
    """The addresses of all network adapters, except those with an empty netmask."""

    def get_addresses(self) -> set[str]:
        """Ask the operating system."""
        import ifaddr  # only when needed: it loads the C library's bindings

        try:
            found = [ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.network_prefix]
        except OSError:
            self.on_exception()
            return set()
        self.broadcasts = frozenset().union(*(broadcasts_of(ip.ip, ip.network_prefix)
                                              for ip in found if isinstance(ip.ip, str)))
        return {ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in found}
