"""The scores: vectors, closed forms, oracles, and what must not change them."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.trust import SCORES, TrustGraph
from ipv8.trust.flow import max_flow, two_hop_flow
from tests.trust.helpers import graph_of, key, largest_deviation

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("scipy")
networkx = pytest.importorskip("networkx")
ALPHAS = ("0.15", "0.2", "0.5")


@pytest.mark.parametrize("alpha", ALPHAS)
def test_exact_scores_are_those_of_the_vectors(load_vectors: Callable[[str], Any], alpha: str) -> None:
    for spec in load_vectors("trust-graph")["graphs"]:
        graph = graph_of(spec["edges"], spec["root"], alpha=float(alpha), walks=1)
        scores = spec["scores"][alpha]
        for number in range(spec["nodes"]):
            is_root = number == spec["root"]
            for name, column in (("hits", "hits"), ("ppr", "ppr"), ("meritrank", "meritrank_linear")):
                expected = 1.0 if is_root and name == "meritrank" else scores[column][number]
                assert graph.score(key(number), name, exact=True) == pytest.approx(expected, abs=1e-9), (name, number)
            if not is_root:
                assert graph.share(key(number), exact=True) == pytest.approx(scores["share"][number], abs=1e-9)
                if spec["has_cut_node"][number] and scores["hits"][number] > 0:
                    assert graph.share(key(number), exact=True) == pytest.approx(1.0, abs=1e-9)


def test_counted_scores_are_near_those_of_the_vectors(load_vectors: Callable[[str], Any]) -> None:
    for spec in load_vectors("trust-graph")["graphs"]:
        graph = graph_of(spec["edges"], spec["root"], walks=60_000)
        scores = spec["scores"]["0.2"]
        for number in range(spec["nodes"]):
            if number == spec["root"]:
                continue
            assert graph.score(key(number)) == pytest.approx(scores["meritrank_linear"][number], abs=0.005)
            assert graph.score(key(number), "ppr") == pytest.approx(scores["ppr"][number], abs=0.005)
            if scores["hits"][number] > 0.01:
                visitors = scores["hits"][number] * 60_000
                assert graph.share(key(number)) == pytest.approx(scores["share"][number],
                                                                 abs=max(0.03, 5 * 0.5 / visitors ** 0.5))
        assert largest_deviation(graph, 60_000) < 5
        graph.check()


def test_flows_are_those_of_the_vectors(load_vectors: Callable[[str], Any]) -> None:
    for spec in load_vectors("trust-graph")["graphs"]:
        graph = graph_of(spec["edges"], spec["root"], walks=1)
        graph.flush()
        edges, root = graph.table.present_edges(), graph.root_id
        for number in range(spec["nodes"]):
            node = graph.id_of(key(number))
            assert graph.score(key(number), "eigentrust") == pytest.approx(
                spec["eigentrust_uniform_0.15"][number], abs=1e-9)
            if number == spec["root"]:
                continue
            if node is None:
                assert not spec["maxflow_from_root"][number]
                continue
            assert max_flow(edges, root, node) == pytest.approx(spec["maxflow_from_root"][number], abs=1e-9)
            assert max_flow(edges, node, root) == pytest.approx(spec["maxflow_to_root"][number], abs=1e-9)
            rows = defaultdict(dict, edges)
            assert two_hop_flow(rows.__getitem__, root, node) == pytest.approx(spec["flow2_from_root"][number],
                                                                              abs=1e-9)
            assert two_hop_flow(rows.__getitem__, node, root) == pytest.approx(spec["flow2_to_root"][number], abs=1e-9)
            assert graph.score(key(number), "barter") == pytest.approx(spec["barter"][number], abs=1e-9)


def random_edges(source: random.Random, nodes: int, edges: int) -> list[tuple[int, int, float]]:
    pairs = {(source.randrange(nodes), source.randrange(nodes)) for _ in range(edges)}
    return [(u, v, source.random() + 0.1) for u, v in sorted(pairs) if u != v]


@pytest.mark.parametrize("seed", range(12))
def test_netflow_is_that_of_networkx(seed: int) -> None:
    edges = random_edges(random.Random(seed), 9, 30)
    graph = graph_of(edges, walks=1)
    oracle = networkx.DiGraph()
    oracle.add_nodes_from(range(9))
    for u, v, weight in edges:
        oracle.add_edge(u, v, capacity=weight)
    capacities = {v: max(0.0, networkx.maximum_flow_value(oracle, 0, v) - networkx.maximum_flow_value(oracle, v, 0))
                  for v in range(1, 9)}
    split = networkx.DiGraph()
    for v in range(9):
        split.add_edge((v, 0), (v, 1), **({"capacity": capacities[v]} if v else {}))
    for u, v, weight in edges:
        split.add_edge((u, 1), (v, 0), capacity=weight)
    for v in range(1, 9):
        assert graph.score(key(v), "netflow") == pytest.approx(
            networkx.maximum_flow_value(split, (0, 1), (v, 1)), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_ppr_is_that_of_networkx(seed: int) -> None:
    edges = random_edges(random.Random(seed), 40, 120)
    graph = graph_of(edges, walks=1)
    oracle = networkx.DiGraph()
    oracle.add_nodes_from(range(40))
    oracle.add_weighted_edges_from(edges)
    expected = networkx.pagerank(oracle, alpha=0.8, personalization={0: 1.0}, dangling={0: 1.0}, tol=1e-13,
                                 max_iter=1000)
    for v in range(40):
        assert graph.score(key(v), "ppr", exact=True) == pytest.approx(expected[v], abs=1e-9)


def test_single_edge() -> None:
    graph = graph_of([(0, 1, 3.0)], walks=50_000)
    assert graph.score(key(1), "hits", exact=True) == pytest.approx(0.8)
    assert graph.score(key(0), "ppr", exact=True) == pytest.approx(1 / 1.8)
    assert graph.score(key(1), "ppr") == pytest.approx(0.8 / 1.8, abs=0.01)
    assert graph.score(key(1)) == graph.score(key(1), "hits")  # nobody is in between


def test_chain() -> None:
    graph = graph_of([(n, n + 1, 1.0) for n in range(10)], walks=20_000)
    for n in range(1, 11):
        assert graph.score(key(n), "hits", exact=True) == pytest.approx(0.8 ** n)
        assert graph.share(key(n), exact=True) == pytest.approx(0.0 if n == 1 else 1.0)
    assert largest_deviation(graph, 20_000) < 5


def test_star() -> None:
    graph = graph_of([(0, n, float(n)) for n in range(1, 6)])
    for n in range(1, 6):
        assert graph.score(key(n), "hits", exact=True) == pytest.approx(0.8 * n / 15)
        assert graph.score(key(n), "direct") == pytest.approx(n / 15)
        assert graph.share(key(n), exact=True) == 0.0


def test_cycle_of_two() -> None:
    graph = graph_of([(0, 1, 1.0), (1, 0, 1.0)], walks=20_000)
    assert graph.score(key(0), "ppr", exact=True) == pytest.approx(1 / 1.8)
    assert graph.score(key(1), "ppr", exact=True) == pytest.approx(0.8 / 1.8)
    assert graph.score(key(1), "ppr") == pytest.approx(0.8 / 1.8, abs=0.01)


def test_threshold_form() -> None:
    graph = graph_of([(0, 1, 1.0), (1, 2, 1.0), (0, 3, 1.0), (1, 3, 1.0)], connectivity="threshold", walks=5000)
    assert graph.score(key(2)) == pytest.approx(0.25 * graph.score(key(2), "hits"))
    assert graph.score(key(3)) == graph.score(key(3), "hits")


def test_masses_sum_up_to_one() -> None:
    graph = graph_of(random_edges(random.Random(1), 30, 70), walks=500)
    for name in ("ppr", "eigentrust"):
        for exact in (False, True):
            assert sum(graph.scores(name=name, exact=exact).values()) == pytest.approx(1.0)


def test_eigentrust_from_pretrusted_nodes_is_ppr() -> None:
    edges = random_edges(random.Random(2), 20, 60)
    graph = graph_of(edges, pretrusted=[key(0)], alpha=0.15)
    for v in range(20):
        assert graph.score(key(v), "eigentrust") == pytest.approx(graph.score(key(v), "ppr", exact=True), abs=1e-9)


def test_the_root_has_the_highest_score_in_all_but_masses() -> None:
    graph = graph_of([(0, 1, 1.0), (1, 2, 1.0)])
    for name in SCORES:
        value = graph.score(key(0), name)
        assert value < 1.0 if name in {"ppr", "eigentrust"} else value == 1.0
        assert key(0) not in dict(graph.top(10, name))
        assert graph.rank(key(0), name) is None


# What changes nothing

def exact_scores(graph: TrustGraph) -> dict[bytes, float]:
    return graph.scores(name="meritrank", exact=True)


@pytest.mark.parametrize("seed", range(5))
def test_scaling_a_row_changes_nothing(seed: int) -> None:
    edges = random_edges(random.Random(seed), 15, 50)
    scaled = [(u, v, weight * (7.0 if u == 3 else 1.0)) for u, v, weight in edges]
    assert exact_scores(graph_of(scaled)) == pytest.approx(exact_scores(graph_of(edges)), abs=1e-9)
    assert graph_of([(u, v, 8 * w) for u, v, w in edges]).scores() == graph_of(edges).scores()


def test_renaming_keys_changes_nothing() -> None:
    edges = random_edges(random.Random(3), 15, 50)
    names = {number: number for number in range(15)}
    mixed = dict(zip(range(1, 15), random.Random(4).sample(range(1, 15), 14), strict=True))
    names.update(mixed)
    one = graph_of(edges)
    other = graph_of([(names[u], names[v], w) for u, v, w in edges])
    for number, name in names.items():
        assert other.score(key(name), exact=True) == pytest.approx(one.score(key(number), exact=True), abs=1e-9)
        assert other.score(key(name)) == one.score(key(number))


@pytest.mark.parametrize("seed", range(5))
def test_own_endorsements_do_not_change_own_hits(seed: int) -> None:
    source = random.Random(seed)
    graph = graph_of(random_edges(source, 15, 50), walks=2000)
    node = key(1 + seed)
    before = graph.score(node, "hits", exact=True), graph.score(node, "hits"), graph.share(node)
    prefixes = [nodes[:nodes.index(node)] for nodes, _ in graph.walks() if node in nodes]
    for _ in range(5):
        graph.add(node, key(source.randrange(20)), 5.0)
    graph.remove(node, key(2))
    assert graph.score(node, "hits", exact=True) == pytest.approx(before[0], abs=1e-12)
    assert (graph.score(node, "hits"), graph.share(node)) == before[1:]
    assert [nodes[:nodes.index(node)] for nodes, _ in graph.walks() if node in nodes] == prefixes


def test_ageing_alone_changes_no_score() -> None:
    now = [1e9]
    graph = graph_of(random_edges(random.Random(7), 15, 50), half_life=3600.0, clock=lambda: now[0])
    names = ("hits", "meritrank", "ppr", "direct", "eigentrust")
    before = {name: graph.scores(name=name) for name in names}
    weight = graph.weight(key(0), next(iter(graph.neighbours(key(0)))).target)
    now[0] += 7200
    for name in names:
        assert graph.scores(name=name) == pytest.approx(before[name], abs=1e-12)
    assert graph.weight(key(0), next(iter(graph.neighbours(key(0)))).target) == pytest.approx(weight / 4)


# Sybils

def shape(name: str, k: int) -> list[tuple[int, int, float]]:
    fakes = range(1000, 1000 + k)
    if name == "star":
        return [(1, f, 1.0) for f in fakes]
    if name == "ping-pong":
        return [(1, f, 1.0) for f in fakes] + [(f, 1, 1.0) for f in fakes]
    if name == "clique":
        return [(1, 1000, 1.0)] + [(f, g, 1.0) for f in fakes for g in fakes if f != g]
    chain = [(1, 1000, 1.0)] + [(f, f + 1, 1.0) for f in fakes[:-1]]
    return [*chain, (fakes[-1], 1000, 1.0)] if name == "cycle" and k > 1 else chain


HONEST = [(0, 1, 1.0), (0, 2, 2.0), (2, 3, 1.0), (3, 1, 1.0), (3, 0, 1.0)]


@pytest.mark.parametrize("k", [1, 10, 60])
@pytest.mark.parametrize("name", ["chain", "star", "cycle", "clique", "ping-pong"])
def test_all_fakes_together_gain_no_more_than_the_bound(name: str, k: int) -> None:
    alpha, beta, walks = 0.2, 0.75, 10_000
    own = graph_of(HONEST).score(key(1), "hits", exact=True)
    graph = graph_of(HONEST + shape(name, k), walks=walks)
    fakes = [key(1000 + number) for number in range(k)]
    exact_hits = graph.scores(name="hits", exact=True)
    exact = graph.scores(exact=True)
    bound = own * (1 - alpha) / alpha
    gain = sum(exact_hits.get(fake, 0.0) for fake in fakes)
    assert gain <= bound + 1e-9
    assert sum(exact.get(fake, 0.0) for fake in fakes) <= (1 - beta) * bound + 1e-9
    if name == "chain":
        assert gain == pytest.approx(own * 0.8 * (1 - 0.8 ** k) / 0.2)
    if name == "star":
        assert gain == pytest.approx(own * 0.8)
    counted = sum(graph.score(fake, "hits") for fake in fakes)
    assert counted <= bound + 5 * (1 / alpha) / walks ** 0.5
    assert sum(graph.score(fake) for fake in fakes) <= (1 - beta) * bound + 5 * (1 / alpha) / walks ** 0.5
    assert exact_hits[key(1)] == pytest.approx(own, abs=1e-12)


def test_a_thousand_fakes_gain_no_more() -> None:
    for name in ("chain", "star", "cycle"):
        graph = graph_of(HONEST + shape(name, 1000), walks=5000)
        own = graph.score(key(1), "hits")
        assert sum(graph.score(key(1000 + n), "hits") for n in range(1000)) <= 4 * own + 5 * 5 / 5000 ** 0.5


@pytest.mark.parametrize("seed", range(25))
def test_random_attacks(seed: int) -> None:
    """Fakes get no more than what enters them; edges back to honest nodes lower no honest score."""
    source = random.Random(seed)
    alpha = 0.2
    honest = random_edges(source, 12, 40)
    attack = [(source.randrange(12), 12 + source.randrange(4), source.random()) for _ in range(4)]
    inside = [(12 + source.randrange(4), 12 + source.randrange(4), 1.0) for _ in range(8)]
    back = [(12 + source.randrange(4), source.randrange(12), source.random() * 3) for _ in range(5)]
    inside = [(u, v, w) for u, v, w in inside if u != v]
    without, graph = graph_of(honest + attack + inside), graph_of(honest + attack + inside + back)
    visits = graph.scores(name="ppr", exact=True)
    rows = {u: sum(edge.weight for edge in graph.neighbours(key(u))) for u in range(12)}
    total = visits[key(0)] / _visits_of_root(graph)
    entering = sum(visits.get(key(u), 0.0) / total * (1 - alpha) * edge.weight / rows[u]
                   for u in range(12) for edge in graph.neighbours(key(u)) if edge.target >= key(12))
    hits = graph.scores(name="hits", exact=True)
    assert all(hits.get(key(v), 0.0) <= entering + 1e-9 for v in range(12, 16))
    assert sum(hits.get(key(v), 0.0) for v in range(12, 16)) <= entering / alpha + 1e-9
    for name in ("hits", "meritrank"):
        before, after = without.scores(name=name, exact=True), graph.scores(name=name, exact=True)
        assert all(after.get(key(v), 0.0) >= before.get(key(v), 0.0) - 1e-9 for v in range(12)), name


def _visits_of_root(graph: TrustGraph) -> float:
    """The expected number of visits of the root: by the walks that come back to it."""
    numpy = pytest.importorskip("numpy")
    ids = graph.table.ids
    step = numpy.zeros((len(ids), len(ids)))
    for edge in graph:
        step[ids[edge.source], ids[edge.target]] = edge.weight
    sums = step.sum(axis=1, keepdims=True)
    step = numpy.divide(step, sums, out=numpy.zeros_like(step), where=sums > 0) * (1 - graph.alpha)
    return float(numpy.linalg.inv(numpy.eye(len(ids)) - step)[graph.root_id, graph.root_id])
