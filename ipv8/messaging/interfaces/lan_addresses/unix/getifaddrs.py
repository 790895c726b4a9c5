"""Addresses by ``getifaddrs`` of the C library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .....reexports import reexports
from ..any_os.ifaddr import IfAddr

__all__ = ["GetIfAddrs"]


class GetIfAddrs(IfAddr):
    """What ``ifaddr`` finds, since it calls ``getifaddrs`` on Unix."""


if TYPE_CHECKING:  # programs import these from here
    from ..addressprovider import AddressProvider as AddressProvider
else:
    __getattr__, __dir__ = reexports(__name__, {"..addressprovider": "AddressProvider"})
