"""Tells when nothing more will happen on an event loop by itself, so that tests need not guess how long to wait.

The loops of the standard library show what is ready to run and which timers are set. Nothing more will happen within a
time span when nothing is ready, no timer is due in that span and no call runs in an executor. What other threads or
sockets do cannot be foreseen: while sockets are open, and on loops that show nothing, tasks and timers are watched.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task
    from collections.abc import Callable

__all__ = ["ExecutorWatch", "drain", "is_background_task", "until_quiet"]

BACKGROUND_TASKS = ("_check_tasks", "discover_lan_addresses")
"""How the names of tasks end that every overlay has for as long as it lives."""
POLL_INTERVAL = 0.01
"""Seconds between two looks at the tasks, where there is no better way."""
EXECUTOR_INTERVAL = 0.001
"""Seconds between two looks at calls that run in executors."""
DRAIN_ROUNDS = 1000
"""After so many iterations of the loop, draining it ends even if it is still busy."""


class ExecutorWatch:
    """Counts the calls that ``loop`` runs in executors."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._running: set[Future[Any]] = set()
        start: Callable[..., Future[Any]] = loop.run_in_executor

        def run_in_executor(executor: Any, func: Callable[..., Any], *args: Any) -> Future[Any]:
            future = start(executor, func, *args)
            self._running.add(future)
            future.add_done_callback(self._running.discard)
            return future

        watched: Any = loop
        watched.run_in_executor = run_in_executor

    def is_busy(self) -> bool:
        """Whether a call has not returned yet."""
        return bool(self._running)


def is_background_task(task: Task[Any]) -> bool:
    """Whether ``task`` goes on for ever, whatever happens on the network."""
    return task.get_name().endswith(BACKGROUND_TASKS)


async def until_quiet(timeout: float, executors: ExecutorWatch | None = None) -> None:
    """Return when nothing more will happen on the running loop within ``timeout`` seconds of the call, or after these.

    :param executors: knows of calls in executors, which are waited for; without it they are not noticed.
    """
    loop: Any = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    if not hasattr(loop, "_ready") or not hasattr(loop, "_scheduled"):
        await _until_tasks_end(deadline)
        return
    while loop.time() < deadline:
        if loop._ready:
            await asyncio.sleep(0)
        elif _has_sockets(loop):
            await _until_tasks_end(deadline)
            return
        else:
            pause = _next_timer(loop, deadline) - loop.time()
            if executors is not None and executors.is_busy():
                pause = min(pause, EXECUTOR_INTERVAL)
            elif pause > deadline - loop.time():
                return
            await asyncio.sleep(max(pause, 0))


async def drain() -> None:
    """Let the running loop finish what is ready to run."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(DRAIN_ROUNDS):
        await asyncio.sleep(0)
        if not getattr(loop, "_ready", True):
            return


def _has_sockets(loop: Any) -> bool:
    """Whether something may arrive from outside; one descriptor is the loop's own."""
    get_map = getattr(getattr(loop, "_selector", None), "get_map", None)
    return get_map is not None and len(get_map()) > 1


def _next_timer(loop: Any, deadline: float) -> float:
    """When, in the time of ``loop``, its next timer is due that wakes no background task; after ``deadline``: any time.

    A sleeping task awaits a future that is an argument of the timer's callback.
    """
    due = [timer for timer in getattr(loop, "_scheduled", ()) if timer.when() <= deadline and not timer.cancelled()]
    if due:
        ignored = {id(getattr(task, "_fut_waiter", None)) for task in asyncio.all_tasks() if is_background_task(task)}
        due = [timer for timer in due if not timer._args or id(timer._args[0]) not in ignored]
    return min((timer.when() for timer in due), default=float("inf"))


async def _until_tasks_end(deadline: float) -> None:
    """Return at ``deadline``, or when twice in a row nothing was pending before it.

    What counts are tasks, without the caller's and those in the background, and timers, where the loop shows them.
    """
    loop = asyncio.get_running_loop()
    quiet = 0
    while quiet < 2 and loop.time() < deadline:
        await asyncio.sleep(POLL_INTERVAL)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        pending = any(not is_background_task(task) for task in others) or _next_timer(loop, deadline) <= deadline
        quiet = 0 if pending else quiet + 1
