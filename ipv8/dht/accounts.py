"""Whom stored values count for: hosts, and the networks that they are in."""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .diversity import Source
from .routing import distance

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Accounts", "ClaimId", "FairDict", "Heaviest"]

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Heaviest(Generic[K]):
    """Weights by key, and the key with the greatest one. The cost of a call hardly depends on how many there are.

    Of equal weights, the one that has been so for the longest time comes first.
    """

    __slots__ = ("_changes", "_heap", "weights")

    def __init__(self) -> None:
        self.weights: Counter[K] = Counter()
        self._changes = 0
        # Entries whose weight is no longer that of their key are skipped.
        self._heap: list[tuple[int, int, K]] = []

    def add(self, key: K, weight: int) -> None:
        """Add ``weight``, which may be negative; a key without weight is forgotten."""
        self.weights[key] += weight
        if self.weights[key] <= 0:
            del self.weights[key]
            return
        self._changes += 1
        heapq.heappush(self._heap, (-self.weights[key], self._changes, key))
        if len(self._heap) > 2 * len(self.weights) + 64:
            valid = {entry[2]: entry for entry in sorted(self._heap, reverse=True) if self._is_valid(entry)}
            self._heap = sorted(valid.values())

    def _is_valid(self, entry: tuple[int, int, K]) -> bool:
        return self.weights.get(entry[2]) == -entry[0]

    def first(self) -> K | None:
        """The key with the greatest weight; ``None`` if there is none."""
        while self._heap:
            if self._is_valid(self._heap[0]):
                return self._heap[0][2]
            heapq.heappop(self._heap)
        return None


class FairDict(dict[K, V]):
    """A dictionary of at most ``capacity`` keys, each of which counts for a network.

    Setting one key more evicts one of the network with the most keys, the one that was set the longest ago.

    :param capacity: how many keys are kept.
    """

    __slots__ = ("_heaviest", "_network_of", "_networks", "capacity")

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self._reset()

    def _reset(self) -> None:
        self._network_of: dict[K, bytes] = {}
        self._networks: dict[bytes, OrderedDict[K, None]] = {}
        self._heaviest: Heaviest[bytes] = Heaviest()

    def put(self, key: K, value: V, network: bytes) -> None:
        """Set a key, which counts for ``network``."""
        if key in self:
            self._forget(key)
        elif len(self) >= self.capacity:
            self._evict_for(network)
        super().__setitem__(key, value)
        self._network_of[key] = network
        self._networks.setdefault(network, OrderedDict())[key] = None
        self._heaviest.add(network, 1)

    def _evict_for(self, newcomer: bytes) -> None:
        network, own = self._heaviest.first(), self._networks.get(newcomer)
        if network is not None and own is not None and len(own) >= len(self._networks[network]):
            network = newcomer
        if network is not None:
            self.discard(next(iter(self._networks[network])))

    def _forget(self, key: K) -> None:
        network = self._network_of.pop(key, None)
        if network is None:
            return
        del self._networks[network][key]
        if not self._networks[network]:
            del self._networks[network]
        self._heaviest.add(network, -1)

    def __setitem__(self, key: K, value: V) -> None:
        """Set a key; a new one counts for no network in particular, as do all others that are set so."""
        self.put(key, value, self._network_of.get(key, b""))

    def __delitem__(self, key: K) -> None:
        super().__delitem__(key)
        self._forget(key)

    def discard(self, key: K) -> None:
        """Remove a key if it is there."""
        super().pop(key, None)
        self._forget(key)

    def clear(self) -> None:
        """Remove all keys."""
        super().clear()
        self._reset()


ClaimId = tuple[bytes, Any, str]
"""The key of a value, its id, and the address from which it was stored."""


