"""Addresses by the ``netifaces`` package, if it is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..addressprovider import AddressProvider, broadcasts_of

__all__ = ["Netifaces", "netifaces"]

netifaces: Any
try:
    netifaces = import_module("netifaces")
except ImportError:
    netifaces = None


class Netifaces(AddressProvider):
    """The addresses of all interfaces, except IPv4 ones with an empty netmask; zones of IPv6 are cut off."""

    def get_addresses(self) -> set[str]:
        """Ask the package; nothing if it is not installed."""
        try:
            found = [netifaces.ifaddresses(interface) for interface in netifaces.interfaces()]
            ipv4 = {entry["addr"]: entry.get("netmask") for families in found
                    for entry in families.get(netifaces.AF_INET, ())
                    if entry.get("netmask") != "0.0.0.0"}  # noqa: S104 - not a bind
            ipv6 = {entry["addr"].partition("%")[0] for families in found
                    for entry in families.get(netifaces.AF_INET6, ())}
            self.broadcasts = frozenset().union(*(broadcasts_of(host, mask) for host, mask in ipv4.items() if mask))
        except (AttributeError, KeyError, OSError, ValueError):
            self.on_exception()
            return set()
        return ipv4.keys() | ipv6
