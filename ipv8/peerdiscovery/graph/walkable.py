"""Which addresses are worth a walk: kept up to date change by change, so that asking costs no search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ...messaging.address import Address

__all__ = ["WalkableAddresses"]


class WalkableAddresses:
    """The known addresses of one service that none of its verified peers uses.

    An address is *offered* when it becomes known to lead to the service and *withdrawn* when it does not any more; it
    is *taken* once for each verified peer that comes to use it and *released* once for each that stops.

    :param lock: what everybody holds who changes something.
    """

    __slots__ = ("_listed", "_lock", "_offered", "_takers", "free")

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self._lock = lock
        # Equal addresses can have different classes, and the class decides how to contact one: the offered one counts.
        self._offered: dict[Address, Address] = {}
        self._takers: dict[Address, int] = {}
        self._listed: list[Address] | None = None
        #: What is offered and not taken, the newest at the end.
        self.free: dict[Address, None] = {}

    def offer(self, address: Address) -> None:
        """``address`` leads to the service."""
        if address not in self._offered:
            self._offered[address] = address
            if address not in self._takers:
                self.free[address] = None
                self._listed = None

    def refresh(self, address: Address) -> None:
        """Make ``address`` the newest one if it is free; lists that were made before keep their order."""
        if address in self.free:
            del self.free[address]
            self.free[self._offered[address]] = None

    def withdraw(self, address: Address) -> None:
        """``address`` does not lead to the service any more."""
        if self._offered.pop(address, None) is not None and address in self.free:
            del self.free[address]
            self._listed = None

    def take(self, address: Address) -> None:
        """One more verified peer uses ``address``."""
        self._takers[address] = self._takers.get(address, 0) + 1
        if address in self.free:
            del self.free[address]
            self._listed = None

    def release(self, address: Address) -> None:
        """One verified peer less uses ``address``."""
        takers = self._takers.pop(address) - 1
        if takers:
            self._takers[address] = takers
        elif address in self._offered:
            self.free[self._offered[address]] = None
            self._listed = None

    def to_list(self) -> list[Address]:
        """The free addresses, the oldest first; the same list until something changes."""
        listed = self._listed
        # Another length shows that a caller, or a change under way, took something out or put something in.
        if listed is None or len(listed) != len(self.free):
            with self._lock:
                listed = self._listed = list(self.free)
        return listed
