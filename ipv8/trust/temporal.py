"""Walks on blocks that respect the order of each chain (Otte 2016; Rozenshtein and Gionis 2016)."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .graph import TrustGraph

__all__ = ["Temporal"]


class Temporal:
    """The probability that a walk visits the node that goes backward in time only.

    A walk that came to a node by that node's block of some height leaves it by one of its lower blocks. So what was
    endorsed later gives nothing to what was endorsed before.
    """

    name = "temporal"

    def __init__(self) -> None:
        self._version: object = None
        self._hits: dict[int, int] = {}
        self._records: dict[int, list[tuple[int, int, int, float]]] = {}

    def bind(self, graph: TrustGraph) -> None:
        """Belong to ``graph`` from now on."""
        self.graph = graph
        self._random = Random(graph.random.getrandbits(128))

    def on_increase(self, u: int, v: int, old: float, new: float) -> None:
        """Nothing: the blocks count."""

    def on_decrease(self, u: int, v: int, old: float, new: float) -> None:
        """Nothing: the blocks count."""

    def record(self, source: int, height: int, target: int, target_height: int, weight: float) -> None:
        """The block of ``source`` at ``height`` endorses ``target``, whose half of it is at ``target_height``."""
        records = self._records.setdefault(source, [])
        entry = (height, target, target_height, weight)
        place = bisect_left(records, entry)
        if records[place:place + 1] != [entry]:
            records.insert(place, entry)
            self._version = None

    def value(self, v: int) -> float:
        """The score of a node."""
        self._walk()
        return self._hits.get(v, 0) / len(self.graph.store)

    def items(self) -> Iterable[tuple[int, float]]:
        """The visited nodes."""
        self._walk()
        count = len(self.graph.store)
        return [(node, hits / count) for node, hits in self._hits.items()]

    def _walk(self) -> None:
        version = self.graph.version()[0]
        if self._version == version:
            return
        self._version = version
        frauds = {number for key in self.graph.table.frauds if (number := self.graph.id_of(key)) is not None}
        closed = self.graph.table.blocked | frauds
        columns = {}
        for source, records in self._records.items():
            if source not in closed:
                open_records = [record for record in records if record[1] not in closed]
                columns[source] = ([record[0] for record in open_records], open_records,
                                   list(accumulate(record[3] for record in open_records)))
        hits: dict[int, int] = {}
        draw = self._random.random
        for _ in range(len(self.graph.store)):
            node, bound, seen = self.graph.root_id, None, {self.graph.root_id}
            while draw() >= self.graph.alpha and node in columns:
                heights, records, sums = columns[node]
                most = len(heights) if bound is None else bisect_left(heights, bound)
                if not most:
                    break
                place = bisect_left(sums, draw() * sums[most - 1], 0, most - 1)
                _, node, bound, _ = records[place]
                seen.add(node)
            for node in sorted(seen):
                hits[node] = hits.get(node, 0) + 1
        self._hits = hits
