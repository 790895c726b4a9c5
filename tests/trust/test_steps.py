"""Scores that take long: computed in steps, so that an event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.trust import SCORES, TrustEvent, TrustGraph, computed
from ipv8.trust.steps import SLICE_SECONDS, finish, in_slices
from tests.instructions import instructions
from tests.trust.helpers import graph_of, key

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPWISE = ("eigentrust", "barter", "netflow", "temporal")
LARGEST_STEP = 400_000
"""Bytecode instructions of a step, which take some milliseconds."""


class TickingClock:
    """Time passes each time somebody looks."""

    def __init__(self) -> None:
        self.now = 1e9

    def time(self) -> float:
        self.now += SLICE_SECONDS
        return self.now

    monotonic = time


@pytest.fixture
def ticking() -> Iterator[TickingClock]:
    with clock.use(TickingClock()) as ticks:
        yield ticks


def grown(nodes: int, edges: int) -> TrustGraph:
    source = random.Random(1)
    graph = TrustGraph(key(0), rng=1, walks=2000)
    graph.add_many(TrustEvent(key(int(nodes * source.random() ** 2)), key(int(nodes * source.random() ** 2)),
                              source.random() + 0.1) for _ in range(edges))
    for height in range(1, nodes):
        graph.temporal.record(key(source.randrange(nodes)), height, key(source.randrange(nodes)), height, 1.0)
    graph.flush()
    return graph


async def turns_during(graph: TrustGraph, name: str) -> int:
    """How often the event loop can do other things while a score is prepared."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(others())
    await graph.prepare(name)
    task.cancel()
    return turns


async def test_results_and_failures_of_steps(ticking: TickingClock) -> None:
    def steps(fails: bool) -> Any:
        yield
        if fails:
            raise ValueError("wrong")
        yield
        return 7

    assert finish(steps(False)) == await in_slices(steps(False)) == 7
    with pytest.raises(ValueError, match="wrong"):
        finish(steps(True))
    with pytest.raises(ValueError, match="wrong"):
        await in_slices(steps(True))


@pytest.mark.parametrize("name", STEPWISE)
async def test_the_loop_goes_on_while_a_score_is_prepared(ticking: TickingClock, name: str) -> None:
    nodes, edges = (50, 150) if name == "netflow" else (400, 4000)
    graph, expected = grown(nodes, edges), grown(nodes, edges)
    assert await turns_during(graph, name) > 3
    assert instructions(lambda: graph.scores(name=name)) < 100_000, "it was ready"
    assert graph.scores(name=name) == pytest.approx(expected.scores(name=name))


@pytest.mark.parametrize("name", SCORES)
async def test_any_score_can_be_prepared(name: str) -> None:
    graph = graph_of([(0, 1, 1.0), (1, 2, 2.0)])
    await graph.prepare(name)
    assert name == "temporal" or graph.score(key(1), name) > 0.0


async def test_default_score_and_unknown_names() -> None:
    graph = graph_of([(0, 1, 1.0)], default_score="eigentrust")
    await graph.prepare()
    assert graph.score(key(1)) > 0.0
    with pytest.raises(KeyError, match="nonsense"):
        await graph.prepare("nonsense")


@pytest.mark.parametrize(("name", "nodes", "edges"), [
    ("eigentrust", 8000, 20_000), ("barter", 8000, 60_000), ("temporal", 8000, 1000),
    ("netflow", computed.FLOW_NODES, computed.FLOW_EDGES)])
def test_no_step_takes_long(name: str, nodes: int, edges: int) -> None:
    graph = grown(nodes, edges)
    score: Any = graph.named(name)
    steps = score.steps()
    assert max(instructions(lambda: next(steps, None)) for _ in range(60)) < LARGEST_STEP


