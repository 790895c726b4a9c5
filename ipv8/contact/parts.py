"""The parts by which an overlay meets its peers, in one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from .introductions import Introductions
from .nat import Nat

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from ..messaging.address import Address
    from ..peer import Peer
    from .host import Members

__all__ = ["Contact", "IntroductionObserver"]


class IntroductionObserver(Protocol):
    """What is told of introduction responses."""

    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:
        """Called after ``peer`` answered and introduced the one peer with these addresses, if it has any."""


class Contact:
    """What an overlay remembers of how it meets its peers. Each part is made when it is first used.

    :param members: the peers of the overlay.
    """

    __slots__ = ("_introductions", "_members", "_nat", "_observers")

    def __init__(self, members: Members) -> None:
        self._members = members
        self._introductions: Introductions | None = None
        self._nat: Nat | None = None
        self._observers: WeakKeyDictionary[IntroductionObserver, None] | None = None

    @property
    def introductions(self) -> Introductions:
        """Introduction requests and responses, and which peers are let in."""
        if self._introductions is None:
            self._introductions = Introductions(self._members)
        return self._introductions

    @property
    def nat(self) -> Nat:
        """Our own address, and the ways through NATs."""
        if self._nat is None:
            self._nat = Nat()
        return self._nat

    @property
    def observers(self) -> MutableMapping[IntroductionObserver, None]:
        """The observers of introduction responses, in the order in which they are told; references to them are weak."""
        if self._observers is None:
            self._observers = WeakKeyDictionary()
        return self._observers
