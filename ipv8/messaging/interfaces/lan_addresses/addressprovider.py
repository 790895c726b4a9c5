"""The base of all that finds addresses of this machine."""

from __future__ import annotations

import sys
import traceback
from abc import ABC, abstractmethod
from math import inf

from .... import clock

__all__ = ["AddressProvider"]


class AddressProvider(ABC):
    """Keeps the addresses that a subclass looks up.

    :param verbose: print the traceback of what goes wrong in a lookup.
    """

    #: When the addresses were last looked up, in seconds since the Unix epoch; 0 if they never were.
    addresses_ts = clock.WallTime("_looked_up_at")

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
        """Look the addresses up unless that was done in the last ``min_interval`` seconds."""
        if clock.monotonic() - self._looked_up_at > min_interval:
            self.addresses_ts = clock.time()  # so that other threads do not start a second lookup meanwhile
            self.addresses = self.get_addresses()
            self.addresses_ts = clock.time()

    def get_addresses_buffered(self) -> set[str]:
        """The addresses of the last lookup; while there are none, another lookup is made every 10 seconds."""
        if not self.addresses:
            self.discover_addresses()
        return self.addresses
