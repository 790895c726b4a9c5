"""The order in which cells are handled, and limits of bandwidth."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from ipv8 import clock
from ipv8.messaging.anonymization.scheduler import (
    FULL_BURST,
    ITEMS_AT_ONCE,
    LATE_SECONDS,
    MAX_POSTPONED,
    QUEUE_LIMIT,
    TURN,
    Bandwidth,
    FairQueue,
    Lane,
)
from ipv8.test.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def test_circuits_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(40):
        queue.put(1, number)
    queue.put(2, 100)
    queue.put(3, 200)
    order = []
    while queue.size:
        circuit_id, items = queue.take()
        order.append((circuit_id, len(items)))
    assert order == [(1, TURN), (2, 1), (3, 1), (1, 24)]
    with pytest.raises(IndexError):
        queue.take()


def test_full_queues() -> None:
    queue: FairQueue[int] = FairQueue(limit=3, total=5)
    assert [queue.put(1, number) for number in range(4)] == [True, True, True, False]
    assert [queue.put(2, number) for number in range(3)] == [True, True, False]
    assert not queue.put(3, 0)
    assert queue.size == 5
    queue.clear()
    assert queue.size == 0
    assert queue.put(3, 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=200), st.integers(1, 5))
def test_nothing_is_lost_or_overtaken(actions: list[tuple[int, bool]], turn: int) -> None:
    queue: FairQueue[int] = FairQueue()
    put: dict[int, list[int]] = {}
    taken: dict[int, list[int]] = {}
    for number, (circuit_id, is_put) in enumerate(actions):
        if is_put:
            queue.put(circuit_id, number)
            put.setdefault(circuit_id, []).append(number)
        elif queue.size:
            whose, items = queue.take(turn)
            taken.setdefault(whose, []).extend(items)
            assert 0 < len(items) <= turn
    while queue.size:
        circuit_id, items = queue.take(turn)
        taken.setdefault(circuit_id, []).extend(items)
    assert taken == put


@pytest.mark.parametrize(("rate", "size", "seconds"), [(20_000, 60, 5), (20_000, 1500, 10), (1_000_000, 1092, 2),
                                                       (50_000_000, 1500, 1)])
def test_a_limit_is_kept(rate: float, size: int, seconds: float) -> None:
    """Within 5 %, for who waits and for who drops."""
    bandwidth = Bandwidth()
    now = sent = 0.0
    while now < seconds:
        delay = bandwidth.delay(rate, now)
        if delay:
            now += delay
        else:
            count = bandwidth.turn(rate)
            bandwidth.use(rate, count * size, now)
            sent += count * size
    assert sent == pytest.approx(seconds * rate, rel=0.05)
    bandwidth = Bandwidth()
    step = size / rate / 3
    passed = sum(size for number in range(int(seconds / step)) if bandwidth.take(rate, size, number * step))
    assert passed == pytest.approx(seconds * rate, rel=0.05)


def test_no_limit() -> None:
    bandwidth = Bandwidth()
    assert bandwidth.delay(0, 1.0) == 0.0
    assert bandwidth.take(0, 10**9, 1.0)
    assert bandwidth.turn(0) == TURN


def test_a_limit_that_changes() -> None:
    bandwidth = Bandwidth()
    bandwidth.use(1000, 3000, 0.0)
    assert bandwidth.delay(1000, 0.0) > 0
    assert bandwidth.delay(0, 0.0) == 0.0
    assert bandwidth.delay(10**6, 0.0) == 0.0


def test_a_packet_that_is_larger_than_what_can_be_saved_up() -> None:
    bandwidth = Bandwidth()
    assert bandwidth.take(1000, 60_000, 0.0)
    assert not bandwidth.take(1000, 60_000, 0.1)


class Scene:
    """A lane, and what it handles."""

    def __init__(self, rate: float = 0) -> None:
        self.rate = rate
        self.handled: list[int] = []
        self.failures: list[Exception] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.lane: Lane[bytes] = Lane(self.handle, len, lambda: self.rate,
                                      lambda seconds, function: self.later.append((seconds, function)),
                                      self.failures.append)

    def handle(self, circuit_id: int, items: Sequence[Any]) -> None:
        self.handled += [circuit_id] * len(items)


async def test_items_are_handled_soon() -> None:
    scene = Scene()
    assert scene.lane.put(1, b"x")
    assert scene.handled == []
    await asyncio.sleep(0)
    assert scene.handled == [1]
    assert not scene.lane.is_serving


async def test_a_little_traffic_does_not_wait_for_a_lot() -> None:
    scene = Scene()
    for _ in range(480):
        scene.lane.put(1, b"bulk")
    scene.lane.put(2, b"small")
    while scene.lane.is_serving:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    assert scene.handled.index(2) <= TURN
    assert Counter(scene.handled) == {1: 480, 2: 1}


async def test_reading_comes_first_in_a_burst_but_not_for_ever() -> None:
    scene = Scene()
    for _ in range(MAX_POSTPONED):
        for _ in range(FULL_BURST):
            scene.lane.put(1, b"bulk")
        await asyncio.sleep(0)
        assert scene.handled == []
    for _ in range(FULL_BURST):
        scene.lane.put(1, b"bulk")
    await asyncio.sleep(0)
    assert len(scene.handled) == ITEMS_AT_ONCE


async def test_too_many_items() -> None:
    scene = Scene()
    assert [scene.lane.put(1, b"x") for _ in range(QUEUE_LIMIT + 1)] == [True] * QUEUE_LIMIT + [False]


async def test_a_limited_lane_waits() -> None:
    with clock.use(ManualClock()) as manual:
        scene = Scene(rate=100_000)
        for _ in range(20):
            scene.lane.put(1, bytes(1000))
        await asyncio.sleep(0)
        assert 0 < len(scene.handled) <= 4
        elapsed = 0.0
        while scene.later:
            seconds, function = scene.later.pop()
            manual.advance(seconds)
            elapsed += seconds
            function()
            await asyncio.sleep(0)
        assert len(scene.handled) == 20
        assert elapsed == pytest.approx(0.2, rel=0.2)


async def test_a_limited_lane_goes_on_after_its_task_was_cancelled() -> None:
    with clock.use(ManualClock()) as manual:
        scene = Scene(rate=100_000)
        while scene.lane.put(1, bytes(1000)):
            pass
        await asyncio.sleep(0)
        before = len(scene.handled)
        scene.later.clear()
        while scene.lane.put(1, bytes(1000)):
            pass
        manual.advance(2 * LATE_SECONDS)
        scene.lane.put(1, bytes(1000))
        await asyncio.sleep(0)
        assert len(scene.handled) > before


async def test_a_handler_that_raises() -> None:
    scene = Scene()

    def handle(circuit_id: int, items: Sequence[Any]) -> None:
        scene.handle(circuit_id, items)
        if circuit_id == 1:
            raise RuntimeError("a bug")

    scene.lane._handle = handle
    for circuit_id in (1, 2):
        scene.lane.put(circuit_id, b"x")
    await asyncio.sleep(0)
    assert scene.handled == [1, 2]
    assert [str(failure) for failure in scene.failures] == ["a bug"]
