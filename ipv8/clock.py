"""The only source of time for everything below the service.

Code asks :func:`time` (wall clock, seconds since the Unix epoch) and :func:`monotonic` (seconds since an arbitrary
point, never going back) instead of the module of the standard library, so that a whole network can run under a virtual
clock::

    with clock.use(VirtualClock()):
        ...
"""

from __future__ import annotations

import time as _time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Clock", "SystemClock", "current", "install", "monotonic", "time", "use"]


class Clock(Protocol):
    """What a source of time offers; both values are in seconds."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never decreases."""


class SystemClock:
    """The clocks of the operating system."""

    time = staticmethod(_time.time)
    monotonic = staticmethod(_time.monotonic)


ClockT = TypeVar("ClockT", bound=Clock)

_current: Clock = SystemClock()


def time() -> float:
    """Seconds since the Unix epoch, by the installed clock."""
    return _current.time()


def monotonic() -> float:
    """Seconds since an arbitrary point, by the installed clock; never decreases."""
    return _current.monotonic()


def current() -> Clock:
    """The clock in use."""
    return _current


def install(clock: Clock) -> Clock:
    """Use ``clock`` from now on, process-wide, and return the one used before."""
    global _current
    previous, _current = _current, clock
    return previous


@contextmanager
def use(clock: ClockT) -> Iterator[ClockT]:
    """Use ``clock`` inside a ``with`` block."""
    previous = install(clock)
    try:
        yield clock
    finally:
        install(previous)
