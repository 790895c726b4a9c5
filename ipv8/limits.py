"""Limits for what strangers can make a node do and keep: token buckets, and tables with a cap and a lifetime."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from . import clock, entropy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BoundedDict", "ExpiringDict", "TokenBuckets", "drawn"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")


class BoundedDict(OrderedDict[K, V]):
    """A dictionary of at most ``capacity`` keys, oldest first; setting a key makes it the newest.

    Reading a key does not change its place; :meth:`touch` makes it the newest. Setting one key more than ``capacity``
    evicts the oldest. The cost of a call does not depend on how many keys there are.

    :param capacity: how many keys are kept, at least 1.
    :param on_evict: called with the key and the value that were evicted, after they are gone. It is not called for
        keys that are deleted or replaced.
    :raises ValueError: if ``capacity`` is less than 1.
    """

    __slots__ = ("capacity", "on_evict")

    def __init__(self, capacity: int, on_evict: Callable[[K, V], None] | None = None) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"the capacity of a table must be at least 1, not {capacity}")
        self.capacity = capacity
        self.on_evict = on_evict

    # A plain dictionary keeps the places of deleted keys for a while, and finds its oldest key by a search past them.

    def __setitem__(self, key: K, value: V) -> None:
        if key in self:
            self.move_to_end(key)
            super().__setitem__(key, value)
        else:
            super().__setitem__(key, value)
            if len(self) > self.capacity:
                self.evict_oldest()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.capacity, self.on_evict), None, None, iter(self.items())

    def copy(self) -> BoundedDict[K, V]:
        """A table of the same capacity with the same items."""
        other = type(self)(self.capacity, self.on_evict)
        other.update(self)
        return other

    def evict_oldest(self) -> tuple[K, V]:
        """Remove the oldest key and return it with its value; ``KeyError`` if there is none."""
        oldest, value = self.popitem(last=False)
        if self.on_evict is not None:
            self.on_evict(oldest, value)
        return oldest, value

    def touch(self, key: K) -> V:
        """Make ``key`` the newest and return its value; ``KeyError`` if it is not there."""
        self.move_to_end(key)
        return self[key]

    def setdefault(self, key: K, default: V) -> V:
        """The value of ``key``, set to ``default`` first if it is not there."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, items: Any = (), /, **named: V) -> None:
        """Set keys one after another, from a mapping or from pairs."""
        for key, value in dict(items, **named).items():
            self[key] = value

    def __ior__(self, items: Any) -> BoundedDict[K, V]:  # type: ignore[override,misc] # mutates, like dict
        self.update(items)
        return self


