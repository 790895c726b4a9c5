"""Addresses by ``GetAdaptersAddresses`` of the Windows API."""  # noqa: N999 - public import path of the ecosystem

from __future__ import annotations

from ..any_os.ifaddr import IfAddr

__all__ = ["GetAdaptersAddresses"]


class GetAdaptersAddresses(IfAddr):
    """What ``ifaddr`` finds, since it calls ``GetAdaptersAddresses`` on Windows."""
