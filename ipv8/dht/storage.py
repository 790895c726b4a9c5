"""The values that a node stores, and limits on them (doc/protocol/dht.md section 9.4)."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from contextlib import contextmanager
from hashlib import sha1
from math import inf
from typing import TYPE_CHECKING, Any

from .. import clock
from ..messaging.inet import HOST_BITS, network_of
from .lookup import TARGET_NODES
from .moments import Moment, age
from .routing import distance
from .values import MAX_ENTRY_AGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .routing import RoutingTable

__all__ = ["MAX_BYTES", "MAX_BYTES_PER_SOURCE", "MAX_KEYS", "MAX_VALUES_PER_KEY", "Storage", "Value",
           "lifetime"]

DEFAULT_MAX_AGE = 86400.0
"""Lifetime of a value in seconds, unless another one is given."""
MAX_KEYS = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""Over these limits, expired values are evicted first, then all values of the key farthest from this node."""
MAX_VALUES_PER_KEY = 64
"""Over this limit, the value refreshed the longest ago is evicted, the one of the key's owner last."""
MAX_BYTES_PER_SOURCE = MAX_BYTES // 16
"""Bytes that one host may store; over this limit its new values are refused."""
ENTRY_OVERHEAD = 128
"""Bytes that each value counts for in addition to its data."""
CROWD = 20
"""Nodes nearest to a key among which those are counted that are nearer than this one."""
SWEEP_PAUSE = 1.0
"""Seconds between two searches for expired values to make room."""


def lifetime(key: bytes, table: RoutingTable) -> int:
    """Seconds that a value lives on a node: fewer, the more nodes are nearer to its key than the node itself.

    :param table: the nodes that the node knows.
    """
    own_distance = distance(table.my_node_id, key)
    nearer = sum(node.distance(key) < own_distance for node in table.closest_nodes(key, max_nodes=CROWD))
    return MAX_ENTRY_AGE >> max(0, nearer - TARGET_NODES + 1)


class Value:
    """One stored value; values are equal when their ids are.

    :param id_: a value replaces the one with the same id.
    :param max_age: its lifetime in seconds.
    :param version: only a value with the same or a higher version replaces it.
    :param source: the host that it counts for, empty for this node.
    """

    __slots__ = ("data", "id", "last_update", "max_age", "source", "version")

    def __init__(self, id_: Any, data: bytes, max_age: float, version: int, source: str = "") -> None:
        self.id = id_
        self.data = data
        #: Seconds since the Unix epoch; programs may write a plain number.
        self.last_update: float = Moment.now()
        self.max_age = max_age
        self.version = version
        self.source = source

    @property
    def age(self) -> float:
        """Seconds since it was stored."""
        return age(self.last_update)

    @property
    def expired(self) -> bool:
        """Whether its lifetime is over."""
        return self.age > self.max_age

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.data) + ENTRY_OVERHEAD

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and bool(self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)


def _account(value: Value) -> bytes:
    """The account of the host that a value counts for: an IPv4 address, or the /64 of an IPv6 address."""
    return network_of(value.source, *HOST_BITS)


class _Items(defaultdict[bytes, list[Value]]):
    """Values by key; clearing it resets the accounts too."""

    def __init__(self, on_clear: Callable[[], None]) -> None:
        super().__init__(list)
        self._on_clear = on_clear

    def clear(self) -> None:
        """Remove everything."""
        super().clear()
        self._on_clear()


