"""Finds out when an event loop has nothing left to do, so that tests do not guess how long to wait.

The event loops of the standard library show which callbacks are ready and which timers are set. A loop is quiet for a
time span if no callback is ready, no timer is due in the span, and no call runs in an executor. What other threads and
sockets will do is not known: where other threads may call the loop, it has to be quiet for a while; while sockets are
open, and with loops that do not show their callbacks, the tasks are watched instead.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task
    from collections.abc import Callable

__all__ = ["ExecutorWatch", "ThreadWatch", "drain", "is_background_task", "until_quiet"]

BACKGROUND_TASKS = ("_check_tasks", "discover_lan_addresses")
"""The ends of the names of tasks that every overlay has as long as it exists."""
POLL_INTERVAL = 0.01
"""Seconds between two looks at the tasks, or at the calls of other threads."""
EXECUTOR_INTERVAL = 0.001
"""Seconds between two looks at calls that run in executors."""
DRAIN_ROUNDS = 1000
"""The maximum number of iterations of the loop that :func:`drain` waits for."""


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


class ThreadWatch:
    """Counts the calls of ``loop.call_soon_threadsafe``, in ``calls``."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.calls = 0
        hand_over: Callable[..., Any] = loop.call_soon_threadsafe

        def call_soon_threadsafe(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return hand_over(*args, **kwargs)

        watched: Any = loop
        watched.call_soon_threadsafe = call_soon_threadsafe


def is_background_task(task: Task[Any]) -> bool:
    """Whether ``task`` never ends, whatever happens on the network."""
    return task.get_name().endswith(BACKGROUND_TASKS)


class _Deadline:
    """The time until which a loop is waited for.

    It is put off by what single callbacks take beyond :data:`POLL_INTERVAL`, so that the callbacks which wait behind a
    slow one get their time. At most ``timeout / POLL_INTERVAL`` slow callbacks are waited for.

    :param loop: the running loop.
    :param timeout: in seconds from now.
    """

    def __init__(self, loop: AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        #: The time without slow callbacks: timers that are due until then count.
        self.timers = loop.time() + timeout
        self._put_off = 0.0

    def left(self) -> float:
        """How many seconds are left; none if that is not positive."""
        return self.timers + self._put_off - self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Let the loop run for a while."""
        begin = self._loop.time()
        await asyncio.sleep(seconds)
        self._put_off += max(0.0, self._loop.time() - begin - seconds - POLL_INTERVAL)


async def until_quiet(timeout: float, executors: ExecutorWatch | None = None,
                      threads: ThreadWatch | None = None) -> None:
    """Return when the running loop will be quiet until ``timeout`` seconds after the call, or after that time.

    The time is longer if callbacks block the loop.

    :param executors: knows the calls in executors, to wait for them; without it they are ignored.
    :param threads: knows the calls by other threads. With it, there must have been none for :data:`POLL_INTERVAL`;
        without it, other threads are ignored.
    """
    loop: Any = asyncio.get_running_loop()
    deadline = _Deadline(loop, timeout)
    if not hasattr(loop, "_ready") or not hasattr(loop, "_scheduled"):
        await _until_tasks_end(deadline, threads)
        return
    while deadline.left() > 0:
        if loop._ready:
            await deadline.sleep(0)
        elif _has_sockets(loop):
            await _until_tasks_end(deadline, threads)
            return
        else:
            pause = _next_timer(loop, deadline.timers) - loop.time()
            if executors is not None and executors.is_busy():
                pause = min(pause, EXECUTOR_INTERVAL)
            elif pause == float("inf"):
                if threads is None or not await _is_called(loop, threads, deadline):
                    return
                continue
            await deadline.sleep(max(pause, 0))


async def drain() -> None:
    """Let the running loop call all callbacks that are ready."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(DRAIN_ROUNDS):
        await asyncio.sleep(0)
        if not getattr(loop, "_ready", True):
            return


def _has_sockets(loop: Any) -> bool:
    """Whether the loop waits for sockets; one descriptor is its own."""
    get_map = getattr(getattr(loop, "_selector", None), "get_map", None)
    return get_map is not None and len(get_map()) > 1


def _next_timer(loop: Any, deadline: float) -> float:
    """When the next timer of ``loop`` is due, apart from those of background tasks; infinity if after ``deadline``.

    A sleeping task awaits a future, and that future is an argument of the timer's callback.
    """
    due = [timer for timer in getattr(loop, "_scheduled", ()) if timer.when() <= deadline and not timer.cancelled()]
    if due:
        ignored = {id(getattr(task, "_fut_waiter", None)) for task in asyncio.all_tasks() if is_background_task(task)}
        due = [timer for timer in due if not timer._args or id(timer._args[0]) not in ignored]
    return min((timer.when() for timer in due), default=float("inf"))


async def _is_called(loop: Any, threads: ThreadWatch, deadline: _Deadline) -> bool:
    """Whether another thread calls ``loop`` within :data:`POLL_INTERVAL`."""
    before = threads.calls
    await deadline.sleep(min(POLL_INTERVAL, max(deadline.left(), 0)))
    return bool(loop._ready) or threads.calls != before


async def _until_tasks_end(deadline: _Deadline, threads: ThreadWatch | None) -> None:
    """Return at the deadline, or when two looks in a row find nothing that is pending before it.

    What counts are tasks, without the caller's and background tasks, and timers, where the loop shows them. If
    ``threads`` is given, no other thread may have called the loop between the two looks.
    """
    loop = asyncio.get_running_loop()
    quiet = 0
    calls = None
    while quiet < 2 and deadline.left() > 0:
        await deadline.sleep(POLL_INTERVAL)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        busy = (any(not is_background_task(task) for task in others)
                or _next_timer(loop, deadline.timers) <= deadline.timers)
        if threads is not None and threads.calls != calls:
            busy, calls = busy or calls is not None, threads.calls
        quiet = 0 if busy else quiet + 1
