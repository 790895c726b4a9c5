"""In which order the cells of many circuits are handled, and how many bytes a second.

See doc/protocol/tunnels.md section 6.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from ... import clock
from ...fill import Fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["LARGE_LIMIT", "QUEUE_LIMIT", "TOTAL_QUEUE_LIMIT", "TURN", "Bandwidth", "FairQueue", "Lane"]

QUEUE_LIMIT = 512
"""Cells of one circuit that wait to be handled; further ones are dropped, before anything is decrypted."""

TOTAL_QUEUE_LIMIT = 4096
"""Cells of all circuits that wait to be handled; further ones are dropped."""

LARGE_LIMIT = 256
"""Cells of all circuits that wait, from which on cells larger than ``PACKET`` are dropped, as they take much memory."""

TURN = 16
"""Cells of one circuit that are handled before the next circuit has its turn."""

FEW = 4
"""Cells of a circuit that go before all turns, once in each round of turns."""

ITEMS_AT_ONCE = 64
"""Items that are handled before other callbacks of the event loop run."""

LATE_SECONDS = 1.0
"""How late a call may be that continues after a limit, before it counts as cancelled."""

BURST_SECONDS = 0.025
"""How long a limited tunnel may save up what it did not use."""

SHORTEST_DELAY = 1e-6
"""Seconds that are not worth waiting for."""

PACKET = 1500
"""Bytes of a large packet."""

SMALLEST_BURST = 2 * PACKET
"""Bytes that can be saved up at any rate."""

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of many circuits, which take turns.

    The first few items of a circuit that had none go before all turns, but only once in each round. So a circuit that
    sends little does not wait for those that send a lot, and does not delay them by more than that.

    :param limit: how many items of one circuit are kept.
    :param total: how many items of all circuits are kept.
    """

    __slots__ = ("_first", "_limit", "_queues", "_round", "_total", "_turns", "_were_first", "size")

    def __init__(self, limit: int = QUEUE_LIMIT, total: int = TOTAL_QUEUE_LIMIT) -> None:
        self._limit = limit
        self._total = total
        self._queues: dict[int, deque[T]] = {}
        self._turns: deque[int] = deque()
        self._round = 0  # turns until the next round
        self._first: deque[int] = deque()  # circuits that go before all turns
        self._were_first: set[int] = set()  # circuits that did so in this round
        #: How many items are kept.
        self.size = 0

    def put(self, circuit_id: int, items: Sequence[T]) -> int:
        """Keep items of a circuit; how many of them are kept, which are the first ones."""
        queue = self._queues.get(circuit_id)
        room = min(self._total - self.size, self._limit - (0 if queue is None else len(queue)))
        if room < len(items):
            items = items[:max(room, 0)]
        if not items:
            return 0
        if queue is None:
            self._queues[circuit_id] = deque(items)
            if len(items) > FEW or circuit_id in self._were_first:
                self._turns.append(circuit_id)
            else:
                self._were_first.add(circuit_id)
                self._first.append(circuit_id)
        else:
            queue.extend(items)
        self.size += len(items)
        return len(items)

    def take(self, most: int = TURN) -> tuple[int, Sequence[T]]:
        """The circuit whose turn it is, and its oldest items; it has its next turn after all others.

        :param most: how many items are taken at most. If it is ``TURN`` and no other circuits wait, it is four times as
            many.
        :raises IndexError: if there are no items.
        """
        turns = self._turns
        if self._first:
            circuit_id = self._first.popleft()
            most = min(most, FEW)
        else:
            if self._round <= 0:
                self._round = len(turns)
                self._were_first.clear()
            self._round -= 1
            circuit_id = turns.popleft()
            if not turns and most == TURN:
                most *= 4
        queue = self._queues[circuit_id]
        if len(queue) <= most:
            del self._queues[circuit_id]
            items: Sequence[T] = queue
        else:
            turns.append(circuit_id)
            items = [queue.popleft() for _ in range(most)]
        self.size -= len(items)
        if not self.size:
            self._were_first.clear()
        return circuit_id, items

    def clear(self) -> None:
        """Forget all items."""
        self._queues.clear()
        self._turns.clear()
        self._first.clear()
        self._were_first.clear()
        self.size = 0

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("cells", self.size, self._total, "queue", rule="further ones are dropped")