class Storage:
    """Values by key, the newest first and the one of the key's owner (whose id is the key) last.

    :param my_node_id: the values of keys near to it are evicted last.
    """

    def __init__(self, my_node_id: bytes = b"\x00") -> None:
        self.my_node_id = my_node_id
        self.items: defaultdict[bytes, list[Value]] = _Items(self._reset)
        self._source = ""
        self._reset()

    def _reset(self) -> None:
        self._bytes = 0
        self._bytes_of: Counter[bytes] = Counter()
        self._farthest: list[tuple[int, bytes]] = []
        self._swept = -inf

    @contextmanager
    def charged_to(self, source: str) -> Iterator[None]:
        """Inside the block, values that are put count for the host ``source``; outside they count for this node."""
        before, self._source = self._source, source
        try:
            yield
        finally:
            self._source = before

    def put(self, key: bytes, data: bytes, id_: Any = None, max_age: float = DEFAULT_MAX_AGE,
            version: int = 0) -> bool:
        """Store ``data``, in place of a value with the same id if that has no higher version.

        :param id_: SHA-1 of the data if not given.
        :returns: whether it is stored.
        """
        value = Value(id_ or sha1(data, usedforsecurity=False).digest(), data, max_age, version, self._source)
        values = self.items.get(key, [])
        known = next((other for other in values if other.id == value.id), None)
        if known is not None and version < known.version:
            return False
        account = _account(value)
        freed = known.size if known is not None and _account(known) == account else 0
        if value.source and self._bytes_of[account] + value.size - freed > MAX_BYTES_PER_SOURCE:
            return False
        if known is None and not self._make_room_for(key):
            return False
        if known is not None:
            self._remove(key, known)
        elif len(values) >= MAX_VALUES_PER_KEY:
            self._remove(key, next((other for other in reversed(values) if other.expired),
                                   values[-2 if values[-1].id == key else -1]))
        if key not in self.items:
            heapq.heappush(self._farthest, (-distance(key or b"\x00", self.my_node_id), key))
        values = self.items[key]
        values.insert(0, value)
        values.sort(key=lambda other: bool(other.id == key))
        self._bytes += value.size
        self._bytes_of[account] += value.size
        return True

    def _remove(self, key: bytes, value: Value) -> None:
        values = self.items[key]
        values[:] = [other for other in values if other is not value]
        self._bytes -= value.size
        account = _account(value)
        self._bytes_of[account] -= value.size
        if self._bytes_of[account] <= 0:
            del self._bytes_of[account]

    def _make_room_for(self, key: bytes) -> bool:
        """Evict values for another one of ``key``; ``False`` if only values of nearer keys are left to evict."""
        while (len(self.items) >= MAX_KEYS and key not in self.items) or self._bytes >= MAX_BYTES:
            now = clock.monotonic()
            if now - self._swept > SWEEP_PAUSE:
                self._swept = now
                self.clean()
                continue
            while self._farthest and self._farthest[0][1] not in self.items:
                heapq.heappop(self._farthest)
            if not self._farthest or -self._farthest[0][0] <= distance(key or b"\x00", self.my_node_id):
                return False
            self._forget(heapq.heappop(self._farthest)[1])
        return True

    def _forget(self, key: bytes) -> None:
        for value in list(self.items[key]):
            self._remove(key, value)
        del self.items[key]

    def get(self, key: bytes, starting_point: int = 0, limit: int | None = None) -> list[bytes]:
        """The data of at most ``limit`` values that have not expired, without the first ``starting_point`` of them."""
        live = [value.data for value in self.items.get(key, ()) if not value.expired]
        return live[starting_point:None if limit is None else starting_point + limit]

    def page(self, key: bytes, starting_point: int, limit: int, size: int) -> list[bytes]:
        """As :meth:`get`, but at most ``size`` bytes (each value counts two more), and the owner's value first.

        Values that others store move those before them back, but never that of the key's owner.
        """
        live = [value for value in self.items.get(key, ()) if not value.expired]
        if live and live[-1].id == key:
            live = [live[-1], *live[:-1]]
        page: list[bytes] = []
        for value in live[starting_point:starting_point + limit]:
            size -= len(value.data) + 2
            if size < 0:
                break
            page.append(value.data)
        return page

    def items_older_than(self, min_age: float) -> list[tuple[bytes, bytes]]:
        """Key and data of every value that was stored more than ``min_age`` seconds ago."""
        return [(key, value.data) for key, values in self.items.items() for value in values if value.age > min_age]

    def clean(self) -> None:
        """Remove the values that have expired."""
        for key in list(self.items):
            for value in [value for value in self.items[key] if value.expired]:
                self._remove(key, value)
            if not self.items[key]:
                del self.items[key]
        if len(self._farthest) > 2 * len(self.items) + 64:
            self._order()

    def move(self, my_node_id: bytes) -> None:
        """Take another id for that of this node."""
        if my_node_id != self.my_node_id:
            self.my_node_id = my_node_id
            self._order()

    def _order(self) -> None:
        """Order all keys by their distance."""
        self._farthest = [(-distance(key or b"\x00", self.my_node_id), key) for key in self.items]
        heapq.heapify(self._farthest)
