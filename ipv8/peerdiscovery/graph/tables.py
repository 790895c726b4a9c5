"""The tables of a network, which stay consistent when a method or a program edits one of them."""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock
from typing import TYPE_CHECKING, Protocol

from ...fill import Fill
from .addresses import AddressBook
from .containers import ObservedDict, ObservedSet, UniqueList
from .locations import PeerLocations
from .neighborhoods import ServiceNeighborhoods
from .services import PeerServices

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ...messaging.address import Address
    from ...peer import Peer
    from .addresses import WalkableAddress

__all__ = ["LocalOverlay", "NetworkTables"]

#: Bytes of a key hash that peers are indexed by: all that an address that stands for a key contains of it.
SHORT_MID_SIZE = 12

#: Default size of each of the three caches; the least recently used entry is evicted first.
REVERSE_CACHE_SIZE = 500


class LocalOverlay(Protocol):
    """An overlay of this node, as far as others ask the network for it."""

    my_peer: Peer

    def walk_to(self, address: Address) -> None:
        """Contact whoever is at ``address``."""

    def get_peers(self) -> list[Peer]:
        """The verified peers of this overlay."""


class _VerifiedPeers(ObservedSet["Peer"]):
    """The verified peers; a peer that is added to this set is verified from then on."""

    __slots__ = ("_tables",)

    def __init__(self, tables: NetworkTables) -> None:
        super().__init__()
        self._tables = tables

    def item_added(self, item: Peer) -> None:
        self._tables._enter(item)

    def item_removed(self, item: Peer) -> None:
        self._tables._leave(item.key_bin)


class _PeersByKey(ObservedDict[bytes, "Peer"]):
    """The verified peers by serialized public key; a peer that is put into it is verified from then on."""

    __slots__ = ("_tables",)

    def __init__(self, tables: NetworkTables) -> None:
        super().__init__()
        self._tables = tables

    def item_added(self, key: bytes, value: Peer) -> None:  # noqa: ARG002 - a hook
        if value.key_bin not in self._tables._locations:
            self._tables._enter(value)

    def item_removed(self, key: bytes, value: Peer) -> None:  # noqa: ARG002 - a hook
        if key in self._tables._locations:
            self._tables._leave(key)


class NetworkTables:
    """What is known about peers, addresses and services, with an index for each question.

    Programs may edit the public containers and, except ``service_overlays``, replace them.
    """

    def __init__(self) -> None:
        #: For programs that lock it around calls of their own. No method of this class locks it: see ``Network``.
        self.graph_lock = RLock()
        #: Addresses that never become peers, such as those of trackers.
        self.blacklist: list[Address] = UniqueList()
        #: Hashes of public keys that never become peers, such as our own.
        self.blacklist_mids: list[bytes] = UniqueList()
        #: The overlays of this node by service.
        self.service_overlays: dict[bytes, LocalOverlay] = {}

        self.reverse_ip_cache_size = REVERSE_CACHE_SIZE
        self.reverse_ip_lookup: OrderedDict[Address, Peer] = OrderedDict()
        self.reverse_intro_cache_size = REVERSE_CACHE_SIZE
        self.reverse_intro_lookup: OrderedDict[Peer, list[Address]] = OrderedDict()
        self.reverse_service_cache_size = REVERSE_CACHE_SIZE
        self.reverse_service_lookup: OrderedDict[bytes, list[Peer]] = OrderedDict()

        self._verified = _VerifiedPeers(self)
        self._by_key = _PeersByKey(self)
        # The verified peers by the beginning of their mid, from the first question on.
        self._by_short_mid: dict[bytes, Peer] | None = None
        self._locations = PeerLocations(self._on_move)
        self._book = AddressBook(self._services_of, self._peers_of, self._locations.addresses)
        self._services = PeerServices(self._by_key, self._book.start_service, self._book.stop_service,
                                      self._on_offer_added, self._on_offer_removed)
        self._neighborhoods = ServiceNeighborhoods(self._services.offering, self.service_overlays)

    # The tables that programs may edit and replace

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
        return self._services.per_peer

    @services_per_peer.setter
    def services_per_peer(self, services: dict[bytes, set[bytes]]) -> None:
        if services is not self._services.per_peer:
            self._services.per_peer.replace(services)

    @property
    def _all_addresses(self) -> dict[Address, WalkableAddress]:
        return self._book.records

    @_all_addresses.setter
    def _all_addresses(self, records: dict[Address, WalkableAddress]) -> None:
        if records is not self._book.records:
            self._book.records.replace(records)

    # What keeps the tables in step

    def _enter(self, peer: Peer) -> None:
        """Make ``peer``, which is not verified, a verified one."""
        # Both containers are changed past their own methods, which call this one.
        set.add(self._verified, peer)
        dict.__setitem__(self._by_key, peer.key_bin, peer)
        if self._by_short_mid is not None:
            self._by_short_mid[peer.mid[:SHORT_MID_SIZE]] = peer
        # While the peer has no addresses here, its services take none; with the addresses, all services take them.
        self._services.verify(peer)
        self._locations.add(peer)

    def _leave(self, key: bytes) -> None:
        """Make the peer with ``key``, which is verified, one that is not."""
        peer = self._locations.remove(key)
        set.discard(self._verified, peer)
        dict.pop(self._by_key, key, None)
        if self._by_short_mid is not None and self._by_short_mid.get(peer.mid[:SHORT_MID_SIZE]) is peer:
            del self._by_short_mid[peer.mid[:SHORT_MID_SIZE]]
        self._services.unverify(peer)

    def _services_of(self, key: bytes) -> Collection[bytes]:
        return self._services.per_peer.get(key, ())

    def _peers_of(self, service: bytes) -> Collection[Peer]:
        return self._services.offering.get(service, ())

    def _on_move(self, peer: Peer, old: list[Address], new: list[Address]) -> None:
        self._book.move(peer, old, new)
        for address in old:
            if self.reverse_ip_lookup.get(address) is peer:
                del self.reverse_ip_lookup[address]

    def _on_offer_added(self, peer: Peer, service: bytes) -> None:
        listed = self.reverse_service_lookup.get(service)
        if listed is not None:
            listed.append(peer)
        self._book.start_use(peer, service)
        self._neighborhoods.add(service, peer)

    def _on_offer_removed(self, peer: Peer, service: bytes) -> None:
        self.reverse_service_lookup.pop(service, None)
        self._book.stop_use(peer, service)
        self._neighborhoods.discard(service, peer)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("reverse_ip_lookup", len(self.reverse_ip_lookup), self.reverse_ip_cache_size, "cache",
                   rule="the least recently used goes first")
        yield Fill("reverse_intro_lookup", len(self.reverse_intro_lookup), self.reverse_intro_cache_size, "cache",
                   rule="the least recently used goes first")
        yield Fill("reverse_service_lookup", len(self.reverse_service_lookup), self.reverse_service_cache_size, "cache",
                   rule="the least recently used goes first")
