"""What a graph costs as it grows, in bytecode instructions: ``python -m benchmarks trust`` measures the time."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from ipv8.trust import TrustEvent, TrustGraph

from ..instructions import instructions

SMALL, FACTOR = 2000, 4
"""The nodes of the smaller graph, and how many times that the larger one has."""

EVENTS_PER_NODE = 10
SLACK = 1.25

Graphs = tuple[TrustGraph, TrustGraph]


def key(number: int) -> bytes:
    return b"%074d" % number


def grown(nodes: int) -> TrustGraph:
    source = random.Random(1)
    graph = TrustGraph(key(0), rng=1)
    graph.add_many(TrustEvent(key(int(nodes * source.random() ** 2)), key(int(nodes * source.random() ** 2)),
                              source.random() + 0.1) for _ in range(nodes * EVENTS_PER_NODE))
    graph.flush()
    return graph


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    return grown(SMALL), grown(SMALL * FACTOR)


def test_an_edge_costs_no_more_in_a_large_graph(graphs: Graphs) -> None:
    def cost(graph: TrustGraph) -> float:
        source = random.Random(2)
        nodes = len(graph)

        def add() -> None:
            graph.add(key(source.randrange(nodes)), key(source.randrange(nodes)))
            graph.flush()

        return mean(instructions(add) for _ in range(300))

    smaller, larger = map(cost, graphs)
    assert larger <= SLACK * smaller
    assert smaller <= 8000, "few of the walks pass the node of an edge"


@pytest.mark.parametrize("name", ["hits", "meritrank", "ppr"])
def test_the_best_cost_no_more_than_a_look_at_each(graphs: Graphs, name: str) -> None:
    def cost(graph: TrustGraph) -> int:
        graph.top(100, name)
        return instructions(lambda: graph.top(100, name))

    smaller, larger = map(cost, graphs)
    assert larger <= SLACK * FACTOR * smaller
    assert smaller <= 50 * SMALL


def test_exact_scores_cost_no_more_than_a_look_at_each_edge(graphs: Graphs) -> None:
    pytest.importorskip("scipy")

    def cost(graph: TrustGraph) -> int:
        graph.scores(name="ppr", exact=True)
        return instructions(lambda: graph.scores(name="ppr", exact=True))

    smaller, larger = map(cost, graphs)
    assert larger <= SLACK * FACTOR * smaller