class Bandwidth:
    """A limit of bytes a second, which may be different at each call; 0 stands for none."""

    __slots__ = ("_left", "_noted_at", "_rate")

    def __init__(self) -> None:
        self._rate = 0.0
        self._left = 0.0  # bytes that may be sent; below zero, those that were sent too early
        self._noted_at = 0.0

    def delay(self, rate: float, now: float) -> float:
        """Seconds until another packet may be sent.

        :param rate: bytes a second.
        :param now: the monotonic time in seconds.
        """
        if not rate:
            return 0.0
        delay = (PACKET - self._note(rate, now)) / rate
        return delay if delay > SHORTEST_DELAY else 0.0

    def use(self, rate: float, size: int, now: float) -> None:
        """Count bytes that are sent. What is more than was left is made up for later, however much it is."""
        if rate:
            self._left = self._note(rate, now) - size

    def take(self, rate: float, size: int, now: float) -> bool:
        """Use ``size`` bytes, if they are left; of a packet larger than ``PACKET``, so many of them."""
        if rate and self._note(rate, now) < min(size, PACKET):
            return False
        self.use(rate, size, now)
        return True

    @staticmethod
    def turn(rate: float, most: int = TURN) -> int:
        """How many packets to send at once, at most, so that no more is used than can be saved up."""
        return most if not rate else max(1, min(most, int(_burst(rate) // PACKET)))

    def _note(self, rate: float, now: float) -> float:
        """How many bytes are left now."""
        burst = _burst(rate)
        if rate != self._rate:
            self._rate, self._left = rate, burst
        else:
            self._left = min(burst, self._left + (now - self._noted_at) * rate)
        self._noted_at = now
        return self._left


def _burst(rate: float) -> float:
    return max(rate * BURST_SECONDS, SMALLEST_BURST)


class Lane(Generic[T]):
    """Handles items of many circuits soon, in a fair order, and no faster than its limit.

    :param handle: called with a circuit id and some of its items.
    :param size_of: the bytes of an item.
    :param rate: the present limit in bytes a second; 0 for none.
    :param later: ``later(seconds, function)`` calls a function after a time.
    :param soon: ``soon(function)`` calls a function when all that arrived together was put.
    :param failed: called with what ``handle`` raises, which is a bug on this side.
    """

    __slots__ = ("_bandwidth", "_failed", "_handle", "_later", "_rate", "_resume_at", "_size_of", "_soon", "is_serving",
                 "queue")

    def __init__(self, handle: Callable[[int, Sequence[T]], None], size_of: Callable[[T], int],
                 rate: Callable[[], float], later: Callable[[float, Callable[[], None]], object],
                 failed: Callable[[Exception], object],
                 soon: Callable[[Callable[[], None]], object] = lambda function: get_running_loop().call_soon(function),
                 ) -> None:
        self.queue: FairQueue[T] = FairQueue()
        #: Whether the event loop will call :meth:`serve`.
        self.is_serving = False
        self._handle = handle
        self._size_of = size_of
        self._rate = rate
        self._later = later
        self._failed = failed
        self._soon = soon
        self._bandwidth = Bandwidth()
        self._resume_at = 0.0

    def put(self, circuit_id: int, items: Sequence[T]) -> int:
        """Handle items soon; how many of them, fewer than all if too many wait.

        Which ones are left out depends on their size too.
        """
        wanted = items
        if self.queue.size >= LARGE_LIMIT:
            wanted = [item for item in items if self._size_of(item) <= PACKET]
        kept = self.queue.put(circuit_id, wanted)
        if not self.is_serving:
            self.is_serving = True
            self._soon(self.serve)
        elif kept < len(items) and self._resume_at and clock.monotonic() > self._resume_at + LATE_SECONDS:
            self._resume()  # the task was cancelled
        return kept

    def _call_soon(self) -> None:
        self.is_serving = True
        get_running_loop().call_soon(self.serve)

    def _resume(self) -> None:
        self._resume_at = 0.0
        self._call_soon()

    def serve(self) -> None:
        """Handle some of the items that wait."""
        queue = self.queue
        self.is_serving = False
        rate = self._rate()
        budget = ITEMS_AT_ONCE
        while queue.size and budget > 0:
            if rate:
                now = clock.monotonic()
                delay = self._bandwidth.delay(rate, now)
                if delay:
                    self.is_serving = True
                    self._resume_at = now + delay
                    self._later(delay, self._resume)
                    break
            circuit_id, items = queue.take(Bandwidth.turn(rate))
            budget -= len(items)
            if rate:
                self._bandwidth.use(rate, sum(map(self._size_of, items)), now)
            try:
                self._handle(circuit_id, items)
            except Exception as e:  # noqa: BLE001 - the other circuits go on
                self._failed(e)
        if queue.size and not self.is_serving:
            self._call_soon()
