"""Why a key has its score, from the walks that reach it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .model import Explanation, Path

if TYPE_CHECKING:
    from .graph import TrustGraph

__all__ = ["explain"]


def explain(graph: TrustGraph, key: bytes, paths: int, name: str) -> Explanation:
    """The explanation of the score ``name`` of ``key``, with at most so many ``paths``."""
    number = graph.id_of(key)
    known = number is not None and not graph.is_blocked(key)
    ways: Counter[tuple[int, ...]] = Counter()
    met: Counter[int] = Counter()
    depth: Counter[int] = Counter()
    if known and number is not None:
        for prefix in graph.store.prefixes(number):
            way = _without_loops(prefix)
            ways[way] += 1
            for place, node in enumerate(dict.fromkeys(prefix[1:-1])):
                if node != graph.root_id:
                    met[node] += 1
                    depth[node] += place
    count = sum(ways.values())
    key_of = graph.key_of
    ranked = sorted(((tuple(map(key_of, way)), times) for way, times in ways.items()),
                    key=lambda item: (-item[1], item[0]))
    dominators = [node for node, times in met.items() if times > graph.tau * count]
    dominator = max(dominators, key=lambda node: (depth[node] / met[node], key_of(node)), default=None)
    direct = next((edge.kinds for edge in graph.edges(graph.root) if edge.target == key), {})
    return Explanation(key, name, graph.score(key, name), graph.rank(key, name), graph.confidence(key),
                       tuple(Path(nodes, times / count) for nodes, times in ranked[:max(0, paths)]),
                       None if dominator is None else key_of(dominator), direct, graph.is_fraud(key),
                       graph.table.frauds.get(key))


def _without_loops(nodes: list[int]) -> tuple[int, ...]:
    """A walk without the parts that came back to where they began."""
    way: list[int] = []
    places: dict[int, int] = {}
    for node in nodes:
        if node in places:
            for gone in way[places[node] + 1:]:
                del places[gone]
            del way[places[node] + 1:]
        else:
            places[node] = len(way)
            way.append(node)
    return tuple(way)
