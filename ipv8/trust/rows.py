"""The edges of a trust graph by source, and how a step along one of them is drawn.

Nodes are dense integers. The edges of a node are its *row*. A row is drawn from in proportion to its weights, by
cumulative sums that are made when they are needed. Weights that were added since are kept beside them for a while, as
making the sums of a long row anew costs as much as the row is long.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

__all__ = ["Row"]

LINEAR_SEARCH = 32
"""Rows of up to so many edges are searched; longer ones have an index."""

ADDED_AT_MOST = 32
"""Additions that are kept beside the cumulative sums of a row before these are made anew."""

NO_TIME = -(1 << 63)

SMALLEST = 1e-300
"""Weights are not scaled down any further: an edge stays one that can be followed."""


class Row:
    """The edges out of one node.

    Weights are relative to the row's time of reference ``t_ref``. The parallel arrays hold, for each edge, its target,
    its weight, the number of its events, the time of the newest one, and the kind if there is only one.

    :param t_ref: seconds since the Unix epoch.
    """

    __slots__ = ("_added", "_index", "_sums", "closed", "events", "kind", "kinds", "last_time", "t_ref", "targets",
                 "total", "weights")

    def __init__(self, t_ref: float = 0.0) -> None:
        self.targets = array("i")
        self.weights = array("d")
        self.events = array("l")
        self.last_time = array("q")
        self.kind = array("i")
        #: For the edges with several kinds, by target: the weight of each kind.
        self.kinds: dict[int, dict[int, float]] = {}
        #: Targets that are not entered.
        self.closed: set[int] = set()
        #: The sum of the weights of all targets that may be entered.
        self.total = 0.0
        self.t_ref = t_ref
        self._index: dict[int, int] | None = None
        self._sums: list[float] | None = None
        self._added: list[tuple[int, float]] = []

    def __len__(self) -> int:
        return len(self.targets)

    def find(self, target: int) -> int:
        """The place of the edge to ``target``, -1 if there is none."""
        index = self._index
        if index is not None:
            return index.get(target, -1)
        try:
            return self.targets.index(target)
        except ValueError:
            return -1

    def weight(self, target: int) -> float:
        """The weight of the edge to ``target``, 0 without one."""
        place = self.find(target)
        return self.weights[place] if place >= 0 else 0.0

    def open_weight(self, target: int) -> float:
        """The weight with which ``target`` is drawn: 0 if it may not be entered."""
        return 0.0 if target in self.closed else self.weight(target)

    def add(self, target: int, weight: float, kind: int, events: int = 1, time: int = NO_TIME) -> bool:
        """Add ``weight`` to the edge to ``target``; whether that edge is new."""
        place = self.find(target)
        is_new = place < 0
        if is_new:
            place = len(self.targets)
            self.targets.append(target)
            self.weights.append(weight)
            self.events.append(events)
            self.last_time.append(time)
            self.kind.append(kind)
            if self._index is not None:
                self._index[target] = place
            elif place >= LINEAR_SEARCH:
                self._index = {other: number for number, other in enumerate(self.targets)}
        else:
            kinds = self.kinds.get(target)
            if kinds is not None:
                kinds[kind] = kinds.get(kind, 0.0) + weight
            elif self.kind[place] != kind:
                self.kinds[target] = {self.kind[place]: self.weights[place], kind: weight}
            self.weights[place] += weight
            self.events[place] += events
            self.last_time[place] = max(self.last_time[place], time)
        if target not in self.closed:
            self.total += weight
            if self._sums is not None:
                self._added.append((target, weight))
                if len(self._added) > ADDED_AT_MOST:
                    self._sums = None
        return is_new

    def kinds_of(self, target: int) -> dict[int, float]:
        """The weights of the edge to ``target`` by kind."""
        kinds = self.kinds.get(target)
        if kinds is not None:
            return dict(kinds)
        place = self.find(target)
        return {self.kind[place]: self.weights[place]} if place >= 0 else {}

    def remove(self, target: int, kind: int | None = None) -> float:
        """Remove the edge to ``target``, or one kind of it; the weight that is gone."""
        place = self.find(target)
        if place < 0:
            return 0.0
        kinds = self.kinds_of(target)
        if kind is not None and (kind not in kinds or len(kinds) > 1):
            gone = kinds.pop(kind, 0.0)
            if gone:
                self.weights[place] = sum(kinds.values())
                if len(kinds) > 1:
                    self.kinds[target] = kinds
                else:
                    self.kinds.pop(target, None)
                    (self.kind[place],) = kinds
            self._recount()
            return gone
        gone = self.weights[place]
        self.kinds.pop(target, None)
        self.closed.discard(target)
        last = len(self.targets) - 1
        columns: tuple[Any, ...] = self.targets, self.weights, self.events, self.last_time, self.kind
        for column in columns:
            column[place] = column[last]
            column.pop()
        if self._index is not None:
            del self._index[target]
            if place != last:
                self._index[self.targets[place]] = place
        self._recount()
        return gone

    def close(self, target: int) -> None:
        """Do not let ``target`` be entered from here."""
        if target not in self.closed and self.find(target) >= 0:
            self.closed.add(target)
            self._recount()

    def reopen(self, target: int) -> None:
        """Let ``target`` be entered again."""
        if target in self.closed:
            self.closed.discard(target)
            self._recount()

    def scale(self, factor: float) -> None:
        """Multiply all weights, which changes no probability; none becomes 0."""
        for place, weight in enumerate(self.weights):
            self.weights[place] = max(weight * factor, SMALLEST)
        for kinds in self.kinds.values():
            for kind in kinds:
                kinds[kind] = max(kinds[kind] * factor, SMALLEST)
        self._recount()

    def _recount(self) -> None:
        if self.closed:
            self.total = sum(weight for target, weight in zip(self.targets, self.weights, strict=True)
                             if target not in self.closed)
        else:
            self.total = sum(self.weights)
        self._sums = None

    def open_edges(self) -> Iterator[tuple[int, float]]:
        """The targets that may be entered, with their weights."""
        closed = self.closed
        for target, weight in zip(self.targets, self.weights, strict=True):
            if weight > 0.0 and target not in closed:
                yield target, weight

    def draw(self, random: Random) -> int:
        """A target, drawn in proportion to the weights; -1 if none may be entered."""
        if self.total <= 0.0:
            return -1
        sums = self._sums
        if sums is None:
            closed = self.closed
            self._added.clear()
            weights = self.weights if not closed else [
                0.0 if target in closed else weight for target, weight in zip(self.targets, self.weights, strict=True)]
            sums = self._sums = list(accumulate(weights))
            self.total = sums[-1]
        covered = sums[-1]
        added = self._added
        if added:
            point = random.random() * self.total
            if point >= covered:
                point -= covered
                for target, weight in added:
                    point -= weight
                    if point < 0.0:
                        return target
                return added[-1][0]
        else:
            point = random.random() * covered
        place = bisect_right(sums, point)
        if place >= len(sums):  # by rounding
            place = bisect_right(sums, sums[-1] * (1 - 2**-52)) if len(sums) > 1 else 0
        return self.targets[place]
