"""Looking things up in the DHT (spec 07 section 10.7)."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, overload

from .. import clock
from . import DHTError
from .crawl import MAX_CRAWL_TASKS, Crawl, Response
from .diversity import is_global
from .lookup import Ask, Lookup, LookupOptions, OpenWay, Repeat, Surroundings
from .node import MAX_VALUES_IN_STORE, DHTNode
from .payload import StoreRequestPayload
from .requests import Request
from .values import DHTValue, Entry, newest, normalise_key, parse, sign as sign_value, unsigned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..community import CommunitySettings
    from .routing import Node

__all__ = ["DHTFinder", "FindResultType", "gather_without_errors", "merge_results"]

FULL_PAGE = 7
"""Values in an answer that may be the first ones of many: seven of the largest fill a packet."""
MAX_PAGES = 4
"""Answers, each with other values of one key, that are asked of one node."""
PAGED_NODES = 2
"""Nodes that are asked for more values of one key."""

DISTRUST_SECONDS = 600.0
"""For so long a node that sent a malformed value is left out of lookups."""
MAX_DISTRUSTED = 1024

FindResultType = tuple[Any, ...]
"""Nodes or values."""


async def gather_without_errors(*futures: Any) -> list[Any]:
    """Wait for everything, and return the results in order, without those that are exceptions."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    return [result for result in results if not isinstance(result, BaseException)]


def merge_results(results: tuple[Iterable[Any], ...]) -> tuple[Any, ...]:
    """All results, one behind the other."""
    return tuple(chain.from_iterable(results))


