"""Running state machines that know neither sockets nor tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Driver", "Machine", "gather_without_errors"]

ActionT_co = TypeVar("ActionT_co", covariant=True)


class Machine(Protocol[ActionT_co]):
    """Something that says what is to be done, and is told elsewhere what came of it."""

    #: Whether nothing is left to do.
    finished: bool
    #: When to poll again, by the monotonic clock, even if nothing happens; ``None`` if there is nothing to wait for.
    deadline: float | None

    def poll(self, now: float) -> Iterable[ActionT_co]:
        """What is to be done now."""


class Driver:
    """Runs machines until they are finished, or until :meth:`stop`."""

    def __init__(self) -> None:
        #: Whether nothing runs any more.
        self.stopped = False
        self._wakes: set[asyncio.Event] = set()
        self._idle = asyncio.Event()

    async def stop(self) -> None:
        """End all runs, the present and the future ones, without an error, and wait for their ends."""
        self.stopped = True
        if self._wakes:
            self._idle.clear()
            for wake in self._wakes:
                wake.set()
            await self._idle.wait()

    async def run(self, machine: Machine[ActionT_co],
                  perform: Callable[[ActionT_co, Callable[[], None]], None]) -> None:
        """Do what ``machine`` says.

        :param perform: starts an action. It is given a function to call whenever the machine was told of something.
        """
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        self._wakes.add(wake)
        timer: asyncio.TimerHandle | None = None
        try:
            while not self.stopped:
                wake.clear()
                for action in machine.poll(clock.monotonic()):
                    perform(action, wake.set)
                if machine.finished:
                    break
                if machine.deadline is not None:
                    timer = loop.call_later(max(0.0, machine.deadline - clock.monotonic()), wake.set)
                await wake.wait()
                if timer is not None:
                    timer.cancel()
        finally:
            self._wakes.discard(wake)
            if not self._wakes:
                self._idle.set()
            if timer is not None:
                timer.cancel()


async def gather_without_errors(*futures: Any) -> list[Any]:
    """Wait for everything, and return the results in order, without those that are exceptions."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    return [result for result in results if not isinstance(result, BaseException)]
