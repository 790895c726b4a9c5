"""Long computations in small steps, which run at once, or on an event loop that goes on with its other work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from .. import clock

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["STEP_ITEMS", "finish", "in_slices"]

SLICE_SECONDS = 0.005
"""How long the event loop is kept from other work at a time, about."""

STEP_ITEMS = 512
"""Edges, nodes or the like that are handled in one step, about."""

T = TypeVar("T")


def finish(steps: Generator[None, None, T]) -> T:
    """Run all steps now; their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:  # noqa: PERF203 - its end is how a generator gives its result
            result: T = end.value
            return result


async def in_slices(steps: Generator[None, None, T]) -> T:
    """Run all steps, some milliseconds at a time; their result."""
    end = clock.monotonic() + SLICE_SECONDS
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if clock.monotonic() >= end:
            await asyncio.sleep(0)
            end = clock.monotonic() + SLICE_SECONDS
