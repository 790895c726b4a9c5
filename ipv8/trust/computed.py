"""The scores that are computed from the edges; each is defined in doc/trust.md, section 3."""

from __future__ import annotations

from math import atan, pi
from typing import TYPE_CHECKING

from .flow import FlowNetwork
from .scores import BaseScore
from .steps import STEP_ITEMS, finish

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

__all__ = ["Barter", "Computed", "Direct", "EigenTrust", "NetFlow"]

RESTART = 0.15
"""The probability with which a walk of ``eigentrust`` starts again, at each step."""

PRECISION, MOST_ITERATIONS = 1e-12, 1000
"""When the iteration of ``eigentrust`` ends: a change of all values together below this, or so many steps."""

FLOW_NODES, FLOW_EDGES = 1024, 8192
"""Graphs with more nodes or edges are too large for ``netflow``, which needs three maximum flows for each node."""


class Computed(BaseScore):
    """A score that is computed when it is asked for, and kept until the graph changes."""

    def __init__(self) -> None:
        self._made: int | None = None
        self._pinned = False

    @property
    def is_current(self) -> bool:
        """Whether what is kept is that of the graph as it is, or is to be taken for that."""
        return self._pinned or self._made == self.graph.version()[0]

    def pin(self) -> None:
        """Take what is kept for current until :meth:`unpin`, although the graph may have changed since."""
        self._pinned = True

    def unpin(self) -> None:
        """Look at changes of the graph again."""
        self._pinned = False

    def steps(self) -> Generator[None, None, None]:
        """Compute the values of all nodes, in steps between which the graph may change, unless they are current."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Compute the values now, unless they are current."""
        finish(self.steps())

    def _still_there(self, values: dict[int, float], keys: list[bytes | None]) -> dict[int, float]:
        """The values of the nodes that still have the keys that they had."""
        present = self.graph.table.keys
        return values if present == keys else {
            node: value for node, value in values.items() if node < len(keys) and present[node] is keys[node]}


class Direct(BaseScore):
    """The part of the root's own endorsements that the node has."""

    name = "direct"

    def value(self, v: int) -> float:
        """The weight of the root's edge over that of all of them; 1 for the root."""
        if v == self.graph.root_id:
            return 1.0
        row = self.graph.table.rows[self.graph.root_id]
        return row.open_weight(v) / row.total if row is not None and row.total > 0.0 else 0.0

    def items(self) -> Iterable[tuple[int, float]]:
        """The root and those whom it endorses."""
        root = self.graph.root_id
        row = self.graph.table.rows[root]
        return [(root, 1.0), *(() if row is None or row.total <= 0.0 else (
            (node, weight / row.total) for node, weight in row.open_edges()))]


