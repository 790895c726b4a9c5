"""The trust graph: endorsements go in, personal scores come out, kept up to date (doc/trust.md)."""

from __future__ import annotations

from heapq import nsmallest
from math import sqrt
from random import Random, SystemRandom
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from .. import clock as time_source
from . import exact as exact_engine
from .edges import EdgeTable
from .explain import explain
from .model import Edge, Explanation, TrustEvent
from .scores import Barter, Direct, EigenTrust, Hits, MeritRank, NetFlow, PersonalPageRank
from .temporal import Temporal
from .walks import WalkStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .rows import Row
    from .scores import TrustScore

__all__ = ["TrustGraph"]

Z = 1.96
"""Standard deviations of a 95 % interval."""

REBUILDS_PER_HALF_LIFE = 16
"""How often all walks are drawn anew where absolute weights decide whether a walk goes on, and age."""


class TrustGraph:
    """Who endorses whom, and what that says about each key from the point of view of one.

    Keys are ``bytes`` of any length. Events are taken up at the next :meth:`flush`; everything that reads the graph
    flushes first. A graph belongs to one thread.

    :param root: the key whose view it is.
    :param default_score: the name of the score that is meant where none is named, or a score.
    :param alpha: the probability that a walk stops at a step.
    :param beta: how much ``meritrank`` takes off a score that comes through one other node only.
    :param connectivity: ``"linear"``: in proportion to what comes through it; ``"threshold"``: beyond ``tau`` only.
    :param tau: the part of the walks to a key that a dominating node is on.
    :param kappa: endorsements of a node together that let half of the walks go on; 0 for no such rule.
    :param walks: how many walks are kept; the standard error of a score h is ``sqrt(h * (1 - h) / walks)``.
    :param half_life: seconds after which an endorsement weighs half; ``None`` for no ageing.
    :param max_nodes: nodes that are kept. Beyond, those without a score and with the least weight are evicted first,
        then those with the lowest score; never the root, whom it endorses, and frauds.
    :param max_edges: edges that are kept, by the same rule.
    :param rng: a seed or a source of chance; by default the operating system seeds one of its own.
    :param pretrusted: where the walks of ``eigentrust`` start; ``None`` for everywhere.
    :param unit: the balance that gives a ``barter`` score of 1/2.
    :param share_ttl: seconds for which the discounts of ``meritrank`` are not counted again; 0 for always fresh ones.
    :param clock: seconds since the Unix epoch.
    :raises ValueError: for a parameter out of its range.
    :raises TypeError: if ``root`` is not ``bytes``.
    """

    def __init__(self, root: bytes, *, default_score: str | TrustScore = "meritrank", alpha: float = 0.2,
                 beta: float = 0.75, connectivity: str = "linear", tau: float = 0.9, kappa: float = 0.0,
                 walks: int = 10000, half_life: float | None = None, max_nodes: int = 200_000,
                 max_edges: int = 2_000_000, rng: int | Random | None = None,
                 pretrusted: Iterable[bytes] | None = None, unit: float = 1.0, share_ttl: float = 30.0,
                 clock: Callable[[], float] = time_source.time) -> None:
        if type(root) is not bytes:
            raise TypeError(f"the root is a key, which is bytes, not {type(root).__name__}")
        if connectivity not in {"linear", "threshold"}:
            raise ValueError(f"connectivity is 'linear' or 'threshold', not {connectivity!r}")
        if not 0.0 <= beta <= 1.0 or not 0.0 <= tau <= 1.0:
            raise ValueError(f"beta and tau are between 0 and 1, not {beta} and {tau}")
        if kappa < 0.0 or not unit > 0.0 or max_nodes < 2 or max_edges < 1:
            raise ValueError("kappa is not negative, unit positive, max_nodes at least 2 and max_edges at least 1")
        self.root = root
        self.alpha, self.beta, self.connectivity, self.tau, self.kappa = alpha, beta, connectivity, tau, kappa
        self.max_nodes, self.max_edges = max_nodes, max_edges
        self.pretrusted = None if pretrusted is None else tuple(pretrusted)
        self.unit, self.share_ttl, self.clock = unit, share_ttl, clock
        self.random = rng if isinstance(rng, Random) else Random(SystemRandom().getrandbits(128) if rng is None else rng)
        self.table = EdgeTable(half_life, clock)
        self.root_id = self.table.number_of(root)
        #: For nodes whose records are incomplete, the part of them that is known.
        self.completeness: dict[int, float] = {}
        self._walked_at = clock()
        self.store = WalkStore(self, self.root_id, walks, alpha, self.random)
        self._scores: dict[str, TrustScore] = {}
        for score in (Hits(), MeritRank(), PersonalPageRank(), EigenTrust(), Barter(), NetFlow(), Direct(), Temporal()):
            self.add_score(score)
        self._custom: list[TrustScore] = []
        if isinstance(default_score, str):
            self._named(default_score)
            self.default_score = default_score
        else:
            self.add_score(default_score)
            self.default_score = default_score.name
        self._queue: list[TrustEvent] = []
        self._changes = 0
        self._events = 0
        self._update_ns = 0
        self._shares: dict[int, float] = {}
        self._shares_at: tuple[float, int] | None = None
        self._watchers: list[tuple[Callable[[bytes, float, float], Any], float, dict[int, float]]] = []
        self._violations = 0

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
        :raises ValueError: if ``weight`` is negative or not finite.
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

    def remove(self, source: bytes, target: bytes, kind: str | None = None) -> None:
        """Remove an edge, or one kind of it; nothing if there is none."""
        self.flush()
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

    def is_fraud(self, key: bytes) -> bool:
        """Whether ``key`` is marked as a fraud."""
        return key in self.table.frauds

    def is_blocked(self, key: bytes) -> bool:
        """Whether walks may not enter ``key``."""
        return key in self.table.blocked_keys

    def set_completeness(self, key: bytes, known: float) -> None:
        """Say which part of the records of ``key`` is known, so that hiding some does not pay.

        :param known: between 0 and 1.
        """
        if not 0.0 <= known <= 1.0:
            raise ValueError(f"the known part is between 0 and 1, not {known}")
        self.flush()
        number = self.table.number_of(key)
        if self.completeness.get(number, 1.0) != known:
            self.completeness[number] = known
            self._changed()
            if number in self.store.visits:
                self.store.rebuild()

    def flush(self) -> int:
        """Take up all events now; how many there were."""
        if self.kappa and self.table.half_life is not None:
            now = self.clock()
            if now - self._walked_at > self.table.half_life / REBUILDS_PER_HALF_LIFE:
                self._walked_at = now
                self.store.rebuild()
        if not self._queue:
            return 0
        started = perf_counter_ns()
        queue, self._queue = self._queue, []
        now = self.clock()
        table = self.table
        by_source: dict[bytes, list[TrustEvent]] = {}
        for event in queue:
            by_source.setdefault(event.source, []).append(event)
        for key, events in by_source.items():
            source = table.number_of(key)
            row = table.new_row(source, now)
            kept, before = self._kept_and_total(source)
            reference = row.t_ref
            added = [table.add(row, source, event, now) for event in events]
            if row.t_ref != reference:  # all weights of the row were scaled meanwhile
                before = row.total - sum(weight for _, weight in added)
            self.store.increased(source, max(before, 0.0), added, kept)
            for score in self._custom:
                for target, weight in added:
                    new = row.weight(target)
                    score.on_increase(source, target, new - weight, new)
        self._changed()
        self._events += len(queue)
        self._evict()
        self._update_ns = perf_counter_ns() - started
        self._report()
        return len(queue)

    # Scores

    def add_score(self, score: TrustScore) -> None:
        """Make ``score(key, score.name)`` work."""
        score.bind(self)
        if score.name in self._scores or not score.__class__.__module__.startswith(__package__ or "."):
            self._custom.append(score)
        self._scores[score.name] = score

    def score(self, key: bytes, name: str | None = None, *, exact: bool = False) -> float:
        """The score of ``key``: 0 for keys that are unknown, blocked or frauds.

        :param exact: computed instead of counted; needs numpy and scipy.
        :raises KeyError: if there is no score of that name.
        :raises RuntimeError: for ``exact`` without numpy and scipy.
        """
        score = self._named(name)
        self.flush()
        number = self.table.ids.get(key)
        if number is None or number in self.table.blocked:
            return 0.0
        if exact:
            return self._exactly(score, [number])[number]
        return score.value(number)

    def scores(self, keys: Iterable[bytes] | None = None, name: str | None = None, *,
               exact: bool = False) -> dict[bytes, float]:
        """The scores of ``keys``, by default of the root and of all keys with a score other than 0."""
        if keys is not None:
            return {key: self.score(key, name, exact=exact) for key in keys}
        score = self._named(name)
        self.flush()
        items = self._exactly(score, None).items() if exact else score.items()
        key_of, blocked, root = self.table.key_of, self.table.blocked, self.root_id
        return {key_of(number): value for number, value in items
                if (value and number not in blocked) or number == root}

    def top(self, n: int = 10, name: str | None = None, *, exact: bool = False) -> list[tuple[bytes, float]]:
        """The ``n`` keys with the highest scores, highest first, then by key; the root is not among them."""
        score = self._named(name)
        self.flush()
        keys, blocked, root = self.table.keys, self.table.blocked, self.root_id
        best = getattr(score, "best", None)  # of scores that need not look at all nodes
        items: Iterable[tuple[int, float]]
        if exact:
            items = self._exactly(score, None).items()
        else:
            items = score.items() if best is None else best(n + 1 + len(blocked))
        ranked = nsmallest(n, ((-value, keys[number] or b"") for number, value in items
                               if value > 0.0 and number != root and number not in blocked))
        return [(key, -value) for value, key in ranked]

    def rank(self, key: bytes, name: str | None = None) -> int | None:
        """The place of ``key`` among all others, 1 for the first of :meth:`top`; ``None`` without a positive score."""
        own = self.score(key, name)
        if own <= 0.0 or key == self.root:
            return None
        keys, blocked, root = self.table.keys, self.table.blocked, self.root_id
        return 1 + sum(value > own or (value == own and (keys[number] or b"") < key)
                       for number, value in self._named(name).items() if number != root and number not in blocked)

    def confidence(self, key: bytes) -> tuple[float, float]:
        """The 95 % interval (Wilson) of the probability that a walk visits ``key``."""
        hits, count = self.score(key, "hits"), len(self.store)
        middle = (hits + Z * Z / (2 * count)) / (1 + Z * Z / count)
        half = Z * sqrt(hits * (1 - hits) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
        return max(0.0, middle - half), min(1.0, middle + half)

    def share(self, key: bytes, *, exact: bool = False) -> float:
        """The largest part of the walks to ``key`` that met one same node before, the root not counted."""
        self.flush()
        number = self.table.ids.get(key)
        if number is None or number in self.table.blocked:
            return 0.0
        if exact:
            return exact_engine.shares(self, [number])[number]
        return self._fresh_shares().get(number, 0.0)

    def discount(self, number: int) -> float:
        """By what ``meritrank`` multiplies the hits of a node."""
        return self.discount_of(self._fresh_shares().get(number, 0.0))

    def discount_of(self, share: float) -> float:
        """By what ``meritrank`` multiplies hits of which the part ``share`` comes through one other node."""
        if self.connectivity == "linear":
            return 1.0 - self.beta * share
        return 1.0 - self.beta if share > self.tau else 1.0

    def explain(self, key: bytes, paths: int = 3, name: str | None = None) -> Explanation:
        """Why ``key`` has its score: the most frequent ways to it, and what else is known of it."""
        self.flush()
        return explain(self, key, paths, name or self.default_score)

    def _fresh_shares(self) -> dict[int, float]:
        now = self.clock()
        made = self._shares_at
        if made is None or (made[1] != self._changes and not 0.0 <= now - made[0] < self.share_ttl):
            self._shares, self._shares_at = self.store.shares(), (now, self._changes)
        return self._shares

    def _exactly(self, score: TrustScore, numbers: Iterable[int] | None) -> dict[int, float]:
        computed = getattr(exact_engine, score.name, None) if score not in self._custom else None
        if computed is not None:
            values: dict[int, float] = computed(self, numbers)
            return values
        own = getattr(score, "exact", None)
        wanted = [number for number, _ in score.items()] if numbers is None else numbers
        return {number: score.value(number) if own is None else own(number) for number in wanted}

    def _named(self, name: str | None) -> TrustScore:
        score = self._scores.get(self.default_score if name is None else name)
        if score is None:
            raise KeyError(f"there is no score {name!r}; there are {', '.join(self._scores)}")
        return score

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
            for score in self._custom:
                score.on_decrease(source, target, before, max(0.0, before - gone))

    def _isolate(self, number: int) -> None:
        row = self.table.rows[number]
        for target in list(row.targets) if row is not None else ():
            self._shrink(number, target, None)
        for source in list(self.table.into[number] or ()):
            self._shrink(source, number, None)

    def _stop_at(self, before: dict[int, tuple[float, float]]) -> None:
        """Let walks stop at nodes that lost weight, where the sum of the weights decides whether they go on."""
        for source, (kept, _) in before.items():
            total = self._kept_and_total(source)[1]
            if self.kappa and total > 0.0:
                self.store.stop_some(source, self.keeps_on(source, total) / kept)

    def _changed(self) -> None:
        self._changes += 1

    def _evict(self) -> None:
        """Keep to the limits: without those whom nobody would miss."""
        surplus = len(self.table.ids) - self.max_nodes
        if surplus <= 0 and self.table.edge_count <= self.max_edges:
            return
        root_row = self.table.rows[self.root_id]
        kept = {self.root_id, *(root_row.targets if root_row is not None else ())}
        value = self._scores[self.default_score].value
        candidates = [number for key, number in self.table.ids.items()
                      if number not in kept and key not in self.table.frauds]
        by_worth = sorted(candidates, key=lambda number: (value(number), self._weight_of(number), number))
        for number in by_worth:
            if len(self.table.ids) <= self.max_nodes and self.table.edge_count <= self.max_edges:
                break
            self._isolate(number)
            self.completeness.pop(number, None)
            self.table.forget(number)

    def _weight_of(self, number: int) -> float:
        """The weights of all endorsements of a node."""
        weight = 0.0
        for source in self.table.into[number] or ():
            row = self.table.rows[source]
            weight += 0.0 if row is None else row.weight(number)
        return weight

    # Being told

    def on_change(self, callback: Callable[[bytes, float, float], Any], threshold: float = 0.1) -> None:
        """Call ``callback(key, old, new)`` after a flush for each key whose default score moved.

        :param threshold: by which part of the larger of both scores it must have moved.
        """
        self.flush()
        self._watchers.append((callback, threshold, dict(self._scores[self.default_score].items())))

    def _report(self) -> None:
        if not self._watchers:
            return
        current = dict(self._scores[self.default_score].items())
        for callback, threshold, known in self._watchers:
            for number in [*current, *(other for other in known if other not in current)]:
                old, new = known.get(number, 0.0), current.get(number, 0.0)
                if abs(new - old) > threshold * max(old, new):
                    known[number] = new
                    key = self.table.keys[number]
                    if key is not None:
                        callback(key, old, new)

    # Reading

    def id_of(self, key: bytes) -> int | None:
        """The number of ``key`` inside of this graph; ``None`` if it is unknown."""
        return self.table.ids.get(key)

    def key_of(self, number: int) -> bytes:
        """The key with a number; ``KeyError`` if there is none."""
        return self.table.key_of(number)

    def version(self) -> tuple[int, float]:
        """Something else after each change of what scores with absolute weights depend on."""
        return self._changes, self.clock() if self.table.half_life is not None else 0.0

    def weight(self, source: bytes, target: bytes) -> float:
        """The total weight of an edge by now, 0.0 without one."""
        self.flush()
        return self.table.weight(source, target)

    def edges(self, source: bytes | None = None) -> Iterator[Edge]:
        """All edges, or those out of ``source``."""
        self.flush()
        return self.table.edges(source)

    def neighbours(self, key: bytes) -> list[Edge]:
        """The edges out of ``key``."""
        return list(self.edges(key))

    def walks(self) -> Iterator[tuple[tuple[bytes, ...], bool]]:
        """Each walk: its keys from the root on, and whether it died where there was nowhere to go."""
        self.flush()
        key_of = self.table.key_of
        for nodes, died in zip(self.store.walks, self.store.died, strict=True):
            yield tuple(map(key_of, nodes)), bool(died)

    def number_of_nodes(self) -> int:
        """How many keys there are, the root included."""
        self.flush()
        return len(self.table.ids)

    def number_of_edges(self) -> int:
        """How many edges there are."""
        self.flush()
        return self.table.edge_count

    def __contains__(self, key: object) -> bool:
        self.flush()
        return key in self.table

    def __len__(self) -> int:
        return self.number_of_nodes()

    def __iter__(self) -> Iterator[Edge]:
        return self.edges()

    def statistics(self) -> dict[str, int | float]:
        """Numbers for people and monitors: sizes, counts, the microseconds of the last update, bytes (estimated)."""
        self.flush()
        visits = self.store.total
        return {
            "nodes": len(self.table.ids), "edges": self.table.edge_count, "walks": len(self.store), "visits": visits,
            "events": self._events, "rewalks": self.store.rewalks, "violations": self._violations,
            "last_update_us": self._update_ns / 1000,
            "memory_estimate": 600 * len(self.table.ids) + 130 * self.table.edge_count + 150 * visits,
        }

    def check(self) -> None:
        """Recount everything that is kept up to date step by step.

        :raises AssertionError: naming the first difference.
        """
        self.flush()
        self.table.check()
        self.store.check()

    def _refuse_root(self, key: bytes) -> None:
        if key == self.root:
            raise ValueError("this cannot be done to the root of the graph, which is the own key")
