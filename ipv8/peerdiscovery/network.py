"""What a node knows about peers: their addresses, their services, and who introduced them (doc/peer_discovery.md)."""

from __future__ import annotations

import logging
import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from .. import clock
from ..messaging.address import has_network_address
from ..messaging.serialization import PackError, default_serializer
from ..peer import NO_ADDRESS
from .graph.addresses import NOT_INTRODUCED, WalkableAddress
from .graph.services import MAX_UNVERIFIED_SERVICES
from .graph.tables import SHORT_MID_SIZE, NetworkTables

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from ..messaging.address import Address
    from ..peer import Peer
    from .graph.tables import LocalOverlay

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

logger = logging.getLogger(__name__)

MID = bytes
PublicKeyMat = bytes
Service = bytes
ServiceSet = set[Service]

#: Services of one peer. Beyond that only services that this node runs itself are added.
MAX_SERVICES_PER_PEER = 200


class PeerObserver(ABC):
    """Is told which peers are added to a network and removed from it. Its exceptions are logged."""

    @abstractmethod
    def on_peer_added(self, peer: Peer) -> None:
        """Called once after ``peer`` became a verified peer."""

    @abstractmethod
    def on_peer_removed(self, peer: Peer) -> None:
        """Called once after ``peer`` was removed from the verified peers."""


