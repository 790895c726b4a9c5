"""The scores that are counted on walks; each is defined in doc/trust.md, section 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .graph import TrustGraph

__all__ = ["BaseScore", "Hits", "MeritRank", "PersonalPageRank", "TrustScore"]


class TrustScore(Protocol):
    """A score that a graph can be given by :meth:`TrustGraph.add_score`.

    Nodes are the numbers of :meth:`TrustGraph.id_of`.
    """

    name: str

    def bind(self, graph: TrustGraph) -> None:
        """Belong to ``graph`` from now on."""

    def on_increase(self, u: int, v: int, old: float, new: float) -> None:
        """The weight of the edge from ``u`` to ``v`` has grown."""

    def on_decrease(self, u: int, v: int, old: float, new: float) -> None:
        """The weight of the edge from ``u`` to ``v`` has shrunk."""

    def value(self, v: int) -> float:
        """The score of a node."""

    def items(self) -> Iterable[tuple[int, float]]:
        """The nodes with a score other than 0, with it."""


class BaseScore:
    """What all scores here have in common: they are told of changes by the walks, or by a version number."""

    name: str

    def bind(self, graph: TrustGraph) -> None:
        """Belong to ``graph`` from now on."""
        self.graph = graph

    def on_increase(self, u: int, v: int, old: float, new: float) -> None:
        """The weight of the edge from ``u`` to ``v`` has grown."""

    def on_decrease(self, u: int, v: int, old: float, new: float) -> None:
        """The weight of the edge from ``u`` to ``v`` has shrunk."""


def _largest(counts: dict[int, int], wanted: int) -> list[tuple[int, int]]:
    """The nodes with the ``wanted`` largest counts, ties of the last one included."""
    ordered = sorted(counts.values(), reverse=True)
    least = ordered[min(wanted, len(ordered)) - 1] if ordered and wanted > 0 else 1
    return [(node, count) for node, count in counts.items() if count >= least]


class Hits(BaseScore):
    """The probability that a walk visits the node (Hopcroft and Sheldon 2007)."""

    name = "hits"

    def value(self, v: int) -> float:
        """The part of the walks that visit the node."""
        store = self.graph.store
        return len(store.visits.get(v, ())) / len(store)

    def best(self, count: int) -> list[tuple[int, float]]:
        """The nodes with the ``count`` highest scores, ties of the last one included, in any order."""
        store = self.graph.store
        walks = len(store)
        return [(node, times / walks) for node, times in _largest(
            dict(zip(store.visits, map(len, store.visits.values()), strict=True)), count)]

    def items(self) -> Iterable[tuple[int, float]]:
        """The visited nodes."""
        store = self.graph.store
        count = len(store)
        return [(node, len(visits) / count) for node, visits in store.visits.items()]


class MeritRank(Hits):
    """Hits, discounted by how much of them comes through one same other node (Nasrulin, Ishmaev, Pouwelse 2022)."""

    name = "meritrank"

    def value(self, v: int) -> float:
        """The discounted score."""
        hits = super().value(v)
        return hits * self.graph.discount(v) if hits else 0.0

    def best(self, count: int) -> list[tuple[int, float]]:
        """The nodes with the ``count`` highest scores, ties of the last one included, in any order."""
        discount = self.graph.discount
        found: list[tuple[int, float]] = []
        wanted = 2 * count + 16
        while True:
            hits = super().best(wanted)
            lowest = min((value for _, value in hits), default=0.0)
            found = [(node, value * discount(node)) for node, value in hits]
            complete = len(hits) >= len(self.graph.store.visits)
            if complete or sum(value > lowest for _, value in found) >= count:  # no other node can be among them
                return found
            wanted *= 2

    def items(self) -> Iterable[tuple[int, float]]:
        """The visited nodes."""
        discount = self.graph.discount
        return [(node, hits * discount(node)) for node, hits in super().items()]


class PersonalPageRank(BaseScore):
    """The expected number of visits, relative to that of all nodes together (Page 1998, Haveliwala 2002)."""

    name = "ppr"

    def value(self, v: int) -> float:
        """The part of all visits that are to the node."""
        store = self.graph.store
        return store.totals.get(v, 0) / store.total

    def best(self, count: int) -> list[tuple[int, float]]:
        """The nodes with the ``count`` highest scores, ties of the last one included, in any order."""
        total = self.graph.store.total
        return [(node, visits / total) for node, visits in _largest(self.graph.store.totals, count)]

    def items(self) -> Iterable[tuple[int, float]]:
        """The visited nodes."""
        store = self.graph.store
        total = store.total
        return [(node, visits / total) for node, visits in store.totals.items()]
