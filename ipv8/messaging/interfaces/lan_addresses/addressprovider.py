"""The base of all that finds addresses of this machine (spec 03 section 7.1)."""

from __future__ import annotations

import sys
import traceback
from abc import ABC, abstractmethod

from .... import clock

__all__ = ["AddressProvider"]


class AddressProvider(ABC):
    """Keeps the addresses that a subclass looks up.

    :param verbose: print the traceback of what goes wrong in a lookup.
    """

    #: When the last lookup was, on the monotonic clock.
    _looked_up_at: float | None = None

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose
        self.addresses: set[str] = set()
        #: When the last lookup was, in seconds since the Unix epoch; 0 before the first one.
        self.addresses_ts = 0.0

    @abstractmethod
    def get_addresses(self) -> set[str]:
        """Look the addresses up, which may take long; call it from a thread."""

    def on_exception(self) -> None:
        """Print the exception that is being handled, if the provider is verbose."""
        if self.verbose:
            traceback.print_exc(file=sys.stderr)

    def discover_addresses(self, min_interval: float = 10.0) -> None:
        """Look the addresses up unless that was done in the last ``min_interval`` seconds."""
        if self._looked_up_at is None or clock.monotonic() - self._looked_up_at > min_interval:
            self._note_lookup()  # so that threads which ask meanwhile do not start a second lookup
            self.addresses = self.get_addresses()
            self._note_lookup()

    def get_addresses_buffered(self) -> set[str]:
        """The addresses of the last lookup; while there are none, another lookup is made every 10 seconds."""
        if not self.addresses:
            self.discover_addresses()
        return self.addresses

    def _note_lookup(self) -> None:
        self._looked_up_at = clock.monotonic()
        self.addresses_ts = clock.time()
