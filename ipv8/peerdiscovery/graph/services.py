"""Which services each peer offers, and which verified peers offer a service."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ...fill import Fill
from .containers import ObservedDict, ObservedSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ...peer import Peer

__all__ = ["MAX_UNVERIFIED_SERVICES", "PeerServices"]

#: (peer, service) pairs of peers that are not verified. The peers not heard of for the longest time are evicted.
MAX_UNVERIFIED_SERVICES = 20000


class _ServiceSet(ObservedSet[bytes]):
    """The services of the peer with ``key``; programs get this set, and every edit updates the indexes."""

    __slots__ = ("_services", "key")

    def __init__(self, services: PeerServices, key: bytes) -> None:
        super().__init__()
        self._services = services
        self.key = key

    def item_added(self, item: bytes) -> None:
        if self._services.per_peer.get(self.key) is self:
            self._services._added(self.key, item)

    def item_removed(self, item: bytes) -> None:
        if self._services.per_peer.get(self.key) is self:
            self._services._removed(self.key, item)


class _ServicesPerPeer(ObservedDict[bytes, set[bytes]]):
    """The services of each peer; a set that is assigned is copied, so that later edits of the copy are noticed."""

    __slots__ = ("_services",)

    def __init__(self, services: PeerServices) -> None:
        super().__init__()
        self._services = services

    def __setitem__(self, key: bytes, value: set[bytes]) -> None:
        if value is not self.get(key):
            self.pop(key, None)
            self._services._start(key).update(value)

    def item_removed(self, key: bytes, value: set[bytes]) -> None:
        self._services._all_removed(key, value)


class PeerServices:
    """The services of peers, by serialized public key. Programs may edit ``per_peer`` and the sets in it directly.

    :param verified: the verified peers by key; read, not changed.
    :param on_service_added: called with a key and a service that the peer with that key, verified or not, now offers.
    :param on_service_removed: called with a key and a service that the peer does not offer any more.
    :param on_offer_added: called with a verified peer and a service that is offered by it now.
    :param on_offer_removed: called with a peer and a service that it does not offer any more as a verified peer.
    """

    def __init__(self, verified: Mapping[bytes, Peer], on_service_added: Callable[[bytes, bytes], None],
                 on_service_removed: Callable[[bytes, bytes], None], on_offer_added: Callable[[Peer, bytes], None],
                 on_offer_removed: Callable[[Peer, bytes], None]) -> None:
        self.per_peer = _ServicesPerPeer(self)
        #: The verified peers of each service, those that have offered it longest first; read-only.
        self.offering: dict[bytes, dict[Peer, None]] = {}
        self._verified = verified
        self._on_service_added = on_service_added
        self._on_service_removed = on_service_removed
        self._on_offer_added = on_offer_added
        self._on_offer_removed = on_offer_removed
        # The peers that are not verified, the one heard of last at the end, and how many pairs each counts for.
        self._unverified: OrderedDict[bytes, int] = OrderedDict()
        self._unverified_pairs = 0

    def add(self, key: bytes, services: Iterable[bytes], limit: int, own: Mapping[bytes, object]) -> list[bytes]:
        """Note that the peer with ``key``, verified or not, offers ``services`` as well; return the new ones.

        :param limit: the number of services from which on only those in ``own`` are added.
        """
        offered = self.per_peer.get(key)
        if offered is None:
            offered = self._start(key)
        new = []
        for service in services:
            if service not in offered and (len(offered) < limit or service in own):
                set.add(offered, service)  # without the call of item_added, which leads to the next line
                self._added(key, service)
                new.append(service)
        if key not in self._verified:
            self._count_unverified(key)
        return new

    def forget(self, key: bytes) -> None:
        """Remove all services of a peer."""
        services: set[bytes] = dict.pop(self.per_peer, key, set())
        self._all_removed(key, services)

    def forget_service(self, service: bytes) -> list[Peer]:
        """Remove a service from all peers; the verified peers that offered it."""
        offered_by = list(self.offering.get(service, ()))
        for services in [services for services in self.per_peer.values() if service in services]:
            services.discard(service)
        return offered_by

    def verify(self, peer: Peer) -> None:
        """Note that ``peer`` is verified now."""
        self._unverified_pairs -= self._unverified.pop(peer.key_bin, 0)
        for service in self.per_peer.get(peer.key_bin, ()):
            self._start_offer(peer, service)

    def unverify(self, peer: Peer) -> None:
        """Note that ``peer`` is not verified any more."""
        services = self.per_peer.get(peer.key_bin)
        if services is not None:
            for service in services:
                self._stop_offer(peer, service)
            self._count_unverified(peer.key_bin)

    def _start(self, key: bytes) -> _ServiceSet:
        """Make an empty set for the services of a peer that has none yet."""
        services = _ServiceSet(self, key)
        dict.__setitem__(self.per_peer, key, services)
        if key not in self._verified:
            self._count_unverified(key)
        return services

    def _added(self, key: bytes, service: bytes) -> None:
        self._on_service_added(key, service)
        peer = self._verified.get(key)
        if peer is not None:
            self._start_offer(peer, service)
        else:
            self._count_unverified(key)

    def _removed(self, key: bytes, service: bytes) -> None:
        self._on_service_removed(key, service)
        peer = self._verified.get(key)
        if peer is not None:
            self._stop_offer(peer, service)
        else:
            self._count_unverified(key)

    def _all_removed(self, key: bytes, services: Iterable[bytes]) -> None:
        self._unverified_pairs -= self._unverified.pop(key, 0)
        peer = self._verified.get(key)
        for service in services:
            self._on_service_removed(key, service)
            if peer is not None:
                self._stop_offer(peer, service)

    def _start_offer(self, peer: Peer, service: bytes) -> None:
        self.offering.setdefault(service, {})[peer] = None
        self._on_offer_added(peer, service)

    def _stop_offer(self, peer: Peer, service: bytes) -> None:
        offering = self.offering[service]
        del offering[peer]
        if not offering:
            del self.offering[service]
        self._on_offer_removed(peer, service)

    def _count_unverified(self, key: bytes) -> None:
        """Count the services of a peer that is not verified as those heard of last, and evict others if need be."""
        pairs = max(1, len(self.per_peer[key]))
        self._unverified_pairs += pairs - self._unverified.pop(key, 0)
        self._unverified[key] = pairs
        while self._unverified_pairs > MAX_UNVERIFIED_SERVICES and len(self._unverified) > 1:
            self.forget(next(iter(self._unverified)))

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("services of unverified peers", self._unverified_pairs, MAX_UNVERIFIED_SERVICES,
                   rule="those of the peer not heard of for longest go first")
