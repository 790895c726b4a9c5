"""What overlays report becomes private evidence in a trust graph, within budgets (doc/trust.md, section 8)."""

from __future__ import annotations

import logging
import sqlite3
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from .. import clock
from ..database import DatabaseException
from ..limits import BoundedDict, TokenBuckets
from ..reputation import DELIVERY, INTRODUCTION, RELAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .graph import TrustGraph

__all__ = ["CONTRIBUTIONS", "Contribution", "TrustReporter"]

logger = logging.getLogger("TrustGraph")

MAX_CONTRIBUTORS = 4096
"""Keys with endorsements because of reports; that of the key which was reported the longest ago is removed first."""

MAX_KINDS = 16
"""Kinds of contributions that a reporter takes; further ones are ignored."""

FOLD_INTERVAL = 5.0
"""Seconds for which reports are added up before the graph is changed."""

FOLD_COUNT = 256
"""Keys and kinds that wait for that at most."""

EVERYBODY_FACTOR = 20.0
"""The budget of all contributors together, relative to that of one."""


class Contribution(NamedTuple):
    """What contributions of a kind are worth."""

    #: The weight of the amount 1.
    weight: float
    #: The most weight that one contributor gets in an hour, and at once.
    hourly: float


CONTRIBUTIONS: Mapping[str, Contribution] = {
    INTRODUCTION: Contribution(0.1, 1.0),
    DELIVERY: Contribution(0.1, 1.0),
    RELAY: Contribution(1 / 2 ** 20, 64.0),
}
"""What the kinds of this library are worth, where a transaction that both signed is worth 1 and a MiB as well."""

OTHER = Contribution(0.1, 1.0)
"""What a kind of a program's own is worth."""


class TrustReporter:
    """Folds contributions into a graph, as endorsements by its root.

    They are private evidence: nothing of it is sent to anybody, and nothing from the network gets here but what
    overlays saw themselves. One contributor gets a bounded weight in an hour, and all together 20 times that.

    :param contributions: what the kinds are worth.
    """

    def __init__(self, graph: TrustGraph, contributions: Mapping[str, Contribution] = CONTRIBUTIONS) -> None:
        self.graph = graph
        self.contributions = dict(contributions)
        #: Reports that were not taken, because a budget was spent.
        self.refused = 0
        self._own: dict[str, TokenBuckets] = {}
        self._all: dict[str, TokenBuckets] = {}
        self._waiting: dict[tuple[bytes, str], float] = {}
        self._folded_at = clock.monotonic()
        self._contributors: BoundedDict[bytes, None] = BoundedDict(MAX_CONTRIBUTORS, self._forget)
        self._knows_graph = False

    def contributed(self, public_key: bytes, kind: str, amount: float = 1.0) -> None:
        """Note that the owner of a key did something for this node; the graph changes within some seconds.

        :raises ValueError: if ``amount`` is negative or not finite.
        """
        if not (isfinite(amount) and amount >= 0.0):
            raise ValueError(f"an amount is a finite number of at least 0, not {amount}")
        if kind not in self._own and not self._take_up(kind):
            return
        now = clock.monotonic()
        weight = self._allowed(kind, public_key, amount * self.contributions[kind].weight, now)
        if weight > 0.0 and public_key != self.graph.root:
            name = public_key, kind
            self._waiting[name] = self._waiting.get(name, 0.0) + weight
        if now >= self._folded_at + FOLD_INTERVAL or len(self._waiting) >= FOLD_COUNT:
            self.fold()

    def _take_up(self, kind: str) -> bool:
        """Make the budgets of a kind; whether there is room for it."""
        if len(self._own) >= MAX_KINDS:
            self.refused += 1
            return False
        hourly = self.contributions.setdefault(kind, OTHER).hourly
        self._own[kind] = TokenBuckets(hourly / 3600, hourly, MAX_CONTRIBUTORS)
        self._all[kind] = TokenBuckets(EVERYBODY_FACTOR * hourly / 3600, EVERYBODY_FACTOR * hourly, capacity=1)
        return True

    def _allowed(self, kind: str, key: bytes, weight: float, now: float) -> float:
        """How much of a weight the budgets have left, which is taken from them."""
        own, everybody = self._own[kind], self._all[kind]
        allowed = min(weight, own.burst * own.fill(key, now), everybody.burst * everybody.fill(None, now))
        if allowed < weight:
            self.refused += 1
        if allowed > 0.0:
            own.charge(key, allowed, now)
            everybody.charge(None, allowed, now)
        return allowed

    def fold(self) -> None:
        """Change the graph now. A node does this when it stops, so that nothing is lost.

        If the database cannot be written, that is logged: whoever reports has nothing to do with it.
        """
        if not self._knows_graph:
            self._learn()
        self._folded_at = clock.monotonic()
        waiting, self._waiting = self._waiting, {}
        try:
            for key, _ in waiting:
                self._contributors[key] = None
            self.graph.observe_many((key, weight, kind) for (key, kind), weight in waiting.items())
        except (sqlite3.Error, DatabaseException):
            logger.exception("What others did for this node could not be written to the database")

    def _learn(self) -> None:
        """Count those whom the graph has endorsements of from an earlier run."""
        self._knows_graph = True
        for edge in self.graph.neighbours(self.graph.root):
            if not self.contributions.keys().isdisjoint(edge.kinds):
                self._contributors[edge.target] = None

    def _forget(self, key: bytes, _: None) -> None:
        for kind in self.contributions:
            self.graph.remove(self.graph.root, key, kind)
