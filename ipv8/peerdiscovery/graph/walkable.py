"""The addresses that are worth a walk, kept up to date change by change, so that nothing is searched when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...messaging.address import Address

__all__ = ["WalkableAddresses"]


class WalkableAddresses:
    """The known addresses that lead to one service and that no verified peer of that service has.

    An address is *offered* when it becomes known that it leads to the service, and *withdrawn* when that ends. It is
    *taken* once for each verified peer that begins to have it, and *released* once for each that stops.
    """

    __slots__ = ("_listed", "_offered", "_takers", "free")

    def __init__(self) -> None:
        # Equal addresses can have different classes, and the class decides how they are contacted: the one offered
        # counts.
        self._offered: dict[Address, Address] = {}
        self._takers: dict[Address, int] = {}
        self._listed: list[Address] | None = None
        #: The addresses that are offered and not taken, the newest at the end.
        self.free: dict[Address, None] = {}

    def offer(self, address: Address) -> None:
        """``address`` leads to the service."""
        if address not in self._offered:
            self._offered[address] = address
            if address not in self._takers:
                self.free[address] = None
                self._listed = None

    def refresh(self, address: Address) -> None:
        """Make ``address`` the newest one if it is free; a list that was made before keeps its order."""
        if address in self.free:
            del self.free[address]
            self.free[self._offered[address]] = None

    def withdraw(self, address: Address) -> None:
        """``address`` does not lead to the service any more."""
        if self._offered.pop(address, None) is not None and address in self.free:
            del self.free[address]
            self._listed = None

    def take(self, address: Address) -> None:
        """One more verified peer has ``address``."""
        self._takers[address] = self._takers.get(address, 0) + 1
        if address in self.free:
            del self.free[address]
            self._listed = None

    def release(self, address: Address) -> None:
        """One verified peer less has ``address``."""
        takers = self._takers.pop(address) - 1
        if takers:
            self._takers[address] = takers
        elif address in self._offered:
            self.free[self._offered[address]] = None
            self._listed = None

    def replace(self, old: Iterable[Address], new: Iterable[Address]) -> None:
        """A verified peer has lost the ``old`` addresses and got the ``new`` ones."""
        for address in old:
            self.release(address)
        for address in new:
            self.take(address)

    def to_list(self) -> list[Address]:
        """The free addresses, the oldest first; the same list until something changes."""
        listed = self._listed
        # A different length shows that a caller has edited the list.
        if listed is None or len(listed) != len(self.free):
            listed = self._listed = list(self.free)
        return listed
