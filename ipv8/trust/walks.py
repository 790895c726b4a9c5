"""Random walks from the root, kept as if they were drawn anew after each change of the graph.

Scores are counts over these walks (Avrachenkov et al. 2007). When an edge changes, only the walks that the change
touches are cut and continued (Bahmani, Chowdhury, Goel 2010), with probabilities chosen so that afterwards all walks
have exactly the distribution of walks on the new graph. Section numbers are those of doc/trust.md.
"""

from __future__ import annotations

from itertools import pairwise
from math import log, log1p
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from .rows import Row

__all__ = ["RowSource", "WalkStore"]


NEVER = 10**15
"""More visits than there are."""


class RowSource(Protocol):
    """What walks need of a graph."""

    def row_of(self, node: int) -> Row | None:
        """The edges out of a node; ``None`` if it never had any."""

    def keeps_on(self, node: int, total: float) -> float:
        """The probability that a walk which did not stop at ``node`` goes on, for the sum ``total`` of its weights."""


class WalkStore:
    """Many walks that start at one node.

    At each node a walk stops with probability ``alpha``. Otherwise it goes on with the probability that the graph gives
    for the node (1 for most), along an edge drawn in proportion to the weights; at a node without edges that may be
    followed it dies.

    :param graph: where the walks go.
    :param root: the node where they start.
    :param walks: how many there are.
    :param rng: the source of chance.
    :raises ValueError: if ``alpha`` is not between 0 and 1, or there are no walks.
    """

    def __init__(self, graph: RowSource, root: int, walks: int, alpha: float, rng: Random) -> None:
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha is a probability between 0 and 1, not {alpha}")
        if walks < 1:
            raise ValueError(f"there must be at least one walk, not {walks}")
        self.graph = graph
        self.root = root
        self.alpha = alpha
        self.random = rng
        #: The nodes of each walk, the root first.
        self.walks: list[list[int]] = []
        #: Whether each walk ended where there was nowhere to go.
        self.died = bytearray()
        #: For each node, how often each walk visits it. Nodes without visits are absent.
        self.visits: dict[int, dict[int, int]] = {}
        #: For each node, the number of visits of all walks.
        self.totals: dict[int, int] = {}
        self.rewalks = 0
        self.take([[root] for _ in range(walks)], bytearray(walks))
        for walk in range(walks):
            self._go_on(walk)

    def take(self, walks: list[list[int]], died: bytearray) -> None:
        """Take over walks that were made before, instead of the present ones."""
        self.walks, self.died, self.visits, self.totals = walks, died, {}, {}
        for walk, nodes in enumerate(walks):
            for node in nodes:
                visits = self.visits.setdefault(node, {})
                visits[walk] = visits.get(walk, 0) + 1
                self.totals[node] = self.totals.get(node, 0) + 1

    def __len__(self) -> int:
        return len(self.walks)

    @property
    def total(self) -> int:
        """The number of visits of all nodes."""
        return sum(self.totals.values())

    def rebuild(self) -> None:
        """Draw all walks anew."""
        count = len(self.walks)
        self.take([[self.root] for _ in range(count)], bytearray(count))
        for walk in range(count):
            self._go_on(walk)

    # Changes of the graph. Each is called after the row has changed.

    def increased(self, source: int, before: float, added: list[tuple[int, float]], kept_before: float = 1.0) -> None:
        """The row of ``source``, whose weights were ``before`` in sum, has got the weights ``added`` (target, weight).

        :param kept_before: what ``keeps_on`` gave for the node before.
        """
        visits = self.visits.get(source)
        if visits is None:
            return
        increase = sum(weight for _, weight in added)
        if increase <= 0.0:
            return
        kept = self.graph.keeps_on(source, before + increase)
        if before <= 0.0:
            self._revive(source, added, increase, kept)
            return
        stopped = [] if kept <= kept_before else [walk for walk in visits if self.walks[walk][-1] == source]
        diverted = self._divert(source, added, increase, increase / (before + increase))
        if stopped:
            self._extend([walk for walk in stopped if walk not in diverted], kept_before, kept)

    def _revive(self, source: int, added: list[tuple[int, float]], increase: float, kept: float) -> None:
        """Continue the walks that died at ``source``, which had no edges before."""
        for walk in list(self.visits[source]):
            if self.died[walk] and self.walks[walk][-1] == source:
                self.died[walk] = 0
                if kept >= 1.0 or self.random.random() < kept:
                    self.rewalks += 1
                    self._append(walk, self._pick(added, increase))
                    self._go_on(walk)

    def extend(self, source: int, kept_before: float, kept: float) -> None:
        """Let more walks go on from ``source`` than before, although its row is the same."""
        self._extend([walk for walk in self.visits.get(source, ())
                      if self.walks[walk][-1] == source and not self.died[walk]], kept_before, kept)

    def _extend(self, walks: list[int], kept_before: float, kept: float) -> None:
        """Continue some of the ``walks`` that stopped at a node which lets more of them go on than before."""
        went_on, goes_on = (1.0 - self.alpha) * kept_before, (1.0 - self.alpha) * kept
        chance = (goes_on - went_on) / (1.0 - went_on)
        for walk in walks:
            row = self.graph.row_of(self.walks[walk][-1])
            if row is not None and self.random.random() < chance:
                self.rewalks += 1
                self._append(walk, row.draw(self.random))
                self._go_on(walk)

    def _divert(self, source: int, added: list[tuple[int, float]], increase: float, chance: float) -> set[int]:
        """Cut walks behind visits of ``source``, each with probability ``chance``, and continue at an added target.

        The visits between two cuts are counted off by one random number; mostly there is no cut at all. Returns the
        walks that were cut.
        """
        diverted: set[int] = set()
        skipped = self._gap(chance)
        if skipped >= self.totals[source]:
            return diverted
        for walk, times in list(self.visits[source].items()):
            if skipped >= times:
                skipped -= times
                continue
            nodes = self.walks[walk]
            place = nodes.index(source)
            for _ in range(skipped):
                place = nodes.index(source, place + 1)
            if place < len(nodes) - 1:  # at its end, the walk has stopped, and nothing changes
                diverted.add(walk)
                self.rewalks += 1
                self._cut(walk, place)
                self._append(walk, self._pick(added, increase))
                self._go_on(walk)
            skipped = self._gap(chance)
        return diverted

    def decreased(self, source: int, target: int, before: float, weight: float, kept_before: float = 1.0,
                  total: float = 0.0) -> None:
        """The edge from ``source`` to ``target`` has lost ``weight`` of the ``before`` that it had.

        :param kept_before: what ``keeps_on`` gave for the node before.
        :param total: the sum of the weights of the row now.
        """
        if source not in self.visits or weight <= 0.0:
            return
        if total <= 0.0:
            self.emptied(source, kept_before)
        else:
            kept = self.graph.keeps_on(source, total)
            if kept < kept_before:
                self.stop_some(source, kept / kept_before)
        there, here = self.visits.get(target), self.visits.get(source)
        if there is None or here is None:
            return
        chance = min(1.0, weight / before)
        common = [walk for walk in (here if len(here) < len(there) else there) if walk in here and walk in there]
        for walk in common:
            nodes = self.walks[walk]
            for place in range(len(nodes) - 1):
                if (nodes[place] == source and nodes[place + 1] == target
                        and (chance >= 1.0 or self.random.random() < chance)):
                    self._redraw(walk, place)
                    break

    def emptied(self, source: int, kept_before: float) -> None:
        """No edge out of ``source`` may be followed any more.

        Walks that stopped there because of ``kept_before``, and not because of ``alpha``, would die there now. Which
        ones these are is not known, so that each is taken for one of them with the right probability.
        """
        chance = (1.0 - self.alpha) * (1.0 - kept_before) / (1.0 - (1.0 - self.alpha) * kept_before)
        if chance <= 0.0:
            return
        for walk in self.visits.get(source, ()):
            if self.walks[walk][-1] == source and not self.died[walk] and self.random.random() < chance:
                self.died[walk] = 1

    def stop_some(self, source: int, still: float) -> None:
        """End walks at visits of ``source`` from which they went on, each with probability 1 - ``still``."""
        for walk in list(self.visits.get(source, ())):
            nodes = self.walks[walk]
            for place in range(len(nodes) - 1):
                if nodes[place] == source and self.random.random() >= still:
                    self.rewalks += 1
                    self._cut(walk, place)
                    break

    def closed(self, node: int) -> None:
        """No walk may enter ``node`` any more; all rows know."""
        for walk in list(self.visits.get(node, ())):
            place = self.walks[walk].index(node)
            if place:
                self._redraw(walk, place - 1)

    def _redraw(self, walk: int, place: int) -> None:
        """Continue a walk anew behind the node at ``place``, from which it was going on."""
        self.rewalks += 1
        self._cut(walk, place)
        row = self.graph.row_of(self.walks[walk][-1])
        target = -1 if row is None else row.draw(self.random)
        if target < 0:
            self.died[walk] = 1
            return
        self._append(walk, target)
        self._go_on(walk)

    # Single walks

    def _pick(self, added: list[tuple[int, float]], total: float) -> int:
        if len(added) == 1:
            return added[0][0]
        point = self.random.random() * total
        for target, weight in added:
            point -= weight
            if point < 0.0:
                return target
        return added[-1][0]

    def _gap(self, chance: float) -> int:
        """How many visits are passed over before the next one that something happens at (a geometric number)."""
        if chance >= 1.0:
            return 0
        if chance <= 0.0:
            return NEVER
        gap = log(1.0 - self.random.random()) / log1p(-chance)
        return int(min(gap, NEVER))

    def _append(self, walk: int, node: int) -> None:
        self.walks[walk].append(node)
        visits = self.visits.get(node)
        if visits is None:
            visits = self.visits[node] = {}
        visits[walk] = visits.get(walk, 0) + 1
        self.totals[node] = self.totals.get(node, 0) + 1

    def _cut(self, walk: int, place: int) -> None:
        """Take the nodes behind ``place`` off a walk."""
        nodes = self.walks[walk]
        for node in nodes[place + 1:]:
            visits = self.visits[node]
            if visits[walk] == 1:
                del visits[walk]
                if not visits:
                    del self.visits[node]
            else:
                visits[walk] -= 1
            if self.totals[node] == 1:
                del self.totals[node]
            else:
                self.totals[node] -= 1
        del nodes[place + 1:]
        self.died[walk] = 0

    def _go_on(self, walk: int) -> None:
        """Continue a walk from its last node until it ends."""
        random, alpha, append = self.random, self.alpha, self._append
        row_of, keeps_on = self.graph.row_of, self.graph.keeps_on
        draw = random.random
        node = self.walks[walk][-1]
        while draw() >= alpha:
            row = row_of(node)
            if row is None or row.total <= 0.0:
                self.died[walk] = 1
                return
            kept = keeps_on(node, row.total)
            if kept < 1.0 and draw() >= kept:
                return
            node = row.draw(random)
            append(walk, node)

    # Reading

    def prefixes(self, node: int) -> Iterator[list[int]]:
        """For each walk that visits ``node``, the walk up to its first visit."""
        for walk in self.visits.get(node, ()):
            nodes = self.walks[walk]
            yield nodes[:nodes.index(node) + 1]

    def share(self, node: int) -> float:
        """The same as :meth:`shares`, for one visited node."""
        counts: dict[int, int] = {}
        for prefix in self.prefixes(node):
            for earlier in dict.fromkeys(prefix[1:-1]):
                if earlier != self.root:
                    counts[earlier] = counts.get(earlier, 0) + 1
        return max(counts.values(), default=0) / max(1, len(self.visits.get(node, ())))

    def shares(self) -> dict[int, float]:
        """For each visited node but the root, the largest part of its visitors that met one same node before.

        The root does not count as met. A node that all its visitors reach directly from the root has 0.
        """
        root = self.root
        before: dict[int, dict[int, int]] = {}
        for nodes in self.walks:
            met: list[int] = []
            seen = {root}
            for node in nodes:
                if node in seen:
                    continue
                seen.add(node)
                counts = before.setdefault(node, {})
                for earlier in met:
                    counts[earlier] = counts.get(earlier, 0) + 1
                met.append(node)
        return {node: max(counts.values(), default=0) / len(self.visits[node]) for node, counts in before.items()}

    def check(self) -> None:
        """Recount everything.

        :raises AssertionError: naming the first difference.
        """
        visits: dict[int, dict[int, int]] = {}
        for walk, nodes in enumerate(self.walks):
            if nodes[0] != self.root:
                raise AssertionError(f"walk {walk} does not start at the root")
            for node in nodes:
                counts = visits.setdefault(node, {})
                counts[walk] = counts.get(walk, 0) + 1
            for source, target in pairwise(nodes):
                row = self.graph.row_of(source)
                if row is None or row.open_weight(target) <= 0.0:
                    raise AssertionError(f"walk {walk} goes from {source} to {target}, where no edge may be followed")
            row = self.graph.row_of(nodes[-1])
            if self.died[walk] and row is not None and any(True for _ in row.open_edges()):
                raise AssertionError(f"walk {walk} died at {nodes[-1]}, which has edges")
        if visits != self.visits:
            raise AssertionError("the index of visits differs from the walks")
        if {node: sum(counts.values()) for node, counts in visits.items()} != self.totals:
            raise AssertionError("the numbers of visits differ from the walks")
