"""Running state machines: when they are polled, and how all of them stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ipv8.dht.driver import Driver, gather_without_errors

if TYPE_CHECKING:
    from collections.abc import Callable


class Counter:
    """Wants a number of actions one after another, and may be polled at a time that it sets."""

    def __init__(self, actions: int, pause: float | None = None) -> None:
        self.left = actions
        self.pause = pause
        self.finished = False
        self.deadline: float | None = None
        self.polls: list[float] = []

    def poll(self, now: float) -> list[int]:
        self.polls.append(now)
        if self.left == 0:
            self.finished = True
            return []
        self.left -= 1
        self.deadline = None if self.pause is None else now + self.pause
        return [self.left]


async def test_a_machine_is_polled_after_each_event() -> None:
    machine, done = Counter(3), []

    def perform(action: int, wake: Callable[[], None]) -> None:
        done.append(action)
        asyncio.get_running_loop().call_soon(wake)

    await Driver().run(machine, perform)
    assert done == [2, 1, 0]


async def test_events_during_an_action_are_not_lost() -> None:
    machine, done = Counter(3), []

    def perform(action: int, wake: Callable[[], None]) -> None:
        done.append(action)
        wake()

    await Driver().run(machine, perform)
    assert done == [2, 1, 0]


def test_a_machine_is_polled_at_its_deadline(run_virtually: Any) -> None:
    async def main() -> list[float]:
        from ipv8 import clock

        loop = asyncio.get_running_loop()

        class LoopClock:
            time = monotonic = staticmethod(loop.time)

        with clock.use(LoopClock()):
            machine = Counter(3, pause=1.5)
            await Driver().run(machine, lambda _action, _wake: None)
        return [round(now, 3) for now in machine.polls]

    assert run_virtually(main()) == [0.0, 1.5, 3.0, 4.5]


async def test_stopping_ends_all_runs() -> None:
    driver = Driver()
    machines = [Counter(5), Counter(5)]
    runs = [asyncio.ensure_future(driver.run(machine, lambda _action, _wake: None)) for machine in machines]
    await asyncio.sleep(0)
    await driver.stop()
    await asyncio.sleep(0)
    assert [run.result() for run in runs] == [None, None]
    assert [machine.left for machine in machines] == [4, 4]
    await driver.stop()
    late = Counter(5)
    await driver.run(late, lambda _action, _wake: None)
    assert late.polls == []


async def test_a_cancelled_run_does_not_hold_up_the_stop() -> None:
    driver = Driver()
    run = asyncio.ensure_future(driver.run(Counter(5, pause=100), lambda _action, _wake: None))
    await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait([run])
    await driver.stop()
    assert driver.stopped


async def test_gather_without_errors() -> None:
    async def fail() -> None:
        raise ValueError

    async def work(result: int) -> int:
        return result

    assert await gather_without_errors(work(1), fail(), work(2)) == [1, 2]
