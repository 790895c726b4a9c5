"""The only source of time for everything below the service.

Code asks :func:`time` (wall clock, seconds since the Unix epoch) and :func:`monotonic` (seconds since an arbitrary
point, never going back) instead of the module of the standard library, so that a whole network can run under a virtual
clock::

    with clock.use(VirtualClock()):
        ...

Budgets for work are charged by :func:`processor_time`, which simulations and tests do not have.

The wall clock is for times that people or other nodes read. It can be set, forwards and backwards, so intervals, ages
and deadlines are computed with :func:`monotonic`. :class:`WallTime` keeps both for an attribute that programs read and
assign in wall-clock time.
"""

from __future__ import annotations

import time as _time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Clock", "ProcessorClock", "SystemClock", "WallTime", "current", "install", "monotonic", "monotonic_of",
           "processor_time", "time", "use"]


class Clock(Protocol):
    """What a source of time offers; both values are in seconds."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never decreases."""


@runtime_checkable
class ProcessorClock(Protocol):
    """A clock that also tells how much work was done. Others do without: what it tells is different in each run."""

    def processor_time(self) -> float:
        """Seconds that the processor has worked for the thread that asks."""


class SystemClock:
    """The clocks of the operating system."""

    time = staticmethod(_time.time)
    monotonic = staticmethod(_time.monotonic)
    processor_time = staticmethod(getattr(_time, "thread_time", _time.process_time))  # some systems have no thread_time


ClockT = TypeVar("ClockT", bound=Clock)

_current: Clock = SystemClock()
_processor: ProcessorClock | None = SystemClock()


def time() -> float:
    """Seconds since the Unix epoch, by the installed clock."""
    return _current.time()


def monotonic() -> float:
    """Seconds since an arbitrary point, by the installed clock; never decreases."""
    return _current.monotonic()


def processor_time() -> float | None:
    """Seconds that the processor has worked for this thread; ``None`` if the installed clock does not tell."""
    return None if _processor is None else _processor.processor_time()


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
    global _current, _processor
    previous, _current, _processor = _current, clock, clock if isinstance(clock, ProcessorClock) else None
    return previous


@contextmanager
def use(clock: ClockT) -> Iterator[ClockT]:
    """Use ``clock`` inside a ``with`` block."""
    previous = install(clock)
    try:
        yield clock
    finally:
        install(previous)
