"""Addresses by the ``ifaddr`` package, which asks the C library or the Windows API."""

from __future__ import annotations

from ..addressprovider import AddressProvider

__all__ = ["IfAddr"]


class IfAddr(AddressProvider):
    """The addresses of all network adapters, except those with an empty netmask."""

    def get_addresses(self) -> set[str]:
        """Ask the operating system."""
        import ifaddr  # only when needed: it loads the C library's bindings

        try:
            return {ip.ip if isinstance(ip.ip, str) else ip.ip[0]
                    for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.network_prefix}
        except OSError:
            self.on_exception()
            return set()
