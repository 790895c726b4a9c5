"""The result of a measurement, and functions that measure short calls."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Figure", "microseconds", "microseconds_in_turn", "microseconds_over", "microseconds_side_by_side",
           "resident_memory"]

ROUNDS = 5
ROUND_SECONDS = 0.04
SHORT_ROUNDS = 20
SHORT_ROUND_SECONDS = 0.005


@dataclass(frozen=True)
class Figure:
    """One measured value.

    :param name: a name that is unique in its case.
    :param value: the value in ``unit``.
    :param unit: the unit.
    :param more_is_better: whether larger values are better.
    """

    name: str
    value: float
    unit: str = "µs"
    more_is_better: bool = False


def microseconds(function: Callable[..., object], *arguments: Any) -> float:
    """The cost of one call in microseconds: the best of several rounds, each of a fraction of a second."""
    return _best(lambda number: _timed(function, repeat(arguments, number)))


def microseconds_in_turn(function: Callable[[Any], object], items: Sequence[Any]) -> float:
    """The same as :func:`microseconds`, with the items in turn as the argument of the calls."""
    arguments = cycle([(item,) for item in items])
    return _best(lambda number: _timed(function, islice(arguments, number)))


def microseconds_side_by_side(function: Callable[[Any], object], items: Mapping[str, Any]) -> dict[str, float]:
    """The cost of a call with each of ``items``: the best of many short rounds.

    Each round calls with all items, so that a machine that is slow for a while is slow for all of them.
    """
    stopwatches = {name: partial(_timed_repeatedly, function, item) for name, item in items.items()}
    numbers = {name: _number(timed, SHORT_ROUND_SECONDS) for name, timed in stopwatches.items()}
    best = dict.fromkeys(items, float("inf"))
    for _ in range(SHORT_ROUNDS):
        for name, timed in stopwatches.items():
            best[name] = min(best[name], timed(numbers[name]) / numbers[name] * 1e6)
    return best


def microseconds_over(function: Callable[[Any], object], items: Sequence[Any]) -> float:
    """The mean cost of one call for each of ``items``, for calls that cannot be repeated."""
    return _timed(function, [(item,) for item in items]) / len(items) * 1e6


def _best(timed: Callable[[int], float]) -> float:
    number = _number(timed, ROUND_SECONDS)
    return min(timed(number) for _ in range(ROUNDS)) / number * 1e6


def _number(timed: Callable[[int], float], seconds: float) -> int:
    """The number of calls that takes about ``seconds``."""
    number = 1
    while (elapsed := timed(number)) < seconds / 4:
        number *= max(2, min(10, int(seconds / 4 / max(elapsed, 1e-9))))
    return max(1, int(number * seconds / elapsed))


def _timed_repeatedly(function: Callable[[Any], object], item: Any, number: int) -> float:
    return _timed(function, repeat((item,), number))


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


def resident_memory() -> float:
    """The resident memory of this process in KiB."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    message = "no VmRSS in /proc/self/status: this case needs Linux"
    raise OSError(message)