class DHTFinder(DHTNode):
    """Finds nodes and values."""

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self._distrusted: dict[bytes, float] = {}

    # Values

    def serialize_value(self, data: bytes, sign: bool = True) -> bytes:
        """The value with this content, signed by this node or not."""
        return sign_value(data, self.my_peer.key, int(clock.time())) if sign else unsigned(data)  # type: ignore[arg-type]  # the key of my_peer is private

    def unserialize_value(self, value: bytes) -> tuple[bytes, bytes | None, int] | None:
        """Data, public key of the signer and version of a value, ``None`` if it is not sound."""
        return parse(value)

    def post_process_values(self, values: Iterable[bytes]) -> list[DHTValue]:
        """The newest sound value of each signer, then the sound unsigned ones."""
        return newest(entry for entry in map(parse, values) if entry is not None)

    # Finding

    @overload
    async def find_values(self, target: bytes, offset: int = ..., debug: Literal[False] = ...,
                          options: LookupOptions | None = ...) -> tuple[DHTValue, ...]: ...

    @overload
    async def find_values(self, target: bytes, offset: int, debug: Literal[True],
                          options: LookupOptions | None = ...) -> tuple[tuple[DHTValue, ...], list[Crawl]]: ...

    async def find_values(self, target: bytes, offset: int = 0, debug: bool = False,
                          options: LookupOptions | None = None) -> Any:
        """Find the values of a key, those of each signer and the unsigned ones.

        :param offset: the number of the first value that is wanted of each node.
        :param debug: also return what was found out on the way, in a record for each address family.
        :raises DHTError: if no node is known.
        """
        return await self.find(target, False, offset, debug, options)

    async def find_nodes(self, target: bytes, debug: bool = False, options: LookupOptions | None = None) -> Any:
        """Find the nodes near to a key, of each address family those that answered, the nearest first.

        :param debug: also return what was found out on the way, in a record for each address family.
        :raises DHTError: if no node is known.
        """
        return await self.find(target, True, 0, debug, options)

    async def find(self, target: bytes, force_nodes: bool, offset: int, debug: bool,
                   options: LookupOptions | None = None) -> Any:
        """Look for nodes or values in all address families; see :meth:`find_nodes` and :meth:`find_values`."""
        target = normalise_key(target)
        options = options or LookupOptions()
        crawls = [Crawl(target, table, force_nodes, offset) for table in self.routing_tables.values()
                  if table.closest_nodes(target, max_nodes=1)]
        if self.routing_tables and not crawls:
            raise DHTError("No nodes found in the routing table")
        found = await asyncio.gather(*(self._crawl(crawl, options) for crawl in crawls))
        result: FindResultType
        if force_nodes:
            result = merge_results(tuple(found))
        else:
            result = tuple(await self._collect_values(target, offset, crawls, options))
        return (result, crawls) if debug else result

    async def _crawl(self, crawl: Crawl, options: LookupOptions) -> list[Node]:
        """Carry out the lookup of one address family; the nodes that answered, the nearest first."""
        start = [todo.node_to_contact for todo in crawl.nodes_todo]
        crawl.nodes_todo.clear()
        surroundings = Surroundings(self.my_peer.mid, self.round_trips, self.pacer, self.reachability,
                                    self._is_distrusted, lambda value: parse(value) is not None,
                                    is_global(self.my_estimated_wan[0]))
        paths = max(1, min(options.paths, len(start)))
        lookups = [Lookup(crawl, surroundings, start[path::paths], options, max(1, MAX_CRAWL_TASKS // paths))
                   for path in range(paths)]
        await asyncio.gather(*(self._run(lookup) for lookup in lookups))
        nodes = chain.from_iterable(lookup.responders() for lookup in lookups)
        return sorted(dict.fromkeys(nodes), key=lambda node: node.distance(crawl.target))

    async def _run(self, lookup: Lookup) -> None:
        """Do what a lookup says until it is finished, or this overlay is."""
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        asked: dict[Node, Request] = {}
        while not (self.request_cache._shutdown or self._shutdown):
            wake.clear()
            for action in lookup.poll(clock.monotonic()):
                self._carry_out(action, lookup, asked, wake)
            if lookup.finished:
                break
            timer = None
            if lookup.deadline is not None:
                timer = loop.call_later(max(0.0, lookup.deadline - clock.monotonic()), wake.set)
            try:
                await wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _carry_out(self, action: Ask | OpenWay | Repeat, lookup: Lookup, asked: dict[Node, Request],
                   wake: asyncio.Event) -> None:
        def on_answer(node: Node, future: asyncio.Future[Response | None]) -> None:
            response = None if future.cancelled() else future.result()
            if response is None:
                lookup.on_failure(node)
            else:
                lookup.on_response(node, response)
            wake.set()

        def on_opened(node: Node, future: asyncio.Future[Response | None]) -> None:
            if not future.cancelled() and future.result() is not None:
                lookup.on_way_opened(node)
                wake.set()

        node, crawl = action.node, lookup.crawl
        if isinstance(action, Ask):
            request = asked[node] = self.send_find_request(node, crawl.target, crawl.force_nodes, crawl.offset)
            request.future.add_done_callback(partial(on_answer, node))
        elif isinstance(action, OpenWay):
            request = self.send_find_request(action.helper, node.id, True)
            request.future.add_done_callback(partial(on_opened, node))
        elif not asked[node].future.done():
            self.pacer.note(node, clock.monotonic())
            self.endpoint.send(node.address, asked[node].packet)

    async def _collect_values(self, target: bytes, offset: int, crawls: list[Crawl],
                              options: LookupOptions) -> list[DHTValue]:
        """The values that were found, with those that are kept here; what is missing elsewhere is put there."""
        if offset == 0:
            await asyncio.gather(*(self._turn_pages(crawl) for crawl in crawls))
        raw = [value for crawl in crawls for value in crawl.values]
        for storage in self.storages.values():
            raw += storage.get(target, offset)
        entries = {value: parse(value) for value in raw}
        for crawl in crawls:
            self._distrust_liars(crawl, entries)
            if options.cache:
                self._repair(crawl, entries)
        return newest(entry for entry in entries.values() if entry is not None)

    async def _turn_pages(self, crawl: Crawl) -> None:
        """Ask for the other values where there may be more than one answer can hold."""
        full = [node for node, response in crawl.responses if len(response.get("values", ())) >= FULL_PAGE]
        await asyncio.gather(*(self._read_on(crawl, node) for node in full[:PAGED_NODES]))

    async def _read_on(self, crawl: Crawl, node: Node) -> None:
        offset = sum(len(response.get("values", ())) for sender, response in crawl.responses if sender == node)
        for _ in range(MAX_PAGES - 1):
            if self.pacer.free_at(node, clock.monotonic()) > clock.monotonic():
                return
            future = self.send_find_request(node, crawl.target, False, offset).future
            await asyncio.wait([future])
            response: Response = (None if future.cancelled() else future.result()) or {}
            values = response.get("values", [])
            if values:
                crawl.responses.append((node, response))
                offset += len(values)
            if len(values) < FULL_PAGE:
                return

    def _is_distrusted(self, node: Node) -> bool:
        until = self._distrusted.get(node.key_bin)
        return until is not None and until > clock.monotonic()

    def _distrust_liars(self, crawl: Crawl, entries: dict[bytes, Entry | None]) -> None:
        """Leave nodes alone that keep values which no honest node would have accepted."""
        for node, response in crawl.responses:
            # Values of unknown types may be those of a newer version.
            if any(entries[value] is None and value[:1] in {b"", b"\x00", b"\x01"}
                   for value in response.get("values", ())):
                self._distrusted.pop(node.key_bin, None)
                self._distrusted[node.key_bin] = clock.monotonic() + DISTRUST_SECONDS
                if len(self._distrusted) > MAX_DISTRUSTED:
                    del self._distrusted[next(iter(self._distrusted))]

    def _repair(self, crawl: Crawl, entries: dict[bytes, Entry | None]) -> None:
        """Store the newest values on nodes that have older ones, and on the nearest one that has none."""
        versions: dict[bytes, int] = {}
        for entry in entries.values():
            if entry is not None and entry.public_key is not None:
                versions[entry.public_key] = max(entry.version, versions.get(entry.public_key, 0))

        def is_stale(value: bytes) -> bool:
            entry = entries[value]
            return entry is not None and entry.public_key is not None and entry.version < versions[entry.public_key]

        current = [value for value in crawl.values if entries[value] is not None and not is_stale(value)]
        if not current:
            return
        behind = [node for node, response in crawl.responses if any(map(is_stale, response.get("values", ())))]
        candidate = crawl.cache_candidate
        for node in dict.fromkeys(behind if candidate is None else [candidate, *behind]):
            if not (self.request_cache._shutdown or self._shutdown):
                self.register_anonymous_task("repair", self.deliver, node, crawl.target,
                                             current[:MAX_VALUES_IN_STORE])

    async def deliver(self, node: Node, key: bytes, values: list[bytes]) -> Node | None:
        """Have ``node`` store values, as soon as it takes another request; ``None`` if it does not confirm."""
        now = clock.monotonic()
        free_at = self.pacer.free_at(node, now)
        if free_at > now:
            await asyncio.sleep(free_at - now)
        token = self.tokens.usable(node.id, clock.time())
        if token is None:
            return None
        request = Request(self, "store", node)
        payload = StoreRequestPayload(request.number, token, key, values)
        try:
            stored: Node = await self.send_request(request, payload)
        except DHTError:
            return None
        return stored
