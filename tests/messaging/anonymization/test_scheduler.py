"""The order in which cells are handled, and limits of bandwidth."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from ipv8 import clock
from ipv8.messaging.anonymization.scheduler import (
    FEW,
    ITEMS_AT_ONCE,
    LARGE_LIMIT,
    LATE_SECONDS,
    PACKET,
    QUEUE_LIMIT,
    TOTAL_QUEUE_LIMIT,
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
    for circuit_id, count in ((1, 40), (2, 20), (3, 10)):
        queue.put(circuit_id, range(count))
    order = []
    while queue.size:
        circuit_id, items = queue.take()
        order.append((circuit_id, len(items)))
    assert order == [(1, TURN), (2, TURN), (3, 10), (1, TURN), (2, 4), (1, 8)]
    with pytest.raises(IndexError):
        queue.take()


def test_who_waits_alone_has_longer_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put(1, range(5 * TURN))
    assert [len(queue.take()[1]) for _ in range(2)] == [4 * TURN, TURN]


def test_few_items_go_first_once_in_a_round() -> None:
    queue: FairQueue[int] = FairQueue()
    for bulk in (1, 2):
        queue.put(bulk, range(10 * TURN))
    order = []
    for _ in range(12):
        queue.put(3, [0])
        order.append(queue.take()[0])
    # Without a limit, the third circuit would always be first.
    assert order == [3, 1, 2, 3, 3, 1, 2, 3, 3, 1, 2, 3]


def test_more_than_a_few_items_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put(1, range(10 * TURN))
    for number in range(2 * FEW):
        queue.put(2, [number])
    assert [(circuit_id, len(items)) for circuit_id, items in (queue.take() for _ in range(3))] == [
        (2, FEW), (1, TURN), (2, FEW)]


def test_full_queues() -> None:
    queue: FairQueue[int] = FairQueue(limit=3, total=5)
    assert [queue.put(1, [number]) for number in range(4)] == [1, 1, 1, 0]
    assert [queue.put(2, [number]) for number in range(3)] == [1, 1, 0]
    assert not queue.put(3, [0])
    assert queue.size == 5
    queue.clear()
    assert queue.size == 0
    assert queue.put(3, [0, 1, 2, 3]) == 3
    assert queue.put(3, [4]) == 0
    assert queue.put(4, [5, 6, 7]) == 2
    assert queue.put(5, [8]) == queue.put(6, []) == 0
    assert [(circuit_id, list(items)) for circuit_id, items in (queue.take(), queue.take())] == [
        (3, [0, 1, 2]), (4, [5, 6])]
    assert queue.size == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=200), st.integers(1, 5))
def test_nothing_is_lost_or_overtaken(actions: list[tuple[int, bool]], turn: int) -> None:
    queue: FairQueue[int] = FairQueue()
    put: dict[int, list[int]] = {}
    taken: dict[int, list[int]] = {}
    for number, (circuit_id, is_put) in enumerate(actions):
        if is_put:
            queue.put(circuit_id, [number])
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
                                                       (50_000_000, 1500, 1), (100_000, 9_000, 10),
                                                       (1_000_000, 30_000, 20), (1_000_000, 65_507, 40)])
def test_a_limit_is_kept(rate: float, size: int, seconds: float) -> None:
    """Within 5 %, for who waits and for who drops, also with packets larger than what can be saved up."""
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
    assert scene.lane.put(1, [b"x"])
    assert scene.handled == []
    await asyncio.sleep(0)
    assert scene.handled == [1]
    assert not scene.lane.is_serving


async def test_a_little_traffic_does_not_wait_for_a_lot() -> None:
    scene = Scene()
    for _ in range(480):
        scene.lane.put(1, [b"bulk"])
    scene.lane.put(2, [b"small"])
    while scene.lane.is_serving:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    assert scene.handled.index(2) <= FEW
    assert Counter(scene.handled) == {1: 480, 2: 1}


async def test_other_callbacks_run_between_many_items() -> None:
    scene = Scene()
    scene.lane.put(1, [b"bulk"] * (2 * ITEMS_AT_ONCE))
    await asyncio.sleep(0)
    assert len(scene.handled) == ITEMS_AT_ONCE
    await asyncio.sleep(0)
    assert len(scene.handled) == 2 * ITEMS_AT_ONCE
    assert not scene.lane.is_serving


async def test_too_many_items() -> None:
    scene = Scene()
    assert [scene.lane.put(1, [b"x"]) for _ in range(QUEUE_LIMIT + 1)] == [1] * QUEUE_LIMIT + [0]
    assert scene.lane.put(2, [b"x"] * (QUEUE_LIMIT + 1)) == QUEUE_LIMIT


async def test_large_items_do_not_fill_the_memory() -> None:
    scene = Scene(rate=1000)
    large, usual = bytes(65_507), bytes(PACKET)
    kept = sum(scene.lane.put(number, [large] * 100) for number in range(40))
    assert LARGE_LIMIT <= kept < LARGE_LIMIT + 100
    assert scene.lane.put(50, [usual, large, usual]) == 2
    assert sum(scene.lane.put(number, [usual] * 100) for number in range(100, 140)) == TOTAL_QUEUE_LIMIT - kept - 2
    scene.lane.queue.clear()


async def test_a_limited_lane_waits() -> None:
    with clock.use(ManualClock()) as manual:
        scene = Scene(rate=100_000)
        for _ in range(20):
            scene.lane.put(1, [bytes(1000)])
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
        while scene.lane.put(1, [bytes(1000)]):
            pass
        await asyncio.sleep(0)
        before = len(scene.handled)
        scene.later.clear()
        while scene.lane.put(1, [bytes(1000)]):
            pass
        manual.advance(2 * LATE_SECONDS)
        scene.lane.put(1, [bytes(1000)])
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
        scene.lane.put(circuit_id, [b"x"])
    await asyncio.sleep(0)
    assert scene.handled == [1, 2]
    assert [str(failure) for failure in scene.failures] == ["a bug"]
