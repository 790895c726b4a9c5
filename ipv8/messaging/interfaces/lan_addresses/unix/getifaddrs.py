"""Addresses by ``getifaddrs`` of the C library."""

from __future__ import annotations

from ipv8.messaging.interfaces.lan_addresses.any_os.ifaddr import IfAddr

__all__ = ["GetIfAddrs"]


class GetIfAddrs(IfAddr):
    """What ``ifaddr`` finds, since it calls ``getifaddrs`` on Unix."""
