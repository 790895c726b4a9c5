"""The DHT as applications use it: storing, finding, and keeping both possible (spec 07 section 10)."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from .. import clock, entropy
from ..reexports import reexports
from ..taskmanager import task
from . import DHTError
from .churn import PingChurn
from .crawl import MAX_CRAWL_NODES, MAX_CRAWL_REQUESTS, MAX_CRAWL_TASKS, Crawl
from .finder import DHTFinder, FindResultType, gather_without_errors, merge_results
from .lookup import LookupOptions
from .node import (
    MAX_ENTRY_AGE,
    MAX_NODES_IN_FIND,
    MAX_VALUES_IN_FIND,
    MAX_VALUES_IN_STORE,
    TARGET_NODES,
)
from .payload import (
    FindRequestPayload,
    FindResponsePayload,
    NodePacker,
    PingRequestPayload,
    PingResponsePayload,
    SignedStrPayload,
    StoreRequestPayload,
    StoreResponsePayload,
    StrPayload,
)
from .persistence import Snapshot
from .requests import Request
from .routing import Bucket, Node, RoutingTable, calc_node_id, distance
from .storage import Storage
from .values import (
    DHT_ENTRY_STR,
    DHT_ENTRY_STR_SIGNED,
    MAX_ENTRY_SIZE,
    DHTValue,
    key_for,
    normalise_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..community import CommunitySettings

__all__ = [
    "DHT_ENTRY_STR",
    "DHT_ENTRY_STR_SIGNED",
    "MAX_CRAWL_NODES",
    "MAX_CRAWL_REQUESTS",
    "MAX_CRAWL_TASKS",
    "MAX_ENTRY_AGE",
    "MAX_ENTRY_SIZE",
    "MAX_NODES_IN_FIND",
    "MAX_VALUES_IN_FIND",
    "MAX_VALUES_IN_STORE",
    "PING_INTERVAL",
    "TARGET_NODES",
    "TOKEN_EXPIRATION_TIME",
    "Bucket",
    "Crawl",
    "DHTCommunity",
    "DHTError",
    "DHTValue",
    "FindRequestPayload",
    "FindResponsePayload",
    "FindResultType",
    "LookupOptions",
    "Node",
    "NodePacker",
    "PingChurn",
    "PingRequestPayload",
    "PingResponsePayload",
    "Request",
    "RoutingTable",
    "SignedStrPayload",
    "Storage",
    "StoreRequestPayload",
    "StoreResponsePayload",
    "StrPayload",
    "calc_node_id",
    "distance",
    "gather_without_errors",
    "key_for",
    "merge_results",
]

PING_INTERVAL = 25
"""Seconds between two pings to a node that is to remember this one."""
TOKEN_EXPIRATION_TIME = 600
"""Seconds after which a received token is forgotten."""
TOKEN_MAINTENANCE_INTERVAL = 300
NODE_MAINTENANCE_INTERVAL = 60
VALUE_MAINTENANCE_INTERVAL = 3600
STALE_BUCKET_AGE = 900
"""Seconds without a change after which the nodes of a bucket are looked for."""

SWEEP_INTERVAL = 10.0
"""Seconds between two looks for nodes that should be pinged."""
SWEEP_SIZE = 4
"""Nodes of each table that are pinged then."""
SILENT_SECONDS = 60.0
"""A node that was not heard of for so long is pinged."""

REPUBLISH_INTERVAL = 2700.0
"""Seconds after which a value is stored again: it would live 3600."""
REPUBLISH_JITTER = 0.2
REPUBLISH_CHECK_INTERVAL = 60.0

@dataclass
class Publication:
    """Something that is stored again and again."""

    key: bytes
    value: bytes
    due: float


class DHTCommunity(DHTFinder):
    """A distributed hash table: values of at most 170 bytes under keys of 20 bytes.

    Other keys are padded with zero bytes or cut, as on the wire. With ``dht_database``, the path of a file, among the
    settings, values and nodes survive a restart.
    """

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self._publications: dict[tuple[bytes, bytes], Publication] = {}
        self._looked_around: dict[bytes, float] = {}
        self.token_maintenance()
        self.register_task("token_maintenance", self.token_maintenance, interval=TOKEN_MAINTENANCE_INTERVAL)
        self.register_task("node_maintenance", self.node_maintenance, interval=NODE_MAINTENANCE_INTERVAL)
        self.register_task("value_maintenance", self.value_maintenance, interval=VALUE_MAINTENANCE_INTERVAL)
        self.register_task("sweep", self.sweep, interval=SWEEP_INTERVAL)
        self.register_task("look_around", self.look_around, interval=SWEEP_INTERVAL)
        self.register_task("republish", self.republish, interval=REPUBLISH_CHECK_INTERVAL)
        path = getattr(settings, "dht_database", None)
        self.memory = Snapshot(self, path) if path else None

    async def unload(self) -> None:
        """Remember what there is, if that was asked for, end all lookups and requests, and stop."""
        if self.memory is not None:
            self.memory.close()
        await super().unload()

    # Storing

    async def store_value(self, key: bytes, data: bytes, sign: bool = False, republish: bool = False) -> list[Node]:
        """Store a value on the nodes nearest to ``key``.

        :param data: at most 169 bytes, or 23 bytes if it is signed with a curve25519 key.
        :param sign: whether to sign it, so that a later value of this node replaces it.
        :param republish: whether to store it again before it expires, until :meth:`unpublish` is called.
        :returns: the nodes that confirmed to have it.
        :raises DHTError: if it is too long, or no node confirmed.
        """
        value = self.serialize_value(data, sign)
        if len(value) > MAX_ENTRY_SIZE:
            raise DHTError("Maximum length exceeded")
        key = normalise_key(key)
        if republish:
            due = clock.monotonic() + REPUBLISH_INTERVAL * (1 - REPUBLISH_JITTER * entropy.random())
            self._publications[key, data] = Publication(key, value, due)
        return await self._publish(key, value)

    async def _publish(self, key: bytes, value: bytes) -> list[Node]:
        nodes = await self.find_nodes(key)
        stored = await self._store(key, [value], nodes, TARGET_NODES)
        if not stored:
            raise DHTError("Failed to store value on DHT")
        return stored

    def unpublish(self, key: bytes, data: bytes) -> None:
        """Stop to store a value again; what is stored expires within the hour."""
        self._publications.pop((normalise_key(key), data), None)

    async def republish(self) -> None:
        """Store the published values again whose time has come."""
        for publication in list(self._publications.values()):
            now = clock.monotonic()
            if publication.due <= now:
                publication.due = now + REPUBLISH_INTERVAL * (1 - REPUBLISH_JITTER * entropy.random())
                try:
                    await self._publish(publication.key, publication.value)
                except DHTError as e:
                    publication.due = now + REPUBLISH_CHECK_INTERVAL
                    self.logger.info("A value could not be stored again, and will be tried once more: %s", e)

    @task
    async def store_on_nodes(self, key: bytes, values: list[bytes], nodes: list[Node]) -> list[Node]:
        """Store serialized values, the first eight of them, on nodes whose tokens are known.

        They are kept here as well if this node is among the nearest ones.

        :returns: the nodes that confirmed to have them.
        :raises DHTError: if there are no nodes, or there is a token for none of them.
        """
        return await self._store(normalise_key(key), values, nodes, len(nodes))

    async def _store(self, key: bytes, values: list[bytes], nodes: Iterable[Node], copies: int) -> list[Node]:
        """Store values on the first ``copies`` nodes of each address family, and on others for those that fail."""
        families: dict[type[Any], list[Node]] = defaultdict(list)
        for node in nodes:
            families[self.get_address_class(node)].append(node)
        if not families:
            raise DHTError("No nodes found for storing the key-value pairs")
        values = list(values[:MAX_VALUES_IN_STORE])
        now = clock.time()
        for members in families.values():
            self._keep_own_copy(key, values, members[:copies])
        usable = [[node for node in members if self.tokens.usable(node.id, now)] for members in families.values()]
        if not any(usable):
            raise DHTError("Value was not stored")
        confirmed = await asyncio.gather(*(self._replicate(key, values, members, copies) for members in usable))
        return list(chain.from_iterable(confirmed))

    def _keep_own_copy(self, key: bytes, values: list[bytes], nodes: list[Node]) -> None:
        own_distance = distance(self.get_my_node_id(nodes[0]), key)
        if len(nodes) < TARGET_NODES or own_distance < max(node.distance(key) for node in nodes):
            storage = self.get_storage(nodes[0])
            for value in reversed(values):
                self.add_value(key, value, storage)

    async def _replicate(self, key: bytes, values: list[bytes], nodes: list[Node], copies: int) -> list[Node]:
        """Store values on the first nodes, and on the next one whenever one of them does not confirm in time."""
        queue = deque(nodes)
        waiting: dict[asyncio.Future[Any], float] = {}
        late: set[asyncio.Future[Any]] = set()
        confirmed: list[Node] = []
        while len(confirmed) < copies and not (self.request_cache._shutdown or self._shutdown):
            while queue and len(waiting) + len(confirmed) < copies:
                node = queue.popleft()
                delivery = self.register_anonymous_task("deliver", self.deliver, node, key, values)
                waiting[delivery] = clock.monotonic() + self.round_trips.patience(node)
            if not waiting and not late:
                break
            patience = max(0.0, min(waiting.values()) - clock.monotonic()) if waiting and queue else None
            done, _ = await asyncio.wait({*waiting, *late}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for delivery in done:
                waiting.pop(delivery, None)
                late.discard(delivery)
                if not delivery.cancelled() and delivery.result() is not None:
                    confirmed.append(delivery.result())
            if queue:
                now = clock.monotonic()
                late.update(delivery for delivery, deadline in waiting.items() if deadline <= now)
                waiting = {delivery: deadline for delivery, deadline in waiting.items() if deadline > now}
        return confirmed

    # Maintenance

    async def node_maintenance(self) -> None:
        """Look for the nodes of buckets that have not changed for long."""
        now = clock.time()
        stale: dict[str, list[Bucket]] = defaultdict(list)
        for table in self.routing_tables.values():
            for bucket in table.trie.itervalues():
                if now - bucket.last_changed > STALE_BUCKET_AGE:
                    stale[bucket.prefix_id].append(bucket)
        for buckets in stale.values():
            try:
                await self.find_values(buckets[0].generate_id())
            except DHTError:
                self.logger.debug("There is nobody to ask for the nodes of a bucket")
            for bucket in buckets:
                bucket.last_changed = now

    def sweep(self) -> None:
        """Ping the nodes that were not heard of the longest, so that tables stay sound whatever strategies run."""
        now = clock.time()
        for table in self.routing_tables.values():
            for node in table.remove_bad_nodes():
                self.network.remove_peer(node)
            silent = [node for node in table.nodes() if now - node.last_response > SILENT_SECONDS
                      and now - node.last_ping_sent > PING_INTERVAL]
            for node in sorted(silent, key=lambda node: node.last_response)[:SWEEP_SIZE]:
                self.ping(node)

    async def look_around(self) -> None:
        """Get to know, and become known to, the nodes nearest to this one, now and then and at new addresses.

        They are the ones who are asked for keys that this node is responsible for, and the other way round.
        """
        now = clock.monotonic()
        own_ids = {table.my_node_id: table for table in self.routing_tables.values()}
        self._looked_around = {own_id: since for own_id, since in self._looked_around.items() if own_id in own_ids}
        for own_id, table in own_ids.items():
            since = self._looked_around.get(own_id)
            if (since is None or now - since > STALE_BUCKET_AGE) and table.closest_nodes(own_id, max_nodes=1):
                self._looked_around[own_id] = now
                await self._crawl(Crawl(own_id, table, force_nodes=True), LookupOptions())

    def value_maintenance(self) -> None:
        """Forget the values that have expired."""
        for storage in self.storages.values():
            storage.clean()

    def token_maintenance(self) -> None:
        """Change the secret that tokens are made with, and forget received tokens that are too old."""
        self.renew_token_secret()
        horizon = clock.time() - TOKEN_EXPIRATION_TIME
        self.tokens.drop_older(horizon)


if TYPE_CHECKING:  # programs import these from here
    from ..community import Community as Community, CommunitySettings as CommunitySettings
    from ..lazy_community import lazy_wrapper as lazy_wrapper, lazy_wrapper_wd as lazy_wrapper_wd
    from ..messaging.address import Address as Address, UDPv4Address as UDPv4Address, UDPv6Address as UDPv6Address
    from ..messaging.serialization import ListOf as ListOf, Serializer as Serializer
    from ..peerdiscovery.network import Network as Network
    from ..requestcache import RandomNumberCache as RandomNumberCache, RequestCache as RequestCache
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..community": "Community CommunitySettings",
        "..lazy_community": "lazy_wrapper lazy_wrapper_wd",
        "..messaging.address": "Address UDPv4Address UDPv6Address",
        "..messaging.serialization": "ListOf Serializer",
        "..peerdiscovery.network": "Network",
        "..requestcache": "RandomNumberCache RequestCache",
    })