class ExpiringDict(Generic[K, V]):
    """A table of at most ``capacity`` keys, each kept ``lifetime`` seconds after it was set; oldest first.

    Setting a key makes it the newest and starts its lifetime again. Setting one key more than ``capacity`` evicts the
    oldest. Keys whose lifetime is over are not seen any more, and are removed by the next change. Time is monotonic:
    a caller that is given the time passes it as ``now``, for all others it is that of ``clock.monotonic``.

    :param capacity: how many keys are kept, at least 1.
    :param lifetime: seconds.
    :param on_evict: called with each key and value that were evicted or whose lifetime is over, after they are gone.
    :raises ValueError: if ``capacity`` is less than 1 or ``lifetime`` is not positive.
    """

    __slots__ = ("_entries", "lifetime", "on_evict")

    def __init__(self, capacity: int, lifetime: float, on_evict: Callable[[K, V], None] | None = None) -> None:
        if not lifetime > 0:
            raise ValueError(f"the lifetime of entries must be a positive number of seconds, not {lifetime}")
        self._entries: BoundedDict[K, tuple[float, V]] = BoundedDict(capacity)
        if on_evict is not None:
            self._entries.on_evict = lambda key, entry: on_evict(key, entry[1])
        self.lifetime = lifetime
        self.on_evict = on_evict

    @property
    def capacity(self) -> int:
        """How many keys are kept."""
        return self._entries.capacity

    def __setitem__(self, key: K, value: V) -> None:
        self.set(key, value)

    def set(self, key: K, value: V, now: float | None = None) -> None:
        """Set ``key``, as ``table[key] = value`` does."""
        if now is None:
            now = clock.monotonic()
        self.expire(now)
        self._entries[key] = now, value

    def __getitem__(self, key: K) -> V:
        stamp, value = self._entries[key]
        if stamp + self.lifetime <= clock.monotonic():
            raise KeyError(key)
        return value

    def __delitem__(self, key: K) -> None:
        del self._entries[key]

    def __contains__(self, key: object) -> bool:
        return self.age(key) is not None

    def __len__(self) -> int:
        self.expire()
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        return iter([key for key, _ in self.items()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())!r})"

    @overload
    def get(self, key: object, default: None = None, now: float | None = None) -> V | None: ...

    @overload
    def get(self, key: object, default: D, now: float | None = None) -> V | D: ...

    def get(self, key: Any, default: Any = None, now: float | None = None) -> Any:
        """The value of ``key``, or ``default``."""
        entry = self._entries.get(key)
        if entry is None:
            return default
        return default if entry[0] + self.lifetime <= (clock.monotonic() if now is None else now) else entry[1]

    @overload
    def pop(self, key: object, default: None = None, now: float | None = None) -> V | None: ...

    @overload
    def pop(self, key: object, default: D, now: float | None = None) -> V | D: ...

    def pop(self, key: Any, default: Any = None, now: float | None = None) -> Any:
        """Remove ``key`` and return its value, or ``default`` if it is not there."""
        value = self.get(key, default, now)
        self._entries.pop(key, None)
        return value

    def age(self, key: Any, now: float | None = None) -> float | None:
        """Seconds since ``key`` was set; ``None`` if it is not there."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        age = (clock.monotonic() if now is None else now) - entry[0]
        return None if age >= self.lifetime else age

    def touch(self, key: K) -> V:
        """Make ``key`` the newest, start its lifetime again and return its value; ``KeyError`` if it is not there."""
        value = self[key]
        self._entries[key] = clock.monotonic(), value
        return value

    def items(self, now: float | None = None) -> Iterable[tuple[K, V]]:
        """All keys with their values, oldest first, as a list of their own."""
        horizon = (clock.monotonic() if now is None else now) - self.lifetime
        return [(key, value) for key, (stamp, value) in self._entries.items() if stamp > horizon]

    def values(self, now: float | None = None) -> list[V]:
        """All values, oldest first."""
        return [value for _, value in self.items(now)]

    def expire(self, now: float | None = None) -> None:
        """Remove the keys whose lifetime is over."""
        horizon = (clock.monotonic() if now is None else now) - self.lifetime
        entries = self._entries
        while entries:
            stamp, _ = next(iter(entries.values()))
            if stamp > horizon:
                return
            entries.evict_oldest()

    def clear(self) -> None:
        """Remove all keys, without calling ``on_evict``."""
        self._entries.clear()


def drawn(probability: float) -> bool:
    """``True`` with this probability, from 0 to 1."""
    return probability >= 1.0 or entropy.random() < probability


class TokenBuckets:
    """One token bucket a key, all of the same size; the least recently used one is evicted first.

    A forgotten key starts again with a full bucket, so ``capacity`` bounds memory and ``rate`` alone does not bound
    what somebody with more than ``capacity`` keys may do: put a bucket with a single key behind it for that.

    :param rate: tokens that come back each second.
    :param burst: how many tokens a full bucket holds.
    :param capacity: for how many keys buckets are kept.
    """

    __slots__ = ("_buckets", "burst", "rate")

    def __init__(self, rate: float, burst: float, capacity: int = 4096) -> None:
        self.rate = rate
        self.burst = burst
        self._buckets: BoundedDict[Hashable, tuple[float, float]] = BoundedDict(capacity)

    def __len__(self) -> int:
        return len(self._buckets)

    @property
    def capacity(self) -> int:
        """For how many keys buckets are kept."""
        return self._buckets.capacity

    def take(self, key: Hashable = None, cost: float = 1.0, now: float | None = None, spared: float = 0.0) -> bool:
        """Take ``cost`` tokens out of the bucket of ``key``; ``False``, and nothing taken, if it holds fewer.

        :param now: the time, for a caller that is given it; by default that of ``clock.monotonic``.
        :param spared: how many tokens must be left in the bucket, for callers that are more important.
        """
        if now is None:
            now = clock.monotonic()
        tokens, stamp = self._buckets.get(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - stamp) * self.rate)
        allowed = tokens >= cost + spared
        self._buckets[key] = (tokens - cost if allowed else tokens, now)
        return allowed

    def holds(self, key: Hashable = None, cost: float = 1.0) -> bool:
        """Whether the bucket of ``key`` has ``cost`` tokens now; takes nothing."""
        tokens, stamp = self._buckets.get(key, (cost, 0.0))
        return tokens >= cost or tokens + (clock.monotonic() - stamp) * self.rate >= cost

    # For budgets that others can spend: somebody may send in the name of an address that is not his own. Whoever waits
    # for tokens then loses to whoever sends most. With a draw, all have the same chance.

    def charge(self, key: Hashable = None, cost: float = 1.0, now: float | None = None) -> None:
        """Take ``cost`` tokens out of the bucket of ``key``, for something that was done already.

        If it holds fewer, the rest is owed: the bucket is below zero, by ``burst`` at most.
        """
        if now is None:
            now = clock.monotonic()
        tokens, stamp = self._buckets.get(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - stamp) * self.rate)
        self._buckets[key] = (max(-self.burst, tokens - cost), now)

    def fill(self, key: Hashable = None, now: float | None = None) -> float:
        """How full the bucket of ``key`` is, from 0 to 1; takes nothing."""
        entry = self._buckets.get(key)
        if entry is None:
            return 1.0
        tokens, stamp = entry
        if now is None:
            now = clock.monotonic()
        return max(0.0, min(1.0, (tokens + (now - stamp) * self.rate) / self.burst))

    def chance(self, key: Hashable = None, reserved: float = 0.0, now: float | None = None) -> float:
        """The probability with which somebody should be let in: 1 while the bucket is half full, then less and less.

        Call :meth:`charge` for each one that was let in. If more come than there are tokens for, the bucket settles at
        the level at which as many are let in as ``rate`` allows.

        :param reserved: the part of the bucket, less than 1, that is left for others.
        """
        return max(0.0, min(1.0, 2 * (self.fill(key, now) - reserved) / (1 - reserved)))

    def draw(self, key: Hashable = None, now: float | None = None) -> bool:
        """Whether to let somebody in, by chance (see :meth:`chance`); takes nothing."""
        return drawn(self.chance(key, now=now))