class Network(NetworkTables):
    """The peers, addresses and services that the overlays of a node know; they may share one network.

    A peer is *verified* when a validly signed message of it was handled. An address is *walkable* while no verified
    peer is known to be there. Every query is a lookup in an index that each change updates, so its cost does not depend
    on how many peers there are. A returned list is made anew only after a change.

    The attributes without an underscore, and ``_all_addresses``, are public. Programs may edit the containers among
    them and, except ``service_overlays``, replace them; the indexes follow. Peer observers are told of changes by
    methods only. The three ``reverse_*_lookup`` caches show the results of the last queries.

    A network belongs to the thread of the event loop, like all of this library. Other threads use
    ``loop.call_soon_threadsafe``. ``graph_lock`` is for programs: no method here takes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peer_observers: set[PeerObserver] = set()
        #: Called with the author of a validly signed message that has a key of this node.
        self.own_key_observer: Callable[[Peer], None] | None = None
        self._left: list[Peer] = []  # by the last overlay, until there is another one
        self._contacts = self._locations.contacts
        self._lan = self._locations.lan

    # Addresses

    def is_new_style(self, address: Address) -> bool:
        """Whether new-style discovery messages are understood at ``address``, as far as its introducer knew."""
        record = self._book.records.get(address)
        return record is not None and record.new_style

    def discover_address(self, peer: Peer, address: Address, service: Service | None = None,
                         new_style: bool = False) -> None:
        """Note that ``peer`` told about ``address``, and that ``peer`` is verified, if there is room for it.

        A blacklisted address is not noted. A known address keeps its introducer as long as that is verified.
        """
        key = peer.key_bin
        if address not in self.blacklist:
            record = WalkableAddress(key, service, new_style)
            known = self._book.records.get(address)
            if known is None or (known != record and known.introduced_by not in self._by_key):
                self._book.remember(address, record)
                self.get_introductions_from(peer)
            elif known.introduced_by == key:
                self._book.unused.refresh(address)
        if key in self._by_key or service is None or self.has_room_for(service, peer.address):
            self.add_verified_peer(peer)

    def get_introducer(self, address: Address) -> bytes | None:
        """The key of the peer that told about ``address``; ``None`` if that is not known."""
        record = self._book.records.get(address)
        return None if record is None else record.introduced_by

    def get_walkable_addresses(self, service_id: Service | None = None, old_style: bool = False) -> list[Address]:
        """The known addresses that no verified peer has.

        With a service: those that were told by a peer with that service, or for that service, and that no verified peer
        with that service has. ``old_style`` leaves out those that understand new-style messages.
        """
        walkable = self._book.unused if service_id is None else self._book.walkable(service_id)
        if not old_style:
            return walkable.to_list()
        return [address for address in walkable.free if not self._book.records[address].new_style]

    def get_introductions_from(self, peer: Peer) -> list[Address]:
        """The known addresses that ``peer`` told about, the oldest first."""
        introductions = self._book.introductions(peer.key_bin)
        self.reverse_intro_lookup[peer] = introductions
        if len(self.reverse_intro_lookup) > self.reverse_intro_cache_size:
            self.reverse_intro_lookup.popitem(last=False)
        return introductions

    # Peers

    def add_verified_peer(self, peer: Peer) -> None:
        """Note that a validly signed message of ``peer`` was handled.

        A known peer gets the new addresses, unless its addresses are frozen or it is proven: the message may be a
        recorded one that was sent again from elsewhere. A new peer is added unless its mid is blacklisted, or one of
        its addresses is blacklisted and none is known.
        """
        if peer.mid in self.blacklist_mids:
            if self.own_key_observer is not None:
                self.own_key_observer(peer)
            return
        known = self._by_key.get(peer.key_bin)
        if known is not None:
            if known is not peer and not known.address_frozen and not known.proven:
                own = known.addresses
                new = {kind: address for kind, address in peer.addresses.items() if own.get(kind) != address}
                if new:
                    own.update(new)
            return
        addresses = tuple(peer.addresses.values())
        is_located = any(address in self._book.records for address in addresses)
        if not is_located and any(address in self.blacklist for address in addresses):
            return
        self._leave_full_overlays(peer)
        self._enter(peer)
        if not is_located:
            for address in addresses:
                self._book.remember(address, NOT_INTRODUCED)
        for observer in tuple(self.peer_observers):
            self._tell(observer.on_peer_added, peer)

    def _leave_full_overlays(self, peer: Peer) -> None:
        """Forget that ``peer`` said to be in overlays of this node that have room for nobody.

        It said so before it was a verified peer. An overlay that makes room for it notes it as a member afterwards.
        """
        services = self._services.per_peer.get(peer.key_bin)
        if services is not None:
            for service in [service for service in self.service_overlays if service in services]:
                if self._neighborhoods.is_full(service):
                    services.discard(service)

    def get_verified_by_address(self, address: Address) -> Peer | None:
        """The verified peer that is contacted at ``address``, else one that has this address in its LAN."""
        found = self._contacts.get(address) or self._lan.get(address)
        if found is None:
            return None
        peer: Peer = next(iter(found)) if type(found) is dict else found
        cache = self.reverse_ip_lookup
        cache[address] = peer
        cache.move_to_end(address)
        if len(cache) > self.reverse_ip_cache_size:
            cache.popitem(last=False)
        return peer

    def get_verified_by_public_key_bin(self, public_key_bin: PublicKeyMat) -> Peer | None:
        """The verified peer with this serialized public key."""
        return self._by_key.get(public_key_bin)

    def get_verified_by_mid(self, mid: bytes) -> Peer | None:
        """The verified peer whose key has this SHA-1, of which the first 12 bytes are enough."""
        if self._by_short_mid is None:
            self._by_short_mid = {peer.mid[:SHORT_MID_SIZE]: peer for peer in self._by_key.values()}
        peer = self._by_short_mid.get(mid[:SHORT_MID_SIZE])
        return peer if peer is not None and peer.mid.startswith(mid) else None

    def remove_by_address(self, address: Address) -> None:
        """Forget ``address`` and all verified peers that are contacted there, with their services.

        Peers that merely have the same address in a LAN of their own stay.
        """
        self._book.forget(address)
        removed = self._locations.contacted_at(address)
        for peer in removed:
            self._remove_verified(peer)
        for peer in removed:
            self._notify_removed(peer)

    def remove_peer(self, peer: Peer) -> None:
        """Forget ``peer``, its services and its addresses, except addresses that other verified peers have too."""
        known = self._by_key.get(peer.key_bin)
        addresses = set(peer.addresses.values())
        if known is not None and known is not peer:
            addresses.update(known.addresses.values())
        # While they are in use, so that they do not become walkable in between.
        for address in addresses:
            if not self._locations.is_shared(address, known):
                self._book.forget(address)
        if known is not None:
            self._remove_verified(known)
            self._notify_removed(known)

    def _remove_verified(self, peer: Peer) -> None:
        self._services.forget(peer.key_bin)
        self._leave(peer.key_bin)

    def mark_proven(self, peer: Peer) -> None:
        """Note that ``peer`` answered a request of ours, which shows that it can be reached at its address."""
        known = self._by_key.get(peer.key_bin, peer)
        if not (known.proven and peer.proven):
            known.proven = peer.proven = True
            self._neighborhoods.prove(known, tuple(self._services.per_peer.get(known.key_bin, ())))

    # Neighborhoods

    def unproven_peer_to_drop(self, service_id: Service, minimum_age: float) -> Peer | None:
        """The verified peer with this service that is the first to make room for another one; ``None`` if none is.

        It is the unproven one that has been known for the longest time, of the largest neighborhood in which there is
        one. If that has no more than its fair share while other neighborhoods have more, it is a surplus peer, proven
        or not.

        :param minimum_age: the seconds since the peer became known, at least.
        """
        return self._neighborhoods.peer_to_drop(service_id, clock.monotonic() - minimum_age)

    def count_neighbors(self, service_id: Service, address: Address) -> int:
        """How many verified peers with this service are in the neighborhood of ``address``: its /24, for IPv6 /48.

        Addresses that are not public have no neighborhood but themselves.
        """
        return self._neighborhoods.all_of(service_id).count(address)

    def count_surplus_peers(self, service_id: Service) -> int:
        """How many verified peers with this service are beyond the fair shares of their neighborhoods."""
        return self._neighborhoods.all_of(service_id).surplus

    def draw_peer(self, service_id: Service) -> Peer | None:
        """A random verified peer with this service, of a random neighborhood.

        So a node with many identities in a few networks is not drawn more often than others.
        """
        return self._neighborhoods.all_of(service_id).draw()

    def draw_peers(self, service_id: Service, count: int) -> Iterator[tuple[Hashable, Peer]]:
        """``count`` times a neighborhood and a random verified peer of it that has this service.

        All neighborhoods have had a turn before one has another. Nothing may change while they are drawn.
        """
        return self._neighborhoods.all_of(service_id).draw_several(count)

    def track_services(self, count: int) -> None:
        """Keep the peers of so many services by neighborhood, for nodes that know more services than others do."""
        self._neighborhoods.track(count)

    def has_room_for(self, service_id: Service, address: Address) -> bool:
        """Whether another peer with this service may come from ``address``.

        It may not if the overlay of this node for the service has no place left, or only places that it keeps for other
        neighborhoods while that of ``address`` has its fair share already.
        """
        return self._neighborhoods.has_room_for(service_id, address)

    def _drop_surplus_peers(self, newcomer: Peer, service: Service) -> None:
        """Keep some places of an overlay of this node free for peers of other neighborhoods."""
        while (peer := self._neighborhoods.surplus_peer_to_drop(service, newcomer)) is not None:
            services = self._services.per_peer[peer.key_bin]
            services.discard(service)
            if services.isdisjoint(self.service_overlays):
                self.remove_peer(peer)

    # Services

    def register_service_provider(self, service_id: Service, overlay: LocalOverlay) -> None:
        """Note that ``overlay`` of this node offers the service.

        Peers that the last overlay left behind, and that offer no service of this node, are forgotten.
        """
        self.service_overlays[service_id] = overlay
        left, self._left = self._left, []
        for peer in left:
            if peer.key_bin in self._by_key and self.get_services_for_peer(peer).isdisjoint(self.service_overlays):
                self.remove_peer(peer)

    def unregister_service_provider(self, service_id: Service, overlay: LocalOverlay) -> None:
        """Note that ``overlay`` of this node does not offer the service any more; nothing if another one does.

        The service and the addresses that were introduced for it are forgotten. While this node offers other services,
        so are the peers that offer none of them; else they stay until it offers one.
        """
        if self.service_overlays.get(service_id) is not overlay:
            return
        del self.service_overlays[service_id]
        for peer in self._services.forget_service(service_id):
            if not self.service_overlays:
                self._left.append(peer)
            elif self.get_services_for_peer(peer).isdisjoint(self.service_overlays):
                self.remove_peer(peer)
        self._book.forget_service(service_id)
        self._neighborhoods.forget_service(service_id)
        self.reverse_service_lookup.pop(service_id, None)

    def discover_services(self, peer: Peer, services: Iterable[Service]) -> None:
        """Note that ``peer``, verified or not, offers ``services`` as well."""
        new = self._services.add(peer.key_bin, services, MAX_SERVICES_PER_PEER, self.service_overlays)
        known = self._by_key.get(peer.key_bin)
        if known is not None:
            for service in new:
                if service in self.service_overlays:
                    self._drop_surplus_peers(known, service)

    def get_peers_for_service(self, service_id: Service) -> list[Peer]:
        """The verified peers with this service, those that have offered it longest first.

        New peers are appended to the list; when a peer leaves, the next call returns another list.
        """
        offering = self._services.offering.get(service_id, ())
        cache = self.reverse_service_lookup
        peers = cache.get(service_id)
        # A different length shows that a caller has edited the list.
        if peers is None or len(peers) != len(offering):
            peers = cache[service_id] = list(offering)
        cache.move_to_end(service_id)
        if len(cache) > self.reverse_service_cache_size:
            cache.popitem(last=False)
        return peers

    def get_services_for_peer(self, peer: Peer) -> ServiceSet:
        """The services of ``peer``: the stored set, which may be edited, or a new one if nothing is known."""
        services = self._services.per_peer.get(peer.key_bin)
        return set() if services is None else services

    # Persistence

    def snapshot(self) -> bytes:
        """The preferred addresses of the verified peers, packed as ``address`` one after another."""
        entries = []
        for peer in self._by_key.values():
            address = peer.address
            if address != NO_ADDRESS and has_network_address(address):
                try:
                    entries.append(default_serializer.pack("address", address))
                except (PackError, struct.error, ValueError):
                    continue  # It is of a kind that has no form on the wire, and means nothing to other processes.
        return b"".join(entries)

    def load_snapshot(self, snapshot: bytes) -> None:
        """Make the addresses of a snapshot walkable, up to the first one that cannot be decoded."""
        offset = 0
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

    def _notify_removed(self, peer: Peer) -> None:
        for observer in tuple(self.peer_observers):
            self._tell(observer.on_peer_removed, peer)

    @staticmethod
    def _tell(method: Callable[[Peer], None], peer: Peer) -> None:
        """Call a method of an observer. Whatever it raises, the others are told, and the change is completed."""
        try:
            method(peer)
        except Exception:
            logger.exception("%r failed", method)
