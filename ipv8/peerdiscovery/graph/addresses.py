"""Known addresses: who told about them, for which service, and which of them are walkable."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ...messaging.address import UDPv4Address, UDPv4LANAddress
from .containers import ObservedDict
from .walkable import WalkableAddresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set as AbstractSet
    from contextlib import AbstractContextManager

    from ...messaging.address import Address

__all__ = ["NOT_INTRODUCED", "AddressBook", "WalkableAddress"]

#: Known addresses. Beyond that the oldest ones that no verified peer uses are forgotten, down to the reserve.
MAX_ADDRESSES = 5000
#: How many unused addresses are kept even if verified peers alone have more addresses than MAX_ADDRESSES.
RESERVED_ADDRESSES = 500
#: Addresses from one introducer. With more of them its own oldest unused ones are forgotten for a new one.
MAX_INTRODUCTIONS = 1000
#: Services whose walkable addresses are kept up to date; beyond that the first one is found anew when asked for.
MAX_TRACKED_SERVICES = 128


class WalkableAddress(NamedTuple):
    """What is known about an address.

    ``introduced_by`` is the serialized public key of who told about it, empty if nobody did. ``services`` is the one
    service it was told for, if any. ``new_style`` tells whether new-style discovery messages are understood there.
    """

    introduced_by: bytes
    services: bytes | None
    new_style: bool


NOT_INTRODUCED = WalkableAddress(b"", None, False)


class _Records(ObservedDict["Address", WalkableAddress]):
    """The records of an address book; whatever is written here is indexed."""

    __slots__ = ("_book",)

    def __init__(self, book: AddressBook, lock: AbstractContextManager[Any]) -> None:
        super().__init__(lock)
        self._book = book

    def _gained(self, key: Address, value: WalkableAddress) -> None:
        self._book._index(key, value)

    def _lost(self, key: Address, value: WalkableAddress) -> None:
        self._book._drop(key, value)


class AddressBook:
    """The records of all known addresses, indexed by introducer and by service.

    ``records`` may be edited by everybody; the methods go past its locks and notices, since their caller has the lock.

    :param services_per_peer: the services of each peer, verified or not, by serialized public key; read, not changed.
    :param addresses_in_use: gives all addresses of the verified peers of a service, once for each peer that has one.
    :param lock: what everybody holds who changes something, or asks for more than the walkable addresses.
    """

    def __init__(self, services_per_peer: Mapping[bytes, AbstractSet[bytes]],
                 addresses_in_use: Callable[[bytes], Iterable[Address]], lock: AbstractContextManager[Any]) -> None:
        self.records = _Records(self, lock)
        #: The addresses that no verified peer uses, the least recently introduced first.
        self.unused = WalkableAddresses(lock)
        self._lock = lock
        self._services_per_peer = services_per_peer
        self._addresses_in_use = addresses_in_use
        self._tracked: dict[bytes, WalkableAddresses] = {}
        self._introduced: dict[bytes, dict[Address, None]] = {}
        self._listed: dict[bytes, list[Address]] = {}

    def remember(self, address: Address, record: WalkableAddress) -> None:
        """Store ``record`` in place of an older one and make room for it."""
        if isinstance(address, UDPv4LANAddress):
            address = UDPv4Address(*address)  # It will be contacted like any other IPv4 address.
        self.forget(address)
        dict.__setitem__(self.records, address, record)
        self._index(address, record)

    def trim(self) -> None:
        """Make room: to be called when addresses came out of use."""
        while len(self.records) > MAX_ADDRESSES and len(self.unused.free) > RESERVED_ADDRESSES:
            self.forget(next(iter(self.unused.free)))

    def forget(self, address: Address) -> None:
        """Remove the record of ``address`` if there is one."""
        record: WalkableAddress | None = dict.pop(self.records, address, None)
        if record is not None:
            self._drop(address, record)

    def introductions(self, key: bytes) -> list[Address]:
        """The addresses that the peer with ``key`` told about, the oldest first; a live list."""
        introduced = self._introduced.get(key)
        if introduced is None:
            return []
        listed = self._listed.get(key)
        # Another length shows that a caller took something out of the list, or put something into it.
        if listed is None or len(listed) != len(introduced):
            listed = self._listed[key] = list(introduced)
        return listed

    def walkable(self, service: bytes) -> WalkableAddresses:
        """The walkable addresses of ``service``, which are kept up to date from now on."""
        return self._tracked.get(service) or self._track(service)

    def used_for(self, services: Iterable[bytes]) -> list[WalkableAddresses]:
        """Everything that keeps account of the addresses of a verified peer with ``services``."""
        return [self.unused, *[self._tracked[service] for service in services if service in self._tracked]]

    def start_service(self, key: bytes, service: bytes) -> None:
        """The peer with ``key`` offers ``service`` now, so what it introduced leads there."""
        walkable = self._tracked.get(service)
        if walkable is not None:
            for address in self._introduced.get(key, ()):
                walkable.offer(address)

    def stop_service(self, key: bytes, service: bytes) -> None:
        """The peer with ``key`` does not offer ``service`` any more."""
        walkable = self._tracked.get(service)
        if walkable is not None:
            for address in self._introduced.get(key, ()):
                if self.records[address].services != service:
                    walkable.withdraw(address)

    def start_use(self, service: bytes, addresses: Iterable[Address]) -> None:
        """A verified peer with these addresses offers ``service`` now."""
        walkable = self._tracked.get(service)
        if walkable is not None:
            for address in addresses:
                walkable.take(address)

    def stop_use(self, service: bytes, addresses: Iterable[Address]) -> None:
        """A verified peer with these addresses does not offer ``service`` any more."""
        walkable = self._tracked.get(service)
        if walkable is not None:
            for address in addresses:
                walkable.release(address)

    def _leads_to(self, record: WalkableAddress, service: bytes) -> bool:
        return record.services == service or service in self._services_per_peer.get(record.introduced_by, ())

    def _track(self, service: bytes) -> WalkableAddresses:
        with self._lock:
            walkable = self._tracked.get(service)
            if walkable is None:
                walkable = WalkableAddresses(self._lock)
                for address, record in self.records.items():
                    if self._leads_to(record, service):
                        walkable.offer(address)
                for address in self._addresses_in_use(service):
                    walkable.take(address)
                if len(self._tracked) >= MAX_TRACKED_SERVICES:
                    del self._tracked[next(iter(self._tracked))]
                self._tracked[service] = walkable
            return walkable

    def _index(self, address: Address, record: WalkableAddress) -> None:
        """Take notice of a new record, and make room for it."""
        self.unused.offer(address)
        for service, walkable in self._tracked.items():
            if self._leads_to(record, service):
                walkable.offer(address)
        if record.introduced_by:
            introduced = self._introduced.setdefault(record.introduced_by, {})
            introduced[address] = None
            if record.introduced_by in self._listed:
                self._listed[record.introduced_by].append(address)
            excess = len(introduced) - MAX_INTRODUCTIONS
            if excess > 0:
                unused = (other for other in introduced if other in self.unused.free)
                for oldest in list(islice(unused, excess)):
                    self.forget(oldest)
        self.trim()

    def _drop(self, address: Address, record: WalkableAddress) -> None:
        """Take notice of a record that is not there any more."""
        self.unused.withdraw(address)
        for walkable in self._tracked.values():
            walkable.withdraw(address)
        introduced = self._introduced.get(record.introduced_by)
        if introduced is not None:
            del introduced[address]
            self._listed.pop(record.introduced_by, None)
            if not introduced:
                del self._introduced[record.introduced_by]
