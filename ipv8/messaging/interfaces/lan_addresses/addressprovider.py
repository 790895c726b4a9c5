"""The base of all that finds addresses of this machine."""

from __future__ import annotations

import os
import sys
import traceback
from abc import ABC, abstractmethod
from ipaddress import IPv4Network
from math import inf

from .... import clock

__all__ = ["AddressProvider", "broadcasts_of"]

LONGEST_NETWORK = 30
"""Bits of the smallest IPv4 network that has such addresses: one of 31 bits is two hosts (RFC 3021)."""


def broadcasts_of(host: str, netmask: str | int) -> frozenset[str]:
    """The first and the last address of the network of an interface: both stand for all its hosts (RFC 1122, 3.2.1.3).

    :param host: the IPv4 address of the interface.
    :param netmask: its netmask as text, or the number of its bits.
    """
    network = IPv4Network((host, netmask), strict=False)
    if network.prefixlen > LONGEST_NETWORK:
        return frozenset()
    return frozenset((str(network.network_address), str(network.broadcast_address)))


class AddressProvider(ABC):
    """Keeps the addresses that a subclass looks up.

    :param verbose: print the traceback of what goes wrong in a lookup.
    """

    #: The process in which a lookup is going on, 0 if none is.
    _looking_up = 0
    #: When the addresses were last looked up, in seconds since the Unix epoch; 0 if they never were.
    addresses_ts = clock.WallTime("_looked_up_at")

    #: The IPv4 addresses of the last lookup that stand for all hosts of a link of this machine.
    broadcasts: frozenset[str] = frozenset()

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose
        self.addresses: set[str] = set()
        self._looked_up_at = -inf

    @abstractmethod
    def get_addresses(self) -> set[str]:
        """Look the addresses up, which may take long; call it from a thread."""

    def on_exception(self) -> None:
        """Print the exception that is being handled, if the provider is verbose."""
        if self.verbose:
            traceback.print_exc(file=sys.stderr)

    def discover_addresses(self, min_interval: float = 10.0) -> None:
        """Look the addresses up unless that was done in the last ``min_interval`` seconds, or is being done.

        If the lookup raises, :meth:`on_exception` is called, and the addresses stay those of the last lookup.
        """
        process = os.getpid()  # a lookup in another thread does not go on in a fork
        if self._looking_up == process or clock.monotonic() - self._looked_up_at <= min_interval:
            return
        self._looking_up = process
        try:
            self.addresses_ts = clock.time()
            self.addresses = self.get_addresses()
        except Exception:  # noqa: BLE001 - whatever a provider raises, the others go on, and it is asked again later
            self.on_exception()
        finally:
            self.addresses_ts = clock.time()
            self._looking_up = 0

    def get_addresses_buffered(self) -> set[str]:
        """The addresses of the last lookup; while there are none, another lookup is made every 10 seconds.

        Overlays call :meth:`discover_addresses` every 10 seconds in a thread, so changes are noticed.
        """
        if not self.addresses:
            self.discover_addresses()
        return self.addresses
