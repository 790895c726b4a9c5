"""A clock for tests, which only the test moves."""

from __future__ import annotations

__all__ = ["ManualClock"]

WALL_START = 1_700_000_000.0
"""Seconds since the Unix epoch: in November 2023."""
MONOTONIC_START = 10_000.0
"""Far from the wall clock, so that code that confuses the two fails."""


class ManualClock:
    """A clock for ``ipv8.clock`` that stands still until the test moves it.

    The wall clock can be set without moving monotonic time::

        with clock.use(ManualClock()) as manual:
            manual.advance(60)        # a minute passes
            manual.step_wall(-3600)   # the wall clock is set back by an hour

    Timers of asyncio do not use this clock: tasks with a delay and timeouts of requests go by the time of their event
    loop.

    :param wall: the first time of the wall clock, in seconds since the Unix epoch.
    :param monotonic: the first monotonic time, in seconds.
    """

    def __init__(self, wall: float = WALL_START, monotonic: float = MONOTONIC_START) -> None:
        self._wall = wall
        self._monotonic = monotonic

    def time(self) -> float:
        """The time of the wall clock, in seconds since the Unix epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Monotonic time, in seconds."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both the wall clock and monotonic time forward.

        :raises ValueError: for a negative number.
        """
        if seconds < 0:
            raise ValueError("monotonic time cannot go back: use step_wall() to set the wall clock back")
        self._wall += seconds
        self._monotonic += seconds

    def set_wall(self, when: float) -> None:
        """Set the wall clock to ``when`` seconds since the Unix epoch. Monotonic time does not change."""
        self._wall = when

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back by a negative number of seconds. Monotonic time does not change."""
        self._wall += seconds
