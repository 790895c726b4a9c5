"""An asyncio event loop whose time passes only when there is nothing left to do at the present moment.

Nothing ever really waits: when no callback is ready, time jumps to the next timer. Callbacks run in the same order in
every run, and functions for executors run in the loop's own thread, one after another.
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
"""Fewer cancelled timers than these are not worth clearing out."""


class StalledError(RuntimeError):
    """Somebody waits for something that can never happen: nothing is ready and no timer is set."""


class _Event:
    """What the network does at some moment: cheaper than a handle, as nobody cancels it or waits for it."""

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

    There are no sockets, pipes, signals and child processes: whatever needs them raises ``NotImplementedError``.
    """

    _ready: deque[Any]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._serial = count()
        # In tuples, because these are compared without running any Python code.
        self._timers: list[tuple[float, int, Any]] = []
        self._cancelled = 0

    def __del__(self) -> None:
        """Nothing: a loop that was never closed holds no resources of the operating system."""

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any,  # type: ignore[override]  # as typeshed, without its type variables
                   context: Context | None = None) -> asyncio.TimerHandle:
        """Call ``callback(*args)`` after so many virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any,  # type: ignore[override]  # as above
                context: Context | None = None) -> asyncio.TimerHandle:
        """Call ``callback(*args)`` at a virtual time; timers of the same time in the order of the calls."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._serial), timer))
        return timer

    def schedule(self, when: float, function: Callable[..., object], *arguments: Any) -> None:
        """As :meth:`call_at`, in no context of its own and for good."""
        heappush(self._timers, (when, next(self._serial), _Event(self, function, arguments)))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        del handle
        self._cancelled += 1
        if self._cancelled > MIN_CANCELLED and 2 * self._cancelled > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._cancelled = 0

    def _run_once(self) -> None:
        """Call what is ready; when nothing is, go to the moment of the next timer first."""
        ready = self._ready
        if not ready and not self._stopping:
            while self._timers and self._timers[0][2]._cancelled:
                heappop(self._timers)
            if not self._timers:
                raise StalledError("nothing is left that could happen: a coroutine waits for something outside of the "
                                   "simulation, such as a thread or a real socket, or for nothing at all")
            self._now = max(self._now, self._timers[0][0])
        timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def run_for(self, seconds: float) -> None:
        """Run everything that happens in the next ``seconds``; ``ValueError`` if there are less than none."""
        if seconds < 0:
            raise ValueError("virtual time does not run backwards: give 0 seconds or more")
        stopper = self.call_at(self._now + seconds, self.stop)
        try:
            self.run_forever()
        finally:
            stopper.cancel()

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any],  # type: ignore[override]  # args vary by Python release
                        *args: Any) -> Future[Any]:
        """Call ``func(*args)`` in this thread, in the next iteration of the loop, whatever the executor."""
        del executor
        outcome = self.create_future()

        def call() -> None:
            if outcome.done():  # cancelled before its turn came
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
        """Refused; ``NotImplementedError``."""
        raise NotImplementedError("a simulation has no real sockets: send through a SimulatedEndpoint")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing: there are no threads."""

    def close(self) -> None:
        """Forget all callbacks; the loop cannot be used any more."""
        super().close()
        self._timers.clear()

    def _write_to_self(self) -> None:
        """Nothing: the loop does not sleep, so nobody has to wake it up."""


class VirtualClock:
    """The time of a loop, as ``ipv8.clock`` offers it."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self.monotonic = loop.time
        """Virtual seconds since the simulation began."""

    def time(self) -> float:
        """Seconds since the Unix epoch: :data:`EPOCH` when the simulation began."""
        return EPOCH + self._loop._now
