"""The parts by which an overlay meets its peers, in one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from .introductions import Introductions
from .nat import Nat
from .targets import Targets

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from ..messaging.address import Address
    from ..peer import Peer
    from .relaying import RelayHost, Relaying

__all__ = ["Contact", "IntroductionObserver"]


class IntroductionObserver(Protocol):
    """What is told of introduction responses."""

    def on_introduction(self, peer: Peer, addresses: Iterable[Address]) -> None:
        """Called after ``peer`` answered and introduced the one peer with these addresses, if it has any."""


class Contact:
    """What an overlay remembers of how it meets its peers. Each part is made when it is first used.

    :param host: the overlay.
    :param targets: how much is sent to addresses that others named, by all overlays of the endpoint together.
    """

    __slots__ = ("_host", "_introductions", "_nat", "_observers", "_relaying", "targets")

    def __init__(self, host: RelayHost, targets: Targets | None = None) -> None:
        self._host = host
        self.targets = targets or Targets()
        self._introductions: Introductions | None = None
        self._nat: Nat | None = None
        self._relaying: Relaying | None = None
        self._observers: WeakKeyDictionary[IntroductionObserver, None] | None = None

    @property
    def introductions(self) -> Introductions:
        """Introduction requests and responses, and which peers are let in."""
        if self._introductions is None:
            self._introductions = Introductions(self._host, self.targets)
        return self._introductions

    @property
    def nat(self) -> Nat:
        """Our own address, and the ways through NATs."""
        if self._nat is None:
            self._nat = Nat(self.targets)
        return self._nat

    @property
    def relaying(self) -> Relaying:
        """Packets that are carried, for others and for this overlay."""
        if self._relaying is None:
            from .relaying import Relaying

            self._relaying = Relaying(self._host)
        return self._relaying

    @property
    def observers(self) -> MutableMapping[IntroductionObserver, None]:
        """The observers of introduction responses, in the order in which they are told; references to them are weak."""
        if self._observers is None:
            self._observers = WeakKeyDictionary()
        return self._observers
