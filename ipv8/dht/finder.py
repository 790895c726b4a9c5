"""Carrying out lookups: the part of them that sends requests and waits (doc/protocol/dht.md section 8)."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from .. import clock
from ..limits import ExpiringDict, TokenBuckets
from .crawl import MAX_CRAWL_TASKS, Crawl
from .diversity import network_to_charge
from .findings import merge_results
from .lookup import Lookup, OpenWay, Surroundings
from .lookup_log import ANSWERED, ASKED, FAILED, LookupLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..messaging.address import Address
    from .crawl import Response
    from .driver import Driver
    from .lookup import Action, LookupOptions
    from .routing import Node, RoutingTable
    from .timing import Measurements
    from .values import ReadValue

    Find = Callable[[Node, bytes, bool, int], asyncio.Future[Response | None]]
    Note = Callable[[Node, str], None]

__all__ = ["Finder"]

FULL_PAGE = 7
"""An answer with this many values may not have had room for others: seven of the largest fill a packet."""
MAX_PAGES = 4
"""Answers with values of one key that are asked of one node."""
PAGED_NODES = 2
"""Nodes that are asked for further values of one key."""

DISTRUST_SECONDS = 600.0
"""Seconds for which lookups leave out a node that sent a malformed value."""
MAX_DISTRUSTED = 1024
"""Nodes that lookups leave out; the oldest is evicted first."""

CACHED_PER_SECOND, CACHED_AT_ONCE = 1 / 30, 8.0
"""Values from the nodes of one network that are stored on other nodes: a /24 of IPv4 or a /48 of IPv6."""


class Finder:
    """Carries out lookups, and remembers which nodes sent malformed values.

    :param my_mid: the mid of this node.
    :param find: sends a find-request; its arguments are those of :meth:`~ipv8.dht.requests.Requester.find`.
    :param send_again: sends the same request again, if its answer has not arrived.
    :param read: reads a value, ``None`` if it is invalid.
    :param own_addresses: the addresses of this node, which it does not send to.
    :param contact: has a program ask a node and add the answer to the crawl, if the program does that itself; else
        ``None`` is returned.
    :param refuses: whether lookups leave out the node with a public key for other reasons.
    :param log: is told of the lookups.
    """

    def __init__(self, driver: Driver, measurements: Measurements, my_mid: bytes, find: Find,
                 send_again: Callable[[asyncio.Future[Any]], None], read: ReadValue,
                 own_addresses: Callable[[], Iterable[Address]] = tuple,
                 contact: Callable[[Crawl, Node], asyncio.Future[None] | None] = lambda _crawl, _node: None,
                 refuses: Callable[[bytes], bool] = lambda _key: False, log: LookupLog | None = None) -> None:
        self._driver = driver
        self._measurements = measurements
        self._my_mid = my_mid
        self._find = find
        self._send_again = send_again
        self._read = read
        self._own_addresses = own_addresses
        self._contact = contact
        self._refuses = refuses
        self._log = LookupLog() if log is None else log
        self._cached = TokenBuckets(CACHED_PER_SECOND, CACHED_AT_ONCE)
        self._distrusted: ExpiringDict[bytes, bool] = ExpiringDict(MAX_DISTRUSTED, DISTRUST_SECONDS)

    def distrust(self, nodes: Iterable[Node]) -> None:
        """Leave out nodes for a while."""
        for node in nodes:
            self._distrusted[node.key_bin] = True

    def is_distrusted(self, node: Node) -> bool:
        """Whether lookups leave out ``node``."""
        return node.key_bin in self._distrusted or self._refuses(node.key_bin)

    def may_cache(self, sender: Node) -> bool:
        """Whether a value from ``sender`` may be stored on another node now; counts it."""
        return self._cached.take(network_to_charge(sender.address[0]))

    @staticmethod
    def begin(target: bytes, tables: Iterable[RoutingTable], force_nodes: bool, offset: int = 0) -> list[Crawl]:
        """The lookups of a key, one for each routing table that has a node."""
        return [Crawl(target, table, force_nodes, offset) for table in tables
                if table.closest_nodes(target, max_nodes=1)]

    async def finish(self, crawls: list[Crawl], options: LookupOptions, on_public_internet: bool) -> tuple[Node, ...]:
        """Carry out lookups; the nodes that answered, those of each lookup together, the nearest first."""
        if not crawls:
            return ()
        record = self._log.begin(crawls)
        try:
            nodes = await asyncio.gather(*(self._crawl(crawl, options, on_public_internet, record.note)
                                           for crawl in crawls))
            await asyncio.gather(*(self._read_on(crawl) for crawl in crawls
                                   if not crawl.force_nodes and not crawl.offset))
        finally:
            self._log.end(record)
        return merge_results(tuple(nodes))

    async def _crawl(self, crawl: Crawl, options: LookupOptions, on_public_internet: bool, note: Note) -> list[Node]:
        start = [todo.node_to_contact for todo in crawl.nodes_todo]
        crawl.nodes_todo.clear()
        surroundings = Surroundings(self._my_mid, self._measurements, self.is_distrusted,
                                    lambda value: self._read(value) is not None, on_public_internet,
                                    tuple(self._own_addresses()))
        paths = max(1, min(options.paths, len(start)))
        lookups = [Lookup(crawl, surroundings, start[path::paths], options, max(1, MAX_CRAWL_TASKS // paths))
                   for path in range(paths)]
        await asyncio.gather(*(self._run(lookup, note) for lookup in lookups))
        nodes = chain.from_iterable(lookup.responders() for lookup in lookups)
        return sorted(dict.fromkeys(nodes), key=lambda node: node.distance(crawl.target))

    async def _run(self, lookup: Lookup, note: Note) -> None:
        asked: dict[Node, asyncio.Future[Response | None]] = {}
        await self._driver.run(lookup, partial(self._perform, lookup, asked, note))

    def _perform(self, lookup: Lookup, asked: dict[Node, asyncio.Future[Response | None]], note: Note, action: Action,
                 wake: Callable[[], None]) -> None:
        """Do what a lookup says.

        :param asked: the answer of each node to the find-request for the target.
        :param note: is told what happens to nodes.
        """
        def on_answer(future: asyncio.Future[Response | None]) -> None:
            response = None if future.cancelled() else future.result()
            if response is None:
                lookup.on_failure(node)
            else:
                lookup.on_response(node, response)
            note(node, FAILED if response is None else ANSWERED)
            wake()

        def on_helper_answer(future: asyncio.Future[Response | None]) -> None:
            if not future.cancelled() and future.result() is not None:
                lookup.on_way_opened(node)
                wake()

        def on_contacted(_: asyncio.Future[None]) -> None:
            response = next((response for sender, response in reversed(crawl.responses) if sender == node), None)
            if response is None:
                lookup.on_failure(node)
            else:
                lookup.on_response(node, response, is_recorded=True)
            note(node, FAILED if response is None else ANSWERED)
            wake()

        node, crawl = action.node, lookup.crawl
        if isinstance(action, OpenWay):
            self._find(action.helper, node.id, True, 0).add_done_callback(on_helper_answer)
        elif node in asked:
            self._send_again(asked[node])
        elif (contacted := self._contact(crawl, node)) is not None:
            note(node, ASKED)
            contacted.add_done_callback(on_contacted)
        else:
            note(node, ASKED)
            asked[node] = self._find(node, crawl.target, crawl.force_nodes, crawl.offset)
            asked[node].add_done_callback(on_answer)

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
            future = self._find(node, crawl.target, False, offset)
            await asyncio.wait([future])
            response: Response = (None if future.cancelled() else future.result()) or {}
            values = response.get("values", [])
            if values:
                crawl.responses.append((node, response))
                offset += len(values)
            if len(values) < FULL_PAGE:
                return
