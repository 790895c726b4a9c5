"""In which order the cells of many circuits are handled, and how many bytes a second.

See doc/protocol/tunnels.md section 6.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from ... import clock
from ...fill import Fill
from ...limits import TokenBuckets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["QUEUE_LIMIT", "TOTAL_QUEUE_LIMIT", "TURN", "Bandwidth", "FairQueue", "Lane"]

QUEUE_LIMIT = 512
"""Cells of one circuit that wait to be handled; further ones are dropped, before anything is decrypted."""

TOTAL_QUEUE_LIMIT = 4096
"""Cells of all circuits that wait to be handled; further ones are dropped."""

TURN = 16
"""Cells of one circuit that are handled before the next circuit has its turn."""

ITEMS_AT_ONCE = 64
"""Items that are handled before other callbacks of the event loop run."""

FULL_BURST = 48
"""If so many items came in since the last round, more are probably waiting at the socket."""

MAX_POSTPONED = 8
"""How often in a row reading comes first."""

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

    :param limit: how many items of one circuit are kept.
    :param total: how many items of all circuits are kept.
    """

    __slots__ = ("_limit", "_queues", "_total", "_turns", "size")

    def __init__(self, limit: int = QUEUE_LIMIT, total: int = TOTAL_QUEUE_LIMIT) -> None:
        self._limit = limit
        self._total = total
        self._queues: dict[int, deque[T]] = {}
        self._turns: deque[int] = deque()
        #: How many items are kept.
        self.size = 0

    def put(self, circuit_id: int, item: T) -> bool:
        """Keep an item of a circuit; ``False``, and it is not kept, if there are too many."""
        queue = self._queues.get(circuit_id)
        if queue is None:
            if self.size >= self._total:
                return False
            self._queues[circuit_id] = deque((item,))
            self._turns.append(circuit_id)
        elif len(queue) >= self._limit or self.size >= self._total:
            return False
        else:
            queue.append(item)
        self.size += 1
        return True

    def take(self, most: int = TURN) -> tuple[int, Sequence[T]]:
        """The circuit whose turn it is, and its oldest items; it has its next turn after all others.

        :param most: how many items are taken. If it is ``TURN`` and no other circuits wait, it is four times as many.
        :raises IndexError: if there are no items.
        """
        turns = self._turns
        circuit_id = turns.popleft()
        if not turns and most == TURN:
            most *= 4
        queue = self._queues[circuit_id]
        if len(queue) <= most:
            del self._queues[circuit_id]
            self.size -= len(queue)
            return circuit_id, queue
        turns.append(circuit_id)
        self.size -= most
        return circuit_id, [queue.popleft() for _ in range(most)]

    def clear(self) -> None:
        """Forget all items."""
        self._queues.clear()
        self._turns.clear()
        self.size = 0

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("cells", self.size, self._total, "queue", rule="further ones are dropped")


class Bandwidth:
    """A limit of bytes a second, which may be different at each call; 0 stands for none."""

    __slots__ = ("_bucket", "_rate")

    def __init__(self) -> None:
        self._rate = 0.0
        self._bucket: TokenBuckets | None = None

    def delay(self, rate: float, now: float) -> float:
        """Seconds until another packet may be sent.

        :param rate: bytes a second.
        :param now: the monotonic time in seconds.
        """
        if not rate:
            return 0.0
        delay = (PACKET - self._left(rate, now)) / rate
        return delay if delay > SHORTEST_DELAY else 0.0

    def use(self, rate: float, size: int, now: float) -> None:
        """Count bytes that are sent, also if that is more than was left."""
        if rate:
            self._bucket_of(rate).charge(cost=size, now=now)

    def take(self, rate: float, size: int, now: float) -> bool:
        """Use ``size`` bytes, if they are left."""
        if rate and self._left(rate, now) < min(size, self._bucket_of(rate).burst):
            return False
        self.use(rate, size, now)
        return True

    @staticmethod
    def turn(rate: float, most: int = TURN) -> int:
        """How many packets to send at once, at most, so that no more is used than can be saved up."""
        return most if not rate else max(1, min(most, int(_burst(rate) // PACKET)))

    def _left(self, rate: float, now: float) -> float:
        bucket = self._bucket_of(rate)
        return bucket.fill(now=now) * bucket.burst

    def _bucket_of(self, rate: float) -> TokenBuckets:
        if self._bucket is None or rate != self._rate:
            self._rate = rate
            self._bucket = TokenBuckets(rate, _burst(rate), capacity=1)
        return self._bucket


def _burst(rate: float) -> float:
    return max(rate * BURST_SECONDS, SMALLEST_BURST)


class Lane(Generic[T]):
    """Handles items of many circuits soon, in a fair order, and no faster than its limit.

    If many items came in at once, those that still wait at the socket are taken in first. So an item of a circuit that
    sends little does not wait for all items of the others that came before.

    :param handle: called with a circuit id and some of its items.
    :param size_of: the bytes of an item.
    :param rate: the present limit in bytes a second; 0 for none.
    :param later: ``later(seconds, function)`` calls a function after a time.
    :param soon: ``soon(function)`` calls a function when all that arrived together was put.
    :param failed: called with what ``handle`` raises, which is a bug on this side.
    """

    __slots__ = ("_bandwidth", "_failed", "_handle", "_later", "_postponed", "_rate", "_resume_at", "_size_of",
                 "_soon", "_waited", "is_serving", "queue")

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
        self._waited = 0  # how many items waited after the last round
        self._postponed = 0
        self._resume_at = 0.0

    def put(self, circuit_id: int, item: T) -> bool:
        """Handle an item soon; ``False`` if too many wait."""
        if not self.queue.put(circuit_id, item):
            if self._resume_at and clock.monotonic() > self._resume_at + LATE_SECONDS:
                self._resume()  # the task was cancelled
            return False
        if not self.is_serving:
            self.is_serving = True
            self._soon(self.serve)
        return True

    def _call_soon(self) -> None:
        self.is_serving = True
        get_running_loop().call_soon(self.serve)

    def _resume(self) -> None:
        self._resume_at = 0.0
        self._call_soon()

    def serve(self) -> None:
        """Handle some of the items that wait, unless more are coming in at once."""
        queue = self.queue
        if queue.size - self._waited >= FULL_BURST and self._postponed < MAX_POSTPONED:
            self._postponed += 1
            self._waited = queue.size
            self._call_soon()
            return
        self._postponed = 0
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
        self._waited = queue.size
        if queue.size and not self.is_serving:
            self._call_soon()
