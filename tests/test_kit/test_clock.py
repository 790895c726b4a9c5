"""A clock that tests move: alone, and for the nodes of a test case."""

from __future__ import annotations

import asyncio
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipv8 import clock
from ipv8.community import Community
from ipv8.test.base import TestBase
from ipv8.test.clock import ManualClock


def test_time_stands_still_until_it_is_moved() -> None:
    with clock.use(ManualClock(wall=1000, monotonic=5)):
        assert (clock.time(), clock.monotonic()) == (1000, 5)
        assert (clock.time(), clock.monotonic()) == (1000, 5)


def test_advancing_moves_both() -> None:
    manual = ManualClock(wall=1000, monotonic=5)
    manual.advance(0.5)
    manual.advance(0)
    assert (manual.time(), manual.monotonic()) == (1000.5, 5.5)


@pytest.mark.parametrize("seconds", [3600, -3600, 0.5])
def test_stepping_moves_the_wall_clock_only(seconds: float) -> None:
    manual = ManualClock(wall=1000, monotonic=5)
    manual.step_wall(seconds)
    assert (manual.time(), manual.monotonic()) == (1000 + seconds, 5)
    manual.advance(1)
    assert (manual.time(), manual.monotonic()) == (1001 + seconds, 6)


def test_setting_the_wall_clock() -> None:
    manual = ManualClock(wall=1000, monotonic=5)
    manual.set_wall(10)
    manual.advance(1)
    assert (manual.time(), manual.monotonic()) == (11, 6)


def test_time_does_not_run_backwards() -> None:
    manual = ManualClock(monotonic=5)
    with pytest.raises(ValueError, match="step_wall"):
        manual.advance(-1)
    assert manual.monotonic() == 5


def test_the_two_begin_far_apart() -> None:
    """So that code that confuses them fails."""
    manual = ManualClock()
    assert abs(manual.time() - manual.monotonic()) > 1_000_000_000


class Quiet(Community):
    community_id = b"the quiet community."


class TestUsingIt(TestBase[Quiet]):
    """Under pytest."""

    async def setUp(self) -> None:  # type: ignore[override]  # supported in addition to unittest's rules
        super().setUp()
        self.clock = self.use_clock()
        self.initialize(Quiet, 2)

    async def test_what_nodes_note_goes_by_it(self) -> None:
        self.clock.advance(100)
        self.clock.step_wall(-1_000_000)
        self.overlay(0).walk_to(self.address(1))
        await self.deliver_messages()
        (peer,) = self.overlay(0).get_peers()
        assert peer.last_response == clock.time() == self.clock.time()

    async def test_timers_go_on(self) -> None:
        done: list[int] = []
        self.overlay(0).register_task("soon", done.append, 1, delay=0.01)
        await self.deliver_messages()
        assert done == [1]

    async def test_a_clock_that_is_given(self) -> None:
        given = ManualClock(wall=7)
        assert self.use_clock(given) is given
        assert clock.time() == 7


class TimeAtTheEnd(TestBase[Quiet]):
    """Run by unittest below."""

    __test__ = False
    unloaded_at: float

    async def runTest(self) -> None:
        case = self

        class Leaving(Quiet):
            async def unload(self) -> None:
                case.unloaded_at = clock.time()
                await super().unload()

        self.initialize(Leaving, 1)
        self.use_clock(ManualClock(wall=1))
        self.use_clock(ManualClock(wall=5))


def test_it_lasts_until_the_nodes_are_stopped() -> None:
    case, before = TimeAtTheEnd(), clock.current()
    result = unittest.TestResult()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(case.run, result).result()
    assert result.errors == result.failures == []
    assert case.unloaded_at == 5
    assert clock.current() is before
    assert clock.time() == pytest.approx(time.time(), abs=60)


async def test_the_event_loop_goes_by_its_own_time() -> None:
    with clock.use(ManualClock()) as manual:
        before = asyncio.get_running_loop().time()
        manual.advance(10_000)
        assert asyncio.get_running_loop().time() - before < 5_000
