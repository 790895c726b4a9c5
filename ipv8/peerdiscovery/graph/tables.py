"""The tables of a network graph, and what keeps them consistent with one another, whoever edits them."""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock
from typing import TYPE_CHECKING, Any

from ...messaging.address import UDPv4LANAddress
from .addresses import AddressBook
from .containers import ObservedDict, ObservedSet, UniqueList
from .crowd import ServiceCrowds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...messaging.address import Address
    from ...overlay import Overlay
    from ...peer import Peer
    from .addresses import WalkableAddress

__all__ = ["MAX_UNVERIFIED_SERVICES", "NetworkTables"]

#: (peer, service) pairs of peers that are not verified. Beyond that the peers not heard of the longest are forgotten.
MAX_UNVERIFIED_SERVICES = 20000
#: Default size of each of the three caches.
REVERSE_CACHE_SIZE = 500


class _Membership:
    """A verified peer and the addresses that it is indexed under; called when the peer changes its addresses.

    An entry tells whether the address is one in the LAN of the peer, and the address.
    """

    __slots__ = ("entries", "peer", "tables")

    def __init__(self, tables: NetworkTables, peer: Peer) -> None:
        self.tables = tables
        self.peer = peer
        self.entries: tuple[tuple[bool, Address], ...] = ()

    def __call__(self) -> None:
        tables, key = self.tables, self.peer.key_bin
        with tables.graph_lock:
            # The peer may have left while another thread held the lock.
            if tables._memberships.get(key) is self:
                tables._index_addresses(self, self.current_entries(), tables._services.get(key, ()))
                tables._book.trim()

    def current_entries(self) -> tuple[tuple[bool, Address], ...]:
        """What the peer should be indexed under; equal addresses of two classes are one contact."""
        return tuple(dict.fromkeys((kind is UDPv4LANAddress, address)
                                   for kind, address in tuple(self.peer.addresses.items())))

    def addresses(self) -> list[Address]:
        """The indexed addresses; one that is a contact and in the LAN comes twice."""
        return [address for _, address in self.entries]


class _VerifiedPeers(ObservedSet["Peer"]):
    """The verified peers; whoever is put into this set is indexed."""

    __slots__ = ("tables",)

    def __init__(self, tables: NetworkTables) -> None:
        super().__init__(tables.graph_lock)
        self.tables = tables

    def _gained(self, item: Peer) -> None:
        self.tables._enter(item)

    def _lost(self, item: Peer) -> None:
        self.tables._leave(item)
        self.tables._book.trim()


class _PeersByKey(ObservedDict[bytes, "Peer"]):
    """The verified peers by serialized public key; who is put into it is verified, who is taken out is not."""

    __slots__ = ("tables",)

    def __init__(self, tables: NetworkTables) -> None:
        super().__init__(tables.graph_lock)
        self.tables = tables

    def _gained(self, key: bytes, value: Peer) -> None:
        if key not in self.tables._memberships:
            self.tables._enter(value)

    def _lost(self, key: bytes, value: Peer) -> None:
        if key in self.tables._memberships:
            self.tables._leave(value)
            self.tables._book.trim()


class _PeerServices(ObservedSet[bytes]):
    """The services of the peer with ``key``; handed out live, so that whoever edits them edits the indexes."""

    __slots__ = ("key", "tables")

    def __init__(self, tables: NetworkTables, key: bytes) -> None:
        super().__init__(tables.graph_lock)
        self.tables = tables
        self.key = key

    def _gained(self, item: bytes) -> None:
        if self.tables._services.get(self.key) is self:
            self.tables._service_gained(self.key, item)

    def _lost(self, item: bytes) -> None:
        if self.tables._services.get(self.key) is self:
            self.tables._service_lost(self.key, item)


class _ServicesPerPeer(ObservedDict[bytes, set[bytes]]):
    """The services of each peer; any set that is put into it is copied, so that later edits of the copy are noticed."""

    __slots__ = ("tables",)

    def __init__(self, tables: NetworkTables) -> None:
        super().__init__(tables.graph_lock)
        self.tables = tables

    def __setitem__(self, key: bytes, value: set[bytes]) -> None:
        with self._lock:
            if value is not self.get(key):
                self.pop(key, None)
                self.tables._start_services(key).update(value)

    def _lost(self, key: bytes, value: set[bytes]) -> None:
        self.tables._services_lost(key, value)


