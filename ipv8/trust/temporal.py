"""Walks on blocks that respect the order of each chain (Otte 2016; Rozenshtein and Gionis 2016)."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from .computed import Computed
from .steps import STEP_ITEMS, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from .graph import TrustGraph

__all__ = ["Temporal"]

STEP_WALKS = 64
"""Walks that are drawn in one step."""


class Temporal(Computed):
    """The probability that a walk visits the node that goes backward in time only.

    A walk that came to a node by that node's block of some height leaves it by one of its lower blocks. So what was
    endorsed later gives nothing to what was endorsed before.
    """

    name = "temporal"

    def __init__(self) -> None:
        super().__init__()
        #: The number of walks that visit each node.
        self.hits: dict[int, int] = {}
        #: For each key what its blocks endorse: height, target, height of the target's half, weight.
        self.records: dict[bytes, list[tuple[int, bytes, int, float]]] = {}
        #: Called before walks are drawn, to record in steps the blocks that were stored since.
        self.feeds: list[Callable[[], Generator[None, None, None]]] = []
        self._recorded = 0

    def bind(self, graph: TrustGraph) -> None:
        """Belong to ``graph`` from now on."""
        super().bind(graph)
        self._random = Random(graph.random.getrandbits(128))  # noqa: S311 - walks need no secret beyond their seed

    def record(self, source: bytes, height: int, target: bytes, target_height: int, weight: float) -> None:
        """The block of ``source`` at ``height`` endorses ``target``, whose half of it is at ``target_height``."""
        records = self.records.setdefault(source, [])
        entry = (height, target, target_height, weight)
        place = bisect_left(records, entry)
        if records[place:place + 1] != [entry]:
            records.insert(place, entry)
            self._recorded += 1
            self._made = None

    def keep(self, hits: dict[int, int]) -> None:
        """Take over what was counted before, as long as the graph stays as it is."""
        self.hits, self._made = hits, self.graph.version()[0]

    def value(self, v: int) -> float:
        """The score of a node."""
        self.refresh()
        return self.hits.get(v, 0) / len(self.graph.store)

    def items(self) -> Iterable[tuple[int, float]]:
        """The visited nodes."""
        self.refresh()
        count = len(self.graph.store)
        return [(node, hits / count) for node, hits in self.hits.items()]

    def refresh(self) -> None:
        """Record blocks that were stored since, and draw the walks anew if something changed."""
        if not self._pinned:
            finish(self.steps())

    def _open(self) -> Generator[None, None, dict[bytes, tuple[list[int], list[tuple[int, bytes, int, float]],
                                                               list[float]]]]:
        """For each key the heights of its blocks that may be followed, these blocks, and the sums of their weights."""
        closed = {*self.graph.table.blocked_keys, *self.graph.table.frauds}
        columns = {}
        count = 0
        for source in list(self.records):
            if source not in closed:
                followed = [record for record in self.records[source] if record[1] not in closed]
                columns[source] = ([record[0] for record in followed], followed,
                                   list(accumulate(record[3] for record in followed)))
                count += len(followed)
            count += 1
            if count >= STEP_ITEMS:
                count = 0
                yield
        return columns

    def steps(self) -> Generator[None, None, None]:
        """Record blocks that were stored since, and draw the walks anew if something changed."""
        for feed in self.feeds:
            yield from feed()
        if self.is_current:
            return
        version, recorded = self.graph.version()[0], self._recorded
        columns = yield from self._open()
        visits: dict[bytes, int] = {}
        draw = self._random.random
        for number in range(len(self.graph.store)):
            if number % STEP_WALKS == STEP_WALKS - 1:
                yield
            node, bound, seen = self.graph.root, None, {self.graph.root: None}
            while draw() >= self.graph.alpha and node in columns:
                heights, records, sums = columns[node]
                most = len(heights) if bound is None else bisect_left(heights, bound)
                if not most:
                    break
                place = bisect_left(sums, draw() * sums[most - 1], 0, most - 1)
                _, node, bound, _ = records[place]
                seen[node] = None
            for node in seen:
                visits[node] = visits.get(node, 0) + 1
        ids = self.graph.table.ids
        self.hits = {ids[node]: count for node, count in visits.items() if node in ids}
        self._made = version if self._recorded == recorded else None
