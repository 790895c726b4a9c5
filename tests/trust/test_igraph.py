"""Scores and flows are those of igraph, a second library that knows nothing of the first one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ipv8.trust import TrustGraph
from ipv8.trust.flow import max_flow

igraph = pytest.importorskip("igraph", reason="igraph is not installed: pip install igraph")


def random_graph(seed: int, nodes: int, edges: int) -> tuple[TrustGraph, Any]:
    """The same graph for us and for igraph; a fifth of the nodes are dead ends."""
    source = random.Random(seed)
    graph = TrustGraph(b"0", walks=100, rng=seed)
    pairs: dict[tuple[int, int], float] = {}
    for _ in range(edges):
        one, other = source.randrange(nodes), source.randrange(nodes)
        if one != other and (one == 0 or one % 5):
            pairs[one, other] = pairs.get((one, other), 0.0) + source.random() + 0.1
    for (one, other), weight in pairs.items():
        graph.add(str(one).encode(), str(other).encode(), weight)
    return graph, igraph.Graph(nodes, list(pairs), directed=True, edge_attrs={"weight": list(pairs.values())})


@pytest.mark.parametrize("seed", range(5))
def test_ppr(seed: int) -> None:
    """A walk that dies is one that starts anew, after all is divided by the sum."""
    graph, oracle = random_graph(seed, 300, 1500)
    dead_ends = [node for node in range(300) if not oracle.degree(node, mode="out")]
    oracle.add_edges([(node, 0) for node in dead_ends], attributes={"weight": [1.0] * len(dead_ends)})
    expected = oracle.personalized_pagerank(damping=0.8, reset_vertices=[0], weights="weight", implementation="prpack")
    got = graph.scores((str(node).encode() for node in range(300)), "ppr", exact=True)
    assert max(abs(got[str(node).encode()] - expected[node]) for node in range(300)) < 1e-8
    assert sum(got.values()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_max_flow(seed: int) -> None:
    graph, oracle = random_graph(seed, 30, 150)
    graph.flush()
    edges = graph.table.present_edges()
    for target in range(1, 30):
        number = graph.id_of(str(target).encode())
        expected = oracle.maxflow_value(0, target, capacity="weight")
        assert (0.0 if number is None else max_flow(edges, graph.root_id, number)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_netflow(seed: int) -> None:
    graph, oracle = random_graph(seed, 12, 50)
    weights = oracle.es["weight"]
    limits = [max(0.0, oracle.maxflow_value(0, node, weights) - oracle.maxflow_value(node, 0, weights)) if node else 1e9
              for node in range(12)]
    # Each node becomes two, with an edge between them that has its capacity.
    split = igraph.Graph(24, [(node, 12 + node) for node in range(12)]
                         + [(12 + one, other) for one, other in oracle.get_edgelist()], directed=True)
    capacities = [*limits, *weights]
    for node in range(1, 12):
        assert graph.score(str(node).encode(), "netflow") == pytest.approx(
            split.maxflow_value(0, 12 + node, capacities), abs=1e-6)