class _Account:
    """What the hosts of one network have stored."""

    __slots__ = ("farthest", "hosts", "keys", "sizes")

    def __init__(self) -> None:
        self.hosts: dict[bytes, OrderedDict[ClaimId, int]] = {}
        self.sizes: Heaviest[bytes] = Heaviest()
        #: The number of values under each key.
        self.keys: Counter[bytes] = Counter()
        #: A heap of the keys by their distances, with keys that are no longer there.
        self.farthest: list[tuple[int, bytes]] = []


class Accounts:
    """Which hosts have stored which values, the oldest first, and how many bytes they are.

    :param my_node_id: distances of keys are counted from here.
    """

    def __init__(self, my_node_id: bytes) -> None:
        self._my_node_id = my_node_id
        self._accounts: dict[bytes, _Account] = {}
        self._networks: Heaviest[bytes] = Heaviest()

    def size_of_network(self, network: bytes) -> int:
        """The bytes that count for a network."""
        return self._networks.weights[network]

    def size_of_host(self, source: Source) -> int:
        """The bytes that count for a host."""
        account = self._accounts.get(source.network)
        return 0 if account is None else account.sizes.weights[source.host]

    def heaviest_network(self) -> bytes | None:
        """The network with the most bytes."""
        return self._networks.first()

    def heaviest_host(self, network: bytes) -> Source | None:
        """The host with the most bytes in a network."""
        account = self._accounts.get(network)
        host = None if account is None else account.sizes.first()
        return None if host is None else Source(network, host)

    def oldest(self, source: Source) -> ClaimId:
        """What a host that has stored something stored the longest ago."""
        return next(iter(self._accounts[source.network].hosts[source.host]))

    def charge(self, source: Source, claim: ClaimId, size: int) -> None:
        """Note that a host has stored a value, which has not been charged to it yet."""
        account = self._accounts.setdefault(source.network, _Account())
        account.hosts.setdefault(source.host, OrderedDict())[claim] = size
        account.sizes.add(source.host, size)
        self._networks.add(source.network, size)
        key = claim[0]
        if not account.keys[key]:
            heapq.heappush(account.farthest, (-distance(key or b"\x00", self._my_node_id), key))
        account.keys[key] += 1

    def renew(self, source: Source, claim: ClaimId) -> None:
        """Note that a host has stored again what is charged to it."""
        self._accounts[source.network].hosts[source.host].move_to_end(claim)

    def release(self, source: Source, claim: ClaimId) -> None:
        """Note that a value is not kept for a host any more; nothing if it was not."""
        account = self._accounts.get(source.network)
        claims = None if account is None else account.hosts.get(source.host)
        size = None if claims is None else claims.pop(claim, None)
        if account is None or size is None:
            return
        if not claims:
            del account.hosts[source.host]
        account.sizes.add(source.host, -size)
        self._networks.add(source.network, -size)
        key = claim[0]
        account.keys[key] -= 1
        if not account.keys[key]:
            del account.keys[key]
            if len(account.farthest) > 2 * len(account.keys) + 64:
                self._order(account)
        if not account.hosts:
            del self._accounts[source.network]

    def farthest_key(self, network: bytes) -> bytes | None:
        """The key farthest from this node of those that a network has values under."""
        account = self._accounts.get(network)
        while account is not None and account.farthest:
            key = account.farthest[0][1]
            if key in account.keys:
                return key
            heapq.heappop(account.farthest)
        return None

    def claims_under(self, network: bytes, key: bytes) -> list[tuple[Source, ClaimId]]:
        """What the hosts of a network have stored under a key."""
        account = self._accounts.get(network)
        if account is None or key not in account.keys:
            return []
        return [(Source(network, host), claim) for host, claims in account.hosts.items()
                for claim in claims if claim[0] == key]

    def move(self, my_node_id: bytes) -> None:
        """Count distances from another id."""
        self._my_node_id = my_node_id
        for account in self._accounts.values():
            self._order(account)

    def _order(self, account: _Account) -> None:
        """Order the keys of an account by their distances."""
        account.farthest = [(-distance(key or b"\x00", self._my_node_id), key) for key in account.keys]
        heapq.heapify(account.farthest)
