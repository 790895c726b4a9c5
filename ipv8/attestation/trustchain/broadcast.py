"""What is passed on to others: which blocks were already, and which wait for their turn."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["MAX_TTL", "BroadcastHistory", "RelayQueue"]

T = TypeVar("T")

MAX_TTL = 10
"""How often a broadcast is passed on at most, whatever its sender asks for."""

RELAYS_PER_SECOND, RELAYS_AT_ONCE = 50.0, 200.0
"""Broadcasts of others that are passed on."""

MAX_WAITING_RELAYS = 256
"""Broadcasts of others that wait because of that; the oldest is dropped first."""


class BroadcastHistory:
    """The ids of blocks that were broadcast, in order.

    ``ids`` and ``order`` hold the same ids.
    """

    def __init__(self) -> None:
        self.ids: set[bytes] = set()
        self.order: deque[bytes] = deque()

    def add(self, block_id: bytes, capacity: int) -> bool:
        """Note an id, of which the ``capacity`` newest are kept; ``False`` if it was there already."""
        if block_id in self.ids:
            return False
        self.ids.add(block_id)
        self.order.append(block_id)
        while len(self.order) > capacity:
            self.ids.discard(self.order.popleft())
        return True


class RelayQueue(Generic[T]):
    """Broadcasts of others that wait, pairs before single blocks, the oldest first."""

    def __init__(self, capacity: int = MAX_WAITING_RELAYS) -> None:
        self.capacity = capacity
        self._pairs: deque[T] = deque()
        self._singles: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._pairs) + len(self._singles)

    def push(self, item: T, is_pair: bool) -> T | None:
        """Add an item, and return the one that was dropped for it, if any: a single block while there is one."""
        (self._pairs if is_pair else self._singles).append(item)
        if len(self) <= self.capacity:
            return None
        return (self._singles or self._pairs).popleft()

    def pop(self) -> T:
        """Take the next item out; ``IndexError`` if there is none."""
        return (self._pairs or self._singles).popleft()
