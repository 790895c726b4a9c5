"""Virtual time: order, jumps, executors, and what cannot be."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING

import pytest

from ipv8.taskmanager import TaskManager
from ipv8.test.simulation import StalledError, VirtualClock, VirtualTimeLoop
from ipv8.test.simulation.loop import EPOCH, MIN_CANCELLED

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    virtual = VirtualTimeLoop()
    yield virtual
    virtual.close()


def test_sleeping_is_a_jump(loop: VirtualTimeLoop) -> None:
    before = time.monotonic()
    loop.run_until_complete(asyncio.sleep(1e6))
    assert loop.time() == 1e6
    assert time.monotonic() - before < 1000


def test_timers_fire_in_order_of_time_then_of_registration(loop: VirtualTimeLoop) -> None:
    fired: list[str] = []
    loop.call_later(2, fired.append, "late")
    loop.call_at(1, fired.append, "first")
    loop.schedule(1, fired.append, "second")
    loop.call_later(1, fired.append, "third")
    loop.call_soon(fired.append, "now")
    loop.run_for(3)
    assert fired == ["now", "first", "second", "third", "late"]
    assert loop.time() == 3


def test_running_for_a_time_ends_there(loop: VirtualTimeLoop) -> None:
    fired: list[float] = []
    for when in (1.0, 2.0, 2.5):
        loop.call_at(when, lambda: fired.append(loop.time()))
    loop.run_for(2.0)
    assert fired == [1.0, 2.0]
    loop.run_for(0)
    assert loop.time() == 2.0
    with pytest.raises(ValueError, match="backwards"):
        loop.run_for(-1)


def test_cancelled_timers_do_not_fire_and_are_cleared_out(loop: VirtualTimeLoop) -> None:
    fired: list[int] = []
    timers = [loop.call_later(1, fired.append, number) for number in range(4 * MIN_CANCELLED)]
    for timer in timers[1:]:
        timer.cancel()
    assert len(loop._timers) <= 2 * MIN_CANCELLED
    loop.run_for(2)
    assert fired == [0]


def test_timer_in_the_past_fires_without_going_back(loop: VirtualTimeLoop) -> None:
    loop.run_for(10)
    seen: list[float] = []
    loop.call_at(5, lambda: seen.append(loop.time()))
    loop.run_for(1)
    assert seen == [10]


def test_contexts_are_kept(loop: VirtualTimeLoop) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 1)
    seen: list[int] = []
    loop.call_later(1, lambda: seen.append(variable.get()), context=context)
    loop.call_later(1, lambda: seen.append(variable.get()))
    loop.run_for(2)
    assert seen == [1, 0]


def test_executor_runs_in_the_thread_of_the_loop(loop: VirtualTimeLoop) -> None:
    async def run() -> list[object]:
        running = asyncio.get_running_loop()
        first = running.run_in_executor(None, divmod, 7, 2)
        cancelled = running.run_in_executor(None, divmod, 1, 0)
        cancelled.cancel()
        failing = running.run_in_executor(None, divmod, 1, 0)
        with pytest.raises(ZeroDivisionError):
            await failing
        return [await first, await asyncio.to_thread(lambda: asyncio.get_running_loop() is loop)]

    assert loop.run_until_complete(run()) == [(3, 1), True]
    loop.run_until_complete(loop.shutdown_default_executor())


def test_waiting_for_nothing_is_an_error(loop: VirtualTimeLoop) -> None:
    future = loop.create_future()
    with pytest.raises(StalledError, match="cannot go on"):
        loop.run_until_complete(future)


def test_timeouts_and_periodic_tasks(loop: VirtualTimeLoop) -> None:
    async def run() -> list[float]:
        moments: list[float] = []
        async with TaskManager() as manager:
            manager.register_task("tick", lambda: moments.append(loop.time()), interval=10.0, delay=0.0)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 25.0)
        return moments

    assert loop.run_until_complete(run()) == [0.0, 10.0, 20.0]
    assert loop.time() == 25.0


def test_failing_event_goes_to_the_exception_handler(loop: VirtualTimeLoop) -> None:
    errors: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
    loop.schedule(1, divmod, 1, 0)
    loop.run_for(2)
    assert isinstance(errors[0], ZeroDivisionError)


def test_there_are_no_sockets(loop: VirtualTimeLoop) -> None:
    async def connect() -> None:
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))

    with pytest.raises(NotImplementedError, match="SimulatedEndpoint"):
        loop.run_until_complete(connect())


def test_clock(loop: VirtualTimeLoop) -> None:
    clock = VirtualClock(loop)
    loop.run_for(5)
    assert (clock.time(), clock.monotonic()) == (EPOCH + 5, 5)


def test_other_threads_may_call(loop: VirtualTimeLoop) -> None:
    seen: list[int] = []
    loop.call_soon_threadsafe(seen.append, 1)
    loop.run_for(0)
    assert seen == [1]
