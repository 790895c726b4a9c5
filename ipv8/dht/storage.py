"""The values that this node keeps for others, and how much of them (spec 07 section 9)."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from .. import clock
from .routing import distance

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_BYTES", "MAX_BYTES_PER_SOURCE", "MAX_KEYS", "MAX_VALUES_PER_KEY", "Storage", "Value"]

DEFAULT_MAX_AGE = 86400.0
"""Seconds that a value lives, unless said otherwise."""
MAX_KEYS = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""Beyond these, expired values go first, then all values of the key farthest from this node."""
MAX_VALUES_PER_KEY = 64
"""Beyond these, the value that was refreshed the longest ago goes, the one of the key's owner last."""
MAX_BYTES_PER_SOURCE = MAX_BYTES // 16
"""What one host may have stored here; beyond that its new values are refused."""
ENTRY_OVERHEAD = 128
"""Bytes that every value counts in addition to its data."""


class Value:
    """One stored value; values are equal when their ids are.

    :param id_: which values replace each other.
    :param max_age: the seconds until it expires.
    :param version: only a value with the same or a higher version replaces it.
    """

    __slots__ = ("data", "id", "last_update", "max_age", "source", "version")

    def __init__(self, id_: Any, data: bytes, max_age: float, version: int, source: str = "") -> None:
        self.id = id_
        self.data = data
        #: Seconds since the Unix epoch.
        self.last_update = clock.time()
        self.max_age = max_age
        self.version = version
        #: The host that is charged for it, empty for this node.
        self.source = source

    @property
    def age(self) -> float:
        """Seconds since it was stored."""
        return clock.time() - self.last_update

    @property
    def expired(self) -> bool:
        """Whether it is older than it may be."""
        return self.age > self.max_age

    @property
    def size(self) -> int:
        """The bytes that it counts for."""
        return len(self.data) + ENTRY_OVERHEAD

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and bool(self.id == other.id)

    def __hash__(self) -> int:
        return hash(self.id)


class _Items(defaultdict[bytes, list[Value]]):
    """Values by key; whoever empties it resets the accounts too."""

    def __init__(self, on_clear: Callable[[], None]) -> None:
        super().__init__(list)
        self._on_clear = on_clear

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._on_clear()


class Storage:
    """Values by key, the newest first and the one of the key's owner (whose id is the key) last.

    :param my_node_id: what is near to it is kept when there is not enough room.
    """

    def __init__(self, my_node_id: bytes = b"\x00") -> None:
        self.my_node_id = my_node_id
        self.items: defaultdict[bytes, list[Value]] = _Items(self._reset)
        self._reset()

    def _reset(self) -> None:
        self._bytes = 0
        self._bytes_of: Counter[str] = Counter()
        self._farthest: list[tuple[int, bytes]] = []
        self._swept = 0.0

    def put(self, key: bytes, data: bytes, id_: Any = None, max_age: float = DEFAULT_MAX_AGE, version: int = 0,
            source: str = "") -> bool:
        """Keep ``data``, in place of a value with the same id if that has no higher version.

        :param id_: SHA-1 of the data if not given.
        :param source: the host to charge for it.
        :returns: whether it is kept.
        """
        value = Value(id_ or sha1(data, usedforsecurity=False).digest(), data, max_age, version, source)
        values = self.items.get(key, [])
        known = next((other for other in values if other.id == value.id), None)
        if known is not None and version < known.version:
            return False
        freed = known.size if known is not None and known.source == source else 0
        if source and self._bytes_of[source] + value.size - freed > MAX_BYTES_PER_SOURCE:
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
        self._bytes_of[source] += value.size
        return True

    def _remove(self, key: bytes, value: Value) -> None:
        values = self.items[key]
        values[:] = [other for other in values if other is not value]
        self._bytes -= value.size
        self._bytes_of[value.source] -= value.size
        if self._bytes_of[value.source] <= 0:
            del self._bytes_of[value.source]

    def _make_room_for(self, key: bytes) -> bool:
        """See to it that there is room for another value of ``key``, if that is nearer than what would have to go."""
        while (len(self.items) >= MAX_KEYS and key not in self.items) or self._bytes >= MAX_BYTES:
            now = clock.monotonic()
            if now - self._swept > 1:
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
        """Like :meth:`get`, with at most ``size`` bytes, two more for each value, and the owner's value on page one.

        Anybody can store values that push the others back, but nobody takes the place of the key's owner.
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
        """Forget what has expired."""
        for key in list(self.items):
            for value in [value for value in self.items[key] if value.expired]:
                self._remove(key, value)
            if not self.items[key]:
                del self.items[key]
        if len(self._farthest) > 2 * len(self.items) + 64:
            self._farthest = [(-distance(key or b"\x00", self.my_node_id), key) for key in self.items]
            heapq.heapify(self._farthest)
