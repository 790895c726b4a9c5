"""The graph: what its methods mean, its limits, and that its walks are kept in step with its edges."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from math import inf, nan, sqrt
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.trust import SCORES, Edge, TrustEvent, TrustGraph, WalkStore
from tests.trust.helpers import graph_of, key, largest_deviation, table_of

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0


@pytest.mark.parametrize("dead_ends", [0, 20])
@pytest.mark.parametrize("kappa", [0.0, 3.0])
def test_walks_are_as_if_they_were_drawn_anew(dead_ends: int, kappa: float) -> None:
    pytest.importorskip("scipy")
    source = random.Random(3)
    graph = TrustGraph(key(0), walks=40_000, rng=7, kappa=kappa)
    for number in range(400):
        u, v = source.randrange(60 - dead_ends), source.randrange(60)
        graph.add(key(u), key(v), source.random() + 0.1, kind=source.choice("ab"))
        if number % 7 == 3:
            graph.flush()
        if number % 11 == 5:
            graph.remove(key(source.randrange(60)), key(source.randrange(60)), source.choice(["a", "b", None]))
        if number == 200:
            graph.block(key(5))
        if number == 250:
            graph.set_completeness(key(4), 0.3)
            graph.set_completeness(key(0), 0.5)
        if number == 300:
            graph.unblock(key(5))
            graph.block(key(6))
            graph.set_completeness(key(4), 0.7)
        if number == 350:
            graph.remove_node(key(9))
            graph.mark_fraud(key(8))
            graph.set_completeness(key(0), 1.0)
    graph.check()
    assert largest_deviation(graph, 40_000) < 5


def test_batches_are_like_single_events() -> None:
    pytest.importorskip("scipy")
    source = random.Random(9)
    events = [TrustEvent(key(source.randrange(30)), key(source.randrange(30)), source.random() + 0.01)
              for _ in range(300)]
    graph = TrustGraph(key(0), walks=40_000, rng=2)
    for start in range(0, 300, 50):
        graph.add_many(events[start:start + 50])
        assert graph.flush() <= 50
    graph.check()
    assert largest_deviation(graph, 40_000) < 5


NODES = st.integers(0, 7)
OPERATIONS = st.lists(st.one_of(
    st.tuples(st.just("add"), NODES, NODES, st.floats(0, 1e6), st.sampled_from(["a", "b"])),
    st.tuples(st.just("remove"), NODES, NODES, st.sampled_from([None, "a", "b"])),
    st.tuples(st.sampled_from(["remove_node", "block", "unblock", "mark_fraud"]), st.integers(1, 7)),
    st.tuples(st.just("complete"), NODES, st.floats(0, 1)),
    st.tuples(st.just("later"), st.floats(0, 1e6)),
    st.tuples(st.just("flush")),
), max_size=40)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS, st.sampled_from([None, 100.0]), st.sampled_from([0.0, 1.0]))
def test_invariants(operations: list[tuple[Any, ...]], half_life: float | None, kappa: float) -> None:
    now = [1e9]
    graph = TrustGraph(key(0), walks=60, rng=1, half_life=half_life, kappa=kappa, clock=lambda: now[0], max_nodes=7)
    for operation, *values in operations:
        if operation == "add":
            graph.add(key(values[0]), key(values[1]), values[2], kind=values[3])
        elif operation == "remove":
            graph.remove(key(values[0]), key(values[1]), values[2])
        elif operation == "complete":
            graph.set_completeness(key(values[0]), values[1])
        elif operation == "later":
            now[0] += values[0]
        elif operation == "flush":
            graph.flush()
        else:
            getattr(graph, operation)(key(values[0]))
        graph.check()
    for nodes, _ in graph.walks():
        assert nodes[0] == key(0)
        assert not any(graph.is_blocked(node) for node in nodes[1:])
    for name in SCORES:
        for other, score in graph.scores(name=name).items():
            assert score == graph.score(other, name)
    restored = TrustGraph.restore(graph.snapshot(), clock=lambda: now[0])
    restored.check()
    assert restored.scores() == graph.scores()


# Single methods

def test_events_that_count_for_nothing() -> None:
    graph = TrustGraph(key(0), walks=10)
    graph.mark_fraud(key(9))
    graph.add(key(0), key(1), 0)
    graph.add(key(0), key(0))
    graph.add(key(0), b"0" * 74)
    graph.add(key(0), key(9))
    graph.add(key(9), key(1))
    assert graph.flush() == 0
    assert graph.number_of_edges() == 0


@pytest.mark.parametrize("weight", [-1.0, nan, inf, -inf])
def test_wrong_weights(weight: float) -> None:
    graph = TrustGraph(key(0), walks=10)
    with pytest.raises(ValueError, match="weight"):
        graph.add(key(0), key(1), weight)
    with pytest.raises(ValueError, match="weight"):
        graph.observe(key(1), weight)
    with pytest.raises(ValueError, match="weight"):
        graph.add_many([TrustEvent(key(0), key(1)), TrustEvent(key(0), key(2), weight)])
    assert graph.flush() == 0


@pytest.mark.parametrize("timestamp", [nan, inf, -inf, 1 << 63, -(1 << 63), 10 ** 400])
@pytest.mark.parametrize("half_life", [None, 100.0])
def test_wrong_timestamps(timestamp: Any, half_life: float | None) -> None:
    """They are told at once, and not when the events are taken up, which would lose others."""
    graph = TrustGraph(key(0), walks=10, half_life=half_life)
    graph.add(key(0), key(1))
    with pytest.raises(ValueError, match="milliseconds"):
        graph.add(key(0), key(2), timestamp=timestamp)
    with pytest.raises(ValueError, match="milliseconds"):
        graph.add_many([TrustEvent(key(0), key(1)), TrustEvent(key(0), key(2), 1.0, timestamp)])
    graph.add(key(0), key(3), timestamp=(1 << 63) - 1)
    graph.add(key(0), key(3), timestamp=1 - (1 << 63))
    assert graph.flush() == 3
    graph.check()


def test_wrong_keys() -> None:
    graph: Any = TrustGraph(key(0), walks=10)
    with pytest.raises(TypeError, match="bytes"):
        graph.add("a", key(1))
    with pytest.raises(TypeError, match="bytes"):
        graph.add_many([TrustEvent(key(0), bytearray(b"a"))])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes"):
        TrustGraph("root")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="netflow"):
        graph.score(key(1), "unknown")


@pytest.mark.parametrize("parameters", [{"alpha": 0.0}, {"alpha": 1.0}, {"beta": 2.0}, {"tau": -1.0}, {"walks": 0},
                                        {"half_life": 0.0}, {"kappa": -1.0}, {"kappa": nan}, {"unit": 0.0},
                                        {"connectivity": "x"}, {"max_nodes": 1}])
def test_wrong_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        TrustGraph(key(0), **parameters)


def test_the_root_cannot_be_refused() -> None:
    graph = TrustGraph(key(0), walks=10)
    for method in (graph.block, graph.mark_fraud, graph.remove_node):
        with pytest.raises(ValueError, match="root"):
            method(key(0))


def test_reading_edges() -> None:
    graph = TrustGraph(key(0), walks=10)
    graph.add(key(0), key(1), 2.0, kind="a", timestamp=5000)
    graph.add(key(0), key(1), 1.0, kind="b")
    graph.add(key(1), key(2))
    assert list(graph) == [Edge(key(0), key(1), 3.0, {"a": 2.0, "b": 1.0}, 2, 5000),
                           Edge(key(1), key(2), 1.0, {"": 1.0}, 1, None)]
    assert graph.neighbours(key(1)) == [Edge(key(1), key(2), 1.0, {"": 1.0}, 1, None)]
    assert graph.neighbours(key(7)) == []
    assert graph.weight(key(0), key(1)) == 3.0
    assert graph.weight(key(1), key(0)) == 0.0
    assert (len(graph), graph.number_of_nodes(), graph.number_of_edges()) == (3, 3, 2)
    assert key(2) in graph
    assert key(3) not in graph
    graph.remove(key(0), key(1), "a")
    assert graph.neighbours(key(0))[0].kinds == {"b": 1.0}
    graph.remove(key(0), key(1), "unknown")
    graph.remove(key(0), key(1), "b")
    assert graph.neighbours(key(0)) == []
    graph.remove(key(5), key(6))


def test_blocking() -> None:
    graph = graph_of([(0, 1, 1.0), (0, 2, 3.0), (2, 3, 1.0)], walks=2000)
    graph.block(key(2))
    assert [graph.score(key(n)) for n in (2, 3)] == [0.0, 0.0]
    assert graph.score(key(1), "hits") == pytest.approx(0.8, abs=0.05)
    assert graph.weight(key(0), key(2)) == 3.0
    assert graph.rank(key(2)) is None
    assert graph.explain(key(2)).paths == ()
    graph.block(key(1))
    assert all(nodes == (key(0),) for nodes, _ in graph.walks())
    assert any(died for _, died in graph.walks())
    graph.unblock(key(1))
    graph.unblock(key(2))
    graph.unblock(key(77))
    assert graph.score(key(2), "hits") == pytest.approx(0.6, abs=0.06)
    graph.block(key(50))  # before anybody endorses it
    graph.add(key(0), key(50), 100.0)
    assert graph.score(key(50)) == 0.0
    graph.check()


@pytest.mark.parametrize("name", SCORES)
def test_frauds_have_no_score(name: str) -> None:
    graph = graph_of([(0, 1, 1.0), (1, 2, 3.0), (2, 0, 1.0)])
    graph.add(key(0), key(1))  # waits when the fraud is found
    graph.mark_fraud(key(1), b"proof")
    assert graph.score(key(1), name) == 0.0
    assert key(1) not in graph.scores(name=name)
    assert graph.is_fraud(key(1))
    assert [edge.source for edge in graph] == [key(2)]
    explanation = graph.explain(key(1))
    assert explanation.fraud
    assert explanation.proof == b"proof"
    graph.check()


def test_top_and_rank() -> None:
    graph = graph_of([(0, n, 1.0) for n in (3, 1, 2)] + [(3, 4, 1.0)], walks=3000)
    for name in SCORES:
        scores = {other: score for other, score in graph.scores(name=name).items() if other != key(0) and score > 0}
        expected = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        assert graph.top(10, name) == expected
        assert graph.top(2, name) == expected[:2]
        assert [graph.rank(other, name) for other, _ in expected] == list(range(1, len(expected) + 1))
    assert graph.rank(key(99)) is None
    assert graph.top(0) == []
    low, high = graph.confidence(key(1))
    assert low < graph.score(key(1), "hits") < high
    assert graph.confidence(key(99))[0] == 0.0


def test_explanation() -> None:
    graph = graph_of([(0, 1, 1.0), (1, 2, 1.0), (2, 1, 1.0), (2, 3, 1.0), (0, 4, 1.0), (4, 1, 1.0)], walks=4000)
    explanation = graph.explain(key(3), paths=5)
    assert [path.nodes for path in explanation.paths] == [(key(0), key(1), key(2), key(3)),
                                                          (key(0), key(4), key(1), key(2), key(3))]
    assert sum(path.share for path in explanation.paths) == pytest.approx(1.0)
    assert explanation.dominator == key(2)
    assert explanation.direct == {}
    assert (explanation.score, explanation.rank) == (graph.score(key(3)), graph.rank(key(3)))
    assert len(graph.explain(key(3), paths=1).paths) == 1
    assert graph.explain(key(1)).dominator is None
    assert graph.explain(key(1)).direct == {"": 1.0}
    root = graph.explain(key(0))
    assert [path.nodes for path in root.paths] == [(key(0),)]
    assert graph.explain(key(99)).paths == ()


def test_shares_may_be_old() -> None:
    now = [0.0]
    graph = graph_of([(0, 1, 1.0), (1, 2, 1.0)], walks=2000, share_ttl=30.0, clock=lambda: now[0])
    assert graph.share(key(2)) == 1.0
    graph.add(key(0), key(2), 1.0)
    assert graph.share(key(2)) == 1.0
    graph.add(key(1), key(3), 1.0)
    assert graph.share(key(3)) == 1.0  # it was not there when they were counted
    now[0] += 31
    assert graph.share(key(2)) < 0.7


def test_ageing() -> None:
    now = [1e9]
    graph = TrustGraph(key(0), walks=100, half_life=HOUR, clock=lambda: now[0])
    graph.add(key(0), key(1), 1.0)
    graph.add(key(0), key(2), 1.0, timestamp=int((now[0] - HOUR) * 1000))
    graph.add(key(0), key(3), 1.0, timestamp=int((now[0] + 1e6) * 1000))  # nobody can be ahead of time
    assert [graph.weight(key(0), key(n)) for n in (1, 2, 3)] == pytest.approx([1.0, 0.5, 1.0])
    now[0] += HOUR
    graph.add(key(0), key(1), 1.0)
    assert [graph.weight(key(0), key(n)) for n in (1, 2, 3)] == pytest.approx([1.5, 0.25, 0.5])
    now[0] += 5000 * HOUR
    graph.add(key(0), key(1), 1.0)
    assert graph.weight(key(0), key(1)) == pytest.approx(1.0)
    graph.add(key(1), key(4), 1.0, timestamp=0)  # counts as 30 days old
    assert graph.weight(key(1), key(4)) == pytest.approx(2.0 ** -720)
    now[0] -= 1e7  # the clock is set back
    assert graph.weight(key(0), key(1)) > 0
    graph.check()


def test_huge_weights() -> None:
    graph = graph_of([(0, 1, 1e308), (0, 1, 1e308), (0, 2, 1.7e308)])
    assert graph.score(key(1), "direct") == pytest.approx(2 / 3)
    graph.check()


def test_limit_of_nodes() -> None:
    graph = TrustGraph(key(0), walks=2000, rng=1, max_nodes=20)
    for friend in range(1, 5):
        graph.add(key(0), key(friend), 1.0)
    for number in range(10):
        graph.add(key(1), key(10 + number), 1.0)
    for number in range(100):  # strangers among themselves
        graph.add(key(100 + number), key(101 + number), 1.0)
        graph.flush()
        assert len(graph) <= 20
    assert all(key(n) in graph for n in (*range(5), *range(10, 20)))
    graph.mark_fraud(key(199))
    for number in range(100):
        graph.add(key(300 + number), key(401 + number), 1.0)
    assert len(graph) <= 20
    assert graph.is_fraud(key(199))
    graph.check()


def test_limit_of_edges() -> None:
    graph = TrustGraph(key(0), walks=200, rng=1, max_edges=50)
    graph.add(key(0), key(1))
    for number in range(500):
        graph.add(key(1000 + number % 90), key(1000 + number % 89))
    assert graph.number_of_edges() <= 50
    assert key(1) in graph
    graph.check()


def test_numbers_of_evicted_nodes_say_nothing_about_others() -> None:
    graph = TrustGraph(key(0), walks=500, rng=1, max_nodes=5, share_ttl=1e9)
    for number in range(1, 60):
        graph.add(key(number - 1), key(number))
        graph.set_completeness(key(number), 0.5)
        graph.scores()
    graph.check()
    for other in graph.table.ids:
        if graph.score(other, "hits") and other not in {key(0), key(1)}:
            assert graph.share(other) == 1.0


def test_being_told_of_changes() -> None:
    graph = graph_of([(0, 1, 1.0)], walks=2000)
    told: list[tuple[bytes, float, float]] = []

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    graph.on_change(fail)
    graph.on_change(lambda *change: told.append((*change[:1], *change[1:], graph.score(change[0]))[:3]))
    graph.add(key(0), key(2), 1.0)
    graph.flush()
    assert sorted(change[0] for change in told) == [key(1), key(2)]
    assert {change[0]: change[2] for change in told} == {other: graph.score(other) for other in (key(1), key(2))}
    told.clear()
    graph.add(key(0), key(1), 0.01)
    graph.flush()
    assert told == []
    graph.block(key(2))
    graph.flush()
    assert (key(2), 0.0) in [(change[0], change[2]) for change in told]


class Degree:
    """A score of a program: the number of endorsements."""

    name = "degree"

    def __init__(self) -> None:
        self.weights: dict[int, float] = {}

    def bind(self, graph: TrustGraph) -> None:
        self.graph = graph

    def on_increase(self, u: int, v: int, old: float, new: float) -> None:
        self.weights[v] = self.weights.get(v, 0.0) + new - old

    def on_decrease(self, u: int, v: int, old: float, new: float) -> None:
        self.weights[v] = self.weights.get(v, 0.0) + new - old

    def value(self, v: int) -> float:
        return self.weights.get(v, 0.0)

    def items(self) -> Any:
        return list(self.weights.items())


def test_scores_of_programs() -> None:
    graph = TrustGraph(key(0), walks=10, default_score=Degree())
    graph.add(key(0), key(1), 2.0)
    graph.add(key(2), key(1), 3.0)
    graph.add(key(2), key(3), 3.0)
    assert graph.score(key(1)) == 5.0
    assert graph.score(key(1), exact=True) == 5.0
    assert graph.top(1) == [(key(1), 5.0)]
    graph.remove_node(key(2))
    assert graph.score(key(1)) == pytest.approx(2.0)
    assert graph.score(key(3)) == pytest.approx(0.0)
    other = Degree()
    graph.add_score(other)
    number = graph.id_of(key(1))
    assert number is not None
    assert graph.key_of(number) == key(1)
    assert graph.id_of(key(8)) is None
    assert graph.score(key(1)) == 0.0


def test_walk_store_alone() -> None:
    graph = graph_of([(0, 1, 1.0)])
    graph.flush()
    store = WalkStore(graph, graph.root_id, 100, 0.5, random.Random(1))
    assert len(store) == 100
    store.check()


@pytest.mark.parametrize("emptied", ["remove", "remove_node", "block"])
@pytest.mark.parametrize("parameters", [{"kappa": 1.0}, {"known": 0.3}])
def test_row_that_loses_its_last_edge_and_gets_another_one(emptied: str, parameters: dict[str, float]) -> None:
    """Walks that had stopped at it because of its weight, or its records, may go on along the new edge."""
    walks = 40_000
    graph = TrustGraph(key(0), walks=walks, rng=3, kappa=parameters.get("kappa", 0.0))
    graph.add(key(0), key(1), 3.0)
    graph.add(key(1), key(2), 2.0)
    graph.set_completeness(key(1), parameters.get("known", 1.0))
    for _ in range(3):
        if emptied == "remove":
            graph.remove(key(1), key(2))
        else:
            getattr(graph, emptied)(key(2))
        graph.check()
        graph.add(key(1), key(3), 2.0)
        assert largest_deviation(graph, walks) < 5
        graph.remove(key(1), key(3))
        graph.unblock(key(2))
        graph.add(key(1), key(2), 2.0)
        assert largest_deviation(graph, walks) < 5
        graph.check()


@pytest.mark.parametrize("seed", range(12))
def test_random_changes(seed: int) -> None:
    """After additions, removals, vetoes, frauds and losses of records, all counts are those of a new graph."""
    source, walks, now = random.Random(seed), 10_000, [1e9]
    graph = TrustGraph(key(0), walks=walks, rng=seed, kappa=source.choice([0.0, 0.0, 0.5, 2.0]),
                       half_life=source.choice([None, 1000.0]), alpha=source.choice([0.15, 0.5]),
                       clock=lambda: now[0])
    size = source.choice([8, 25])
    for _ in range(150):
        u, v = key(source.randrange(size)), key(source.randrange(1, size))
        change = source.random()
        if change < 0.6:
            graph.add(u, v, source.choice([0.1, 1, 5, 1e-9]), kind=source.choice("ab"))
        elif change < 0.7:
            graph.remove(u, v, source.choice([None, "a", "b"]))
        elif change < 0.85:
            source.choice([graph.remove_node, graph.block, graph.unblock, graph.unblock])(v)
        elif change < 0.86:
            graph.mark_fraud(v)
        elif change < 0.95:
            graph.set_completeness(u, source.choice([0.0, 0.3, 1.0]))
        else:
            now[0] += 1.0
    graph.redraw() if graph.kappa and graph.half_life else graph.flush()
    graph.check()
    counted = graph.scores(name="hits")
    for other, expected in graph.scores(name="hits", exact=True).items():
        deviation = abs(counted.pop(other, 0.0) - expected)
        assert deviation <= 5 * sqrt(expected * (1 - expected) / walks) + 5 / walks
    assert all(part < 10 / walks for part in counted.values())


def test_completeness() -> None:
    edges = [(0, 1, 1.0), (1, 2, 4.0), (0, 2, 1.0)]
    graph = graph_of(edges, walks=20_000)
    before = graph.score(key(2), "barter")
    graph.set_completeness(key(1), 0.25)
    pytest.importorskip("scipy")
    assert graph.score(key(2), "hits", exact=True) == pytest.approx(0.4 + 0.4 * 0.8 * 0.25)
    assert largest_deviation(graph, 20_000) < 5
    assert graph.score(key(2), "barter") == pytest.approx(before)  # min(1, 4) is min(1, 4 / 4)
    graph.set_completeness(key(1), 0.0)
    assert graph.score(key(2), "barter") < before
    assert graph.score(key(2), "hits", exact=True) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="between 0 and 1"):
        graph.set_completeness(key(1), 1.1)


# Order and chance

def test_the_order_of_events_does_not_matter() -> None:
    source = random.Random(4)
    events = [TrustEvent(key(source.randrange(9)), key(source.randrange(9)), source.random(), None, "x")
              for _ in range(200)]
    one, other = TrustGraph(key(0), walks=10), TrustGraph(key(0), walks=10)
    one.add_many(events)
    source.shuffle(events)
    for event in events:
        other.add(*event[:3], kind="x")
        other.flush()
    expected = table_of(other)
    assert {edge: events for edge, (_, events) in table_of(one).items()} == {
        edge: events for edge, (_, events) in expected.items()}
    assert {edge: weight for edge, (weight, _) in table_of(one).items()} == pytest.approx(
        {edge: weight for edge, (weight, _) in expected.items()}, rel=1e-9)


PROGRAM = """
from ipv8.trust import SCORES, TrustGraph
graph = TrustGraph(b"root", walks=500, rng=3, share_ttl=0)
keys = [b"root"] + [b"node%d" % n for n in range(30)]
for n in range(200):
    graph.add(keys[n * n % 31], keys[n * 7 % 30], 1.0 + n % 5, kind="ab"[n % 2])
    if n % 9 == 0:
        graph.flush()
    if n % 50 == 20:
        graph.block(keys[n % 29 + 1]); graph.unblock(keys[n % 31 - 1]) if n % 31 > 1 else None
        graph.remove_node(keys[n % 23 + 1])
