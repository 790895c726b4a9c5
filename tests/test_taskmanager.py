from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from asyncio import Future, all_tasks, sleep
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

from ipv8 import clock, taskmanager
from ipv8.taskmanager import (
    MAX_TASK_AGE,
    REPORT_INTERVAL,
    TaskManager,
    delay_runner,
    get_name,
    interval_runner,
    set_name,
    task,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


async def managed(main: Callable[[TaskManager], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` with a task manager."""
    async with TaskManager() as manager:
        await main(manager)


@pytest.fixture
async def manager() -> AsyncIterator[TaskManager]:
    async with TaskManager() as manager:
        yield manager


def fail() -> None:
    raise ValueError("deliberate")


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


# Construction


async def test_construction_starts_the_checker_only() -> None:
    before = len(all_tasks())
    manager = TaskManager()
    assert len(all_tasks()) == before + 1
    assert manager.get_tasks() == []
    checker = manager.get_task("_check_tasks")
    assert isinstance(checker, asyncio.Task)
    assert checker is manager._checker
    assert checker.get_name() == "TaskManager:_check_tasks"
    await manager.shutdown_task_manager()
    assert len(all_tasks()) == before


def test_construction_outside_of_a_running_loop() -> None:
    done: list[int] = []

    def work() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        manager = TaskManager()
        manager.register_task("sync", done.append, 1)
        loop.run_until_complete(manager.wait_for_tasks())
        loop.run_until_complete(manager.shutdown_task_manager())
        loop.close()

    with ThreadPoolExecutor(1) as executor:  # a thread without a loop of pytest
        executor.submit(work).result()
    assert done == [1]


# What register_task accepts


async def test_plain_function(manager: TaskManager) -> None:
    assert await manager.register_task("t", pow, 2, 5) == 32


async def test_async_function(manager: TaskManager) -> None:
    async def function(value: int) -> int:
        await sleep(0)
        return value

    assert await manager.register_task("method", function, 1) == 1
    assert await manager.register_task("partial", partial(function, 2)) == 2
    assert await manager.register_task("lambda", lambda: function(3)) == 3
    assert await manager.register_task("delayed lambda", lambda: function(4), delay=0.001) == 4
    assert await manager.register_task("mock", AsyncMock(return_value=5)) == 5


async def test_async_callable(manager: TaskManager) -> None:
    class Callme:
        async def __call__(self, value: int) -> int:
            return value

    assert await manager.register_task("t", Callme(), 3) == 3


async def test_wrong_arguments_of_async_function(manager: TaskManager) -> None:
    with pytest.raises(TypeError):
        manager.register_task("t", forever, 1)
    assert manager.get_tasks() == []


async def test_future_and_task_are_registered_as_they_are(manager: TaskManager) -> None:
    loop = asyncio.get_running_loop()
    future: Future[int] = loop.create_future()
    running = loop.create_task(forever())
    assert manager.register_task("future", future) is future
    assert manager.register_task("task", running) is running
    assert manager.get_tasks() == [future, running]
    assert running.get_name() == "TaskManager:task"
    marked: Any = future
    assert marked.get_name() == get_name(future) == "TaskManager:future"
    marked.set_name("else")
    assert marked.get_name() == "else"


async def test_name_of_a_plain_future() -> None:
    future: Future[None] = asyncio.get_running_loop().create_future()
    set_name(future, "name")
    assert get_name(future) == "name"


async def test_coroutine_object_is_rejected(manager: TaskManager) -> None:
    coroutine = forever()
    with pytest.raises(TypeError, match="uncalled"):
        manager.register_task("t", coroutine)  # type: ignore[arg-type]  # the mistake under test
    coroutine.close()


@pytest.mark.parametrize("timing", [{"delay": 1.0}, {"interval": 1.0}])
async def test_future_cannot_be_timed(manager: TaskManager, timing: dict[str, float]) -> None:
    future: Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(ValueError, match="function"):
        manager.register_task("t", future, **timing)  # type: ignore[arg-type]  # mypy merges the keywords
    assert manager.register_task("t", future, delay=0.0, interval=0.0) is future


@pytest.mark.parametrize("ignore", [ValueError, [ValueError], (BaseException,), (5,), (ValueError, KeyboardInterrupt)])
async def test_bad_ignore(manager: TaskManager, ignore: Any) -> None:
    with pytest.raises(ValueError, match="ignore"):
        manager.register_task("t", fail, ignore=ignore)


async def test_type_is_checked_before_the_rest(manager: TaskManager) -> None:
    await manager.shutdown_task_manager()
    with pytest.raises(TypeError):
        manager.register_task("t", 5, ignore=5)  # type: ignore[arg-type]  # the mistake under test


async def test_name_of_an_active_task(manager: TaskManager) -> None:
    first = manager.register_task("t", forever)
    with pytest.raises(RuntimeError, match="exists already"):
        manager.register_task("t", forever)
    assert manager.get_tasks() == [first]


async def test_names_are_hashables(manager: TaskManager) -> None:
    key = object()
    running = manager.register_task((1, key), forever)
    assert manager.get_task((1, key)) is running
    assert manager.is_pending_task_active((1, key))
    assert manager.get_anonymous_tasks("(1") == []


async def test_attributes(manager: TaskManager) -> None:
    class Frozen:
        time = staticmethod(lambda: 1234.5)
        monotonic = staticmethod(lambda: 0.0)

    class Sub(TaskManager):
        pass

    with clock.use(Frozen()):
        async with Sub() as other:
            running: Any = other.register_task("t", forever, interval=7.0)
            assert running.start_time == 1234.5
            assert running.interval == 7.0
            assert running.get_name() == "Sub:t"
            once: Any = other.register_task("once", forever)
            assert once.interval is None


async def test_one_asyncio_task_each(manager: TaskManager) -> None:
    before = len(all_tasks())
    manager.register_task("async", forever)
    manager.register_task("plain", len, ())
    manager.register_task("delay", len, (), delay=100)
    manager.register_task("interval", len, (), interval=100)
    assert len(all_tasks()) == before + 4


# Timing


async def test_runs_at_the_next_iteration(manager: TaskManager) -> None:
    calls: list[int] = []
    manager.register_task("plain", calls.append, 1)
    manager.register_task("zero", calls.append, 2, delay=0.0, interval=0.0)
    assert calls == []
    await sleep(0)
    assert calls == [1, 2]


async def test_done_task_is_listed_for_one_iteration(manager: TaskManager) -> None:
    running = manager.register_task("t", len, ())
    await sleep(0)
    assert manager.get_task("t") is running
    assert running.done()
    assert not manager.is_pending_task_active("t")
    await sleep(0)
    assert manager.get_task("t") is None


async def test_awaited_task_is_not_listed(manager: TaskManager) -> None:
    await manager.register_task("t", len, ())
    assert manager.get_tasks() == []


async def test_resolved_future_is_forgotten(manager: TaskManager) -> None:
    future: Future[int] = asyncio.get_running_loop().create_future()
    manager.register_task("t", future)
    future.set_result(1)
    await sleep(0)
    assert manager.get_tasks() == []


async def test_bare_future_is_held(manager: TaskManager) -> None:
    manager.register_task("t", asyncio.get_running_loop().create_future())
    gc.collect()
    assert len(manager.get_tasks()) == 1


def test_delay(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        loop = asyncio.get_running_loop()
        assert await manager.register_task("t", loop.time, delay=2.5) == 2.5

    run_virtually(managed(main))


@pytest.mark.parametrize(("delay", "expected"), [(None, [3, 7, 11]), (0, [0, 4, 8]), (0.0, [0, 4, 8]), (2, [2, 6, 10])])
def test_interval(run_virtually: Callable[..., None], delay: float | None, expected: list[float]) -> None:
    """The period is the time of a run plus the interval."""
    async def main(manager: TaskManager) -> None:
        loop = asyncio.get_running_loop()
        starts: list[float] = []

        async def work() -> None:
            starts.append(loop.time())
            await sleep(1)

        manager.register_task("t", work, interval=3, delay=delay)
        await sleep(11.5)
        assert starts == expected

    run_virtually(managed(main))


def test_interval_of_plain_function(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        runs: list[int] = []
        manager.register_task("t", runs.append, 1, interval=0.1)
        await sleep(0.25)
        assert runs == [1, 1]

    run_virtually(managed(main))


class LoopClock:
    """The time of the running event loop."""

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    monotonic = time


@pytest.mark.parametrize("ignore", [(), (ValueError,)])
def test_interval_goes_on_after_an_exception(run_virtually: Callable[..., None], ignore: Any,
                                             caplog: pytest.LogCaptureFixture) -> None:
    async def main(manager: TaskManager) -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        runs: list[int] = []

        def work() -> None:
            runs.append(1)
            if len(runs) != 50:
                fail()

        with clock.use(LoopClock()):
            running = manager.register_task("t", work, interval=1, ignore=ignore)
        with clock.use(LoopClock()):
            await asyncio.sleep(2 * REPORT_INTERVAL + 1.5)
        assert len(runs) == 2 * REPORT_INTERVAL + 1
        assert not running.done()
        assert manager.get_tasks() == [running]
        records = [record for record in caplog.records if "Task 't' failed" in record.getMessage()]
        assert [len(told), len(records)] == ([0, 3] if ignore else [3, 0])
        assert all("Task 't' of TaskManager failed" in context["message"]
                   and isinstance(context["exception"], ValueError) for context in told)

    run_virtually(managed(main))


def test_interval_ends_with_its_cancellation(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        async def work() -> None:
            raise asyncio.CancelledError

        running = manager.register_task("t", work, interval=1)
        await asyncio.wait([running])
        assert running.cancelled()
        assert manager.get_tasks() == []

    run_virtually(managed(main))


def test_released_task_outlives_the_shutdown(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        async def work() -> str:
            current = asyncio.current_task()
            assert current is not None
            manager.release_task(current)
            await asyncio.ensure_future(manager.shutdown_task_manager())
            return "done"

        assert await manager.register_task("t", work) == "done"

    run_virtually(managed(main))


def test_tasks_of_another_loop_are_not_waited_for(run_virtually: Callable[..., None]) -> None:
    other = asyncio.new_event_loop()
    asyncio.set_event_loop(other)
    manager = TaskManager()
    task = manager.register_task("t", asyncio.sleep, 60)
    asyncio.set_event_loop(None)

    async def main() -> None:
        begin = asyncio.get_running_loop().time()
        await manager.shutdown_task_manager()
        assert asyncio.get_running_loop().time() == begin

    run_virtually(main())
    other.run_until_complete(asyncio.sleep(0))
    assert task.cancelled()
    other.close()


def test_interval_task_cancels_itself(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        runs: list[int] = []

        def work() -> None:
            runs.append(1)
            if len(runs) == 3:
                manager.cancel_pending_task("t")

        running = manager.register_task("t", work, interval=1)
        await manager.wait_for_tasks()
        assert runs == [1, 1, 1]
        assert running.cancelled()

    run_virtually(managed(main))


def test_runners(run_virtually: Callable[..., None]) -> None:
    async def main(_: TaskManager) -> None:
        loop = asyncio.get_running_loop()
        starts: list[float] = []

        async def work(value: int) -> int:
            starts.append(loop.time())
            return value

        assert await delay_runner(1, work, 7) == 7
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(interval_runner(1, 2, work, 7), 4.5)
        assert starts == [1, 2, 4]

    run_virtually(managed(main))


# Failures


async def test_loop_hears_of_a_failure_before_the_awaiter(manager: TaskManager,
                                                          failures: list[dict[str, Any]]) -> None:
    running = manager.register_task("t", fail)
    with pytest.raises(ValueError, match="deliberate"):
        await running
    assert [context["exception"] for context in failures] == [running.exception()]
    assert "'t'" in failures[0]["message"]
    assert manager.get_tasks() == []


async def test_ignored_failure_is_logged(manager: TaskManager, failures: list[dict[str, Any]],
                                         caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="deliberate"):
        await manager.register_task("t", fail, ignore=(KeyError, ValueError))
    assert failures == []
    assert caplog.records[0].levelno == logging.ERROR
    assert "deliberate" in caplog.text


async def test_subclasses_are_ignored_too(manager: TaskManager, failures: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="deliberate"):
        await manager.register_task("t", fail, ignore=(Exception,))
    assert failures == []


async def test_cancellation_is_no_failure(manager: TaskManager, failures: list[dict[str, Any]]) -> None:
    running = manager.register_task("t", forever)
    await sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert failures == []
    assert manager.get_tasks() == []


# Cancelling and replacing


async def test_cancel(manager: TaskManager) -> None:
    running = manager.register_task("t", forever)
    cancelled = manager.cancel_pending_task("t")
    assert cancelled is running
    assert manager.get_task("t") is None
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_cancel_unknown(manager: TaskManager) -> None:
    nothing = manager.cancel_pending_task("t")
    assert nothing.done()
    assert await nothing is None


async def test_cancel_of_a_done_task_keeps_its_result(manager: TaskManager) -> None:
    manager.register_task("t", pow, 2, 2)
    await sleep(0)
    assert await manager.cancel_pending_task("t") == 4


async def test_cancel_all(manager: TaskManager) -> None:
    mine = manager.register_task("t", forever)
    assert manager.cancel_all_pending_tasks() == [manager._checker, mine]
    await sleep(0)
    await sleep(0)
    assert mine.cancelled()
    assert manager._checker.cancelled()
    assert manager.get_tasks() == []


async def test_successor_of_a_cancelled_task_is_not_lost(manager: TaskManager) -> None:
    manager.register_task("t", forever)
    await sleep(0)
    manager.cancel_pending_task("t")
    successor = manager.register_task("t", forever)
    for _ in range(3):
        await sleep(0)
    assert manager.get_task("t") is successor
    await manager.shutdown_task_manager()
    assert successor.cancelled()


async def test_successor_of_a_done_task_is_not_lost(manager: TaskManager) -> None:
    manager.register_task("t", len, ())
    other = manager.register_task("other", forever)
    await sleep(0)
    successor = manager.register_task("t", forever)
    for _ in range(3):
        await sleep(0)
    assert manager.get_tasks() == [other, successor]  # in order of registration


async def test_replace(manager: TaskManager) -> None:
    ended = []

    async def first() -> None:
        try:
            await forever()
        finally:
            await sleep(0)
            ended.append(1)

    manager.register_task("t", first)
    await sleep(0)
    running = await manager.replace_task("t", forever)
    assert ended == [1]  # registered when the old one has ended
    assert manager.get_task("t") is running


async def test_replace_nothing(manager: TaskManager) -> None:
    running = await manager.replace_task("t", pow, 2, 3, delay=0.001)
    assert await running == 8


async def test_replace_with_nonsense(manager: TaskManager) -> None:
    with pytest.raises(TypeError):
        await manager.replace_task("t", 5)


async def test_replacements_in_a_row(manager: TaskManager, failures: list[dict[str, Any]]) -> None:
    manager.register_task("t", forever)
    replacements = [manager.replace_task("t", forever) for _ in range(3)]
    last = (await asyncio.gather(*replacements))[-1]
    assert manager.get_tasks() == [last]
    assert manager._replacements == {}
    assert failures == []


async def test_replacements_in_a_row_of_timed_tasks(manager: TaskManager) -> None:
    calls: list[int] = []
    for number in range(3):
        manager.replace_task("t", calls.append, number, delay=0.001)
    for _ in range(12):
        await sleep(0)
    await manager.wait_for_tasks()
    assert calls == [2]


async def test_abandoned_replacement(manager: TaskManager) -> None:
    running = manager.register_task("t", forever)
    await sleep(0)
    manager.replace_task("t", forever).cancel()
    for _ in range(3):
        await sleep(0)
    assert running.cancelled()
    assert manager.get_tasks() == []


# Anonymous tasks, executor tasks, queries


async def test_anonymous_tasks(manager: TaskManager) -> None:
    first, second = (manager.register_anonymous_task("name", forever) for _ in range(2))
    other = manager.register_anonymous_task("other", forever, delay=5)
    assert manager.get_tasks() == [first, second, other]
    assert manager.get_anonymous_tasks("name") == [first, second]
    assert manager.get_anonymous_tasks("absent") == []
    assert manager.get_task("name 1") is first
    assert manager.get_task("other 3") is other


async def test_executor_task(manager: TaskManager) -> None:
    def where(value: int, *, plus: int = 0) -> tuple[bool, int]:
        return threading.current_thread() is threading.main_thread(), value + plus

    assert await manager.register_executor_task("t", where, 1, plus=2) == (False, 3)
    assert manager.get_tasks() == []
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        name = await manager.register_executor_task("t", lambda: threading.current_thread().name, executor=executor)
    assert name.startswith("mine")


async def test_executor_task_names(manager: TaskManager) -> None:
    release = threading.Event()
    named = manager.register_executor_task("t", release.wait)
    anonymous = manager.register_executor_task("t", release.wait, anon=True)
    assert manager.get_task("t") is named
    assert manager.get_task("t 1") is anonymous
    calls: list[int] = []
    with pytest.raises(RuntimeError, match="exists already"):
        manager.register_executor_task("t", calls.append, 1)
    release.set()
    assert [await named, await anonymous] == [True, True]
    assert calls == []


@pytest.mark.parametrize("func", [forever, partial(forever), 5])
async def test_executor_task_is_a_plain_function(manager: TaskManager, func: Any) -> None:
    with pytest.raises(TypeError):
        manager.register_executor_task("t", func)


async def test_executor_failure(manager: TaskManager, failures: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="deliberate"):
        await manager.register_executor_task("t", fail)
    assert len(failures) == 1


async def test_wait_for_tasks(manager: TaskManager, failures: list[dict[str, Any]]) -> None:
    done = []

    async def work() -> None:
        await sleep(0.001)
        done.append(1)

    manager.register_task("work", work)
    manager.register_task("fail", fail)
    manager.register_task("cancelled", forever).cancel()
    await manager.wait_for_tasks()
    assert done == [1]
    assert manager.get_tasks() == []
    assert len(failures) == 1
    await manager.wait_for_tasks()  # of which there are none


async def test_task_that_waits_for_the_others(manager: TaskManager) -> None:
    done: list[int] = []
    manager.register_task("other", done.append, 1, delay=0.001)
    await manager.register_task("waiting", manager.wait_for_tasks)
    assert done == [1]


async def test_abandoned_wait_leaves_the_tasks_alone(manager: TaskManager) -> None:
    running = manager.register_task("t", forever)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(manager.wait_for_tasks(), 0.001)
    assert not running.done()


# Shutdown


async def test_shutdown_cancels_and_waits(manager: TaskManager) -> None:
    ended = []

    async def slow(turns: int) -> None:
        try:
            await forever()
        finally:
            for _ in range(turns):
                await sleep(0)
            ended.append(turns)

    quick, late = manager.register_task("quick", slow, 0), manager.register_task("late", slow, 9)
    future = manager.register_task("future", asyncio.get_running_loop().create_future())
    await sleep(0)
    await manager.shutdown_task_manager()
    assert ended == [0, 9]
    assert quick.cancelled()
    assert late.cancelled()
    assert future.cancelled()
    assert manager.get_tasks() == []
    await manager.shutdown_task_manager()


async def test_shutdown_runs_shutdown_tasks_last(manager: TaskManager) -> None:
    order: list[Any] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            await sleep(0)
            order.append("task")

    async def asynchronous(value: int, *, plus: int) -> None:
        await sleep(0)
        order.append(value + plus)

    manager.register_task("t", work)
    manager.register_shutdown_task(asynchronous, 1, plus=2)
    manager.register_shutdown_task(order.append, "plain")
    await sleep(0)
    await manager.shutdown_task_manager()
    assert order == ["task", 3, "plain"]
    assert manager._shutdown_tasks == []
    await manager.shutdown_task_manager()
    assert len(order) == 3


async def test_failing_shutdown_task_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    manager = TaskManager()
    done: list[int] = []
    manager.register_shutdown_task(fail)
    manager.register_shutdown_task(done.append, 1)
    with pytest.raises(ValueError, match="deliberate"):
        await manager.shutdown_task_manager()
    assert done == [1]
    assert "deliberate" in caplog.text


async def test_failure_during_cancellation(failures: list[dict[str, Any]]) -> None:
    manager = TaskManager()

    async def work() -> None:
        try:
            await forever()
        finally:
            fail()

    manager.register_task("t", work)
    await sleep(0)
    await manager.shutdown_task_manager()
    assert [type(context["exception"]) for context in failures] == [ValueError]


def test_shutdown_has_a_time_limit(run_virtually: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    async def main(manager: TaskManager) -> None:
        loop = asyncio.get_running_loop()
        done: list[int] = []

        async def stubborn() -> None:
            try:
                await forever()
            finally:
                await sleep(60)

        running = manager.register_task("mule", stubborn)
        manager.register_shutdown_task(done.append, 1)
        await sleep(0)
        await manager.shutdown_task_manager()
        assert loop.time() == taskmanager.SHUTDOWN_GRACE
        assert done == [1]
        assert "mule" in caplog.text
        await asyncio.wait([running])

    run_virtually(managed(main))


async def test_task_shuts_its_own_manager_down(manager: TaskManager) -> None:
    async def work() -> str:
        await manager.shutdown_task_manager()
        await sleep(0)
        return "finished"

    other = manager.register_task("other", forever)
    assert await manager.register_task("t", work) == "finished"
    assert other.cancelled()


async def test_cancelled_shutdown_still_runs_the_shutdown_tasks(manager: TaskManager) -> None:
    done: list[int] = []

    async def slow() -> None:
        try:
            await forever()
        finally:
            await sleep(0.001)

    running = manager.register_task("t", slow)
    manager.register_shutdown_task(done.append, 1)
    await sleep(0)
    stopping = asyncio.get_running_loop().create_task(manager.shutdown_task_manager())
    await sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert done == [1]
    await asyncio.wait([running])


async def test_nothing_starts_after_shutdown(manager: TaskManager, caplog: pytest.LogCaptureFixture) -> None:
    await manager.shutdown_task_manager()
    loop = asyncio.get_running_loop()
    before = len(all_tasks())
    future: Future[None] = loop.create_future()
    calls: list[int] = []
    for outcome in (manager.register_task("t", forever), manager.register_task("t", calls.append, 1, interval=1),
                    manager.register_anonymous_task("t", forever, delay=1), manager.register_task("t", future),
                    manager.register_executor_task("t", calls.append, 1), await manager.replace_task("t", forever)):
        assert outcome.done()
        assert outcome.result() is None
    assert future.cancelled()
    assert len(caplog.records) == 6
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert len(all_tasks()) == before
    assert calls == []
    done = loop.create_future()
    done.set_result(1)
    manager.register_task("t", done)
    assert done.result() == 1


async def test_context_manager() -> None:
    before = all_tasks()
    async with TaskManager() as manager:
        running = manager.register_task("t", forever)
    assert running.cancelled()
    assert all_tasks() == before


# Timers


def test_timers_call_a_function_later(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        loop, calls, before = asyncio.get_running_loop(), list[Any](), len(all_tasks())
        manager.start_timer(2.0, lambda *args: calls.append((loop.time(), *args)), 1, "a")
        manager.start_timer(0, calls.append, "next iteration")
        assert len(all_tasks()) == before
        assert manager.get_tasks() == []
        assert calls == []
        await sleep(0)
        assert calls == ["next iteration"]
        await sleep(1.9)
        assert len(calls) == 1
        await sleep(0.2)
        assert calls[1:] == [(2.0, 1, "a")]
        assert not manager._timers

    run_virtually(managed(main))


def test_cancelled_timers(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        calls: list[int] = []
        timers = [manager.start_timer(delay, calls.append, number) for number, delay in enumerate((0, 1, 2))]
        timers[0].cancel()
        timers[1].cancel()
        timers[1].cancel()
        await sleep(3)
        assert calls == [2]
        timers[2].cancel()
        assert not manager._timers

    run_virtually(managed(main))


def test_a_timer_may_start_and_cancel_others(run_virtually: Callable[..., None]) -> None:
    async def main(manager: TaskManager) -> None:
        calls: list[float] = []

        def again(left: int) -> None:
            calls.append(asyncio.get_running_loop().time())
            other.cancel()
            if left:
                manager.start_timer(1, again, left - 1)

        other = manager.start_timer(1.5, calls.append, 0.0)
        manager.start_timer(1, again, 2)
        await sleep(10)
        assert calls == [1, 2, 3]

    run_virtually(managed(main))


@pytest.mark.parametrize("end", ["shutdown", "cancel all"])
def test_timers_end_with_their_manager(run_virtually: Callable[..., None], end: str,
                                       caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        manager, calls = TaskManager(), list[int]()
        for delay in (0, 1):
            manager.start_timer(delay, calls.append, delay)
        if end == "shutdown":
            await manager.shutdown_task_manager()
            assert not caplog.records
            manager.start_timer(1, calls.append, 3).cancel()
            manager.start_timer(0, calls.append, 4)
            assert ["the shutdown has begun" in record.getMessage() for record in caplog.records] == [True, True]
        else:
            manager.cancel_all_pending_tasks()
        await sleep(2)
        assert calls == []
        assert not manager._timers

    run_virtually(main())


async def test_what_a_timer_raises_is_reported(manager: TaskManager, failures: list[dict[str, Any]]) -> None:
    manager.start_timer(0, fail)
    await sleep(0)
    assert [str(context["exception"]) for context in failures] == ["deliberate"]
    assert not manager._timers


# Overdue tasks


def test_overdue_tasks_are_reported(run_virtually: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    class LoopClock:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.time = self.monotonic = loop.time

    async def main(manager: TaskManager) -> None:
        with clock.use(LoopClock(asyncio.get_running_loop())):
            manager.register_task("periodic", len, (), interval=50)
            manager.register_task("old", forever)
            await sleep(890)
            manager.register_task("young", forever)
            assert not caplog.records
            await sleep(11)
            assert [record.getMessage() for record in caplog.records] == [
                f"Task 'old' has been pending for more than {MAX_TASK_AGE} seconds"]
            caplog.clear()
            await sleep(600)
            assert len(caplog.records) == 2

    async def run() -> None:
        with clock.use(LoopClock(asyncio.get_running_loop())):
            await managed(main)

    run_virtually(run())


def test_a_clock_that_is_set_makes_no_task_overdue(run_virtually: Callable[..., None],
                                                   caplog: pytest.LogCaptureFixture) -> None:
    class LoopClock:
        def __init__(self) -> None:
            self.wall = 1000.0
            self.monotonic = asyncio.get_running_loop().time

        def time(self) -> float:
            return self.wall

    async def main() -> None:
        with clock.use(LoopClock()) as wall:
            async with TaskManager() as manager:
                await sleep(890)
                running: Any = manager.register_task("t", forever)
                assert running.start_time == 1000.0
                wall.wall += 1e6
                await sleep(20)
                assert not caplog.records
                wall.wall -= 2e6
                await sleep(600)
                assert "Task 't' has been pending" in caplog.text

    run_virtually(main())


# The decorator


class Worker(TaskManager):
    @task
    async def double(self, value: int, *, plus: int = 0) -> int:
        """Doc."""
        await sleep(0)
        return 2 * value + plus

    @task
    async def fail(self) -> None:
        raise ValueError("deliberate")


async def test_task_decorator(failures: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    async with Worker() as worker:
        running = worker.double(2, plus=1)
        assert worker.get_anonymous_tasks("double") == [running]
        assert isinstance(running, asyncio.Task)
        assert running.get_name() == "Worker:double 1"
        assert await running == 5
        with pytest.raises(ValueError, match="deliberate"):
            await worker.fail()
        assert failures == []
        assert "deliberate" in caplog.text
    assert Worker.double.__doc__ == "Doc."


async def test_task_decorator_after_shutdown() -> None:
    worker = Worker()
    await worker.shutdown_task_manager()
    assert await worker.double(2) is None
    await sleep(0)
    assert len(all_tasks()) == 1


def test_task_decorator_of_plain_function() -> None:
    with pytest.raises(TypeError, match="not an async function"):
        task(lambda self: None)  # type: ignore[arg-type,return-value]  # the mistake under test


async def test_eager_tasks(manager: TaskManager) -> None:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("this Python starts no task eagerly")
    asyncio.get_running_loop().set_task_factory(factory)
    assert await manager.register_task("t", pow, 2, 2) == 4
    await sleep(0)
    assert manager.get_tasks() == []
    asyncio.get_running_loop().set_task_factory(None)


async def test_timestamps_follow_the_system_by_default(manager: TaskManager) -> None:
    before = time.time()
    running: Any = manager.register_task("t", forever)
    assert before <= running.start_time <= time.time()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_raised_and_not_reported(interrupt: type[BaseException]) -> None:
    reported: list[Any] = []

    async def work() -> None:
        raise interrupt

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
        manager = TaskManager()
        manager.register_task("work", work)
        manager.register_task("again", work, interval=1.0)
        await asyncio.sleep(1)

    with pytest.raises(interrupt):
        asyncio.run(main())
    assert reported == []
