"""On a loop whose time jumps to the next timer, so that the time that passes is exactly known."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.taskmanager import TaskManager
from ipv8.test.quiescence import POLL_INTERVAL, ExecutorWatch, ThreadWatch, drain, is_background_task, until_quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@pytest.fixture
def passing(run_virtually: Callable[..., float]) -> Callable[..., float]:
    """How much time passes until it is quiet after a scenario."""
    async def main(scenario: Callable[[asyncio.AbstractEventLoop], Any], timeout: float) -> float:
        loop = asyncio.get_running_loop()
        kept = scenario(loop)
        await until_quiet(timeout)
        elapsed = loop.time()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        del kept
        return elapsed

    return lambda scenario, timeout=10: run_virtually(main(scenario, timeout))


async def pauses(*seconds: float) -> None:
    for pause in seconds:
        await asyncio.sleep(pause)


def start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any],
          name: str | None = None) -> asyncio.Task[Any]:
    return loop.create_task(work, name=name)


def test_nothing_to_do(passing: Callable[..., float]) -> None:
    assert passing(lambda _: None) == 0


def test_ready_callbacks(passing: Callable[..., float]) -> None:
    done: list[int] = []

    def again(loop: asyncio.AbstractEventLoop, count: int) -> None:
        done.append(count)
        if count:
            loop.call_soon(again, loop, count - 1)

    assert passing(lambda loop: again(loop, 50)) == 0
    assert done[-1] == 0


def test_timers(passing: Callable[..., float]) -> None:
    assert passing(lambda loop: loop.call_later(1, lambda: loop.call_later(1.5, int))) == 2.5
    assert passing(lambda loop: loop.call_later(11, int)) == 0
    assert passing(lambda loop: loop.call_later(1, int).cancel()) == 0


def test_sleeping_tasks(passing: Callable[..., float]) -> None:
    assert passing(lambda loop: start(loop, pauses(0, 0.5, 0, 3, 20))) == 3.5
    assert passing(lambda loop: start(loop, pauses(*[3] * 100))) == pytest.approx(9, abs=1.01)


def test_task_that_waits_for_nothing_in_particular(passing: Callable[..., float]) -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    assert passing(lambda loop: start(loop, forever())) == 0


def test_background_tasks(passing: Callable[..., float]) -> None:
    for name in ("X:_check_tasks", "X:discover_lan_addresses"):
        assert passing(lambda loop, name=name: start(loop, pauses(1, 1), name)) == 0
    assert passing(lambda loop: start(loop, pauses(1, 1), "X:other")) == 2


def test_task_managers(passing: Callable[..., float]) -> None:
    managers: list[TaskManager] = []

    def scenario(loop: asyncio.AbstractEventLoop) -> None:
        manager = TaskManager()
        managers.append(manager)
        manager.register_task("discover_lan_addresses", pauses, interval=10, delay=0)
        manager.register_task("soon", pauses, 1, delay=2)
        manager.register_task("late", pauses, delay=2000)

    assert passing(scenario, timeout=1000) == 3
    assert managers[0]._checker.cancelled()


async def test_names_of_background_tasks() -> None:
    async with TaskManager() as manager:
        assert isinstance(manager._checker, asyncio.Task)
        assert is_background_task(manager._checker)
    current = asyncio.current_task()
    assert current is not None
    assert not is_background_task(current)


async def test_executors() -> None:
    loop = asyncio.get_running_loop()
    watch = ExecutorWatch(loop)
    release = threading.Event()
    with ThreadPoolExecutor(2) as executor:
        waiting = loop.run_in_executor(executor, release.wait, 30)
        failing = loop.run_in_executor(executor, int, "no number")
        assert watch.is_busy()
        loop.call_later(0.01, release.set)
        await until_quiet(30, watch)
    assert not watch.is_busy()
    assert waiting.result() is True
    with pytest.raises(ValueError, match="no number"):
        failing.result()


async def test_calls_in_executors_have_a_time_limit() -> None:
    watch = ExecutorWatch(asyncio.get_running_loop())
    release = threading.Event()
    call = asyncio.get_running_loop().run_in_executor(None, release.wait, 30)
    await until_quiet(0.01, watch)
    assert not call.done()
    release.set()
    await call


@pytest.mark.parametrize(("seconds", "elapsed"), [(0.0, 0.02), (0.035, 0.06), (99.0, 1.0)])
def test_loops_that_show_nothing(passing: Callable[..., float], seconds: float, elapsed: float,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are watched instead, until there are none twice in a row."""
    import ipv8.test.quiescence as module

    monkeypatch.setattr(module, "hasattr", lambda *_: False, raising=False)
    background = "X:_check_tasks"
    outcome = passing(lambda loop: (start(loop, pauses(seconds)), start(loop, pauses(99), background)), timeout=1)
    assert outcome == pytest.approx(elapsed, abs=0.0101)


