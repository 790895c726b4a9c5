"""The DHT as applications use it: the messages of its nodes, and storing and finding values.

See doc/protocol/dht.md sections 8 and 9.
"""

# ruff: noqa: ARG002 - handlers take what messages bring
from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal, overload

from .. import clock
from ..messaging.address import UDPv6Address
from ..reexports import reexports
from ..reputation import DELIVERY, is_refused, score_of
from ..util import fail
from . import DHTError
from .answers import MAX_NODES_IN_FIND, MAX_VALUES_IN_FIND, find_answer
from .base import DHTBase, DHTSettings
from .churn import PingChurn
from .crawl import MAX_CRAWL_NODES, MAX_CRAWL_REQUESTS, MAX_CRAWL_TASKS, Crawl
from .driver import Driver, gather_without_errors
from .finder import Finder
from .findings import Findings, FindResultType, merge_results
from .freshness import Freshness
from .lookup import TARGET_NODES, LookupOptions
from .lookup_log import LookupLog, LookupRecord
from .maintenance import PING_INTERVAL, Exploration, Publications, silent_nodes, stale_buckets
from .moments import Moment
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
from .replication import MAX_VALUES_IN_STORE, Replicator, StoreTargets
from .requests import Request, Requester, receive_request, receive_response
from .routing import Bucket, Node, RoutingTable, calc_node_id, distance
from .storage import Storage, lifetime
from .timing import Measurements
from .tokens import TOKEN_EXPIRATION_TIME, ReceivedTokens, TokenIssuer
from .values import (
    DHT_ENTRY_STR,
    DHT_ENTRY_STR_SIGNED,
    MAX_ENTRY_AGE,
    MAX_ENTRY_SIZE,
    MAX_VERSION_LEAD,
    DHTValue,
    ValueReader,
    ValueSigner,
    keep,
    key_for,
    newest,
    normalise_key,
    unsigned,
)

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable

    from ..peer import Peer
    from ..peerdiscovery.discovery import DiscoveryStrategy
    from .crawl import Response
    from .persistence import Snapshot
    from .replication import Replication

__all__ = ["DHT_ENTRY_STR", "DHT_ENTRY_STR_SIGNED", "MAX_CRAWL_NODES", "MAX_CRAWL_REQUESTS", "MAX_CRAWL_TASKS",
           "MAX_ENTRY_AGE", "MAX_ENTRY_SIZE", "MAX_NODES_IN_FIND", "MAX_VALUES_IN_FIND", "MAX_VALUES_IN_STORE",
           "PING_INTERVAL", "TARGET_NODES", "TOKEN_EXPIRATION_TIME", "Bucket", "Crawl", "DHTCommunity", "DHTError",
           "DHTSettings", "DHTValue", "FindRequestPayload", "FindResponsePayload", "FindResultType", "LookupOptions",
           "Node", "NodePacker", "PingChurn", "PingRequestPayload", "PingResponsePayload", "Request", "RoutingTable",
           "SignedStrPayload", "Storage", "StoreRequestPayload", "StoreResponsePayload", "StrPayload", "calc_node_id",
           "distance", "gather_without_errors", "key_for", "merge_results"]

NOWHERE = (("0.0.0.0", 0), ("::1", 0))  # noqa: S104 - what the wire says for "no address"


