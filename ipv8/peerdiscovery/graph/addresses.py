"""Known addresses: who told about each, for which service, and which of them are walkable."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ...fill import Fill
from ...limits import BoundedDict
from ...messaging.address import UDPv4Address, UDPv4LANAddress
from .containers import ObservedDict
from .walkable import WalkableAddresses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from ...messaging.address import Address
    from ...peer import Peer

__all__ = ["NOT_INTRODUCED", "AddressBook", "WalkableAddress"]

#: Known addresses. Beyond that the oldest ones that no verified peer has are evicted, down to the reserve.
MAX_ADDRESSES = 5000
#: How many addresses that no verified peer has are kept even if the verified peers have more than MAX_ADDRESSES.
RESERVED_ADDRESSES = 500
#: Addresses from one introducer. Beyond that its own oldest ones that no verified peer has are evicted.
MAX_INTRODUCTIONS = 1000
#: Services whose walkable addresses are kept up to date. The oldest is evicted; it is searched anew when asked for.
MAX_TRACKED_SERVICES = 128


class WalkableAddress(NamedTuple):
    """What is known about an address.

    ``introduced_by`` is the serialized public key of the peer that told about it, empty if there is none. ``services``
    is the one service that it was told for, if any. ``new_style`` is whether new-style discovery messages are
    understood there.
    """

    introduced_by: bytes
    services: bytes | None
    new_style: bool


NOT_INTRODUCED = WalkableAddress(b"", None, False)


class _Records(ObservedDict["Address", WalkableAddress]):
    """The records of an address book; every edit updates its indexes."""

    __slots__ = ("_book",)

    def __init__(self, book: AddressBook) -> None:
        super().__init__()
        self._book = book

    def item_added(self, key: Address, value: WalkableAddress) -> None:
        self._book._index(key, value)

    def item_removed(self, key: Address, value: WalkableAddress) -> None:
        self._book._unindex(key, value)


class AddressBook:
    """The records of all known addresses, indexed by introducer and by service.

    Programs may edit ``records`` directly.

    :param services_of: returns the services of the peer with a serialized public key, whether verified or not.
    :param peers_of: returns the verified peers that offer a service.
    :param addresses_of: returns the addresses of a verified peer.
    """

    def __init__(self, services_of: Callable[[bytes], Collection[bytes]], peers_of: Callable[[bytes], Iterable[Peer]],
                 addresses_of: Callable[[Peer], Iterable[Address]]) -> None:
        self.records = _Records(self)
        #: The addresses that no verified peer has, the least recently introduced first.
        self.unused = WalkableAddresses()
        self._services_of = services_of
        self._peers_of = peers_of
        self._addresses_of = addresses_of
        self._tracked: BoundedDict[bytes, WalkableAddresses] = BoundedDict(MAX_TRACKED_SERVICES)
        self._introduced: dict[bytes, dict[Address, None]] = {}
        self._listed: dict[bytes, list[Address]] = {}

    def remember(self, address: Address, record: WalkableAddress) -> None:
        """Store ``record`` in place of an older one and make room for it."""
        if isinstance(address, UDPv4LANAddress):
            address = UDPv4Address(*address)  # It will be contacted like any other IPv4 address.
        self.forget(address)
        dict.__setitem__(self.records, address, record)
        self._index(address, record)

    def forget(self, address: Address) -> None:
        """Remove the record of ``address`` if there is one."""
        record: WalkableAddress | None = dict.pop(self.records, address, None)
        if record is not None:
            self._unindex(address, record)

    def forget_service(self, service: bytes) -> None:
        """Remove the records of the addresses that were told for ``service``, and do not track it any more."""
        for address in [address for address, record in self.records.items() if record.services == service]:
            self.forget(address)
        self._tracked.pop(service, None)

    def introductions(self, key: bytes) -> list[Address]:
        """The addresses that the peer with ``key`` told about, the oldest first.

        Later ones are appended to the list.
        """
        introduced = self._introduced.get(key)
        if introduced is None:
            return []
        listed = self._listed.get(key)
        # A different length shows that a caller has edited the list.
        if listed is None or len(listed) != len(introduced):
            listed = self._listed[key] = list(introduced)
        return listed

    def walkable(self, service: bytes) -> WalkableAddresses:
        """The walkable addresses of ``service``, which are kept up to date from now on."""
        return self._tracked.get(service) or self._track(service)

    # What happens to verified peers and services

    def start_service(self, key: bytes, service: bytes) -> None:
        """The peer with ``key`` offers ``service`` now, so the addresses that it introduced lead there."""
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

    def start_use(self, peer: Peer, service: bytes) -> None:
        """The verified ``peer`` offers ``service`` now."""
        walkable = self._tracked.get(service)
        if walkable is not None:
            for address in self._addresses_of(peer):
                walkable.take(address)

    def stop_use(self, peer: Peer, service: bytes) -> None:
        """The verified ``peer`` does not offer ``service`` any more."""
        walkable = self._tracked.get(service)
        if walkable is not None:
            for address in self._addresses_of(peer):
                walkable.release(address)

    def move(self, peer: Peer, old: Collection[Address], new: Collection[Address]) -> None:
        """The verified ``peer`` has lost the ``old`` addresses and got the ``new`` ones."""
        self.unused.replace(old, new)
        for service in self._services_of(peer.key_bin):
            walkable = self._tracked.get(service)
            if walkable is not None:
                walkable.replace(old, new)
        if old:
            self._trim()

    # Upkeep

    def _trim(self) -> None:
        while len(self.records) > MAX_ADDRESSES and len(self.unused.free) > RESERVED_ADDRESSES:
            self.forget(next(iter(self.unused.free)))

    def _track(self, service: bytes) -> WalkableAddresses:
        walkable = WalkableAddresses()
        for address, record in self.records.items():
            if record.services == service or service in self._services_of(record.introduced_by):
                walkable.offer(address)
        for peer in self._peers_of(service):
            for address in self._addresses_of(peer):
                walkable.take(address)
        self._tracked[service] = walkable
        return walkable

    def _index(self, address: Address, record: WalkableAddress) -> None:
        """Put a new record into the indexes, and make room for it."""
        self.unused.offer(address)
        services = self._services_of(record.introduced_by)
        for service, walkable in self._tracked.items():
            if record.services == service or service in services:
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
        self._trim()

    def _unindex(self, address: Address, record: WalkableAddress) -> None:
        """Take a removed record out of the indexes."""
        self.unused.withdraw(address)
        for walkable in self._tracked.values():
            walkable.withdraw(address)
        introduced = self._introduced.get(record.introduced_by)
        if introduced is not None:
            del introduced[address]
            self._listed.pop(record.introduced_by, None)
            if not introduced:
                del self._introduced[record.introduced_by]

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("addresses", len(self.records), MAX_ADDRESSES, rule="the oldest that no peer uses goes first")