@pytest.mark.parametrize(("seconds", "elapsed"), [(0.035, 0.06), (0.5, 0.52), (99.0, 0.02)])
def test_timers_beside_open_sockets(passing: Callable[..., float], seconds: float, elapsed: float,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """As the timers of requests are; those of tasks in the background are not waited for."""
    import ipv8.test.quiescence as module

    monkeypatch.setattr(module, "_has_sockets", lambda _: True)
    managers: list[TaskManager] = []

    def scenario(loop: asyncio.AbstractEventLoop) -> None:
        managers.append(TaskManager())
        managers[0].start_timer(seconds, int)
        start(loop, pauses(99), "X:discover_lan_addresses")

    assert passing(scenario, timeout=1) == pytest.approx(elapsed, abs=0.0101)
    managers[0].cancel_all_pending_tasks()
class OtherThread:
    """Calls a virtual loop at given times while it sleeps, as another thread would."""

    def __init__(self, loop: Any, *times: float) -> None:
        self.done: list[float] = []
        self._loop = loop
        self._times = [*times]
        self._select = loop._selector.select
        loop._selector.select = self.select

    def select(self, timeout: float | None = None) -> Any:
        """Sleep, but not past the next time."""
        if timeout and self._times and self._times[0] <= self._loop.now + timeout:
            self._loop.now = when = self._times.pop(0)
            self._loop.call_soon_threadsafe(self.done.append, when)
            timeout = 0
        return self._select(timeout)


@pytest.mark.parametrize(("times", "elapsed"), [
    ((), POLL_INTERVAL),
    ((0.004,), 2 * POLL_INTERVAL),
    ((0.004, 0.008), 2 * POLL_INTERVAL),
    ((0.004, 0.013, 0.024), 4 * POLL_INTERVAL),
    ((0.004, 0.024), 2 * POLL_INTERVAL),
    (tuple(0.004 + number / 100 for number in range(50)), 0.1),
], ids=str)
def test_calls_by_other_threads(run_virtually: Callable[..., Any], times: tuple[float, ...], elapsed: float) -> None:
    """Delivery goes on as long as the next call comes within 10 ms, up to the time limit."""
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        threads, other = ThreadWatch(loop), OtherThread(loop, *times)
        await until_quiet(0.1, threads=threads)
        assert loop.time() == pytest.approx(elapsed)
        assert threads.calls == len(other.done)
        return other.done

    assert run_virtually(main()) == [when for when in times if when < elapsed]


def test_what_calls_by_other_threads_lead_to(run_virtually: Callable[..., Any]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        threads, other = ThreadWatch(loop), OtherThread(loop, 0.004)
        other.done = type("Later", (list,), {"append": lambda _, when: loop.call_later(3, int)})()
        await until_quiet(10, threads=threads)
        assert loop.time() == pytest.approx(3.004 + POLL_INTERVAL)

    run_virtually(main())


def test_calls_by_other_threads_where_tasks_are_watched(run_virtually: Callable[..., Any],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    import ipv8.test.quiescence as module

    monkeypatch.setattr(module, "hasattr", lambda *_: False, raising=False)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        threads, other = ThreadWatch(loop), OtherThread(loop, 0.004, 0.015)
        await until_quiet(10, threads=threads)
        assert other.done == [0.004, 0.015]
        assert loop.time() == pytest.approx(0.04)

    run_virtually(main())


async def test_drain() -> None:
    done: list[int] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, loop.call_soon, done.append, 1)
    loop.call_later(30, done.append, 2)
    await drain()
    assert done == [1]


async def test_draining_ends() -> None:
    busy = True
    loop = asyncio.get_running_loop()

    def again() -> None:
        if busy:
            loop.call_soon(again)

    again()
    await drain()
    busy = False
    await drain()


def test_what_waits_behind_a_slow_callback_gets_its_time() -> None:
    """A pause of the garbage collector or of the machine must not leave messages undelivered."""
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        done: list[int] = []

        def again(count: int) -> None:
            done.append(count)
            if count:
                loop.call_soon(again, count - 1)

        loop.call_soon(time.sleep, 0.2)
        loop.call_soon(again, 20)
        await until_quiet(0.1)
        return done

    assert asyncio.run(main())[-1] == 0


def test_slow_callbacks_without_end() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        calls = 0

        def again() -> None:
            nonlocal calls
            calls += 1
            time.sleep(2 * POLL_INTERVAL)
            loop.call_soon(again)

        loop.call_soon(again)
        await until_quiet(5 * POLL_INTERVAL)
        return calls

    assert 5 <= asyncio.run(main()) <= 7
