"""What the measurements share: the figure they yield, and a stopwatch for short calls."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Figure", "microseconds", "microseconds_in_turn", "microseconds_over"]

ROUNDS = 5
ROUND_SECONDS = 0.04


@dataclass(frozen=True)
class Figure:
    """One measured value.

    :param name: what was measured, unique inside a case.
    :param value: the value in ``unit``.
    :param unit: its unit.
    :param more_is_better: whether larger values are the better ones.
    """

    name: str
    value: float
    unit: str = "µs"
    more_is_better: bool = False


def microseconds(function: Callable[..., object], *arguments: Any) -> float:
    """The cost of one call: the best of several rounds, each of a fraction of a second."""
    return _best(lambda number: _timed(function, repeat(arguments, number)))


def microseconds_in_turn(function: Callable[[Any], object], items: Sequence[Any]) -> float:
    """As :func:`microseconds`, with the next one of ``items`` as the argument of each call, over and over."""
    arguments = cycle([(item,) for item in items])
    return _best(lambda number: _timed(function, islice(arguments, number)))


def microseconds_over(function: Callable[[Any], object], items: Sequence[Any]) -> float:
    """The cost of one call, averaged over one call for each of ``items``: for calls that cannot be repeated."""
    return _timed(function, [(item,) for item in items]) / len(items) * 1e6


def _best(timed: Callable[[int], float]) -> float:
    number = 1
    while (elapsed := timed(number)) < ROUND_SECONDS / 4:
        number *= max(2, min(10, int(ROUND_SECONDS / 4 / max(elapsed, 1e-9))))
    number = max(1, int(number * ROUND_SECONDS / elapsed))
    return min(timed(number) for _ in range(ROUNDS)) / number * 1e6


def _timed(function: Callable[..., object], calls: Iterable[tuple[Any, ...]]) -> float:
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        for arguments in calls:
            function(*arguments)
        return perf_counter() - start
    finally:
        gc.enable()
