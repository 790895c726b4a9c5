"""Who is known, where they are, what they offer and who told about them (spec 05 section 7)."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from .. import clock
from ..messaging.address import has_network_address
from ..messaging.serialization import PackError, default_serializer
from ..peer import NO_ADDRESS
from .graph.addresses import NOT_INTRODUCED, WalkableAddress
from .graph.crowd import FAIR_SHARE
from .graph.tables import MAX_UNVERIFIED_SERVICES, NetworkTables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address
    from ..overlay import Overlay
    from ..peer import Peer

__all__ = [
    "MAX_UNVERIFIED_SERVICES",
    "MID",
    "Network",
    "PeerObserver",
    "PublicKeyMat",
    "Service",
    "ServiceSet",
    "WalkableAddress",
]

MID = bytes
PublicKeyMat = bytes
Service = bytes
ServiceSet = set[Service]

#: Services of one peer. Beyond that only services that this node runs itself are added.
MAX_SERVICES_PER_PEER = 200


class PeerObserver(ABC):
    """Somebody who wants to know which peers come and go."""

    @abstractmethod
    def on_peer_added(self, peer: Peer) -> None:
        """Called once after ``peer`` was verified."""

    @abstractmethod
    def on_peer_removed(self, peer: Peer) -> None:
        """Called once after ``peer`` was removed from the verified peers."""


class Network(NetworkTables):
    """The graph of peers, addresses and services that the overlays of a node share.

    Peers are *verified* once a validly signed message of theirs was handled; addresses are *walkable* until a verified
    peer is known to be there. Every query is a look-up in an index that each change keeps up to date, so its cost does
    not depend on how many peers are known; the lists it returns are made anew after a change only.

    The attributes without an underscore, and ``_all_addresses``, are those of the ecosystem. The containers among them
    may be edited and, except ``service_overlays``, replaced, and the addresses of a verified peer may change at any
    time; peer observers are told of what the methods do only. The three ``reverse_*_lookup`` caches only show what was
    asked.

    Every method may be called from any thread. Whoever iterates over an attribute while another thread may change it
    holds ``graph_lock``; observers are called without it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peer_observers: set[PeerObserver] = set()

    # Addresses

    def is_new_style(self, address: Address) -> bool:
        """Whether new-style discovery messages are understood at ``address``, as far as its introducer knew."""
        record = self._book.records.get(address)
        return record is not None and record.new_style

    def discover_address(self, peer: Peer, address: Address, service: Service | None = None,
                         new_style: bool = False) -> None:
        """Note that ``peer`` told about ``address``, and that ``peer`` itself is verified, if there is room for it.

        A blacklisted address is not noted. One that is known already keeps its introducer as long as that is verified.
        """
        with self.graph_lock:
            if address not in self.blacklist:
                record = WalkableAddress(peer.key_bin, service, new_style)
                known = self._book.records.get(address)
                if known is None or (known != record and known.introduced_by not in self._by_key):
                    self._book.remember(address, record)
                    self.get_introductions_from(peer)
                elif known.introduced_by == peer.key_bin:
                    self._book.unused.refresh(address)
            is_welcome = peer.key_bin in self._by_key or self._is_welcome(peer, service)
        if is_welcome:
            self.add_verified_peer(peer)

    def get_walkable_addresses(self, service_id: Service | None = None, old_style: bool = False) -> list[Address]:
        """The known addresses that no verified peer has.

        With a service: those that were told by a peer with that service, or for that service, and that no verified peer
        with that service has. ``old_style`` leaves out those that understand new-style messages.
        """
        walkable = self._book.unused if service_id is None else self._book.walkable(service_id)
        if not old_style:
            return walkable.to_list()
        with self.graph_lock:
            return [address for address in walkable.free if not self._book.records[address].new_style]

    def get_introductions_from(self, peer: Peer) -> list[Address]:
        """The known addresses that ``peer`` told about, the oldest first."""
        with self.graph_lock:
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
        known = self._by_key.get(peer.key_bin)
        if known is not None and (known is peer or known.address_frozen or known.proven):
            return
        with self.graph_lock:
            known = self._by_key.get(peer.key_bin)
            if known is not None:
                own = known.addresses
                news = {kind: address for kind, address in peer.addresses.items() if own.get(kind) != address}
                if news:
                    own.update(news)
                return
            addresses = tuple(peer.addresses.values())
            if not any(address in self._book.records for address in addresses):
                if any(address in self.blacklist for address in addresses):
                    return
                self._enter(peer)
                for address in addresses:
                    self._book.remember(address, NOT_INTRODUCED)
            else:
                self._enter(peer)
        for observer in tuple(self.peer_observers):
            observer.on_peer_added(peer)

    def get_verified_by_address(self, address: Address) -> Peer | None:
        """The verified peer that is contacted at ``address``, else one that has this address in its LAN."""
        peers = self._contacts.get(address) or self._lan_aliases.get(address)
        if peers is None:
            return None
        cache = self.reverse_ip_lookup
        try:
            peer = cache[address] = next(iter(peers))
            cache.move_to_end(address)
            if len(cache) > self.reverse_ip_cache_size:
                cache.popitem(last=False)
        except (KeyError, RuntimeError, StopIteration):
            # Another thread came in between, which is so rare that the others need not pay for a lock.
            with self.graph_lock:
                return self.get_verified_by_address(address)
        return peer

    def get_verified_by_public_key_bin(self, public_key_bin: PublicKeyMat) -> Peer | None:
        """The verified peer with this serialized public key."""
        return self._by_key.get(public_key_bin)

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
            known = self._by_key.get(peer.key_bin)
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
        known = self._by_key.get(peer.key_bin, peer)
        if known.proven and peer.proven:
            return
        with self.graph_lock:
            known.proven = peer.proven = True
            self._crowds.prove(known)

    def unproven_peer_to_drop(self, service_id: Service, minimum_age: float) -> Peer | None:
        """The verified but unproven peer with this service that is the first to make room for another one.

        That is the oldest of those in the most crowded neighborhood, see :meth:`Crowd.first_to_go`. If that is one with
        no more than its fair share, while others have more, the place is that of a guest, proven or not.

        :param minimum_age: how many seconds, at least, a peer has had to prove itself.
        """
        with self.graph_lock:
            return self._crowds.first_to_go(service_id, clock.time() - minimum_age)

    def count_neighbors(self, service_id: Service, address: Address) -> int:
        """How many verified peers with this service are in the neighborhood of ``address``: its /24, for IPv6 /48.

        Addresses that are not public ones have no neighborhood but themselves.
        """
        with self.graph_lock:
            return self._crowds.everybody(service_id).count(address)

    def count_guests(self, service_id: Service) -> int:
        """How many verified peers with this service are more than the fair shares of their neighborhoods."""
        with self.graph_lock:
            return self._crowds.everybody(service_id).surplus

    def draw_peer(self, service_id: Service) -> Peer | None:
        """A random verified peer with this service, where it does not matter how many neighbors it has.

        So somebody with many identities in a few subnets is not drawn more often than others.
        """
        with self.graph_lock:
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
        while True:
            with self.graph_lock:
                guest = self._crowds.guest_to_go(service, newcomer)
                if guest is None:
                    return
                services = self._services[guest.key_bin]
                services.discard(service)
                is_gone = services.isdisjoint(self.service_overlays)
            if is_gone:
                self.remove_peer(guest)

    # Services

    def register_service_provider(self, service_id: Service, overlay: Overlay[Any]) -> None:
        """Note that ``overlay`` of this node offers the service."""
        self.service_overlays[service_id] = overlay

    def discover_services(self, peer: Peer, services: Iterable[Service]) -> None:
        """Note that ``peer``, verified or not, offers ``services`` as well."""
        key = peer.key_bin
        with self.graph_lock:
            offered = self._services.get(key)
            if offered is None:
                offered = self._start_services(key)
            news = []
            for service in services:
                if service not in offered and (len(offered) < MAX_SERVICES_PER_PEER
                                               or service in self.service_overlays):
                    set.add(offered, service)  # without the notice that leads to the next line
                    self._service_gained(key, service)
                    news.append(service)
            known = self._by_key.get(key)
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
        # Another length shows that a caller, or a change under way, took something out or put something in.
        if peers is None or len(peers) != len(offering) or len(cache) > self.reverse_service_cache_size:
            return self._list_peers(service_id)
        try:
            cache.move_to_end(service_id)
        except KeyError:  # Another thread has just removed it.
            return self._list_peers(service_id)
        return peers

    def _list_peers(self, service_id: Service) -> list[Peer]:
        with self.graph_lock:
            cache = self.reverse_service_lookup
            peers = cache[service_id] = list(self._offering.get(service_id, ()))
            cache.move_to_end(service_id)
            if len(cache) > self.reverse_service_cache_size:
                cache.popitem(last=False)
            return peers

    def get_services_for_peer(self, peer: Peer) -> ServiceSet:
        """The services of ``peer``: the stored set, which may be edited, or a new one if nothing is known."""
        services = self._services.get(peer.key_bin)
        return set() if services is None else services

    # Persistence

    def snapshot(self) -> bytes:
        """The preferred addresses of the verified peers, packed as ``address`` one after another."""
        with self.graph_lock:
            peers = tuple(self._by_key.values())
        entries = []
        for peer in peers:
            if peer.address != NO_ADDRESS and has_network_address(peer.address):
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
                if address not in self._book.records:
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

    # Helpers of the removals

    def _remove_verified(self, peer: Peer) -> None:
        self._forget_services(peer.key_bin)
        if peer.key_bin in self._memberships:
            self._leave(peer)

    def _has_other_user(self, address: Address, peer: Peer | None) -> bool:
        for index in (self._contacts, self._lan_aliases):
            for user in index.get(address, ()):
                if user is not peer:
                    return True
        return False
