"""How late the event loop is, what keeps it busy, and whether the wall clock jumps."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from ... import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...taskmanager import TaskManager

__all__ = ["FIRST_SECONDS", "LAG_BOUNDS", "ClockWatch", "LoopMonitor", "SlowCallback", "Spread", "spread"]

LOOK_INTERVAL = 0.05
"""Seconds between two measurements of how late the event loop is."""

RECENT_SECONDS = 60.0
"""Seconds of which the measurements are kept."""

FIRST_SECONDS = 10.0
"""Seconds after the start after which its measurements are forgotten: nodes keep the event loop busy as they start."""

HISTORY_SECONDS = 600
"""Seconds of which the worst measurement of each is kept."""

SLOW_SECONDS = 0.05
"""Seconds from which on something that kept the event loop busy is noted."""

MAX_SLOW = 100
"""Of these, how many are remembered; the oldest is forgotten first."""

LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Upper bounds of the buckets in which measurements are counted, in seconds; the last bucket has none."""

NOT_A_HANDLER = "not a message handler; the debug mode of asyncio says in the log what it was"
WAITED = "waited: other programs had the processor, or a call blocked"
"""What kept the event loop busy."""

JUMP_SECONDS = 1.0
"""Seconds by which the wall clock must differ from what it should show to have jumped."""


class Spread(NamedTuple):
    """Some measurements: what half of them and what 99 of 100 do not exceed, and the largest, in seconds."""

    p50: float
    p99: float
    max: float


def spread(values: list[float]) -> Spread:
    """The spread of some measurements; zero without any."""
    if not values:
        return Spread(0.0, 0.0, 0.0)
    ordered = sorted(values)
    last = len(ordered) - 1
    return Spread(ordered[last // 2], ordered[min(last, int(0.99 * len(ordered)))], ordered[-1])


class SlowCallback(NamedTuple):
    """Something that kept the event loop busy."""

    time: float
    """When it ended, in seconds since the Unix epoch."""
    seconds: float
    what: str


class LoopMonitor:
    """Measures how late the event loop is: a timer should fire after :data:`LOOK_INTERVAL` seconds, and fires later.

    :param tasks: starts the timers.
    :param handler_is_slow: whether a handler of messages was slow, and ended after a time of the monotonic clock. Then
        it is the reason why the event loop is late, and is shown by its name.
    """

    def __init__(self, tasks: TaskManager, handler_is_slow: Callable[[float], bool]) -> None:
        self._tasks = tasks
        self._handler_is_slow = handler_is_slow
        self._expected = 0.0
        self._lags: deque[tuple[float, float, bool]] = deque()
        self._worked: float | None = None
        self._worst = 0.0
        self._forget_at = inf
        #: How many measurements are within each of :data:`LAG_BOUNDS`, and beyond the one before.
        self.buckets = [0] * (len(LAG_BOUNDS) + 1)
        #: Seconds of all measurements.
        self.seconds = 0.0
        #: The largest measurement of each second: when, in seconds since the Unix epoch, and the seconds.
        self.history: deque[tuple[float, float]] = deque(maxlen=HISTORY_SECONDS)
        #: What else than handlers of messages has kept the event loop busy.
        self.slow: deque[SlowCallback] = deque(maxlen=MAX_SLOW)
        #: How often something else than a handler of messages has.
        self.slow_count = 0

    def start(self) -> None:
        """Measure from now on."""
        self._forget_at = clock.monotonic() + FIRST_SECONDS
        self._wait()

    def _wait(self) -> None:
        self._worked = clock.processor_time()
        self._expected = clock.monotonic() + LOOK_INTERVAL
        self._tasks.start_timer(LOOK_INTERVAL, self._look)

    def _look(self) -> None:
        now = clock.monotonic()
        lag = max(0.0, now - self._expected)
        waited = lag >= SLOW_SECONDS and self._has_waited(lag)
        self._note(now, lag, waited)
        if lag >= SLOW_SECONDS and not self._handler_is_slow(self._expected - LOOK_INTERVAL):
            self.slow_count += 1
            self.slow.append(SlowCallback(clock.time(), lag, WAITED if waited else NOT_A_HANDLER))
        self._wait()

    def _has_waited(self, lag: float) -> bool:
        """Whether this thread did not work for most of the time by which a timer is late."""
        worked = clock.processor_time()
        return worked is not None and self._worked is not None and worked - self._worked < lag / 2

    def _note(self, now: float, lag: float, waited: bool) -> None:
        if now >= self._forget_at:
            self._forget_at = inf
            self._lags.clear()
        self._lags.append((now, lag, waited))
        while self._lags[0][0] < now - RECENT_SECONDS:
            self._lags.popleft()
        self._worst = max(self._worst, lag)
        self.buckets[bisect_left(LAG_BOUNDS, lag)] += 1
        self.seconds += lag

    def tick(self) -> None:
        """Note the worst measurement of the last second."""
        self.history.append((clock.time(), self._worst))
        self._worst = 0.0

    def lag(self) -> Spread:
        """The measurements of the last minute."""
        return spread([lag for _, lag, _ in self._lags])

    def has_mostly_waited(self) -> bool:
        """Whether most of the slow times of the last minute were not spent by working."""
        slow = [waited for _, lag, waited in self._lags if lag >= SLOW_SECONDS]
        return 2 * sum(slow) > len(slow)

    @staticmethod
    def tasks() -> Counter[str]:
        """How many tasks each class of task managers has; the others are those of ``asyncio``."""
        found: Counter[str] = Counter()
        for task in asyncio.all_tasks():
            manager, separator, _ = task.get_name().partition(":")
            found[manager if separator and hasattr(task, "start_time") else "asyncio"] += 1
        return found


class ClockWatch:
    """Compares the wall clock with the monotonic one, which nobody sets."""

    def __init__(self) -> None:
        self._first = self._last = self._offset()
        #: When the wall clock last jumped, by the monotonic clock, and by how many seconds; ``None`` if it never did.
        self.jump: tuple[float, float] | None = None

    @staticmethod
    def _offset() -> float:
        return clock.time() - clock.monotonic()

    def tick(self) -> None:
        """Compare them; this is called once a second."""
        offset = self._offset()
        if abs(offset - self._last) >= JUMP_SECONDS:
            self.jump = clock.monotonic(), offset - self._last
        self._last = offset

    @property
    def drift(self) -> float:
        """Seconds by which the wall clock went further than the monotonic one, since this was made."""
        return self._last - self._first
