"""The steps of walkers: spread over the interval, each by itself."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ipv8 import clock
from ipv8.rounds import overlay_of, walk_round

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

LOGGER = logging.getLogger("rounds")


class Walker:
    """Notes when it takes a step."""

    def __init__(self, peers: int = 0, act: Callable[[], None] = lambda: None) -> None:
        self.overlay = SimpleNamespace()
        self.peers = peers
        self.act = act
        self.steps: list[float] = []

    def get_peer_count(self) -> int:
        return self.peers

    def take_step(self) -> None:
        self.steps.append(clock.monotonic())
        self.act()


def entries(*walkers: tuple[Walker, int]) -> Any:
    return list(walkers)


def walk(run_virtually: Any, walking: Any, interval: float = 0.5) -> None:
    async def main() -> None:
        import asyncio

        with clock.use(SimpleNamespace(time=asyncio.get_running_loop().time,
                                       monotonic=asyncio.get_running_loop().time)):
            await walk_round(walking, clock.monotonic(), interval, LOGGER)

    run_virtually(main())


def test_steps_are_spread_over_the_interval(run_virtually: Any) -> None:
    walkers = [Walker() for _ in range(4)]
    walk(run_virtually, entries(*((walker, 20) for walker in walkers)))
    times = [walker.steps[0] for walker in walkers]
    assert [round(time - times[0], 3) for time in times] == [0, 0.125, 0.25, 0.375]


def test_who_has_enough_peers_rests(run_virtually: Any) -> None:
    walking = entries((Walker(peers=20), 20), (Walker(peers=19), 20), (Walker(peers=1000), -1))
    walk(run_virtually, walking)
    assert [len(walker.steps) for walker, _ in walking] == [0, 1, 1]


def test_one_that_fails_is_told_and_the_others_walk(run_virtually: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("no step")

    walking = entries((Walker(act=fail), 20), (Walker(), 20))
    walk(run_virtually, walking)
    assert [len(walker.steps) for walker, _ in walking] == [1, 1]
    assert [record.getMessage() for record in caplog.records] == ["Walker of SimpleNamespace failed to take a step"]


def test_one_that_is_removed_takes_no_step(run_virtually: Any) -> None:
    walking = entries((Walker(), 20), (Walker(), 20))
    removed = walking[1][0]
    walking[0][0].act = walking.pop
    walk(run_virtually, walking)
    assert removed.steps == []


def test_none_at_all(run_virtually: Any) -> None:
    walk(run_virtually, [])


def test_a_strategy_need_not_say_for_which_overlay_it_walks() -> None:
    walker: Any = Walker()
    assert overlay_of(walker) is walker.overlay
    del walker.overlay
    assert overlay_of(walker) is None
