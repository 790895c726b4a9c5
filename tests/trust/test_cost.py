"""What a graph of 10 000 nodes may cost: three times the limits of a large one, in processor time."""

from __future__ import annotations

import random
from statistics import mean
from time import process_time
from typing import TYPE_CHECKING

import pytest

from ipv8.trust import TrustEvent, TrustGraph

if TYPE_CHECKING:
    from collections.abc import Callable

NODES, EVENTS = 10_000, 100_000
SLACK = 3.0


def key(number: int) -> bytes:
    return b"%074d" % number


def cost(function: Callable[[], object]) -> float:
    """The seconds of a call."""
    begin = process_time()
    function()
    return process_time() - begin


@pytest.fixture(scope="module")
def graph() -> TrustGraph:
    source = random.Random(1)
    made = TrustGraph(key(0), rng=1)
    events = [TrustEvent(key(int(NODES * source.random() ** 2)), key(int(NODES * source.random() ** 2)),
                         source.random() + 0.1) for _ in range(EVENTS)]

    def take_up() -> None:
        made.add_many(events)
        made.flush()

    assert cost(take_up) < SLACK * 60e-6 * EVENTS
    return made


def test_an_edge(graph: TrustGraph) -> None:
    source = random.Random(2)

    def add() -> None:
        graph.add(key(source.randrange(NODES)), key(source.randrange(NODES)))
        graph.flush()

    assert mean(cost(add) for _ in range(2000)) < SLACK * 25e-6


def test_the_best(graph: TrustGraph) -> None:
    for name in ("hits", "meritrank", "ppr"):
        graph.top(100, name)
        assert min(cost(lambda name=name: graph.top(100, name)) for _ in range(5)) < SLACK * 10e-3  # type: ignore[misc]


def test_exact_scores(graph: TrustGraph) -> None:
    pytest.importorskip("scipy")
    assert min(cost(lambda: graph.scores(name="ppr", exact=True)) for _ in range(3)) < SLACK * 0.5 / 10