class NetworkTables:
    """What is known about peers, addresses and services, with an index for each question.

    The tables are changed, and iterated, with ``graph_lock`` held; single look-ups need no lock. An assignment to
    ``verified_peers``, ``verified_by_public_key_bin``, ``services_per_peer`` or ``_all_addresses`` replaces the
    content.
    """

    def __init__(self) -> None:
        self.graph_lock = RLock()
        #: Addresses that never become peers, such as those of trackers.
        self.blacklist: list[Address] = UniqueList()
        #: Hashes of public keys that never become peers, such as our own.
        self.blacklist_mids: list[bytes] = UniqueList()
        self.service_overlays: dict[bytes, Overlay[Any]] = {}

        self.reverse_ip_cache_size = REVERSE_CACHE_SIZE
        self.reverse_ip_lookup: OrderedDict[Address, Peer] = OrderedDict()
        self.reverse_intro_cache_size = REVERSE_CACHE_SIZE
        self.reverse_intro_lookup: OrderedDict[Peer, list[Address]] = OrderedDict()
        self.reverse_service_cache_size = REVERSE_CACHE_SIZE
        self.reverse_service_lookup: OrderedDict[bytes, list[Peer]] = OrderedDict()

        self._verified = _VerifiedPeers(self)
        self._by_key = _PeersByKey(self)
        self._services = _ServicesPerPeer(self)
        self._book = AddressBook(self._services, self._addresses_in_use, self.graph_lock)
        self._memberships: dict[bytes, _Membership] = {}
        # LAN addresses are no global names: equal ones of different homes are told apart from real contacts.
        self._contacts: dict[Address, dict[Peer, None]] = {}
        self._lan_aliases: dict[Address, dict[Peer, None]] = {}
        self._offering: dict[bytes, dict[Peer, None]] = {}
        self._crowds = ServiceCrowds(self._offering, self.service_overlays)
        self._unverified: OrderedDict[bytes, int] = OrderedDict()
        self._unverified_services = 0

    # The tables that programs may write to

    @property
    def verified_peers(self) -> set[Peer]:
        """All verified peers."""
        return self._verified

    @verified_peers.setter
    def verified_peers(self, peers: set[Peer]) -> None:
        if peers is not self._verified:
            self._verified.replace(peers)

    @property
    def verified_by_public_key_bin(self) -> dict[bytes, Peer]:
        """The verified peers by serialized public key."""
        return self._by_key

    @verified_by_public_key_bin.setter
    def verified_by_public_key_bin(self, peers: dict[bytes, Peer]) -> None:
        if peers is not self._by_key:
            self._by_key.replace(peers)

    @property
    def services_per_peer(self) -> dict[bytes, set[bytes]]:
        """The services of each peer, verified or not, by serialized public key."""
        return self._services

    @services_per_peer.setter
    def services_per_peer(self, services: dict[bytes, set[bytes]]) -> None:
        if services is not self._services:
            self._services.replace(services)

    @property
    def _all_addresses(self) -> dict[Address, WalkableAddress]:
        return self._book.records

    @_all_addresses.setter
    def _all_addresses(self, records: dict[Address, WalkableAddress]) -> None:
        if records is not self._book.records:
            self._book.records.replace(records)

    # Upkeep of the verified peers

    def _enter(self, peer: Peer) -> None:
        """Verify ``peer``, which is not, with the lock held."""
        key = peer.key_bin
        membership = self._memberships[key] = _Membership(self, peer)
        # Past the notices that the two containers give of edits, which lead here.
        set.add(self._verified, peer)
        dict.__setitem__(self._by_key, key, peer)
        self._unverified_services -= self._unverified.pop(key, 0)
        # Watched first: a change by another thread, which now waits for the lock, is not missed.
        peer.addresses.watch(membership)
        self._index_addresses(membership, membership.current_entries(), ())
        for service in self._services.get(key, ()):
            self._start_offering(membership, service)

    def _leave(self, peer: Peer) -> None:
        """Verify ``peer``, which is verified, no longer, with the lock held."""
        key = peer.key_bin
        membership = self._memberships.pop(key)
        set.discard(self._verified, peer)
        dict.pop(self._by_key, key, None)
        membership.peer.addresses.unwatch(membership)
        for service in self._services.get(key, ()):
            self._stop_offering(membership, service)
        self._index_addresses(membership, (), ())
        if key in self._services:
            self._count_unverified(key)

    def _index_addresses(self, membership: _Membership, current: tuple[tuple[bool, Address], ...],
                         services: Iterable[bytes]) -> None:
        """Index a peer with ``services`` under its ``current`` addresses instead of the previous ones."""
        peer, previous = membership.peer, membership.entries
        membership.entries = current
        users = self._book.used_for(services)
        for entry in previous:
            if entry not in current:
                is_lan, address = entry
                index = self._lan_aliases if is_lan else self._contacts
                del index[address][peer]
                if not index[address]:
                    del index[address]
                if self.reverse_ip_lookup.get(address) is peer:
                    del self.reverse_ip_lookup[address]
                for walkable in users:
                    walkable.release(address)
        for entry in current:
            if entry not in previous:
                is_lan, address = entry
                index = self._lan_aliases if is_lan else self._contacts
                index.setdefault(address, {})[peer] = None
                for walkable in users:
                    walkable.take(address)

    def _addresses_in_use(self, service: bytes) -> Iterable[Address]:
        for peer in self._offering.get(service, ()):
            yield from self._memberships[peer.key_bin].addresses()

    # Upkeep of the services

    def _start_offering(self, membership: _Membership, service: bytes) -> None:
        peer = membership.peer
        offering = self._offering.setdefault(service, {})
        offering[peer] = None
        listed = self.reverse_service_lookup.get(service)
        if listed is not None:
            listed.append(peer)
        self._book.start_use(service, membership.addresses())
        self._crowds.add(service, peer)

    def _stop_offering(self, membership: _Membership, service: bytes) -> None:
        offering = self._offering[service]
        del offering[membership.peer]
        if not offering:
            del self._offering[service]
        self.reverse_service_lookup.pop(service, None)
        self._book.stop_use(service, membership.addresses())
        self._crowds.discard(service, membership.peer)

    def _start_services(self, key: bytes) -> _PeerServices:
        """An empty set for the services of a peer of which none is known, with the lock held."""
        services = _PeerServices(self, key)
        dict.__setitem__(self._services, key, services)
        if key not in self._memberships:
            self._count_unverified(key)
        return services

    def _service_gained(self, key: bytes, service: bytes) -> None:
        self._book.start_service(key, service)
        membership = self._memberships.get(key)
        if membership is not None:
            self._start_offering(membership, service)
        else:
            self._count_unverified(key)

    def _service_lost(self, key: bytes, service: bytes) -> None:
        self._book.stop_service(key, service)
        membership = self._memberships.get(key)
        if membership is not None:
            self._stop_offering(membership, service)
        else:
            self._count_unverified(key)

    def _services_lost(self, key: bytes, services: Iterable[bytes]) -> None:
        self._unverified_services -= self._unverified.pop(key, 0)
        membership = self._memberships.get(key)
        for service in services:
            self._book.stop_service(key, service)
            if membership is not None:
                self._stop_offering(membership, service)

    def _count_unverified(self, key: bytes) -> None:
        """Count the services of a peer that is not verified, as the one heard of last, and forget others if need be."""
        entries = max(1, len(self._services[key]))
        self._unverified_services += entries - self._unverified.pop(key, 0)
        self._unverified[key] = entries
        while self._unverified_services > MAX_UNVERIFIED_SERVICES and len(self._unverified) > 1:
            self._forget_services(next(iter(self._unverified)))

    def _forget_services(self, key: bytes) -> None:
        services: set[bytes] = dict.pop(self._services, key, set())
        self._services_lost(key, services)
