"""Budgets for what strangers can make a node do (token buckets with a bounded memory)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import clock

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["TokenBuckets"]


class TokenBuckets:
    """One token bucket a key, all of the same size; the least recently refilled ones are forgotten first.

    A forgotten key starts again with a full bucket, so ``capacity`` bounds memory and ``rate`` alone does not bound
    what somebody with more than ``capacity`` keys may do: put a bucket with a single key behind it for that.

    :param rate: tokens that come back each second.
    :param burst: how many tokens a full bucket holds.
    :param capacity: for how many keys buckets are kept.
    """

    __slots__ = ("_buckets", "burst", "capacity", "rate")

    def __init__(self, rate: float, burst: float, capacity: int = 4096) -> None:
        self.rate = rate
        self.burst = burst
        self.capacity = capacity
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable = None, cost: float = 1.0) -> bool:
        """Take ``cost`` tokens out of the bucket of ``key``; ``False``, and nothing taken, if it holds fewer."""
        now = clock.monotonic()
        tokens, stamp = self._buckets.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - stamp) * self.rate)
        allowed = tokens >= cost
        self._buckets[key] = (tokens - cost if allowed else tokens, now)
        if len(self._buckets) > self.capacity:
            del self._buckets[next(iter(self._buckets))]
        return allowed

    def holds(self, key: Hashable = None, cost: float = 1.0) -> bool:
        """Whether the bucket of ``key`` has ``cost`` tokens now; takes nothing."""
        tokens, stamp = self._buckets.get(key, (cost, 0.0))
        return tokens >= cost or tokens + (clock.monotonic() - stamp) * self.rate >= cost
