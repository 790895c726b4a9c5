"""Scores computed instead of counted, by sparse linear algebra: for audits and small graphs. Needs numpy and scipy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .graph import TrustGraph

__all__ = ["hits", "meritrank", "ppr", "shares"]

PRECISION = 1e-12
"""By how much all visits together may be wrong, or what is left of a walk when it is not followed any further."""

SHARE_NODES = 4096
"""Graphs with more nodes that a walk can reach are too large for exact shares."""


def _libraries() -> tuple[Any, Any, Any]:
    """The modules numpy, scipy.sparse and scipy.sparse.linalg."""
    try:
        return import_module("numpy"), import_module("scipy.sparse"), import_module("scipy.sparse.linalg")
    except ModuleNotFoundError as e:
        name = (e.name or "scipy").partition(".")[0]
        raise RuntimeError(f"exact scores need {name}, which is not installed: pip install ipv8[trust]") from e


class _System:
    """The transition probabilities of a graph, as a sparse matrix over its nodes."""

    def __init__(self, graph: TrustGraph) -> None:
        np, self.sparse, self.linalg = self.np, _, _ = _libraries()
        rows = graph.table.rows
        size = len(rows)
        lengths = np.fromiter([0 if row is None else len(row.targets) for row in rows], np.int64, size)
        present = [row for row in rows if row is not None]
        targets = np.frombuffer(b"".join([row.targets for row in present]), np.intc)
        weights = np.frombuffer(b"".join([row.weights for row in present]), np.double).copy()
        if graph.table.blocked:
            weights[np.isin(targets, sorted(graph.table.blocked))] = 0.0
        sources = np.repeat(np.arange(size), lengths)
        totals = np.bincount(sources, weights, size) if len(weights) else np.zeros(size)
        scales = np.zeros(size)
        np.divide(1.0 - graph.alpha, totals, out=scales, where=totals > 0.0)
        if graph.kappa or graph.completeness:
            scales *= np.fromiter((graph.keeps_on(node, total) for node, total in enumerate(totals)), np.double, size)
        starts = np.concatenate(([0], np.cumsum(lengths)))
        by_source = self.sparse.csr_matrix((weights * scales[sources], targets, starts), shape=(size, size))
        #: One step: the probability that a walk goes on from a node (column) to another one (row).
        self.step = by_source.T
        self.root = graph.root_id
        self.visits = self._count_visits(self.step.tocsr(), graph.alpha)

    def _count_visits(self, step: Any, alpha: float) -> Any:
        """The expected number of visits of each node by a walk from the root.

        They are the sum of the waves S^k e, where S is one step and e the root. Soon a wave is nearly a multiple of the
        one before, w' = q w. Then the rest of the sum is q / (1 - q) w', and what this leaves undone of the equation
        x = e + S x is (w' - q w) / (1 - q) at most. The error of x is at most 1 / alpha times as large, as the columns
        of S have the sum 1 - alpha at most. All norms are sums of absolute values.
        """
        np = self.np
        wave = np.zeros(step.shape[0])
        wave[self.root] = 1.0
        visits = wave.copy()
        total = 1.0
        while True:
            following = step @ wave
            visits += following
            reached = float(following.sum())
            if reached < PRECISION:
                return visits
            ratio = reached / total
            error = np.abs(following - ratio * wave).sum() / ((1.0 - ratio) * alpha) if ratio < 1.0 else 1.0
            if error < PRECISION:
                return visits + following * (ratio / (1.0 - ratio))
            wave, total = following, reached

    def reachable(self) -> _Reachable:
        """The part of the graph that a walk can get to."""
        return _Reachable(self)


class _Reachable:
    """The same for the nodes that a walk can get to only; the root is the first of them."""

    def __init__(self, system: _System) -> None:
        np = system.np
        self.np, self.sparse, self.linalg = system.np, system.sparse, system.linalg
        others = np.flatnonzero(system.visits)
        nodes = np.concatenate(([system.root], others[others != system.root]))
        self.nodes: list[int] = nodes.tolist()
        self.place = {node: place for place, node in enumerate(self.nodes)}
        self.step = system.step.tocsr()[nodes][:, nodes]
        self.visits = system.visits[nodes]

    def solver(self) -> Any:
        """Solves (1 - step) x = b for any b."""
        size = len(self.nodes)
        return self.linalg.splu((self.sparse.identity(size, format="csc") - self.step.tocsc()).tocsc()).solve

    def returns(self, places: list[int]) -> Any:
        """The expected number of visits of each of these nodes by a walk that starts there."""
        np = self.np
        solve = self.solver()
        found = np.empty(len(places))
        for index, place in enumerate(places):
            unit = np.zeros(len(self.nodes))
            unit[place] = 1.0
            found[index] = solve(unit)[place]
        return found


def ppr(graph: TrustGraph, numbers: Iterable[int] | None) -> dict[int, float]:
    """The visits of nodes over those of all."""
    visits = _System(graph).visits
    visits = visits / visits.sum()
    if numbers is None:
        reached = visits.nonzero()[0]
        return dict(zip(reached.tolist(), visits[reached].tolist(), strict=True))
    return {number: float(visits[number]) for number in numbers}


def hits(graph: TrustGraph, numbers: Iterable[int] | None) -> dict[int, float]:
    """The probabilities that a walk visits nodes."""
    return _hits(_System(graph).reachable(), numbers)


def _hits(system: _Reachable, numbers: Iterable[int] | None) -> dict[int, float]:
    wanted = list(system.nodes if numbers is None else numbers)
    reached = [number for number in wanted if number in system.place]
    places = [system.place[number] for number in reached]
    values = system.visits[places] / system.returns(places) if places else ()
    found = dict.fromkeys(wanted, 0.0)
    found.update({number: min(1.0, float(value)) for number, value in zip(reached, values, strict=True)})
    return found


def meritrank(graph: TrustGraph, numbers: Iterable[int] | None) -> dict[int, float]:
    """Hits with their discounts."""
    system = _System(graph).reachable()
    values = _hits(system, numbers)
    discounts = _shares(system, list(values))
    return {number: value * graph.discount_of(discounts[number]) for number, value in values.items()}


def shares(graph: TrustGraph, numbers: Iterable[int]) -> dict[int, float]:
    """For each node the largest part of the walks to it that met one same node before, the root not counted."""
    return _shares(_System(graph).reachable(), list(numbers))


def _shares(system: _Reachable, numbers: list[int]) -> dict[int, float]:
    """With v made absorbing, a walk meets x before v, and then v, with G'_rx / G'_xx * (G_xv / G_vv)."""
    np = system.np
    size = len(system.nodes)
    if size > SHARE_NODES:
        raise RuntimeError(f"exact shares are for graphs of up to {SHARE_NODES} nodes, not {size}: "
                           "use those of the walks")
    full = np.linalg.inv(np.eye(size) - system.step.toarray())  # full[x, y]: visits of x by a walk from y
    found = dict.fromkeys(numbers, 0.0)
    for number in numbers:
        place = system.place.get(number, 0)
        if place == 0 or full[place, 0] <= 0.0:
            continue
        # Without its row, the visits follow by one rank-one correction of the inverse (Sherman and Morrison 1950).
        column = system.step[:, [place]].toarray()[:, 0]
        correction = full @ column
        absorbed = full - np.outer(correction, full[place]) / (1.0 + correction[place])
        before = absorbed[:, 0] / np.diagonal(absorbed)
        onward = full[place] / full[place, place]
        through = before * onward / (full[place, 0] / full[place, place])
        through[[0, place]] = 0.0
        found[number] = min(1.0, float(through.max()))
    return found
