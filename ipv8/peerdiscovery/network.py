"""Who is known, where they are, what they offer and who told about them (spec 05 section 7)."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections import OrderedDict
from threading import RLock
from typing import TYPE_CHECKING, Any

from ipv8 import clock
from ipv8.messaging.address import RelayedAddress, UDPv4LANAddress
from ipv8.messaging.serialization import PackError, default_serializer
from ipv8.peer import NO_ADDRESS

from .addresses import NOT_INTRODUCED, AddressBook, WalkableAddress
from .containers import ObservedSet, UniqueList
from .crowd import FAIR_SHARE, ServiceCrowds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipv8.messaging.address import Address
    from ipv8.overlay import Overlay
    from ipv8.peer import Peer

__all__ = ["MID", "Network", "PeerObserver", "PublicKeyMat", "Service", "ServiceSet", "WalkableAddress"]

MID = bytes
PublicKeyMat = bytes
Service = bytes
ServiceSet = set[Service]

#: Services of one peer. Beyond that only services that this node runs itself are added.
MAX_SERVICES_PER_PEER = 200
#: (peer, service) pairs of peers that are not verified. Beyond that the peers not heard of the longest are forgotten.
MAX_UNVERIFIED_SERVICES = 20000
#: Default size of each of the three caches.
REVERSE_CACHE_SIZE = 500


class PeerObserver(ABC):
    """Somebody who wants to know which peers come and go."""

    @abstractmethod
    def on_peer_added(self, peer: Peer) -> None:
        """Called once after ``peer`` was verified."""

    @abstractmethod
    def on_peer_removed(self, peer: Peer) -> None:
        """Called once after ``peer`` was removed from the verified peers."""


class _Membership:
    """A verified peer and the addresses that it is indexed under; called when the peer changes its addresses.

    An entry tells whether the address is one in the LAN of the peer, and the address.
    """

    __slots__ = ("entries", "network", "peer")

    def __init__(self, network: Network, peer: Peer) -> None:
        self.network = network
        self.peer = peer
        self.entries: tuple[tuple[bool, Address], ...] = ()

    def __call__(self) -> None:
        self.network._index_addresses(self, self.current_entries(), self.network.get_services_for_peer(self.peer))
        self.network._book.trim()

    def current_entries(self) -> tuple[tuple[bool, Address], ...]:
        """What the peer should be indexed under; equal addresses of two classes are one contact."""
        return tuple(dict.fromkeys((kind is UDPv4LANAddress, address)
                                   for kind, address in self.peer.addresses.items()))

    def addresses(self) -> list[Address]:
        """The indexed addresses; one that is a contact and in the LAN comes twice."""
        return [address for _, address in self.entries]


class _VerifiedPeers(ObservedSet["Peer"]):
    """The verified peers; whoever is put into this set is indexed."""

    __slots__ = ("network",)

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def _gained(self, item: Peer) -> None:
        self.network._enter(item)

    def _lost(self, item: Peer) -> None:
        self.network._leave(item)


class _PeerServices(ObservedSet[Service]):
    """The services of the peer with ``key``; handed out live, so that whoever edits them edits the indexes."""

    __slots__ = ("key", "network")

    def __init__(self, network: Network, key: PublicKeyMat) -> None:
        super().__init__()
        self.network = network
        self.key = key

    def _gained(self, item: Service) -> None:
        if self.network.services_per_peer.get(self.key) is self:
            self.network._service_gained(self.key, item)

    def _lost(self, item: Service) -> None:
        if self.network.services_per_peer.get(self.key) is self:
            self.network._service_lost(self.key, item)


class Network:
    """The graph of peers, addresses and services that the overlays of a node share.

    Peers are *verified* once a validly signed message of theirs was handled; addresses are *walkable* until a verified
    peer is known to be there. Every query is a look-up in an index that each change keeps up to date, so its cost does
    not depend on how many peers are known; the lists it returns are made anew after a change only.

    The local attributes without an underscore, and ``_all_addresses``, are those of the ecosystem. The containers
    ``blacklist``, ``blacklist_mids``, ``verified_peers`` and the values of ``services_per_peer`` may be edited, and the
    addresses of a verified peer may change at any time. The three ``reverse_*_lookup`` caches only show what was asked.
    """

    def __init__(self) -> None:
        self.graph_lock = RLock()
        self.verified_peers: set[Peer] = _VerifiedPeers(self)
        self.verified_by_public_key_bin: dict[PublicKeyMat, Peer] = {}
        #: Addresses that never become peers, such as those of trackers.
        self.blacklist: list[Address] = UniqueList()
        #: Hashes of public keys that never become peers, such as our own.
        self.blacklist_mids: list[MID] = UniqueList()
        self.services_per_peer: dict[PublicKeyMat, ServiceSet] = {}
        self.service_overlays: dict[Service, Overlay[Any]] = {}
        self.peer_observers: set[PeerObserver] = set()

        self.reverse_ip_cache_size = REVERSE_CACHE_SIZE
        self.reverse_ip_lookup: OrderedDict[Address, Peer] = OrderedDict()
        self.reverse_intro_cache_size = REVERSE_CACHE_SIZE
        self.reverse_intro_lookup: OrderedDict[Peer, list[Address]] = OrderedDict()
        self.reverse_service_cache_size = REVERSE_CACHE_SIZE
        self.reverse_service_lookup: OrderedDict[Service, list[Peer]] = OrderedDict()

        self._book = AddressBook(self.services_per_peer, self._addresses_in_use)
        self._all_addresses = self._book.records
        self._memberships: dict[PublicKeyMat, _Membership] = {}
        # LAN addresses are no global names: equal ones of different homes are told apart from real contacts.
        self._contacts: dict[Address, dict[Peer, None]] = {}
        self._lan_aliases: dict[Address, dict[Peer, None]] = {}
        self._offering: dict[Service, dict[Peer, None]] = {}
        self._crowds = ServiceCrowds(self._offering, self.service_overlays)
        self._unverified: OrderedDict[PublicKeyMat, int] = OrderedDict()
        self._unverified_services = 0

    # Addresses

    def is_new_style(self, address: Address) -> bool:
        """Whether new-style discovery messages are understood at ``address``, as far as its introducer knew."""
        record = self._all_addresses.get(address)
        return record is not None and record.new_style

    def discover_address(self, peer: Peer, address: Address, service: Service | None = None,
                         new_style: bool = False) -> None:
        """Note that ``peer`` told about ``address``, and that ``peer`` itself is verified, if there is room for it.

        A blacklisted address is not noted. One that is known already keeps its introducer as long as that is verified.
        """
        with self.graph_lock:
            if address not in self.blacklist:
                record = WalkableAddress(peer.key_bin, service, new_style)
                known = self._all_addresses.get(address)
                if known is None or (known != record and known.introduced_by not in self.verified_by_public_key_bin):
                    self._book.remember(address, record)
                    self.get_introductions_from(peer)
                elif known.introduced_by == peer.key_bin:
                    self._book.unused.refresh(address)
            if peer.key_bin in self.verified_by_public_key_bin or self._is_welcome(peer, service):
                self.add_verified_peer(peer)

    def get_walkable_addresses(self, service_id: Service | None = None, old_style: bool = False) -> list[Address]:
        """The known addresses that no verified peer has.

        With a service: those that were told by a peer with that service, or for that service, and that no verified peer
        with that service has. ``old_style`` leaves out those that understand new-style messages.
        """
        walkable = self._book.unused if service_id is None else self._book.walkable(service_id)
        if old_style:
            return [address for address in walkable.free if not self._all_addresses[address].new_style]
        return walkable.to_list()

    def get_introductions_from(self, peer: Peer) -> list[Address]:
        """The known addresses that ``peer`` told about, the oldest first."""
        introductions = self._book.introductions(peer.key_bin)
        cache = self.reverse_intro_lookup
        cache[peer] = introductions
        if len(cache) > self.reverse_intro_cache_size:
            cache.popitem(last=False)
        return introductions

    # Peers

    def add_verified_peer(self, peer: Peer) -> None:
        """Note that a validly signed message of ``peer`` was handled.

        A known peer learns the new addresses, unless its addresses are frozen, or proven: the message may be a recorded
        one that somebody else sends from there. A new peer is added unless its mid, or an address of its that is not
        known otherwise, is blacklisted.
        """
        if peer.mid in self.blacklist_mids:
            return
        known = self.verified_by_public_key_bin.get(peer.key_bin)
        if known is not None:
            if known is not peer and not known.address_frozen and not known.proven:
                own = known.addresses
                news = {kind: address for kind, address in peer.addresses.items() if own.get(kind) != address}
                if news:
                    own.update(news)
            return
        with self.graph_lock:
            addresses = tuple(peer.addresses.values())
            if not any(address in self._all_addresses for address in addresses):
                if any(address in self.blacklist for address in addresses):
                    return
                self.verified_peers.add(peer)
                for address in addresses:
                    self._book.remember(address, NOT_INTRODUCED)
            else:
                self.verified_peers.add(peer)
        for observer in tuple(self.peer_observers):
            observer.on_peer_added(peer)

    def get_verified_by_address(self, address: Address) -> Peer | None:
        """The verified peer that is contacted at ``address``, else one that has this address in its LAN."""
        peers = self._contacts.get(address) or self._lan_aliases.get(address)
        if peers is None:
            return None
        peer = next(iter(peers))
        cache = self.reverse_ip_lookup
        cache[address] = peer
        cache.move_to_end(address)
        if len(cache) > self.reverse_ip_cache_size:
            cache.popitem(last=False)
        return peer

    def get_verified_by_public_key_bin(self, public_key_bin: PublicKeyMat) -> Peer | None:
        """The verified peer with this serialized public key."""
        return self.verified_by_public_key_bin.get(public_key_bin)

    def remove_by_address(self, address: Address) -> None:
        """Forget ``address`` and all verified peers that are contacted there, with their services.

        Peers that merely have the same address in a LAN of their own stay.
        """
        with self.graph_lock:
            self._book.forget(address)
            removed = list(self._contacts.get(address, ()))
            removed += [peer for peer in self._lan_aliases.get(address, ())
                        if peer.address == address and peer not in removed]
            for peer in removed:
                self._remove_verified(peer)
            self._book.trim()
        self._notify_removed(removed)

    def remove_peer(self, peer: Peer) -> None:
        """Forget ``peer``, its services and its addresses, except addresses that other verified peers have too."""
        with self.graph_lock:
            known = self.verified_by_public_key_bin.get(peer.key_bin)
            addresses = set(peer.addresses.values())
            if known is not None and known is not peer:
                addresses.update(known.addresses.values())
            # Forgotten while they are in use, the addresses never become walkable in between.
            for address in addresses:
                if not self._has_other_user(address, known):
                    self._book.forget(address)
            if known is not None:
                self._remove_verified(known)
            self._book.trim()
        if known is not None:
            self._notify_removed([known])

    def mark_proven(self, peer: Peer) -> None:
        """Note that ``peer`` answered a request of ours: it really is where it seems to be."""
        known = self.verified_by_public_key_bin.get(peer.key_bin, peer)
        if known.proven and peer.proven:
            return
        known.proven = peer.proven = True
        self._crowds.prove(known)

    def unproven_peer_to_drop(self, service_id: Service, minimum_age: float) -> Peer | None:
        """The verified but unproven peer with this service that is the first to make room for another one.

        That is the oldest of those in the most crowded neighborhood, see :meth:`Crowd.first_to_go`. If that is one with
        no more than its fair share, while others have more, the place is that of a guest, proven or not.

        :param minimum_age: how many seconds, at least, a peer has had to prove itself.
        """
        return self._crowds.first_to_go(service_id, clock.time() - minimum_age)

    def count_neighbors(self, service_id: Service, address: Address) -> int:
        """How many verified peers with this service are in the neighborhood of ``address``: its /24, for IPv6 /48.

        Addresses that are not public ones have no neighborhood but themselves.
        """
        return self._crowds.everybody(service_id).count(address)

    def count_guests(self, service_id: Service) -> int:
        """How many verified peers with this service are more than the fair shares of their neighborhoods."""
        return self._crowds.everybody(service_id).surplus

    def draw_peer(self, service_id: Service) -> Peer | None:
        """A random verified peer with this service, where it does not matter how many neighbors it has.

        So somebody with many identities in a few subnets is not drawn more often than others.
        """
        return self._crowds.everybody(service_id).draw()

    def has_room_for_guests(self, service_id: Service) -> bool:
        """Whether another peer with this service may come from where there is more than a fair share of them already.

        Without an own overlay that limits its peers there always is room.
        """
        limit = self._crowds.guest_limit(service_id)
        return limit < 0 or len(self._offering.get(service_id, ())) < limit

    def _is_welcome(self, peer: Peer, service: Service | None) -> bool:
        return (service is None or self.has_room_for_guests(service)
                or self.count_neighbors(service, peer.address) < FAIR_SHARE)

    def _see_guests_out(self, newcomer: Peer, service: Service) -> None:
        """Keep some places in an own overlay free for peers from elsewhere."""
        while (guest := self._crowds.guest_to_go(service, newcomer)) is not None:
            services = self.services_per_peer[guest.key_bin]
            services.discard(service)
            if services.isdisjoint(self.service_overlays):
                self.remove_peer(guest)

    # Services

    def register_service_provider(self, service_id: Service, overlay: Overlay[Any]) -> None:
        """Note that ``overlay`` of this node offers the service."""
        self.service_overlays[service_id] = overlay

    def discover_services(self, peer: Peer, services: Iterable[Service]) -> None:
        """Note that ``peer``, verified or not, offers ``services`` as well."""
        key = peer.key_bin
        with self.graph_lock:
            offered = self.services_per_peer.get(key)
            if offered is None:
                offered = self.services_per_peer[key] = _PeerServices(self, key)
            news = [service for service in services if service not in offered]
            for service in news:
                if len(offered) < MAX_SERVICES_PER_PEER or service in self.service_overlays:
                    offered.add(service)
            known = self.verified_by_public_key_bin.get(key)
            if known is None:
                self._count_unverified(key)
                return
            for service in news:
                if service in self.service_overlays:
                    self._see_guests_out(known, service)

    def get_peers_for_service(self, service_id: Service) -> list[Peer]:
        """The verified peers with this service, those who have had it longest first.

        The list grows with the peers but is replaced by another one when a peer leaves.
        """
        offering = self._offering.get(service_id, ())
        cache = self.reverse_service_lookup
        peers = cache.get(service_id)
        # Another length shows that a caller took something out of the list, or put something into it.
        if peers is None or len(peers) != len(offering):
            peers = cache[service_id] = list(offering)
        cache.move_to_end(service_id)
        if len(cache) > self.reverse_service_cache_size:
            cache.popitem(last=False)
        return peers

    def get_services_for_peer(self, peer: Peer) -> ServiceSet:
        """The services of ``peer``: the stored set, which may be edited, or a new one if nothing is known."""
        services = self.services_per_peer.get(peer.key_bin)
        return set() if services is None else services

    # Persistence

    def snapshot(self) -> bytes:
        """The preferred addresses of the verified peers, packed as ``address`` one after another."""
        entries = []
        for peer in self.verified_by_public_key_bin.values():
            if peer.address != NO_ADDRESS and not isinstance(peer.address, RelayedAddress):
                try:
                    entries.append(default_serializer.pack("address", peer.address))
                except (PackError, struct.error, ValueError):
                    continue  # An address of a kind that has no form on the wire belongs to this process only.
        return b"".join(entries)

    def load_snapshot(self, snapshot: bytes) -> None:
        """Make the addresses of a snapshot walkable, up to the first one that cannot be decoded."""
        offset = 0
        with self.graph_lock:
            while offset < len(snapshot):
                try:
                    address, offset = default_serializer.unpack("address", snapshot, offset)
                except (PackError, struct.error, ValueError):
                    return
                if address not in self._all_addresses:
                    self._book.remember(address, NOT_INTRODUCED)

    # Observers

    def add_peer_observer(self, observer: PeerObserver) -> None:
        """Tell ``observer`` about every peer that is added or removed from now on."""
        self.peer_observers.add(observer)

    def remove_peer_observer(self, observer: PeerObserver) -> None:
        """Tell ``observer`` nothing any more."""
        self.peer_observers.discard(observer)

    def _notify_removed(self, peers: list[Peer]) -> None:
        for peer in peers:
            for observer in tuple(self.peer_observers):
                observer.on_peer_removed(peer)

    # Upkeep of the verified peers

    def _enter(self, peer: Peer) -> None:
        key = peer.key_bin
        self.verified_by_public_key_bin[key] = peer
        membership = self._memberships[key] = _Membership(self, peer)
        self._unverified_services -= self._unverified.pop(key, 0)
        self._index_addresses(membership, membership.current_entries(), ())
        peer.addresses.watch(membership)
        for service in self.services_per_peer.get(key, ()):
            self._start_offering(membership, service)

    def _leave(self, peer: Peer) -> None:
        key = peer.key_bin
        membership = self._memberships.pop(key)
        membership.peer.addresses.unwatch(membership)
        for service in self.services_per_peer.get(key, ()):
            self._stop_offering(membership, service)
        self._index_addresses(membership, (), ())
        del self.verified_by_public_key_bin[key]
        if key in self.services_per_peer:
            self._count_unverified(key)

    def _remove_verified(self, peer: Peer) -> None:
        self._forget_services(peer.key_bin)
        self.verified_peers.discard(peer)

    def _has_other_user(self, address: Address, peer: Peer | None) -> bool:
        for index in (self._contacts, self._lan_aliases):
            for user in index.get(address, ()):
                if user is not peer:
                    return True
        return False

    def _index_addresses(self, membership: _Membership, current: tuple[tuple[bool, Address], ...],
                         services: Iterable[Service]) -> None:
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

    def _addresses_in_use(self, service: Service) -> Iterable[Address]:
        for peer in self._offering.get(service, ()):
            yield from self._memberships[peer.key_bin].addresses()

    # Upkeep of the services

    def _start_offering(self, membership: _Membership, service: Service) -> None:
        peer = membership.peer
        offering = self._offering.setdefault(service, {})
        offering[peer] = None
        listed = self.reverse_service_lookup.get(service)
        if listed is not None:
            listed.append(peer)
        self._book.start_use(service, membership.addresses())
        self._crowds.add(service, peer)

    def _stop_offering(self, membership: _Membership, service: Service) -> None:
        offering = self._offering[service]
        del offering[membership.peer]
        if not offering:
            del self._offering[service]
        self.reverse_service_lookup.pop(service, None)
        self._book.stop_use(service, membership.addresses())
        self._crowds.discard(service, membership.peer)

    def _service_gained(self, key: PublicKeyMat, service: Service) -> None:
        self._book.start_service(key, service)
        membership = self._memberships.get(key)
        if membership is not None:
            self._start_offering(membership, service)
        else:
            self._count_unverified(key)

    def _service_lost(self, key: PublicKeyMat, service: Service) -> None:
        self._book.stop_service(key, service)
        membership = self._memberships.get(key)
        if membership is not None:
            self._stop_offering(membership, service)
        else:
            self._count_unverified(key)

    def _count_unverified(self, key: PublicKeyMat) -> None:
        """Count the services of a peer that is not verified, as the one heard of last, and forget others if need be."""
        entries = max(1, len(self.services_per_peer[key]))
        self._unverified_services += entries - self._unverified.pop(key, 0)
        self._unverified[key] = entries
        while self._unverified_services > MAX_UNVERIFIED_SERVICES:
            self._forget_services(next(iter(self._unverified)))

    def _forget_services(self, key: PublicKeyMat) -> None:
        self._unverified_services -= self._unverified.pop(key, 0)
        membership = self._memberships.get(key)
        for service in self.services_per_peer.pop(key, ()):
            self._book.stop_service(key, service)
            if membership is not None:
                self._stop_offering(membership, service)
