"""Calling functions of programs, which may be asynchronous, and ending those that take too long."""

from __future__ import annotations

import asyncio
import logging
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["STOP_GRACE", "call", "cancel", "name_of", "result_of", "wait"]

STOP_GRACE = 5.0
"""Seconds for which the end of a cancelled task is waited for."""

logger = logging.getLogger(__name__)


async def call(function: Callable[..., Any], arguments: tuple[Any, ...] = ()) -> None:
    """Call ``function``, which may be asynchronous, and ignore its result."""
    result = function(*arguments)
    if isawaitable(result):
        await result


async def result_of(function: Callable[[], Any]) -> Any:
    """Call ``function``, which may be asynchronous; its result."""
    result = function()
    return await result if isawaitable(result) else result


async def wait(tasks: Collection[asyncio.Task[Any]], timeout: float | None,
                ) -> tuple[set[asyncio.Task[Any]], set[asyncio.Task[Any]]]:
    """Wait for ``tasks``: those that are done, and those that are not. They are cancelled if the caller is."""
    try:
        return await asyncio.wait(tasks, timeout=timeout)
    except asyncio.CancelledError:
        await cancel(*tasks)
        raise


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks``, and wait until they have ended, but not for ever."""
    ending = [task for task in tasks if not task.done() and task is not asyncio.current_task()]
    for task in ending:
        task.cancel()
    if ending:
        _, stubborn = await asyncio.wait(ending, timeout=STOP_GRACE)
        for task in stubborn:
            logger.warning("%r did not end within %s s of its cancellation", task, STOP_GRACE)


def name_of(task: asyncio.Task[Any]) -> str:
    """The name of the function that :func:`call` runs in a task."""
    frame = task.get_coro().cr_frame  # type: ignore[union-attr]  # it is the coroutine of an async function
    function = None if frame is None else frame.f_locals["function"]
    return getattr(function, "__qualname__", repr(function))
