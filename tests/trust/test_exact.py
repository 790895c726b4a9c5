"""The sum of the waves is ended early with a proven bound: it is that of all of them."""

from __future__ import annotations

import random

import pytest

from ipv8.trust import TrustGraph

np = pytest.importorskip("numpy")
pytest.importorskip("scipy")


def visits_by_solving(graph: TrustGraph) -> dict[int, float]:
    """The visits as the solution of one dense system of equations."""
    size = len(graph.table.rows)
    step = np.zeros((size, size))
    for source, targets in graph.table.present_edges().items():
        total = sum(targets.values())
        for target, weight in targets.items():
            step[target, source] = (1 - graph.alpha) * weight / total
    unit = np.zeros(size)
    unit[graph.root_id] = 1.0
    return dict(enumerate(np.linalg.solve(np.eye(size) - step, unit)))


@pytest.mark.parametrize("shape", ["random", "chain", "cycle", "two sides", "dead ends", "nobody"])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_visits(shape: str, alpha: float) -> None:
    source = random.Random(shape)
    graph = TrustGraph(b"0", walks=10, rng=1, alpha=alpha)
    for number in range(0 if shape == "nobody" else 60):
        for _ in range(4 if shape in {"random", "two sides", "dead ends"} else 1):
            other = {"random": source.randrange(60), "chain": number + 1, "cycle": (number + 1) % 60,
                     "two sides": (source.randrange(60) | 1) ^ (number & 1), "dead ends": source.randrange(240),
                     }[shape]
            graph.add(str(number).encode(), str(other).encode(), source.random() + 0.1)
    graph.flush()
    solved = visits_by_solving(graph)
    total = sum(solved.values())
    scores = graph.scores(name="ppr", exact=True)
    for number, visits in solved.items():
        key = graph.table.keys[number]
        assert key is not None
        assert scores.get(key, 0.0) == pytest.approx(visits / total, abs=1e-11)
