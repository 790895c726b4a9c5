"""Maximum flow from one node to another (Dinic 1970), and over paths of at most two edges."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["max_flow", "two_hop_flow"]

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
    network = _Network(edges, source, capacity or {})
    goal = (target, 1) if capacity and target in capacity else (target, 0)
    return network.flow((source, 1) if capacity and source in capacity else (source, 0), goal)


class _Network:
    """Residual capacities. A node with a capacity is an entrance (x, 0) and an exit (x, 1) with an edge between."""

    def __init__(self, edges: Mapping[int, Mapping[int, float]], source: int, capacity: Mapping[int, float]) -> None:
        self.residual: dict[Vertex, dict[Vertex, float]] = {}
        for node, row in edges.items():
            start = (node, 1) if node in capacity else (node, 0)
            for other, weight in row.items():
                if other != node and weight > 0.0:
                    self._connect(start, (other, 0), weight)
        for node, most in capacity.items():
            self._connect((node, 0), (node, 1), float("inf") if node == source else most)

    def _connect(self, start: Vertex, end: Vertex, weight: float) -> None:
        forward = self.residual.setdefault(start, {})
        forward[end] = forward.get(end, 0.0) + weight
        self.residual.setdefault(end, {}).setdefault(start, 0.0)

    def flow(self, source: Vertex, target: Vertex) -> float:
        if source not in self.residual or target not in self.residual:
            return 0.0
        total = 0.0
        while True:
            level = self._levels(source, target)
            if target not in level:
                return total
            choices = {vertex: list(self.residual[vertex]) for vertex in level}
            while True:
                path = self._path(source, target, level, choices)
                if not path:
                    break
                amount = min(self.residual[start][end] for start, end in path)
                for start, end in path:
                    self.residual[start][end] -= amount
                    self.residual[end][start] += amount
                total += amount

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
