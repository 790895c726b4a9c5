"""What a node does from time to time: which nodes it pings, which it looks for, and what it publishes again."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from .. import clock, entropy
from . import DHTError
from .moments import age

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .routing import Bucket, Node, RoutingTable

__all__ = ["Exploration", "Publication", "Publications", "silent_nodes", "stale_buckets"]

STALE_BUCKET_AGE = 900
"""Seconds without a change after which the nodes of a bucket are looked for."""

PING_INTERVAL = 25
"""Seconds between two pings to a node."""
SILENT_SECONDS = 60.0
"""Seconds without an answer after which a node is pinged."""
SWEEP_SIZE = 4
"""Nodes of each routing table that are pinged at a time."""

REPUBLISH_INTERVAL = 2700.0
"""Seconds after which a value is stored again; it would live 3600."""
REPUBLISH_JITTER = 0.2
"""The share of that by which it is done earlier, at most, at random."""
RETRY_INTERVAL = 60.0
"""Seconds after which it is tried again if it failed."""


def stale_buckets(tables: Iterable[RoutingTable]) -> list[list[Bucket]]:
    """The buckets that have not changed for long; those of the same prefix are together."""
    stale: dict[str, list[Bucket]] = defaultdict(list)
    for table in tables:
        for bucket in table.trie.itervalues():
            if age(bucket.last_changed) > STALE_BUCKET_AGE:
                stale[bucket.prefix_id].append(bucket)
    return list(stale.values())


def silent_nodes(table: RoutingTable) -> list[Node]:
    """The nodes to ping now: those that have not answered for the longest time."""
    silent = [node for node in table.nodes() if age(node.last_response) > SILENT_SECONDS
              and age(node.last_ping_sent) > PING_INTERVAL]
    return sorted(silent, key=lambda node: -age(node.last_response))[:SWEEP_SIZE]


class Exploration:
    """Says when a node is to look for the nodes nearest to itself: now and then, and after its id has changed.

    They are asked for the keys that this node stores, and this node for theirs, so they should know each other.
    """

    def __init__(self) -> None:
        self._explored: dict[bytes, float] = {}

    def due(self, tables: Iterable[RoutingTable]) -> list[RoutingTable]:
        """The tables whose nearest nodes are to be looked for now; each is given once."""
        now = clock.monotonic()
        by_id = {table.my_node_id: table for table in tables}
        self._explored = {my_node_id: since for my_node_id, since in self._explored.items() if my_node_id in by_id}
        due = [table for my_node_id, table in by_id.items()
               if now - self._explored.get(my_node_id, now - STALE_BUCKET_AGE - 1) > STALE_BUCKET_AGE
               and table.closest_nodes(my_node_id, max_nodes=1)]
        self._explored.update((table.my_node_id, now) for table in due)
        return due


class Publication:
    """A value that is stored again and again; ``due`` is a monotonic time."""

    __slots__ = ("due", "key", "value")

    def __init__(self, key: bytes, value: bytes, due: float) -> None:
        self.key = key
        self.value = value
        self.due = due


class Publications:
    """The values that this node stores again before they expire."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(type(self).__name__)
        self._publications: dict[tuple[bytes, bytes], Publication] = {}

    def add(self, key: bytes, data: bytes, value: bytes) -> None:
        """Store a value again and again, in place of one with the same content.

        :param value: the content, serialized.
        """
        self._publications[key, data] = Publication(key, value, clock.monotonic() + _pause())

    def remove(self, key: bytes, data: bytes) -> None:
        """Do not store a value again."""
        self._publications.pop((key, data), None)

    async def store_due(self, store: Callable[[bytes, bytes], Awaitable[object]]) -> None:
        """Store the values whose time has come, one after another.

        :param store: stores a value under a key; raises ``DHTError`` if that fails.
        """
        now = clock.monotonic()
        due = [(name, publication) for name, publication in self._publications.items() if publication.due <= now]
        for name, publication in due:
            if self._publications.get(name) is publication:  # it may be removed or replaced meanwhile
                pause = await self._pause_after(publication, store)
                publication.due = clock.monotonic() + pause

    async def _pause_after(self, publication: Publication,
                           store: Callable[[bytes, bytes], Awaitable[object]]) -> float:
        """Store a value; seconds until it is to be stored again."""
        try:
            await store(publication.key, publication.value)
        except DHTError as e:
            self._logger.info("A value could not be stored again; this is tried once more in a minute: %s", e)
            return RETRY_INTERVAL
        return _pause()


def _pause() -> float:
    return REPUBLISH_INTERVAL * (1 - REPUBLISH_JITTER * entropy.random())
