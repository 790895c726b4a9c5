"""The only source of time for everything below the service.

Code asks :func:`time` (wall clock, seconds since the Unix epoch) and :func:`monotonic` (seconds since an arbitrary
point, never going back) instead of the module of the standard library, so that a whole network can run under a virtual
clock::

    with clock.use(VirtualClock()):
        ...

The wall clock is for times that people or other nodes read. It can be set, forwards and backwards, so intervals, ages
and deadlines are computed with :func:`monotonic`. :class:`WallTime` keeps both for an attribute that programs read and
assign in wall-clock time.
"""

from __future__ import annotations

import time as _time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Clock", "SystemClock", "WallTime", "current", "install", "monotonic", "monotonic_of", "time", "use"]


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


def monotonic_of(when: float) -> float:
    """The monotonic time at which the wall clock, as it is set now, showed ``when``.

    :param when: seconds since the Unix epoch. A time in the future counts as now; 0 stands for never, which is
        ``-inf`` in monotonic time.
    """
    return _current.monotonic() - max(0.0, _current.time() - when) if when else -inf


class WallTime:
    """An attribute that holds a time in seconds since the Unix epoch, 0 for never; 0 until it is assigned.

    Each assignment also sets a second attribute of the object to the same time by the monotonic clock, see
    :func:`monotonic_of`. Ages are computed from the second attribute, so that setting the wall clock does not change
    them.

    :param monotonic_name: the name of the second attribute.
    """

    __slots__ = ("_monotonic_name", "_name")

    def __init__(self, monotonic_name: str) -> None:
        self._monotonic_name = monotonic_name

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> WallTime: ...

    @overload
    def __get__(self, instance: object, owner: type) -> float: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        return self if instance is None else getattr(instance, self._name, 0)

    def __set__(self, instance: object, when: float) -> None:
        setattr(instance, self._name, when)
        setattr(instance, self._monotonic_name, monotonic_of(when))


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