class _Absolute(Computed):
    """A score in which weights of different rows are compared. Values are kept as they were at some time."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[int, float] = {}
        self._time = 0.0

    def _aged(self) -> float:
        """By what values are multiplied to be those of now, as all weights age alike."""
        half_life = self.graph.half_life
        return 1.0 if half_life is None else 2.0 ** min(-(self.graph.clock() - self._time) / half_life, 1000.0)


class Barter(_Absolute):
    """The balance of two-hop flows (Meulpolder, Pouwelse, Epema, Sips 2009)."""

    name = "barter"

    def value(self, v: int) -> float:
        """A number between -1 and 1; 1 for the root."""
        root, now = self.graph.root_id, self.graph.clock()
        if v == root:
            return 1.0
        return self._score(self._flow(root, v, now) - self._flow(v, root, now))

    def items(self) -> Iterable[tuple[int, float]]:
        """The root and the nodes with a score other than 0."""
        self.refresh()
        factor = self._aged()
        return [(self.graph.root_id, 1.0), *((node, self._score(balance * factor))
                                             for node, balance in self._values.items() if balance)]

    def _score(self, balance: float) -> float:
        return atan(balance / self.graph.unit) / (pi / 2)

    def _weights(self, node: int, now: float) -> Iterator[tuple[int, float]]:
        """The present edges out of a node; of incomplete records as much less."""
        table = self.graph.table
        row = table.rows[node]
        if row is not None and node not in table.blocked:
            scale = table.present(row, now) * self.graph.completeness.get(node, 1.0)
            for target, weight in row.open_edges():
                yield target, weight * scale

    def _weight(self, node: int, target: int, now: float) -> float:
        """The present weight of one edge."""
        table = self.graph.table
        row = table.rows[node]
        if row is None or node in table.blocked:
            return 0.0
        return row.open_weight(target) * table.present(row, now) * self.graph.completeness.get(node, 1.0)

    def _flow(self, source: int, target: int, now: float) -> float:
        """The flow over paths of at most two edges: each middle node passes on the lesser of its two edges."""
        return sum((weight if middle == target else min(weight, self._weight(middle, target, now))
                    for middle, weight in self._weights(source, now)), 0.0)

    def steps(self) -> Generator[None, None, None]:
        """Follow the edges from the root, and then those to it, each over two hops."""
        if self.is_current:
            return
        table, root = self.graph.table, self.graph.root_id
        keys, version, now = list(table.keys), self.graph.version()[0], self.graph.clock()
        balance: dict[int, float] = {}
        count = 0
        for middle, weight in list(self._weights(root, now)):
            balance[middle] = balance.get(middle, 0.0) + weight
            for target, onward in self._weights(middle, now):
                if target != root:
                    balance[target] = balance.get(target, 0.0) + min(weight, onward)
                count += 1
            if count >= STEP_ITEMS:
                count = 0
                yield
        for middle in list(table.into[root] or ()):
            weight = self._weight(middle, root, now)
            if not weight:
                continue
            balance[middle] = balance.get(middle, 0.0) - weight
            for source in list(table.into[middle] or ()):
                if source != root:
                    balance[source] = balance.get(source, 0.0) - min(weight, self._weight(source, middle, now))
                count += 1
                if count >= STEP_ITEMS:
                    count = 0
                    yield
        self._values, self._made, self._time = self._still_there(balance, keys), version, now


class NetFlow(_Absolute):
    """Maximum flow through nodes that let through what they contributed on balance (Otte, de Vos, Pouwelse)."""

    name = "netflow"

    def __init__(self) -> None:
        super().__init__()
        self._edges: dict[int, dict[int, float]] = {}
        self._capacities: dict[int, float] = {}
        self._network: FlowNetwork | None = None

    def value(self, v: int) -> float:
        """The flow; the capacity of the node itself counts too. It is 1 for the root."""
        root = self.graph.root_id
        if v == root:
            return 1.0
        if not self.is_current:
            finish(self._find_capacities())
        if v not in self._values:
            if self._network is None:
                self._network = finish(FlowNetwork.of(self._edges, root, self._capacities))
            self._values[v] = finish(self._network.flow(root, v))
        return self._values[v] * self._aged()

    def items(self) -> Iterable[tuple[int, float]]:
        """The root and the nodes with a score other than 0."""
        if not self._pinned:
            finish(self.steps())
        root, factor = self.graph.root_id, self._aged()
        return [(root, 1.0), *((node, value * factor) for node, value in self._values.items()
                               if value and node != root)]

    def steps(self) -> Generator[None, None, None]:
        """Find all flows."""
        keys = list(self.graph.table.keys)
        if not self.is_current:
            yield from self._find_capacities()
        found = self._edges, self._capacities, self._made, self._time
        values = dict(self._values)
        # The other network may be used meanwhile.
        network = yield from FlowNetwork.of(self._edges, self.graph.root_id, self._capacities)
        for node in network.capacity:
            if node not in values:
                values[node] = yield from network.flow(self.graph.root_id, node)
        self._edges, self._capacities, self._made, self._time = found
        self._network, self._values = None, self._still_there(values, keys)

    def _find_capacities(self) -> Generator[None, None, None]:
        """Find what each node lets through."""
        graph, root = self.graph, self.graph.root_id
        version, now = graph.version()[0], graph.clock()
        if len(graph.table.ids) > FLOW_NODES or graph.table.edge_count > FLOW_EDGES:
            raise RuntimeError(f"netflow is for graphs of up to {FLOW_NODES} keys and {FLOW_EDGES} edges, not "
                               f"{len(graph.table.ids)} and {graph.table.edge_count}: use another score")
        edges = yield from graph.table.gather_edges()
        for node, part in graph.completeness.items():
            if node in edges:
                edges[node] = {target: weight * part for target, weight in edges[node].items()}
        network = yield from FlowNetwork.of(edges, root, {})
        nodes = dict.fromkeys(edges)
        for row in edges.values():
            nodes.update(dict.fromkeys(row))
        yield
        capacities: dict[int, float] = {}
        for node in nodes:
            if node != root:
                given = yield from network.flow(root, node)
                taken = (yield from network.flow(node, root)) if given else 0.0
                capacities[node] = max(0.0, given - taken)
        self._edges, self._capacities, self._network, self._values = edges, capacities, None, {}
        self._made, self._time = version, now


class EigenTrust(Computed):
    """Global trust with a set of pre-trusted nodes (Kamvar, Schlosser, Garcia-Molina 2003)."""

    name = "eigentrust"

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[int, float] = {}

    def value(self, v: int) -> float:
        """The part of the mass that the node has, the root included."""
        self.refresh()
        return self._values.get(v, 0.0)

    def items(self) -> Iterable[tuple[int, float]]:
        """The nodes with a score other than 0."""
        self.refresh()
        return [(node, value) for node, value in self._values.items() if value]

    def _restart(self) -> dict[int, float]:
        """Where walks start, with what probability."""
        graph = self.graph
        closed = {*graph.table.blocked, *(number for key in graph.table.frauds
                                          if (number := graph.id_of(key)) is not None)}
        chosen = graph.table.ids.values() if graph.pretrusted is None else {
            number for key in graph.pretrusted if (number := graph.id_of(key)) is not None}
        numbers = [number for number in chosen if number not in closed]
        return {node: 1.0 / len(numbers) for node in numbers} if numbers else {graph.root_id: 1.0}

    def steps(self) -> Generator[None, None, None]:
        """Move the mass along the edges until it does not change any more."""
        if self.is_current:
            return
        graph = self.graph
        keys, version = list(graph.table.keys), graph.version()[0]
        restart = self._restart()
        yield
        edges = yield from graph.table.gather_edges(absolute=False)
        totals: dict[int, float] = {}
        for node, row in edges.items():
            totals[node] = sum(row.values())
            if len(totals) % STEP_ITEMS == 0:
                yield
        values = dict(restart)
        for _ in range(MOST_ITERATIONS):
            moved: dict[int, float] = {}
            idle, count = 0.0, 0
            for node, mass in values.items():
                total = totals.get(node)
                if not total:
                    idle += mass  # goes where walks start again
                else:
                    row = edges[node]
                    count += len(row)
                    share = (1.0 - RESTART) * mass / total
                    for target, weight in row.items():
                        moved[target] = moved.get(target, 0.0) + share * weight
                count += 1
                if count >= STEP_ITEMS:
                    count = 0
                    yield
            again = RESTART * (1.0 - idle) + idle
            for count, (node, part) in enumerate(restart.items(), 1):
                moved[node] = moved.get(node, 0.0) + again * part
                if count % STEP_ITEMS == 0:
                    yield
            change = 0.0
            for count, (node, mass) in enumerate(values.items(), 1):
                change += abs(moved.get(node, 0.0) - mass)
                if count % STEP_ITEMS == 0:
                    yield
            values = moved
            yield
            if change < PRECISION:
                break
        self._values, self._made = self._still_there(values, keys), version