print(hash("x") and [(name, sorted(graph.scores(name=name).items())) for name in SCORES], list(graph.walks())[:50])
"""


def test_equal_in_every_process() -> None:
    outputs = {subprocess.run([sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, check=True,
                              capture_output=True, text=True).stdout for seed in ("1", "2", "77")}
    assert len(outputs) == 1


def test_nothing_needs_the_scientific_libraries() -> None:
    program = ("import sys\nfor name in ('numpy', 'scipy', 'networkx'): sys.modules[name] = None\n"
               "from ipv8.trust import TrustGraph\nimport ipv8.trust.strategy\ng = TrustGraph(b'r')\n"
               "g.add(b'r', b'a')\ng.top()\n"
               "for f in (lambda: g.score(b'a', exact=True), lambda: g.share(b'a', exact=True), g.to_networkx):\n"
               "    try: f()\n    except RuntimeError as e: print(e)\n")
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert output.count("numpy") == 2
    assert output.count("networkx") == 1


# Taking out

def busy_graph() -> TrustGraph:
    source = random.Random(11)
    graph = TrustGraph(key(0), walks=800, rng=4, half_life=1e6, clock=lambda: 1e9, pretrusted=[key(1)], unit=2.0)
    for _ in range(150):
        graph.add(key(source.randrange(25)), key(source.randrange(25)), source.random(), kind=source.choice("abc"),
                  timestamp=source.choice([None, 999_999_999_000]))
        graph.flush()
    graph.scores()
    graph.add(key(0), key(24), 1.0)
    graph.block(key(7))
    graph.mark_fraud(key(8), (b"one", b"other"))
    graph.set_completeness(key(3), 0.5)
    return graph


def test_snapshot() -> None:
    graph = busy_graph()
    restored = TrustGraph.restore(graph.snapshot(), rng=1, clock=lambda: 1e9)
    for name in SCORES:
        assert restored.scores(name=name) == graph.scores(name=name), name
    assert list(restored) == list(graph)
    assert list(restored.walks()) == list(graph.walks())
    assert restored.is_blocked(key(7))
    assert restored.explain(key(8)).proof == (b"one", b"other")
    assert restored.alpha == graph.alpha
    restored.check()
    for number in range(60):
        restored.add(key(number % 30), key(number % 29), 1.0)
        restored.flush()
    restored.check()


def test_damaged_snapshots() -> None:
    data = busy_graph().snapshot()
    for damaged in (b"", b"x", data[:-1], data + b"\0", data[:100] + bytes([data[100] ^ 1]) + data[101:], data[20:]):
        with pytest.raises(ValueError, match="snapshot"):
            TrustGraph.restore(damaged)


def test_json() -> None:
    graph = busy_graph()
    picture = graph.to_json()
    json.dumps(picture)
    assert picture["root"] == key(0).hex()
    assert picture["nodes"][0]["key"] == key(0).hex()
    assert picture["nodes"][0]["pos"] == [0.0, 0.0]
    assert all(-1 <= x <= 1 for node in picture["nodes"] for x in node["pos"])
    assert [node["id"] for node in picture["nodes"]] == list(range(len(picture["nodes"])))
    for source, target, weight in picture["edges"]:
        keys = [bytes.fromhex(picture["nodes"][number]["key"]) for number in (source, target)]
        assert graph.weight(*keys) == weight
    assert len(graph.to_json(depth=1)["nodes"]) == 1 + len(graph.neighbours(key(0)))
    assert len(graph.to_json(limit=5)["nodes"]) == 5
    assert len(graph.to_json(depth=0)["nodes"]) == 1


def test_networkx_and_graphml(tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    graph = busy_graph()
    taken = graph.to_networkx()
    assert set(taken) == set(graph.table.ids)
    assert {(u, v): data["weight"] for u, v, data in taken.edges(data=True)} == {
        (edge.source, edge.target): edge.weight for edge in graph}
    graph.to_graphml(tmp_path / "graph.xml")
    read = networkx.read_graphml(tmp_path / "graph.xml")
    assert {(bytes.fromhex(u), bytes.fromhex(v)): data["weight"] for u, v, data in read.edges(data=True)} == {
        (edge.source, edge.target): edge.weight for edge in graph}


def test_statistics() -> None:
    statistics = busy_graph().statistics()
    for name in ("nodes", "edges", "walks", "visits", "events", "rewalks", "violations", "last_update_us",
                 "memory_estimate"):
        assert statistics[name] >= 0
    assert statistics["walks"] == 800