class DHTCommunity(DHTBase):
    """A distributed hash table: values of at most 170 bytes under keys of 20 bytes.

    Other keys are padded with zero bytes or cut, as on the wire.

    The handlers of messages check what arrived, and leave the rest to parts that have no sockets: ``admission`` limits
    requests, ``token_issuer`` makes tokens, ``finder`` and ``replicator`` carry out lookups and stores.
    """

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        #: When which token was received, by the id of the node that sent it.
        self.tokens = ReceivedTokens()
        self.token_issuer = TokenIssuer()
        self.token_secrets = self.token_issuer.secrets
        self.measurements = Measurements()
        freshness = Freshness(self.tokens, self.generate_token, self.serializer.pack_serializable)
        self.requester = Requester(self, self.measurements, self.admission, freshness)
        self.driver = Driver()
        self.lookups = LookupLog(self._on_lookup)
        self.finder = Finder(self.driver, self.measurements, self.my_peer.mid, self._ask, self.requester.send_again,
                             self._read, self._own_addresses, self._contact, self._is_refused, self.lookups)
        self.replicator = Replicator(self.driver, self.requester, self.tokens, self.measurements)
        self.publications = Publications()
        self._value_reader = ValueReader(self.signature_guard)
        self._value_signer = ValueSigner(self.my_peer.key)  # type: ignore[arg-type]  # our own key is a private one
        self._exploration = Exploration()
        for payload_class, handler in (
            (PingRequestPayload, self.on_ping_request), (PingResponsePayload, self.on_ping_response),
            (StoreRequestPayload, self.on_store_request), (StoreResponsePayload, self.on_store_response),
            (FindRequestPayload, self.on_find_request), (FindResponsePayload, self.on_find_response),
        ):
            self.add_message_handler(payload_class, handler)

        self.token_maintenance()
        for name, maintenance, interval in (
            ("token_maintenance", self.token_maintenance, 300), ("node_maintenance", self.node_maintenance, 60),
            ("value_maintenance", self.value_maintenance, 3600), ("sweep", self._sweep, 10),
            ("look_around", self._look_around, 10),
        ):
            self.register_task(name, maintenance, interval=interval)
        self.register_task("republish", self.publications.store_due, self._store, interval=60)
        # Programs also build a DHT from plain CommunitySettings, which take any setting.
        path = getattr(settings, "dht_database", DHTSettings.dht_database)
        self.snapshot = self._restore(path) if path else None

    def _restore(self, path: str) -> Snapshot:
        """Read a database, contact the nodes in it, and write to it from now on."""
        from .persistence import SAVE_INTERVAL, Snapshot

        snapshot = Snapshot(path, self.storages, self.routing_tables)
        self.register_task("restore", snapshot.restore, self._read, self.walk_to)
        self.register_task("save", snapshot.save, interval=SAVE_INTERVAL)
        return snapshot

    async def unload(self) -> None:
        """End all lookups and requests, stop, and write the database if there is one.

        The network that was given forgets that this node runs a DHT.
        """
        async with AsyncExitStack() as unloading:  # each of these steps, whatever the others raise
            if self.snapshot is not None:
                unloading.push_async_callback(self.snapshot.close)
            unloading.push_async_callback(super().unload)
            unloading.callback(self._leave_shared_network)
            unloading.push_async_callback(self.driver.stop)

    def get_available_strategies(self) -> dict[str, type[DiscoveryStrategy[Any]]]:
        """The strategies that a configuration may name for this overlay."""
        return {"PingChurn": PingChurn}

    # Getting to know nodes

    def introduction_request_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        """Take the sender of an introduction request for a node."""
        self.on_node_discovered(peer.public_key.key_to_bin(), peer.address)

    def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        """Take the sender of an introduction response for a node, whose address is proven by it."""
        self._follow_own_address()
        self.admission.prove(peer.address, peer.key_bin)
        self.on_node_discovered(peer.public_key.key_to_bin(), peer.address)

    def on_node_discovered(self, public_key_bin: bytes, source_address: Address) -> None:
        """Ping somebody who may be a node, unless it is known already."""
        if isinstance(source_address, UDPv6Address) and UDPv6Address not in self.my_peer.addresses:
            return
        if self.my_estimated_wan in NOWHERE or source_address in self.network.blacklist:
            return
        node = Node(public_key_bin, source_address)
        if not self.get_routing_table(node).has(node.id):
            stored = self.admit(node)
            if stored is not None:
                self.ping(stored)

    # Messages

    def ping(self, node: Node) -> Future[Node | None]:
        """Ask ``node`` whether it is there; the result is ``node``, or ``None`` if no answer comes in five seconds."""
        return self.requester.ping(node)

    @receive_request(PingRequestPayload)
    def on_ping_request(self, peer: Peer, payload: PingRequestPayload, data: bytes) -> None:
        """Message 1."""
        if self.get_requesting_node(peer) is not None:
            self.ez_send(peer, PingResponsePayload(payload.identifier))
            self.on_pinged(peer)

    def on_pinged(self, peer: Peer) -> None:
        """Do more about a ping, which was answered; for subclasses."""

    @receive_response(PingResponsePayload, "ping")
    def on_ping_response(self, request: Request, payload: PingResponsePayload) -> None:
        """Message 2."""
        request.resolve(request.node)
        self.on_ponged(request.node)

    def on_ponged(self, node: Node) -> None:
        """Do more about the answer to a ping; for subclasses."""

    @receive_request(StoreRequestPayload)
    def on_store_request(self, peer: Peer, payload: StoreRequestPayload, data: bytes) -> None:
        """Message 3. It is answered only if all values are stored."""
        if len(payload.values) > MAX_VALUES_IN_STORE or any(len(value) > MAX_ENTRY_SIZE for value in payload.values):
            return
        has_token = self.check_token(peer, payload.token)
        if self.get_requesting_node(peer) is None and not (has_token and self.admission.take_with_token(peer)):
            return
        if has_token:
            self.admission.prove(peer.address, peer.key_bin)
            if self._keep(peer, payload):
                self.ez_send(peer, StoreResponsePayload(payload.identifier))

    def _keep(self, peer: Peer, payload: StoreRequestPayload) -> bool:
        """Store the values that ``peer`` has sent; whether all of them are stored."""
        max_age = lifetime(payload.target, self.get_routing_table(peer))
        if not max_age or not payload.values:
            return False
        storage, host = self.get_storage(peer), peer.address[0]
        readable = self._value_reader.affordable(payload.values, host, was_asked=False)
        with storage.charged_to(host):
            for value in readable:
                self.add_value(payload.target, value, storage, max_age)
        return len(readable) == len(payload.values) and all(storage.holds(payload.target, value) for value in readable)

    @receive_response(StoreResponsePayload, "store")
    def on_store_response(self, request: Request, payload: StoreResponsePayload) -> None:
        """Message 4."""
        request.resolve(request.node)

    @receive_request(FindRequestPayload)
    def on_find_request(self, peer: Peer, payload: FindRequestPayload, data: bytes) -> None:
        """Message 5."""
        asking = self.get_requesting_node(peer)
        if asking is None:
            is_marked = self.requester.freshness.is_marked(peer.address, peer.mid, payload)
            if not (is_marked and self.admission.take_with_token(peer)):
                return
            asking = Node(peer.public_key, peer.address)
        answer = find_answer(payload, asking, None if payload.force_nodes else self.get_storage(peer),
                             self.get_routing_table(peer), self.admission.room(peer.address, len(data)))
        if answer.puncturing is not None:
            self.request_puncture(answer.puncturing, peer, payload)
        self.ez_send(peer, FindResponsePayload(payload.identifier, self.generate_token(peer), answer.values,
                                               answer.nodes))

    @receive_response(FindResponsePayload, "find")
    def on_find_response(self, request: Request, payload: FindResponsePayload) -> None:
        """Message 6."""
        node = request.node
        self.tokens.note(node.id, payload.token)
        self.admit(node)
        wants_nodes = bool(request.params and request.params[0])
        values = [] if wants_nodes else self._value_reader.affordable(payload.values[:MAX_VALUES_IN_FIND],
                                                                      node.address[0], was_asked=True)
        request.resolve({"values": values} if values else {"nodes": payload.nodes})

    def request_puncture(self, node: Node, peer: Peer, payload: Any) -> None:
        """Have ``node`` send a puncture to ``peer``, who sent ``payload``."""
        packet = self.create_puncture_request(payload.lan_address, peer.address, payload.identifier % 65536)
        self.endpoint.send(node.address, packet)

    def generate_token(self, node: Peer) -> bytes:
        """The token with which ``node`` may store values here for the next five minutes, at least."""
        return self.token_issuer.make(node)

    def check_token(self, node: Peer, token: bytes) -> bool:
        """Whether ``node`` got this token from us lately, at the address that it has now."""
        return self.token_issuer.accepts(node.address, node.mid, token)

    # Values

    def serialize_value(self, data: bytes, sign: bool = True) -> bytes:
        """The value with this content, signed by this node or not."""
        return self._value_signer.sign(data) if sign else unsigned(data)

    def unserialize_value(self, value: bytes) -> tuple[bytes, bytes | None, int] | None:
        """Data, public key of the signer and version of a value; ``None`` if it is invalid."""
        return self._value_reader.read(value)

    def _read(self, value: bytes) -> tuple[bytes, bytes | None, int] | None:
        """What the parts of the DHT call, as programs may replace :meth:`unserialize_value` in an object."""
        return self.unserialize_value(value)

    def post_process_values(self, values: Iterable[bytes]) -> list[DHTValue]:
        """The newest valid value of each signer, then the valid unsigned ones."""
        return newest(entry for entry in map(self.unserialize_value, values) if entry is not None)

    def add_value(self, key: bytes, value: bytes, storage: Storage, max_age: float = MAX_ENTRY_AGE) -> bool | None:
        """Store a serialized value in ``storage``, if it is valid; ``False`` if it is not stored."""
        entry = self.unserialize_value(value)
        if entry is None or entry[2] > clock.time() + MAX_VERSION_LEAD:
            return False
        return keep(storage, key, value, entry, max_age)

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
        :param debug: also return the records of the lookups, one for each address family.
        :raises DHTError: if no node is known.
        """
        return await self.find(target, False, offset, debug, *(() if options is None else (options,)))

    async def find_nodes(self, target: bytes, debug: bool = False, options: LookupOptions | None = None) -> Any:
        """Find the nodes near to a key: of each address family those that answered, the nearest first.

        :param debug: also return the records of the lookups, one for each address family.
        :raises DHTError: if no node is known.
        """
        return await self.find(target, True, 0, debug, *(() if options is None else (options,)))

    async def find(self, target: bytes, force_nodes: bool, offset: int, debug: bool,
                   options: LookupOptions | None = None) -> Any:
        """Look for nodes or values in all address families; see :meth:`find_nodes` and :meth:`find_values`."""
        target, options = normalise_key(target), options or LookupOptions()
        crawls = self.finder.begin(target, self.routing_tables.values(), force_nodes, offset)
        if self.routing_tables and not crawls:
            raise DHTError("No nodes found in the routing table")
        nodes = await self.finder.finish(crawls, options, self._is_public())
        result: FindResultType = nodes if force_nodes else tuple(self._evaluate(target, offset, crawls, options))
        return (result, crawls) if debug else result

    def _on_lookup(self, record: LookupRecord) -> None:
        """Tell those who watch of a lookup that starts or has ended."""
        if self.event_bus is not None:
            self.event_bus.publish("dht.lookup", record.to_dict)

    def _evaluate(self, target: bytes, offset: int, crawls: list[Crawl], options: LookupOptions) -> list[DHTValue]:
        """The values that were found or are stored here; those that nodes lack are sent to these."""
        own = [value for storage in self.storages.values() for value in storage.get(target, offset)]
        findings = Findings(crawls, own, self._read)
        self.finder.distrust(findings.senders_of_malformed_values())
        if self.contribution_reporter is not None:
            for node in findings.deliverers(target, self.my_peer.key_bin):
                self.contribution_reporter.contributed(node.key_bin, DELIVERY)
        for crawl in crawls if options.cache and not self.driver.stopped else ():
            for values, nodes in findings.repairs(crawl, self.finder.may_cache):
                self.register_anonymous_task("repair", self._repair, target, values, nodes)
        return self.post_process_values(findings.values)

    # Parts of a lookup, for programs that call or override them

    def _send_find_request(self, node: Node, target: bytes, force_nodes: bool,
                           offset: int = 0) -> Future[Response | None]:
        """Ask ``node`` for the values of a key, or for the nodes near to it.

        All find-requests of lookups are sent by this method.

        :returns: the future of ``{"values": [...]}`` or ``{"nodes": [...]}``, or of ``None`` if there is no answer.
        """
        return self.requester.find(node, target, force_nodes, offset)

    def _ask(self, node: Node, target: bytes, force_nodes: bool, offset: int) -> Future[Response | None]:
        """What lookups call, as programs may replace :meth:`_send_find_request` in an object."""
        return self._send_find_request(node, target, force_nodes, offset)

    def _contact(self, crawl: Crawl, node: Node) -> Future[None] | None:
        """Have a program ask a node, if it has replaced :meth:`_contact_node`; ``None`` if it has not."""
        method: Any = self._contact_node
        if getattr(method, "__func__", None) is DHTCommunity._contact_node:
            return None
        return self.register_anonymous_task("contact_node", method, crawl, node, None)

    async def _contact_node(self, crawl: Crawl, node: Node, puncture_node: Node | None) -> None:
        """Ask one node for what ``crawl`` looks for, and add its answer to ``crawl``.

        Lookups call it if a program has replaced it, without a ``puncture_node``: they ask that one themselves.

        :param puncture_node: who is asked first to make ``node`` send a puncture.
        """
        if puncture_node is not None:
            await self._send_find_request(puncture_node, node.id, crawl.force_nodes)
        response = await self._send_find_request(node, crawl.target, crawl.force_nodes, crawl.offset)
        if response is not None:
            self.get_routing_table(node).admit(node, diverse=self._is_public())
            crawl.add_response(node, response)

    async def _find(self, crawl: Crawl, debug: bool = False) -> Any:
        """Carry out one lookup: a list of the nodes that answered, or of the values that were found.

        :param debug: also return ``crawl``.
        """
        options = LookupOptions()
        nodes = await self.finder.finish([crawl], options, self._is_public())
        result = list(nodes) if crawl.force_nodes else self._evaluate(crawl.target, crawl.offset, [crawl], options)
        return (result, crawl) if debug else result

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
            self.publications.add(key, data, value)
        return await self._store(key, value)

    async def _store(self, key: bytes, value: bytes) -> list[Node]:
        nodes = await self.find_nodes(key)
        stored = await self.store_on_nodes(key, [value], self._targets_among(nodes))
        if not stored:
            raise DHTError("Failed to store value on DHT")
        return stored

    def _targets_among(self, nodes: Iterable[Node]) -> StoreTargets:
        """Where to store values, of the nodes near to their key that have answered."""
        trust = self.trust if self.prefer_trusted else None
        if trust is None:
            return StoreTargets.nearest(nodes, TARGET_NODES)
        return StoreTargets.nearest((node for node in nodes if not is_refused(trust, node.key_bin)), TARGET_NODES,
                                    lambda node: score_of(trust, node.key_bin))

    def _is_refused(self, key: bytes) -> bool:
        """Whether lookups leave out the node with this key, because it is blocked or a fraud."""
        return self.prefer_trusted and self.trust is not None and is_refused(self.trust, key)

    def unpublish(self, key: bytes, data: bytes) -> None:
        """Do not store a value again; it expires within the hour."""
        self.publications.remove(normalise_key(key), data)

    def store_on_nodes(self, key: bytes, values: list[bytes], nodes: list[Node]) -> Future[list[Node]]:
        """Store serialized values, the first eight of them, on nodes whose tokens are known.

        This node stores them as well if it is one of the nearest nodes. The work starts at once, awaited or not.

        :param nodes: those of a :class:`StoreTargets` that do not confirm are replaced by its spares.
        :returns: the nodes that confirmed to have them.
        :raises DHTError: if there are no nodes, or there is a token for none of them.
        """
        targets = nodes if isinstance(nodes, StoreTargets) else StoreTargets(nodes)
        key, values = normalise_key(key), list(values[:MAX_VALUES_IN_STORE])
        families = targets.families(self.get_address_class)
        for family in families if targets.own_copy else ():
            if family.include(self.get_my_node_id(family[0]), key):
                for value in reversed(values):
                    self.add_value(key, value, self.get_storage(family[0]))
        try:
            replication = self.replicator.begin(families)
        except DHTError as e:
            return fail(e)
        return self.register_anonymous_task("store_on_nodes", self._replicate, replication, key, values)

    async def _replicate(self, replication: Replication, key: bytes, values: list[bytes]) -> list[Node]:
        started = clock.monotonic()
        confirmed = await self.replicator.finish(replication, key, values)
        if self.event_bus is not None and confirmed:
            self.event_bus.publish("dht.stored", {"key": key.hex(), "nodes": len(confirmed),
                                               "seconds": clock.monotonic() - started})
        return confirmed

    async def _repair(self, key: bytes, values: list[bytes], nodes: list[Node]) -> None:
        with suppress(DHTError):
            await self.store_on_nodes(key, values, StoreTargets(nodes, own_copy=False))

    # Maintenance

    async def node_maintenance(self) -> None:
        """Look for the nodes of buckets that have not changed for long."""
        now = Moment.now()
        for buckets in stale_buckets(self.routing_tables.values()):
            try:
                await self.find_values(buckets[0].generate_id())
            except DHTError:
                self.logger.debug("No node is known that can be asked for the nodes of a bucket")
            for bucket in buckets:
                bucket.last_changed = now

    def _sweep(self) -> None:
        for table in self.routing_tables.values():
            for node in table.remove_bad_nodes():
                self.network.remove_peer(node)
            for node in silent_nodes(table):
                self.ping(node)

    async def _look_around(self) -> None:
        for table in self._exploration.due(self.routing_tables.values()):
            crawls = self.finder.begin(table.my_node_id, [table], force_nodes=True)
            await self.finder.finish(crawls, LookupOptions(), self._is_public())

    def value_maintenance(self) -> None:
        """Remove the values that have expired."""
        for storage in self.storages.values():
            storage.clean()

    def token_maintenance(self) -> None:
        """Make tokens with a new secret, and drop received tokens that are too old."""
        self.token_issuer.renew()
        self.tokens.drop_expired()


if TYPE_CHECKING:  # programs import these from here
    from ..community import Community as Community, CommunitySettings as CommunitySettings
    from ..lazy_community import lazy_wrapper as lazy_wrapper, lazy_wrapper_wd as lazy_wrapper_wd
    from ..messaging.address import Address as Address, UDPv4Address as UDPv4Address
    from ..messaging.serialization import ListOf as ListOf, Serializer as Serializer
    from ..peerdiscovery.network import Network as Network
    from ..requestcache import RandomNumberCache as RandomNumberCache, RequestCache as RequestCache
    from ..taskmanager import task as task
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..community": "Community CommunitySettings",
        "..lazy_community": "lazy_wrapper lazy_wrapper_wd",
        "..messaging.address": "Address UDPv4Address",
        "..messaging.serialization": "ListOf Serializer",
        "..peerdiscovery.network": "Network",
        "..requestcache": "RandomNumberCache RequestCache",
        "..taskmanager": "task",
    })
