"""Points in time that programs read by the wall clock, and whose ages do not depend on it."""

from __future__ import annotations

from math import inf

from .. import clock

__all__ = ["NEVER", "Moment", "age"]

NEVER = 0.0
"""What stands for a moment that has not come yet."""


class Moment(float):
    """Seconds since the Unix epoch, as the wall clock said at that moment, with the monotonic time beside it.

    It is a plain number for whoever compares it, computes with it or prints it. :func:`age` uses the monotonic time.
    """

    __slots__ = ("monotonic",)

    monotonic: float

    @classmethod
    def now(cls) -> Moment:
        """The present moment."""
        moment = cls(clock.time())
        moment.monotonic = clock.monotonic()
        return moment


def age(moment: float) -> float:
    """Seconds since ``moment``; infinite for :data:`NEVER`.

    A number that is not a :class:`Moment`, such as one that a program wrote, is compared with the wall clock.
    """
    if isinstance(moment, Moment):
        return clock.monotonic() - moment.monotonic
    return clock.time() - moment if moment else inf
