"""Long calculations in small steps, so that something else can be done in between.

A calculation is a generator. It yields after each step about how many microseconds that took, and returns its result.
:func:`finish` does all at once; :mod:`ipv8.attestation.wallet.work` does not. The times are computed, not measured, so
that a calculation is divided in the same way each time.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

__all__ = ["Steps", "finish", "microseconds"]

T = TypeVar("T")

Steps = Generator[float, None, T]


def finish(steps: Steps[T]) -> T:
    """Do all steps; the result."""
    while True:
        try:
            next(steps)
        except StopIteration as e:  # noqa: PERF203 - it comes once
            result: T = e.value
            return result


def microseconds(bits: int, multiplications: float = 1) -> float:
    """About how long multiplications of elements take, modulo a number of ``bits`` bits and without gmpy2."""
    return multiplications * (0.6 + bits / 400 + (bits / 600) ** 2)
