"""An asyncio event loop on virtual time.

The loop does not wait: when no callback is ready, its time jumps to the next timer. Callbacks run in the same order in
every run. Functions for executors run in the thread of the loop, one after another.
"""

from __future__ import annotations

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import Future
    from collections import deque
    from collections.abc import Callable
    from concurrent.futures import Executor
    from contextvars import Context

__all__ = ["EPOCH", "StalledError", "VirtualClock", "VirtualTimeLoop"]

EPOCH = 1_600_000_000.0
"""Seconds since the Unix epoch at which every simulation begins."""

MIN_CANCELLED = 100
"""Cancelled timers are removed when there are more than this, and more than half of all timers."""


class StalledError(RuntimeError):
    """The code waits for something that cannot happen: no callback is ready and no timer is set."""


class _Event:
    """An event of the network. It costs less than a handle of asyncio because it cannot be cancelled."""

    __slots__ = ("_arguments", "_function", "_loop")

    _cancelled = False

    def __init__(self, loop: VirtualTimeLoop, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._loop = loop
        self._function = function
        self._arguments = arguments

    def _run(self) -> None:
        try:
            self._function(*self._arguments)
        except Exception as e:  # noqa: BLE001 - as for every other callback
            self._loop.call_exception_handler({"message": "an event of the network failed", "exception": e})


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An event loop on virtual time, which starts at 0.

    There are no sockets, pipes, signals and child processes: methods that need them raise ``NotImplementedError``.
    """

    _ready: deque[Any]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._serial = count()
        # Tuples, because comparing them runs no Python code.
        self._timers: list[tuple[float, int, Any]] = []
        self._cancelled = 0

    def __del__(self) -> None:
        """Do nothing: the loop holds no resources of the operating system."""

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any,  # type: ignore[override]  # as typeshed, without its type variables
                   context: Context | None = None) -> asyncio.TimerHandle:
        """Call ``callback(*args)`` after so many virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any,  # type: ignore[override]  # as above
                context: Context | None = None) -> asyncio.TimerHandle:
        """Call ``callback(*args)`` at a virtual time. Timers of the same time run in the order of these calls."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._serial), timer))
        return timer

    def schedule(self, when: float, function: Callable[..., object], *arguments: Any) -> None:
        """The same as :meth:`call_at`, without a context, and it cannot be cancelled."""
        heappush(self._timers, (when, next(self._serial), _Event(self, function, arguments)))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        del handle
        self._cancelled += 1
        if self._cancelled > MIN_CANCELLED and 2 * self._cancelled > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._cancelled = 0

    def _run_once(self) -> None:
        """Call the callbacks that are ready; if there are none, go to the time of the next timer first."""
        ready = self._ready
        if not ready and not self._stopping:
            while self._timers and self._timers[0][2]._cancelled:
                heappop(self._timers)
            if not self._timers:
                raise StalledError("the simulation cannot go on: no callback is ready and no timer is set. Find what "
                                   "the code waits for: a thread, a real socket, or a future that is never completed")
            self._now = max(self._now, self._timers[0][0])
        timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def run_for(self, seconds: float) -> None:
        """Run for ``seconds`` of virtual time; ``ValueError`` for a negative number."""
        if seconds < 0:
            raise ValueError("virtual time does not run backwards: give 0 seconds or more")
        stopper = self.call_at(self._now + seconds, self.stop)
        try:
            self.run_forever()
        finally:
            stopper.cancel()

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any],  # type: ignore[override]  # args vary by Python release
                        *args: Any) -> Future[Any]:
        """Call ``func(*args)`` in this thread, in the next iteration of the loop; the executor is ignored."""
        del executor
        outcome = self.create_future()

        def call() -> None:
            if outcome.done():  # cancelled before the call
                return
            try:
                result = func(*args)
            except Exception as e:  # noqa: BLE001 - goes to whoever awaits the outcome
                outcome.set_exception(e)
            else:
                outcome.set_result(result)

        self.call_soon(call)
        return outcome

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError("a simulation has no real sockets: send through a SimulatedEndpoint")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there are no threads."""

    def close(self) -> None:
        """Close the loop and drop its timers."""
        super().close()
        self._timers.clear()

    def _write_to_self(self) -> None:
        """Do nothing: the loop never sleeps."""


class VirtualClock:
    """A clock for ``ipv8.clock`` that shows the time of an event loop.

    :param loop: the event loop.
    :param wall_offset: returns the seconds by which the wall clock was set forward.
    """

    def __init__(self, loop: VirtualTimeLoop, wall_offset: Callable[[], float] = lambda: 0.0) -> None:
        self._loop = loop
        self._wall_offset = wall_offset
        self.monotonic = loop.time
        """Virtual seconds since the simulation began."""

    def time(self) -> float:
        """Seconds since the Unix epoch; :data:`EPOCH` at the beginning of the simulation, if the clock was not set."""
        return EPOCH + self._loop._now + self._wall_offset()
