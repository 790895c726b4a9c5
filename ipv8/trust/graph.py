"""The trust graph: endorsements go in, personal scores come out, kept up to date (doc/trust.md)."""

from __future__ import annotations

import asyncio
from heapq import nsmallest
from math import sqrt
from typing import TYPE_CHECKING, Any

from .. import clock as time_source
from ..fill import Fill
from . import exact as exact_engine, export, snapshots
from .attaching import Attach
from .computed import Barter, Computed, Direct, EigenTrust, NetFlow
from .engine import Engine
from .eviction import evict
from .explain import explain
from .scores import Hits, MeritRank, PersonalPageRank
from .steps import in_slices
from .temporal import Temporal
from .watching import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike
    from random import Random

    from ..attestation.trustchain.store import BlockStore
    from .chain import ChainLink
    from .model import Edge, Explanation
    from .scores import TrustScore

__all__ = ["TrustGraph"]

Z = 1.96
"""Standard deviations of a 95 % interval."""


class TrustGraph(Engine):
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
        if connectivity not in {"linear", "threshold"}:
            raise ValueError(f"connectivity is 'linear' or 'threshold', not {connectivity!r}")
        if not 0.0 <= beta <= 1.0 or not 0.0 <= tau <= 1.0:
            raise ValueError(f"beta and tau are between 0 and 1, not {beta} and {tau}")
        if not kappa >= 0.0 or not unit > 0.0 or max_nodes < 2 or max_edges < 1:
            raise ValueError("kappa is not negative, unit positive, max_nodes at least 2 and max_edges at least 1")
        super().__init__(root, alpha=alpha, kappa=kappa, walks=walks, half_life=half_life, rng=rng, clock=clock)
        self.beta, self.connectivity, self.tau = beta, connectivity, tau
        self.max_nodes, self.max_edges = max_nodes, max_edges
        self.pretrusted = None if pretrusted is None else tuple(pretrusted)
        self.unit, self.share_ttl = unit, share_ttl
        #: The discounts as they were counted last, and when: the time and the version of the graph.
        self.shares: dict[int, float] = {}
        self.shares_at: tuple[float, int] | None = None
        self.temporal = Temporal()
        self._scores: dict[str, TrustScore] = {}
        self._custom: list[TrustScore] = []
        self._preparing = asyncio.Lock()
        for score in (Hits(), MeritRank(), PersonalPageRank(), EigenTrust(), Barter(), NetFlow(), Direct(),
                      self.temporal):
            score.bind(self)
            self._scores[score.name] = score
        if isinstance(default_score, str):
            self.named(default_score)
            self.default_score = default_score
        else:
            self.add_score(default_score)
            self.default_score = default_score.name
        self._watchers = Watchers(self)
        self._links: list[ChainLink] = []

    # What the engine tells

    def on_increase(self, source: int, target: int, old: float, new: float) -> None:
        """Tell the scores of programs."""
        for score in self._custom:
            score.on_increase(source, target, old, new)

    def on_decrease(self, source: int, target: int, old: float, new: float) -> None:
        """Tell the scores of programs."""
        for score in self._custom:
            score.on_decrease(source, target, old, new)

    def on_forgotten(self, number: int) -> None:
        """Forget what was counted for a node whose number another one may get."""
        self.shares.pop(number, None)

    def on_flushed(self, applied: int) -> None:
        """Keep to the limits, and tell who wants to know of changes."""
        if applied:
            evict(self)
        self._watchers.report()

    def worth(self, number: int) -> float:
        """The default score of a node, by which is decided who is evicted; ``hits`` in place of ``netflow``."""
        return self._scores["hits" if self.default_score == NetFlow.name else self.default_score].value(number)

    # Scores

    def add_score(self, score: TrustScore) -> None:
        """Make ``score(key, score.name)`` work."""
        score.bind(self)
        self._custom = [other for other in self._custom if other.name != score.name] + [score]
        self._scores[score.name] = score

    def score(self, key: bytes, name: str | None = None, *, exact: bool = False) -> float:
        """The score of ``key``: 0 for keys that are unknown, blocked or frauds.

        :param exact: computed instead of counted; needs numpy and scipy.
        :raises KeyError: if there is no score of that name.
        :raises RuntimeError: for ``exact`` without numpy and scipy.
        """
        score = self.named(name)
        self.flush()
        number = self.table.ids.get(key)
        if number is None or number in self.table.blocked or key in self.table.frauds:
            return 0.0
        if exact:
            return self._exactly(score, [number])[number]
        return score.value(number)

    def scores(self, keys: Iterable[bytes] | None = None, name: str | None = None, *,
               exact: bool = False) -> dict[bytes, float]:
        """The scores of ``keys``, by default of the root and of all keys with a score other than 0."""
        if keys is not None:
            return {key: self.score(key, name, exact=exact) for key in keys}
        score = self.named(name)
        self.flush()
        items = self._exactly(score, None).items() if exact else score.items()
        key_of, blocked, root = self.table.key_of, self.table.blocked, self.root_id
        return {key_of(number): value for number, value in items
                if (value and number not in blocked) or number == root}

    async def prepare(self, name: str | None = None) -> None:
        """Compute a score of all keys, some milliseconds at a time, so that the event loop can do other work meanwhile.

        Until the caller awaits something else, :meth:`score`, :meth:`scores`, :meth:`top` and :meth:`rank` answer from
        that. It matters for ``eigentrust``, ``barter``, ``netflow`` and ``temporal``: in large graphs these take long,
        and the other methods do not return before they are done. Others are ready at once.

        :raises KeyError: if there is no score of that name.
        :raises RuntimeError: if the graph is too large for the score.
        """
        score = self.named(name)
        if not isinstance(score, Computed):
            return
        async with self._preparing:
            self.flush()
            await in_slices(score.steps())
            score.pin()
            asyncio.get_running_loop().call_soon(score.unpin)

    def top(self, n: int = 10, name: str | None = None, *, exact: bool = False) -> list[tuple[bytes, float]]:
        """The ``n`` keys with the highest scores, highest first, then by key; the root is not among them."""
        score = self.named(name)
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
                       for number, value in self.named(name).items() if number != root and number not in blocked)

    def confidence(self, key: bytes) -> tuple[float, float]:
        """The 95 % interval (Wilson) of the probability that a walk visits ``key``."""
        hits, count = self.score(key, "hits"), len(self.store)
        middle = (hits + Z * Z / (2 * count)) / (1 + Z * Z / count)
        half = Z * sqrt(hits * (1 - hits) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
        return max(0.0, middle - half) if hits else 0.0, min(1.0, middle + half) if hits < 1.0 else 1.0

    def share(self, key: bytes, *, exact: bool = False) -> float:
        """The largest part of the walks to ``key`` that met one same node before, the root not counted."""
        self.flush()
        number = self.table.ids.get(key)
        if number is None or number in self.table.blocked:
            return 0.0
        if exact:
            return exact_engine.shares(self, [number])[number]
        return self._share_of(number)

    def discount(self, number: int) -> float:
        """By what ``meritrank`` multiplies the hits of a node."""
        return self.discount_of(self._share_of(number))

    def discount_of(self, share: float) -> float:
        """By what ``meritrank`` multiplies hits of which the part ``share`` comes through one other node."""
        if self.connectivity == "linear":
            return 1.0 - self.beta * share
        return 1.0 - self.beta if share > self.tau else 1.0

    def explain(self, key: bytes, paths: int = 3, name: str | None = None) -> Explanation:
        """Why ``key`` has its score: the most frequent ways to it, and what else is known of it."""
        self.flush()
        return explain(self, key, paths, name or self.default_score)

    def _share_of(self, number: int) -> float:
        now = self.clock()
        made = self.shares_at
        if made is None or (made[1] != self._changes and not 0.0 <= now - made[0] < self.share_ttl):
            self.shares, self.shares_at = self.store.shares(), (now, self._changes)
        share = self.shares.get(number)
        if share is None and number in self.store.visits and number != self.root_id:  # nobody visited it then
            share = self.shares[number] = self.store.share(number)
        return share or 0.0

    def _exactly(self, score: TrustScore, numbers: Iterable[int] | None) -> dict[int, float]:
        computed = getattr(exact_engine, score.name, None) if score not in self._custom else None
        if computed is not None:
            values: dict[int, float] = computed(self, numbers)
            return values
        own = getattr(score, "exact", None)
        wanted = [number for number, _ in score.items()] if numbers is None else numbers
        return {number: score.value(number) if own is None else own(number) for number in wanted}

    def named(self, name: str | None) -> TrustScore:
        """The score of this name, by default the default score."""
        score = self._scores.get(self.default_score if name is None else name)
        if score is None:
            raise KeyError(f"there is no score {name!r}; there are {', '.join(self._scores)}")
        return score

    # Being told

    def on_change(self, callback: Callable[[bytes, float, float], Any], threshold: float = 0.1) -> None:
        """Call ``callback(key, old, new)`` after a flush for each key whose default score moved.

        :param threshold: by which part of the larger of both scores it must have moved.
        """
        self.flush()
        self._watchers.add(callback, threshold)

    # Reading

    def id_of(self, key: bytes) -> int | None:
        """The number of ``key`` inside of this graph; ``None`` if it is unknown."""
        return self.table.ids.get(key)

    def key_of(self, number: int) -> bytes:
        """The key with a number; ``KeyError`` if there is none."""
        return self.table.key_of(number)

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
            "events": self._events, "rewalks": self.store.rewalks, "violations": self.violations,
            "last_update_us": self._update_seconds * 1e6,
            "memory_estimate": 600 * len(self.table.ids) + 130 * self.table.edge_count + 150 * visits,
        }

    def check(self) -> None:
        """Recount everything that is kept up to date step by step.

        :raises AssertionError: naming the first difference.
        """
        self.flush()
        self.table.check()
        self.store.check()

    # Blocks

    def fold(self, database: BlockStore, extractors: Mapping[bytes, Any] | None = None, *,
             limit: int | None = None) -> int:
        """Take up the blocks of a TrustChain database that are not taken up yet; how many there were.

        :param extractors: what makes events of blocks, by type; :data:`ipv8.trust.DEFAULT_EXTRACTORS` by default.
        :param limit: of at most so many blocks.
        """
        return self.link_to(database, extractors).fold(limit)

    def link_to(self, database: BlockStore, extractors: Mapping[bytes, Any] | None = None) -> ChainLink:
        """What takes blocks of ``database`` up, made if there is none."""
        from .chain import ChainLink

        for link in self._links:
            if link.database is database:
                return link
        link = ChainLink(self, database, extractors)
        self._links.append(link)
        return link

    attach = Attach()

    def detach(self) -> None:
        """Do not follow the blocks of any overlay any more; what was taken up stays."""
        for link in self._links:
            link.detach()

    async def ready(self) -> None:
        """Wait until the blocks that were stored before are taken up."""
        for link in tuple(self._links):
            await link.wait()

    def frontier(self, n: int) -> list[bytes]:
        """The ``n`` keys with the highest scores whose chains have gaps or were not asked for within an hour."""
        return [key for link in self._links for key in link.frontier(n)][:n]

    # Taking out

    def to_networkx(self) -> Any:
        """A ``networkx.DiGraph`` of all edges; nodes are keys.

        :raises RuntimeError: without networkx.
        """
        return export.to_networkx(self)

    def to_graphml(self, path: str | PathLike[str]) -> None:
        """Write a GraphML file; nodes are keys in hexadecimal digits."""
        export.to_graphml(self, path)

    def to_json(self, depth: int = 2, limit: int = 500) -> dict[str, Any]:
        """A picture of the surroundings of the root; see :func:`ipv8.trust.export.to_json`."""
        return export.to_json(self, depth, limit)

    def snapshot(self) -> bytes:
        """All of the graph, its walks included, for :meth:`restore`."""
        return snapshots.pack(self)

    @classmethod
    def restore(cls, data: bytes, *, rng: int | Random | None = None,
                clock: Callable[[], float] = time_source.time) -> TrustGraph:
        """The graph of a snapshot, with the same scores.

        :raises ValueError: if ``data`` is no snapshot, or damaged.
        """
        return snapshots.unpack(cls, data, rng, clock)

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("nodes", len(self.table.ids), self.max_nodes, rule="those with the least scores go first")
        yield Fill("edges", self.table.edge_count, self.max_edges, rule="those of nodes with the least scores go first")
