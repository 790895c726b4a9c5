"""The changes of a trust graph, and what they mean for its walks (doc/trust.md)."""

from __future__ import annotations

from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING, Protocol

from .. import clock as time_source, entropy
from .edges import EdgeTable
from .model import TrustEvent
from .walks import WalkStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from .rows import Row

__all__ = ["Engine", "Keeper"]

REBUILDS_PER_HALF_LIFE = 16
"""How often all walks are drawn anew where absolute weights decide whether a walk goes on, and age."""


class Keeper(Protocol):
    """What keeps private evidence, vetoes and removals for the next start."""

    def together(self) -> AbstractContextManager[object]:
        """A context in which changes are kept all at once, at its end."""

    def observed(self, target: bytes, weight: float, kind: str) -> None:
        """The root has experience with ``target``."""

    def removed(self, source: bytes, target: bytes, kind: str | None) -> None:
        """An edge, or a kind of it, was removed."""

    def isolated(self, key: bytes) -> None:
        """All edges from and to ``key`` were removed."""

    def forgotten(self, key: bytes) -> None:
        """``key`` was evicted."""

    def vetoed(self, key: bytes, blocked: bool) -> None:
        """``key`` was blocked, or unblocked."""


class Engine:
    """Edges and the walks on them, kept in step. The parameters are those of ``TrustGraph``."""

    def __init__(self, root: bytes, *, alpha: float, kappa: float, walks: int, half_life: float | None,
                 rng: int | Random | None, clock: Callable[[], float]) -> None:
        if type(root) is not bytes:
            raise TypeError(f"the root is a key, which is bytes, not {type(root).__name__}")
        self.root = root
        self.alpha, self.kappa, self.clock = alpha, kappa, clock
        seed = entropy.randbits(128) if rng is None else rng
        self.random = seed if isinstance(seed, Random) else Random(seed)  # noqa: S311 - seeded by the system or a test
        self.table = EdgeTable(half_life, clock)
        self.root_id = self.table.number_of(root)
        #: For nodes whose records are incomplete, the part of them that is known.
        self.completeness: dict[int, float] = {}
        #: What keeps the changes that are not in any block.
        self.keepers: list[Keeper] = []
        self.violations = 0
        self._walked_at = clock()
        self._queue: list[TrustEvent] = []
        self._changes = 0
        self._events = 0
        self._update_seconds = 0.0
        self.store = WalkStore(self, self.root_id, walks, alpha, self.random)

    # What is made of the walks

    def on_increase(self, source: int, target: int, old: float, new: float) -> None:
        """The weight of an edge has grown."""

    def on_decrease(self, source: int, target: int, old: float, new: float) -> None:
        """The weight of an edge has shrunk."""

    def on_forgotten(self, number: int) -> None:
        """A node without edges is about to be removed."""

    def on_flushed(self, applied: int) -> None:
        """All events were taken up; there were ``applied`` of them."""

    # What walks ask

    def row_of(self, node: int) -> Row | None:
        """The edges out of a node."""
        return self.table.rows[node]

    def keeps_on(self, node: int, total: float) -> float:
        """The probability that a walk which did not stop at ``node`` goes on."""
        kept = self.completeness.get(node, 1.0) if self.completeness else 1.0
        if self.kappa:
            row = self.table.rows[node]
            weight = total if row is None else total * self.table.present(row, self._walked_at)
            kept *= weight / (weight + self.kappa)
        return kept

    # Events

    def add(self, source: bytes, target: bytes, weight: float = 1.0, *, kind: str = "",
            timestamp: int | None = None) -> None:
        """``source`` endorses ``target``.

        Weight 0, a key that endorses itself, a target that is nobody in particular, and frauds: nothing happens.

        :param timestamp: milliseconds since the Unix epoch, ``None`` for now; between 30 days ago and now.
        :raises ValueError: if ``weight`` is negative or not finite, or ``timestamp`` is no time.
        :raises TypeError: if a key is not ``bytes``.
        """
        event = TrustEvent(source, target, weight, timestamp, kind)
        if self.table.accepts(event):
            self._queue.append(event)

    def add_many(self, events: Iterable[TrustEvent]) -> None:
        """Take many events, or none if one of them is wrong; see :meth:`add`."""
        accepts = self.table.accepts
        self._queue += [event for event in list(events) if accepts(event)]

    def observe(self, target: bytes, weight: float = 1.0, kind: str = "local") -> None:
        """The root has good experience with ``target``. This is kept to oneself."""
        self.add(self.root, target, weight, kind=kind)
        for keeper in self.keepers:
            keeper.observed(target, weight, kind)

    def observe_many(self, evidence: Iterable[tuple[bytes, float, str]]) -> None:
        """The same for many targets, each with a weight and a kind."""
        with ExitStack() as stack:
            for keeper in self.keepers:
                stack.enter_context(keeper.together())
            for target, weight, kind in evidence:
                self.observe(target, weight, kind)

    def remove(self, source: bytes, target: bytes, kind: str | None = None) -> None:
        """Remove an edge, or one kind of it; nothing if there is none."""
        self.flush()
        for keeper in self.keepers:
            keeper.removed(source, target, kind)
        start, end = self.table.ids.get(source), self.table.ids.get(target)
        if start is None or end is None or (kind is not None and kind not in self.table.kind_ids):
            return
        self._shrink(start, end, None if kind is None else self.table.kind_ids[kind])

    def remove_node(self, key: bytes) -> None:
        """Remove every edge from and to ``key``.

        :raises ValueError: for the root.
        """
        self._refuse_root(key)
        self.flush()
        for keeper in self.keepers:
            keeper.isolated(key)
        number = self.table.ids.get(key)
        if number is not None:
            self._isolate(number)

    def block(self, key: bytes) -> None:
        """Never let a walk enter ``key``, whose score is 0 from now on; its edges stay.

        :raises ValueError: for the root.
        """
        self._refuse_root(key)
        self.flush()
        if key in self.table.blocked_keys:
            return
        self.table.blocked_keys[key] = None
        for keeper in self.keepers:
            keeper.vetoed(key, True)
        number = self.table.ids.get(key)
        if number is not None:
            self.table.blocked.add(number)
            before = {source: self._kept_and_total(source) for source in self.table.into[number] or ()}
            for source in before:
                self.table.new_row(source, 0.0).close(number)
            self._changed()
            self._stop_at(before)
            self.store.closed(number)

    def unblock(self, key: bytes) -> None:
        """Let walks enter ``key`` again."""
        self.flush()
        if self.table.blocked_keys.pop(key, key) is not None:
            return
        for keeper in self.keepers:
            keeper.vetoed(key, False)
        number = self.table.ids.get(key)
        if number is None:
            return
        self.table.blocked.discard(number)
        for source in list(self.table.into[number] or ()):
            row = self.table.new_row(source, 0.0)
            kept, total = self._kept_and_total(source)
            row.reopen(number)
            self.store.increased(source, total, [(number, row.weight(number))], kept)
        self._changed()

    def mark_fraud(self, key: bytes, proof: object = None) -> None:
        """Remove all edges from and to ``key`` for good: it cheated, which ``proof`` shows.

        :raises ValueError: for the root.
        """
        self._refuse_root(key)
        self.remove_node(key)
        self.table.frauds.setdefault(key, proof)
        self._changed()

    def is_fraud(self, key: bytes) -> bool:
        """Whether ``key`` is marked as a fraud."""
        return key in self.table.frauds

    def is_blocked(self, key: bytes) -> bool:
        """Whether walks may not enter ``key``."""
        return key in self.table.blocked_keys

    def blocked_keys(self) -> list[bytes]:
        """The keys that walks may not enter, those that were blocked first at the beginning."""
        return list(self.table.blocked_keys)

    def set_completeness(self, key: bytes, known: float) -> None:
        """Say which part of the records of ``key`` is known, so that hiding some does not pay.

        :param known: between 0 and 1.
        """
        if not 0.0 <= known <= 1.0:
            raise ValueError(f"the known part is between 0 and 1, not {known}")
        self.flush()
        number = self.table.ids.get(key)
        if number is None or self.completeness.get(number, 1.0) == known:
            return
        before, total = self._kept_and_total(number)
        if known < 1.0:
            self.completeness[number] = known
        else:
            del self.completeness[number]
        self._changed()
        after = self.keeps_on(number, total)
        if after < before:
            self.store.stop_some(number, after / before)
        elif total > 0.0:
            self.store.extend(number, before, after)

    def flush(self) -> int:
        """Take up all events now; how many there were."""
        if self.kappa and self.table.half_life is not None:
            now = self.clock()
            if now - self._walked_at > self.table.half_life / REBUILDS_PER_HALF_LIFE:
                self.redraw()
        queue, self._queue = self._queue, []
        if queue:
            started = time_source.monotonic()
            self._take_up(queue)
            self._changed()
            self._events += len(queue)
            self.on_flushed(len(queue))
            self._update_seconds = time_source.monotonic() - started
        else:
            self.on_flushed(0)
        return len(queue)

    def redraw(self) -> None:
        """Draw all walks anew."""
        self._walked_at = self.clock()
        self._changed()
        self.store.rebuild()

    def _take_up(self, queue: list[TrustEvent]) -> None:
        now = self.clock()
        table, frauds = self.table, self.table.frauds
        by_source: dict[bytes, list[TrustEvent]] = {}
        for event in queue:
            if not frauds or (event.source not in frauds and event.target not in frauds):
                by_source.setdefault(event.source, []).append(event)
        for key, events in by_source.items():
            source = table.number_of(key)
            row = table.new_row(source, now)
            table.rebase(row, now)
            kept, before = self._kept_and_total(source)
            added = [table.add(row, source, event, now) for event in events]
            self.store.increased(source, before, added, kept)
            for target, weight in added:
                new = row.weight(target)
                self.on_increase(source, target, new - weight, new)

    def forget(self, number: int) -> None:
        """Remove a node with all its edges."""
        self._isolate(number)
        for keeper in self.keepers:
            keeper.forgotten(self.table.key_of(number))
        self.completeness.pop(number, None)
        self.on_forgotten(number)
        self.table.forget(number)

    def counters(self) -> list[float]:
        """What :meth:`resume` needs to count on."""
        return [self._changes, self._events, self.violations, self._walked_at]

    def resume(self, changes: int, events: int, violations: int, walked_at: float) -> None:
        """Count on from what another graph had."""
        self._changes, self._events, self.violations, self._walked_at = changes, events, violations, walked_at

    @property
    def waiting(self) -> int:
        """How many events wait for the next flush."""
        return len(self._queue)

    def version(self) -> tuple[int, float]:
        """Something else after each change of what scores with absolute weights depend on."""
        return self._changes, self.clock() if self.table.half_life is not None else 0.0

    @property
    def half_life(self) -> float | None:
        """Seconds after which an endorsement weighs half."""
        return self.table.half_life

    def load(self, edge: tuple[bytes, bytes, str, float, int, int | None], reference: float) -> None:
        """Add a kept edge: keys, kind, weight as of the time ``reference``, events, newest time.

        Walks do not know of it until :meth:`redraw`.
        """
        if edge[0] not in self.table.frauds and edge[1] not in self.table.frauds:
            self.table.load(edge, reference)
            self._events += edge[4]

    # Changes of edges

    def _kept_and_total(self, number: int) -> tuple[float, float]:
        row = self.table.rows[number]
        total = 0.0 if row is None else row.total
        return self.keeps_on(number, total), total

    def _shrink(self, source: int, target: int, kind: int | None) -> None:
        row = self.table.rows[source]
        if row is None:
            return
        kept, _ = self._kept_and_total(source)
        before = row.open_weight(target)
        gone = self.table.remove(source, target, kind)
        if gone:
            self._changed()
            if before:
                self.store.decreased(source, target, before, gone, kept, row.total)
            self.on_decrease(source, target, before, max(0.0, before - gone))

    def _isolate(self, number: int) -> None:
        for source in list(self.table.into[number] or ()):
            self._shrink(source, number, None)
        row = self.table.rows[number]
        if row is not None:  # no walk visits the node any more
            edges = list(zip(row.targets, row.weights, strict=True))
            self.table.clear_row(number)
            self._changed()
            for target, weight in edges:
                self.on_decrease(number, target, weight, 0.0)

    def _stop_at(self, before: dict[int, tuple[float, float]]) -> None:
        """Let walks stop at nodes that lost weight, where the sum of the weights decides whether they go on."""
        for source, (kept, _) in before.items():
            total = self._kept_and_total(source)[1]
            if total <= 0.0:
                self.store.emptied(source, kept)
            elif self.kappa and kept > 0.0:
                self.store.stop_some(source, self.keeps_on(source, total) / kept)

    def _changed(self) -> None:
        self._changes += 1

    def _refuse_root(self, key: bytes) -> None:
        if key == self.root:
            raise ValueError("this cannot be done to the root of the graph, which is the own key")
