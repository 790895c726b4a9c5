"""The scores of a trust graph; each is defined in doc/trust.md, section 3."""

from __future__ import annotations

from math import atan, pi
from typing import TYPE_CHECKING, Protocol

from .flow import max_flow, two_hop_flow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .graph import TrustGraph

__all__ = ["Barter", "Direct", "EigenTrust", "Hits", "MeritRank", "NetFlow", "PersonalPageRank", "TrustScore"]

RESTART = 0.15
"""The probability with which a walk of ``eigentrust`` starts again, at each step."""

PRECISION, MOST_ITERATIONS = 1e-12, 1000
"""When the iteration of ``eigentrust`` ends: a change of all values together below this, or so many steps."""


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


class _Score:
    """What the scores of this module have in common: they are told of changes by the walks, or by a version number."""

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


class Hits(_Score):
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


class PersonalPageRank(_Score):
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


class _Computed(_Score):
    """A score that is computed when it is asked for, and kept until the graph changes."""

    absolute = False
    """Whether weights of different rows are compared."""

    def __init__(self) -> None:
        self._edges: dict[int, dict[int, float]] = {}
        self._values: dict[int, float] = {}
        self._version: object = None

    def edges(self) -> Mapping[int, Mapping[int, float]]:
        """The present edges; values that were computed for others are forgotten."""
        version = self.graph.version()
        if version != self._version:
            self._edges, self._values, self._version = self.graph.table.present_edges(self.absolute), {}, version
        return self._edges

    def compute(self, v: int) -> float:
        """The score of a node other than the root."""
        raise NotImplementedError

    def candidates(self) -> Iterable[int]:
        """The nodes that may have a score other than 0."""
        edges = self.edges()
        found: dict[int, None] = dict.fromkeys(edges)
        for row in edges.values():
            found.update(dict.fromkeys(row))
        return found

    def value(self, v: int) -> float:
        """The score of a node; 1 for the root."""
        if v == self.graph.root_id:
            return 1.0
        self.edges()
        if v not in self._values:
            self._values[v] = self.compute(v)
        return self._values[v]

    def items(self) -> Iterable[tuple[int, float]]:
        """The root and the nodes with a score other than 0."""
        root = self.graph.root_id
        scores = [(node, self.value(node)) for node in self.candidates() if node != root]
        return [(root, 1.0), *((node, value) for node, value in scores if value)]


class Direct(_Computed):
    """The part of the root's own endorsements that the node has."""

    name = "direct"

    def compute(self, v: int) -> float:
        """The weight of the root's edge over that of all of them."""
        row = self.edges().get(self.graph.root_id, {})
        return row.get(v, 0.0) / sum(row.values()) if v in row else 0.0

    def candidates(self) -> Iterable[int]:
        """Those whom the root endorses."""
        return self.edges().get(self.graph.root_id, {})


class _Flow(_Computed):
    """A score made of flows: nodes whose records are incomplete pass on as much less."""

    absolute = True

    def edges(self) -> Mapping[int, Mapping[int, float]]:
        """The present edges, those out of nodes with incomplete records scaled down."""
        known = self._version
        edges = super().edges()
        if self._version != known:
            for number, part in self.graph.completeness.items():
                if number in self._edges:
                    self._edges[number] = {target: weight * part for target, weight in self._edges[number].items()}
        return edges


class Barter(_Flow):
    """The balance of two-hop flows (Meulpolder, Pouwelse, Epema, Sips 2009)."""

    name = "barter"

    def compute(self, v: int) -> float:
        """A number between -1 and 1."""
        edges, root = self.edges(), self.graph.root_id

        def out(node: int) -> Mapping[int, float]:
            return edges.get(node, {})

        balance = two_hop_flow(out, root, v) - two_hop_flow(out, v, root)
        return atan(balance / self.graph.unit) / (pi / 2)


class NetFlow(_Flow):
    """Maximum flow through nodes that let through what they contributed on balance (Otte, de Vos, Pouwelse)."""

    name = "netflow"

    def __init__(self) -> None:
        super().__init__()
        self._capacities: dict[int, float] = {}
        self._of: object = None

    def compute(self, v: int) -> float:
        """The flow; the capacity of the node itself counts too."""
        edges, root = self.edges(), self.graph.root_id
        if self._of != self._version:
            self._capacities = {
                node: max(0.0, max_flow(edges, root, node) - max_flow(edges, node, root))
                for node in self.candidates() if node != root
            }
            self._of = self._version
        return max_flow(edges, root, v, self._capacities)


class EigenTrust(_Computed):
    """Global trust with a set of pre-trusted nodes (Kamvar, Schlosser, Garcia-Molina 2003)."""

    name = "eigentrust"

    def value(self, v: int) -> float:
        """The part of the mass that the node has, the root included."""
        self._iterate()
        return self._values.get(v, 0.0)

    def items(self) -> Iterable[tuple[int, float]]:
        """The nodes with a score other than 0."""
        self._iterate()
        return [(node, value) for node, value in self._values.items() if value]

    def _iterate(self) -> None:
        edges = self.edges()
        if self._values:
            return
        nodes = [number for number, key in enumerate(self.graph.table.keys)
                 if key is not None and number not in self.graph.table.blocked and key not in self.graph.table.frauds]
        chosen = self.graph.pretrusted
        numbers = nodes if chosen is None else [
            number for number in map(self.graph.id_of, chosen) if number in set(nodes)]
        restart = {node: 1.0 / len(numbers) for node in numbers} if numbers else {self.graph.root_id: 1.0}
        rows = {node: (sum(row.values()), row) for node, row in edges.items() if row}
        values = dict(restart)
        for _ in range(MOST_ITERATIONS):
            moved: dict[int, float] = {}
            idle = 0.0
            for node, mass in values.items():
                if node not in rows:
                    idle += mass  # goes where walks start again
                    continue
                total, row = rows[node]
                share = (1.0 - RESTART) * mass / total
                for target, weight in row.items():
                    moved[target] = moved.get(target, 0.0) + share * weight
            again = RESTART * (1.0 - idle) + idle
            for node, part in restart.items():
                moved[node] = moved.get(node, 0.0) + again * part
            change = sum(abs(moved.get(node, 0.0) - mass) for node, mass in values.items())
            values = moved
            if change < PRECISION:
                break
        self._values = values
