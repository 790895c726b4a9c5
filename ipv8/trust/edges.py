"""The nodes and edges of a trust graph, without walks: keys as dense numbers, rows, ageing, vetoes and frauds."""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from .model import Edge, FoldedEvent, TrustEvent
from .rows import NO_TIME, SMALLEST, Row
from .steps import STEP_ITEMS, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["ANY_COUNTERPARTY", "EdgeTable"]

ANY_COUNTERPARTY = b"0" * 74
"""The key that blocks name as their counterparty when they mean nobody in particular."""

MAX_PAST = 30 * 86400.0
"""An event counts as at most so many seconds old: what is told about the past weighs no less than that."""

MAX_EXPONENT = 500.0
"""How many half-lives weights may have grown before their row is scaled down."""

LATEST = 1 << 63
"""Milliseconds before and after the Unix epoch that are too many for the time of an event."""

MAX_WEIGHT = 1e120
"""Larger weights of single events count as this, so that sums and ageing stay in the range of numbers."""


class EdgeTable:
    """Who endorses whom, how much.

    :param half_life: seconds after which an endorsement weighs half; ``None`` for no ageing.
    :param clock: seconds since the Unix epoch.
    """

    def __init__(self, half_life: float | None, clock: Callable[[], float]) -> None:
        if half_life is not None and not half_life > 0:
            raise ValueError(f"half_life is a positive number of seconds, not {half_life}")
        self.half_life = half_life
        self.clock = clock
        self.ids: dict[bytes, int] = {}
        self.keys: list[bytes | None] = []
        self.free: list[int] = []
        self.rows: list[Row | None] = []
        #: For each node, who endorses it.
        self.into: list[dict[int, None] | None] = []
        self.kind_ids: dict[str, int] = {}
        self.kind_names: list[str] = []
        self.blocked: set[int] = set()
        self.blocked_keys: dict[bytes, None] = {}
        #: The keys that are frauds, with what was given as proof.
        self.frauds: dict[bytes, Any] = {}
        self.edge_count = 0

    # Nodes

    def __contains__(self, key: object) -> bool:
        return key in self.ids

    def number_of(self, key: bytes) -> int:
        """The number of ``key``, a new one if it has none."""
        number = self.ids.get(key)
        if number is None:
            if self.free:
                number = self.free.pop()
                self.keys[number] = key
            else:
                number = len(self.keys)
                self.keys.append(key)
                self.rows.append(None)
                self.into.append(None)
            self.ids[key] = number
            if key in self.blocked_keys:
                self.blocked.add(number)
        return number

    def key_of(self, number: int) -> bytes:
        """The key with this number; ``KeyError`` if there is none."""
        key = self.keys[number] if 0 <= number < len(self.keys) else None
        if key is None:
            raise KeyError(f"no node has the number {number}")
        return key

    def forget(self, number: int) -> None:
        """Give the number of a node without edges free."""
        del self.ids[self.key_of(number)]
        self.keys[number] = self.rows[number] = self.into[number] = None
        self.blocked.discard(number)
        self.free.append(number)

    # Edges

    def kind_id(self, kind: str) -> int:
        """The number of a kind of evidence, a new one if it has none."""
        number = self.kind_ids.get(kind)
        if number is None:
            number = self.kind_ids[kind] = len(self.kind_names)
            self.kind_names.append(kind)
        return number

    def row_of(self, number: int) -> Row | None:
        """The edges out of a node; ``None`` if it never had any."""
        return self.rows[number]

    def accepts(self, event: TrustEvent) -> bool:
        """Whether an event counts.

        :raises TypeError: if a key is not ``bytes``, the kind no ``str``, or the timestamp no number.
        :raises ValueError: if the weight is negative or not finite, or the timestamp is no time.
        """
        source, target, weight, time, kind = event
        if type(source) is not bytes or type(target) is not bytes:
            raise TypeError(f"keys are bytes, not {type(source).__name__} and {type(target).__name__}")
        if type(kind) is not str:
            raise TypeError(f"the kind of an event is a str, not {type(kind).__name__}")
        if not weight >= 0.0 or not isfinite(weight):
            raise ValueError(f"the weight of an event is finite and not negative, not {weight}")
        if time is not None and not -LATEST < time < LATEST:
            raise ValueError(f"the timestamp of an event is in milliseconds since the Unix epoch, not {time!r:.50}")
        return (weight > 0.0 and target not in {source, ANY_COUNTERPARTY}
                and (not self.frauds or (source not in self.frauds and target not in self.frauds)))

    def load(self, edge: tuple[bytes, bytes, str, float, int, int | None], reference: float) -> None:
        """Add what was kept of an edge: keys, kind, weight as of the time ``reference``, events, newest time."""
        source_key, target_key, kind, weight, events, last_time = edge
        source, target = self.number_of(source_key), self.number_of(target_key)
        row = self.rows[source]
        if row is None:
            row = self.rows[source] = Row(reference)
        if self.half_life is not None:
            weight *= 2.0 ** max(-MAX_EXPONENT, min((reference - row.t_ref) / self.half_life, MAX_EXPONENT))
        if target in self.blocked:
            row.closed.add(target)
        self._link(source, target,
                   row.add(target, max(weight, SMALLEST), self.kind_id(kind), events,
                           NO_TIME if last_time is None else last_time))

    def _link(self, source: int, target: int, is_new: bool) -> None:
        if is_new:
            self.edge_count += 1
            into = self.into[target]
            if into is None:
                into = self.into[target] = {}
            into[source] = None

    def rebase(self, row: Row, now: float) -> None:
        """Scale a row down if what is added now would weigh too much more than what it has."""
        if self.half_life is not None and (now - row.t_ref) / self.half_life > MAX_EXPONENT:
            row.scale(2.0 ** -min((now - row.t_ref) / self.half_life, 2 * MAX_EXPONENT))
            row.t_ref = now

    def add(self, row: Row, source: int, event: TrustEvent, now: float) -> tuple[int, float]:
        """Fold one accepted event into the row of its source; its target, and the weight as the row counts it."""
        time = event.timestamp
        weight = min(float(event.weight), MAX_WEIGHT)
        if self.half_life is not None:
            oldest = -inf if type(event) is FoldedEvent else now - MAX_PAST
            moment = now if time is None else min(max(time / 1000, oldest), now)
            weight *= 2.0 ** ((moment - row.t_ref) / self.half_life)
        weight = max(weight, SMALLEST)
        target = self.number_of(event.target)
        if target in self.blocked:
            row.closed.add(target)
        self._link(source, target, row.add(target, weight, self.kind_id(event.kind),
                                                time=NO_TIME if time is None else int(time)))
        return target, 0.0 if target in self.blocked else weight

    def new_row(self, source: int, now: float) -> Row:
        """The row of a node, made if it has none."""
        row = self.rows[source]
        if row is None:
            row = self.rows[source] = Row(now)
        return row

    def clear_row(self, source: int) -> None:
        """Remove all edges out of a node."""
        row, self.rows[source] = self.rows[source], None
        if row is not None:
            self.edge_count -= len(row)
            for target in row.targets:
                into = self.into[target]
                if into is not None:
                    into.pop(source, None)

    def remove(self, source: int, target: int, kind: int | None = None) -> float:
        """Remove an edge or one kind of it; the weight that is gone."""
        row = self.rows[source]
        gone = 0.0 if row is None else row.remove(target, kind)
        into = self.into[target]
        if row is not None and into is not None and source in into and row.find(target) < 0:
            del into[source]
            self.edge_count -= 1
        return gone

    def present(self, row: Row, now: float) -> float:
        """By what the weights of a row are multiplied to be those of now."""
        return 1.0 if self.half_life is None else 2.0 ** min(-(now - row.t_ref) / self.half_life, MAX_EXPONENT)

    def weight(self, source: bytes, target: bytes) -> float:
        """The total weight of an edge, 0.0 without one."""
        start, end = self.ids.get(source), self.ids.get(target)
        row = None if start is None else self.rows[start]
        if row is None or end is None:
            return 0.0
        return row.weight(end) * self.present(row, self.clock())

    def edges(self, source: bytes | None = None) -> Iterator[Edge]:
        """All edges, or those out of one key."""
        numbers = range(len(self.rows)) if source is None else [self.ids[source]] if source in self.ids else []
        now = self.clock()
        for number in list(numbers):
            row = self.rows[number]
            key = self.keys[number]
            if row is None or key is None:
                continue
            scale = self.present(row, now)
            for place, target in enumerate(row.targets):
                kinds = {self.kind_names[kind]: weight * scale for kind, weight in row.kinds_of(target).items()}
                time = row.last_time[place]
                yield Edge(key, self.key_of(target), row.weights[place] * scale, kinds, row.events[place],
                           None if time == NO_TIME else time)

    def present_edges(self, absolute: bool = True) -> dict[int, dict[int, float]]:
        """All edges that may be followed, by number.

        :param absolute: with their weights of now, instead of weights that are right within each row only.
        """
        return finish(self.gather_edges(absolute))

    def gather_edges(self, absolute: bool = True) -> Generator[None, None, dict[int, dict[int, float]]]:
        """The same in steps; edges that change meanwhile may be in it as they were, or as they are then."""
        now = self.clock()
        found: dict[int, dict[int, float]] = {}
        count = 0
        for number in range(len(self.rows)):
            row = self.rows[number]
            if row is not None and number not in self.blocked:
                scale = self.present(row, now) if absolute else 1.0
                found[number] = {target: weight * scale for target, weight in row.open_edges()}
                count += len(row)
            count += 1
            if count >= STEP_ITEMS:
                count = 0
                yield
        return found

    def check(self) -> None:
        """Recount everything.

        :raises AssertionError: naming the first difference.
        """
        count = 0
        for number, row in enumerate(self.rows):
            if row is None:
                continue
            count += len(row)
            expected = sum(weight for _, weight in row.open_edges())
            if abs(expected - row.total) > 1e-9 * max(1.0, expected):
                raise AssertionError(f"the weights out of node {number} sum up to {expected}, not {row.total}")
            for place, target in enumerate(row.targets):
                if row.find(target) != place:
                    raise AssertionError(f"the edge from {number} to {target} is not found")
                if number not in (self.into[target] or ()):
                    raise AssertionError(f"node {target} does not know that {number} endorses it")
                if abs(sum(row.kinds_of(target).values()) - row.weights[place]) > 1e-9 * max(1.0, row.weights[place]):
                    raise AssertionError(f"the kinds of the edge from {number} to {target} do not sum up to it")
                if (target in self.blocked) != (target in row.closed):
                    raise AssertionError(f"the edge from {number} to {target} is open or closed by mistake")
        if count != self.edge_count or count != sum(len(sources) for sources in self.into if sources):
            raise AssertionError(f"there are {count} edges, not {self.edge_count}")
