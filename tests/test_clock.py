"""Times by two clocks."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from ipv8 import clock


class Event:
    """Has a time by both clocks."""

    when = clock.WallTime("at")

    def __init__(self) -> None:
        self.at = -inf


def test_clocks_are_used_until_the_block_ends() -> None:
    class Constant:
        def time(self) -> float:
            return 5.0

        def monotonic(self) -> float:
            return 7.0

    before = clock.current()
    with clock.use(Constant()) as constant:
        assert clock.current() is constant
        assert (clock.time(), clock.monotonic()) == (5.0, 7.0)
    assert clock.current() is before


@pytest.mark.parametrize(("age", "expected"), [(0.0, 0.0), (10.0, 10.0), (-10.0, 0.0)])
def test_monotonic_time_of_a_wall_time(manual_clock: Any, age: float, expected: float) -> None:
    manual_clock.step_wall(-1000)
    assert clock.monotonic_of(manual_clock.time() - age) == manual_clock.monotonic() - expected
    assert clock.monotonic_of(0) == -inf


def test_an_attribute_by_both_clocks(manual_clock: Any) -> None:
    event, other = Event(), Event()
    assert (event.when, event.at) == (0, -inf)
    manual_clock.step_wall(3600)
    event.when = manual_clock.time() - 60
    assert event.when == manual_clock.time() - 60
    assert event.at == manual_clock.monotonic() - 60
    manual_clock.step_wall(-7200)
    assert event.at == manual_clock.monotonic() - 60
    event.when = 0
    assert (event.when, event.at) == (0, -inf)
    assert (other.when, other.at) == (0, -inf)
    assert isinstance(Event.when, clock.WallTime)


def test_system_clock() -> None:
    system = clock.SystemClock()
    assert system.time() > 1e9
    first = system.monotonic()
    assert system.monotonic() >= first
