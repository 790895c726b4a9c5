"""Maximum flow from one node to another (Dinic 1970), and over paths of at most two edges."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .steps import STEP_ITEMS, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

__all__ = ["FlowNetwork", "max_flow", "two_hop_flow"]

Vertex = tuple[int, int]
"""A node and 0, or a node with a capacity of its own and 0 for its entrance, 1 for its exit."""

NEGLIGIBLE = 1e-12
"""Capacities up to this are what rounding leaves."""


def two_hop_flow(out: Callable[[int], Mapping[int, float]], source: int, target: int) -> float:
    """The flow over paths of at most two edges: each middle node passes on the lesser of its two edges."""
    first = out(source)
    flow = first.get(target, 0.0)
    for middle, weight in first.items():
        if middle not in (source, target):
            onward = out(middle).get(target, 0.0)
            flow += min(weight, onward)
    return flow


def max_flow(edges: Mapping[int, Mapping[int, float]], source: int, target: int,
             capacity: Mapping[int, float] | None = None) -> float:
    """The maximum flow.

    :param edges: for each node, its targets with the capacities of the edges.
    :param capacity: what each node lets through; nodes that are absent let everything through. That of the source does
        not count.
    """
    if source == target:
        return 0.0
    return finish(finish(FlowNetwork.of(edges, source, capacity or {})).flow(source, target))


class FlowNetwork:
    """Residual capacities. A node with a capacity is an entrance (x, 0) and an exit (x, 1) with an edge between."""

    def __init__(self, capacity: Mapping[int, float]) -> None:
        self.capacity = capacity
        self.residual: dict[Vertex, dict[Vertex, float]] = {}

    @classmethod
    def of(cls, edges: Mapping[int, Mapping[int, float]], source: int,
           capacity: Mapping[int, float]) -> Generator[None, None, FlowNetwork]:
        """Make a network, in steps.

        :param edges: for each node, its targets with the capacities of the edges.
        :param source: a node that lets everything through.
        :param capacity: what other nodes let through; those that are absent let everything through.
        """
        network = cls(capacity)
        count = 0
        for node, row in edges.items():
            start = (node, 1) if node in capacity else (node, 0)
            for other, weight in row.items():
                if other != node and weight > 0.0:
                    network._connect(start, (other, 0), weight)
            count += len(row)
            if count >= STEP_ITEMS:
                count = 0
                yield
        for node, most in capacity.items():
            network._connect((node, 0), (node, 1), float("inf") if node == source else most)
        return network

    def _connect(self, start: Vertex, end: Vertex, weight: float) -> None:
        forward = self.residual.setdefault(start, {})
        forward[end] = forward.get(end, 0.0) + weight
        self.residual.setdefault(end, {}).setdefault(start, 0.0)

    def flow(self, source: int, target: int) -> Generator[None, None, float]:
        """The maximum flow from one node to another, in steps; the network is as before at the end."""
        start, goal = (source, int(source in self.capacity)), (target, int(target in self.capacity))
        if start not in self.residual or goal not in self.residual:
            return 0.0
        residual = self.residual
        before: dict[tuple[Vertex, Vertex], float] = {}
        total = 0.0
        try:
            while True:
                level = self._levels(start, goal)
                if goal not in level:
                    return total
                yield
                choices = {vertex: list(residual[vertex]) for vertex in level}
                while True:
                    path = self._path(start, goal, level, choices)
                    if not path:
                        break
                    amount = min(residual[one][other] for one, other in path)
                    for one, other in path:
                        before.setdefault((one, other), residual[one][other])
                        before.setdefault((other, one), residual[other][one])
                        residual[one][other] -= amount
                        residual[other][one] += amount
                    total += amount
                    yield
        finally:
            for (one, other), weight in before.items():
                residual[one][other] = weight

    def _levels(self, source: Vertex, target: Vertex) -> dict[Vertex, int]:
        level = {source: 0}
        queue = deque([source])
        while queue and target not in level:
            vertex = queue.popleft()
            for other, weight in self.residual[vertex].items():
                if weight > NEGLIGIBLE and other not in level:
                    level[other] = level[vertex] + 1
                    queue.append(other)
        return level

    def _path(self, source: Vertex, target: Vertex, level: dict[Vertex, int],
              choices: dict[Vertex, list[Vertex]]) -> list[tuple[Vertex, Vertex]]:
        """A path along rising levels with capacity left, empty if there is none; edges of no use leave ``choices``."""
        path: list[tuple[Vertex, Vertex]] = []
        vertex = source
        while vertex != target:
            residual, untried = self.residual[vertex], choices[vertex]
            while untried:
                other = untried[-1]
                if residual[other] > NEGLIGIBLE and level.get(other) == level[vertex] + 1:
                    path.append((vertex, other))
                    vertex = other
                    break
                untried.pop()
            else:
                if not path:
                    return []
                vertex, _ = path.pop()
                choices[vertex].pop()
        return path
