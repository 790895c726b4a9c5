"""Addresses by ``getifaddrs`` of the C library."""

from __future__ import annotations

from ..any_os.ifaddr import IfAddr

__all__ = ["GetIfAddrs"]


class GetIfAddrs(IfAddr):
    """What ``ifaddr`` finds, since it calls ``getifaddrs`` on Unix."""
