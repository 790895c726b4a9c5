"""Carrying out lookups: the part of them that sends requests and waits (doc/protocol/dht.md section 8)."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from .. import clock
from ..limits import ExpiringDict
from .crawl import MAX_CRAWL_TASKS, Crawl
from .findings import merge_results
from .lookup import Ask, Lookup, OpenWay, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .crawl import Response
    from .driver import Driver
    from .lookup import Action, LookupOptions
    from .requests import Request, Requester
    from .routing import Node, RoutingTable
    from .timing import Measurements
    from .values import ReadValue

__all__ = ["Finder"]

FULL_PAGE = 7
"""An answer with this many values may not have had room for others: seven of the largest fill a packet."""
MAX_PAGES = 4
"""Answers with values of one key that are asked of one node."""
PAGED_NODES = 2
"""Nodes that are asked for further values of one key."""

DISTRUST_SECONDS = 600.0
"""Seconds for which lookups leave out a node that sent an invalid value."""
MAX_DISTRUSTED = 1024
"""Nodes that lookups leave out; the oldest is evicted first."""


class Finder:
    """Carries out lookups, and remembers which nodes sent invalid values.

    :param my_mid: the mid of this node.
    :param read: reads a value, ``None`` if it is invalid.
    """

    def __init__(self, driver: Driver, requester: Requester, measurements: Measurements, my_mid: bytes,
                 read: ReadValue) -> None:
        self._driver = driver
        self._requester = requester
        self._measurements = measurements
        self._my_mid = my_mid
        self._read = read
        self._distrusted: ExpiringDict[bytes, bool] = ExpiringDict(MAX_DISTRUSTED, DISTRUST_SECONDS)

    def distrust(self, nodes: Iterable[Node]) -> None:
        """Leave out nodes for a while."""
        for node in nodes:
            self._distrusted[node.key_bin] = True

    def is_distrusted(self, node: Node) -> bool:
        """Whether lookups leave out ``node``."""
        return node.key_bin in self._distrusted

    @staticmethod
    def begin(target: bytes, tables: Iterable[RoutingTable], force_nodes: bool, offset: int = 0) -> list[Crawl]:
        """The lookups of a key, one for each routing table that has a node."""
        return [Crawl(target, table, force_nodes, offset) for table in tables
                if table.closest_nodes(target, max_nodes=1)]

    async def finish(self, crawls: list[Crawl], options: LookupOptions, on_public_internet: bool) -> tuple[Node, ...]:
        """Carry out lookups; the nodes that answered, those of each lookup together, the nearest first."""
        nodes = await asyncio.gather(*(self._crawl(crawl, options, on_public_internet) for crawl in crawls))
        await asyncio.gather(*(self._read_on(crawl) for crawl in crawls if not crawl.force_nodes and not crawl.offset))
        return merge_results(tuple(nodes))

    async def _crawl(self, crawl: Crawl, options: LookupOptions, on_public_internet: bool) -> list[Node]:
        start = [todo.node_to_contact for todo in crawl.nodes_todo]
        crawl.nodes_todo.clear()
        surroundings = Surroundings(self._my_mid, self._measurements, self.is_distrusted,
                                    lambda value: self._read(value) is not None, on_public_internet)
        paths = max(1, min(options.paths, len(start)))
        lookups = [Lookup(crawl, surroundings, start[path::paths], options, max(1, MAX_CRAWL_TASKS // paths))
                   for path in range(paths)]
        await asyncio.gather(*(self._run(lookup) for lookup in lookups))
        nodes = chain.from_iterable(lookup.responders() for lookup in lookups)
        return sorted(dict.fromkeys(nodes), key=lambda node: node.distance(crawl.target))

    async def _run(self, lookup: Lookup) -> None:
        asked: dict[Node, Request] = {}
        await self._driver.run(lookup, partial(self._perform, lookup, asked))

    def _perform(self, lookup: Lookup, asked: dict[Node, Request], action: Action, wake: Callable[[], None]) -> None:
        """Do what a lookup says.

        :param asked: the find-request for the target that each node was sent.
        """
        def on_answer(future: asyncio.Future[Response | None]) -> None:
            response = None if future.cancelled() else future.result()
            if response is None:
                lookup.on_failure(node)
            else:
                lookup.on_response(node, response)
            wake()

        def on_helper_answer(future: asyncio.Future[Response | None]) -> None:
            if not future.cancelled() and future.result() is not None:
                lookup.on_way_opened(node)
                wake()

        node, crawl = action.node, lookup.crawl
        if isinstance(action, Ask):
            asked[node] = self._requester.find(node, crawl.target, crawl.force_nodes, crawl.offset)
            asked[node].future.add_done_callback(on_answer)
        elif isinstance(action, OpenWay):
            request = self._requester.find(action.helper, node.id, force_nodes=True)
            request.future.add_done_callback(on_helper_answer)
        else:
            self._requester.send_again(asked[node])

    async def _read_on(self, crawl: Crawl) -> None:
        """Ask for further values where there may be more than one answer holds."""
        full = [node for node, response in crawl.responses if len(response.get("values", ())) >= FULL_PAGE]
        await asyncio.gather(*(self._turn_pages(crawl, node) for node in full[:PAGED_NODES]))

    async def _turn_pages(self, crawl: Crawl, node: Node) -> None:
        offset = sum(len(response.get("values", ())) for sender, response in crawl.responses if sender == node)
        for _ in range(MAX_PAGES - 1):
            now = clock.monotonic()
            if self._measurements.pacer.free_at(node, now) > now:
                return
            future = self._requester.find(node, crawl.target, force_nodes=False, offset=offset).future
            await asyncio.wait([future])
            response: Response = (None if future.cancelled() else future.result()) or {}
            values = response.get("values", [])
            if values:
                crawl.responses.append((node, response))
                offset += len(values)
            if len(values) < FULL_PAGE:
                return