@pytest.mark.parametrize("name", STEPWISE)
async def test_graph_that_changes_meanwhile(ticking: TickingClock, name: str) -> None:
    """What was prepared counts for those who ask at once, and the changes for those who ask later."""
    nodes, edges = (60, 200) if name == "netflow" else (400, 4000)
    graph, expected = grown(nodes, edges), grown(nodes, edges)
    gone, new = key(3), b"somebody else"

    async def change() -> None:
        await asyncio.sleep(0)
        graph.add(key(0), key(5), 50.0)
        for target in (graph, expected):
            target.flush()
            target.remove_node(gone)
            number = target.table.ids[gone]
            target.forget(number)
            target.add(key(0), new, 5.0)
            target.flush()
            assert target.table.ids[new] == number

    task = asyncio.ensure_future(change())
    await graph.prepare(name)
    assert task.done()
    assert instructions(lambda: graph.score(key(5), name)) < 100_000, "it was ready"
    await asyncio.sleep(0)
    expected.add(key(0), key(5), 50.0)
    if name != "temporal":  # whose walks are others
        assert graph.scores(name=name) == pytest.approx(expected.scores(name=name))


async def test_a_number_that_somebody_else_got_meanwhile(ticking: TickingClock) -> None:
    graph = graph_of([(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0), (0, 4, 1.0)])
    graph.flush()

    async def change() -> None:
        await asyncio.sleep(0)
        number = graph.table.ids[key(4)]
        graph.forget(number)
        graph.add(key(2), b"new", 1.0)
        graph.flush()
        assert graph.table.ids[b"new"] == number

    task = asyncio.ensure_future(change())
    await graph.prepare("eigentrust")
    assert task.done()
    assert graph.score(b"new", "eigentrust") == 0.0
    await asyncio.sleep(0)
    assert graph.score(b"new", "eigentrust") > 0.0


async def test_several_that_prepare_at_once_compute_once(ticking: TickingClock) -> None:
    graph = grown(60, 200)
    score = graph.named("eigentrust")
    begun = 0
    restart = score._restart  # type: ignore[attr-defined]

    def count() -> Any:
        nonlocal begun
        begun += 1
        return restart()

    score._restart = count  # type: ignore[attr-defined]
    await asyncio.gather(*(graph.prepare("eigentrust") for _ in range(5)))
    assert begun == 1


async def test_flow_that_is_asked_for_meanwhile(ticking: TickingClock) -> None:
    graph, expected = grown(60, 200), grown(60, 200)
    task = asyncio.ensure_future(graph.prepare("netflow"))
    for number in (1, 2, 3):
        await asyncio.sleep(0)
        assert graph.score(key(number), "netflow") == pytest.approx(expected.score(key(number), "netflow"))
    await task
    assert graph.scores(name="netflow") == pytest.approx(expected.scores(name="netflow"))


async def test_graphs_that_are_too_large_for_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of([(0, 1, 1.0), (1, 2, 1.0)])
    for name, size in (("FLOW_NODES", 3), ("FLOW_EDGES", 2)):
        monkeypatch.setattr(computed, name, size - 1)
        with pytest.raises(RuntimeError, match="use another score"):
            graph.score(key(1), "netflow")
        with pytest.raises(RuntimeError, match="use another score"):
            await graph.prepare("netflow")
        monkeypatch.setattr(computed, name, size)
    assert graph.score(key(1), "netflow") > 0.0


def test_eviction_from_a_graph_whose_scores_are_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computed, "FLOW_NODES", 2)
    graph = graph_of([], default_score="netflow", max_nodes=5)
    graph.add(key(0), key(1), 5.0)
    for number in range(2, 9):
        graph.add(key(number), key(number + 1))
    graph.flush()
    assert len(graph) <= 5
    assert key(1) in graph


@pytest.mark.parametrize("name", ["barter", "netflow"])
def test_ageing_computes_nothing_again(name: str) -> None:
    """All weights were collected again for each node, as time goes on."""
    now = 1e9
    graph = graph_of([(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0), (1, 0, 0.25)], half_life=100.0, clock=lambda: now)
    before = graph.scores(name=name)
    weight = graph.weight(key(0), key(1))
    now += 100.0
    assert graph.weight(key(0), key(1)) == pytest.approx(weight / 2)
    fresh = graph_of([(0, 1, 0.5), (1, 2, 0.5), (2, 3, 0.5), (1, 0, 0.125)])
    assert graph.scores(name=name) == pytest.approx(fresh.scores(name=name))
    assert graph.scores(name=name) != pytest.approx(before)
    assert graph.named(name).is_current  # type: ignore[attr-defined]
