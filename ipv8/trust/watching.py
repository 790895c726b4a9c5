"""Telling functions of scores that moved."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .graph import TrustGraph

__all__ = ["Watchers"]

logger = logging.getLogger("TrustGraph")


class Watchers:
    """Who wants to be told when the default score of a key moved."""

    def __init__(self, graph: TrustGraph) -> None:
        self.graph = graph
        self._watchers: list[tuple[Callable[[bytes, float, float], Any], float, dict[bytes, float]]] = []
        self._told = 0

    def __bool__(self) -> bool:
        return bool(self._watchers)

    def add(self, callback: Callable[[bytes, float, float], Any], threshold: float) -> None:
        """Tell ``callback`` of all that moved by the part ``threshold`` from now on."""
        self._told = self.graph.version()[0]
        self._watchers.append((callback, threshold, self._scores()))

    def report(self) -> None:
        """Tell of all that moved since the last time."""
        changes = self.graph.version()[0]
        if not self._watchers or self._told == changes:
            return
        self._told = changes  # before a callback reads the graph
        current = self._scores()
        for callback, threshold, known in self._watchers:
            moved = []
            for key in [*current, *(other for other in known if other not in current)]:
                old, new = known.get(key, 0.0), current.get(key, 0.0)
                if abs(new - old) > threshold * max(abs(old), abs(new)):
                    moved.append((key, old, new))
            for key, _, new in moved:
                if new:
                    known[key] = new
                else:
                    del known[key]
            for key, old, new in moved:
                try:
                    callback(key, old, new)
                except Exception:  # noqa: PERF203 - one that fails must not keep the others from being told
                    logger.exception("A function that is told of changes of scores failed")

    def _scores(self) -> dict[bytes, float]:
        graph = self.graph
        return {graph.key_of(number): value for number, value in graph.named(None).items()
                if value and number not in graph.table.blocked}
