"""What every node of the DHT does for the others: routing table, answers, tokens (spec 07 sections 10.4 to 10.6)."""

# ruff: noqa: ARG002 - handlers take what messages bring

from __future__ import annotations

from collections import OrderedDict, deque
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from .. import clock, entropy
from ..community import Community, CommunitySettings
from ..limits import TokenBuckets
from ..messaging.address import UDPv4Address, UDPv6Address
from ..messaging.serialization import ListOf
from ..peerdiscovery.network import Network
from ..requestcache import RequestCache
from .churn import PingChurn
from .diversity import is_global, room_for
from .payload import (
    FindRequestPayload,
    FindResponsePayload,
    NodePacker,
    PingRequestPayload,
    PingResponsePayload,
    StoreRequestPayload,
    StoreResponsePayload,
)
from .requests import Request, receive_request, receive_response
from .routing import Node, RoutingTable, calc_node_id, distance
from .storage import Storage
from .timing import Pacer, Reachability, RoundTrips
from .tokens import SECRET_SIZE, ReceivedTokens, make_token, matches
from .values import MAX_ENTRY_SIZE, parse

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Iterable

    from ..messaging.address import Address
    from ..messaging.serialization import Payload, Serializer
    from ..peer import Peer
    from ..peerdiscovery.discovery import DiscoveryStrategy
    from .crawl import Response

__all__ = ["DHTNode", "as_many_as_fit"]

MAX_ENTRY_AGE = 3600
"""Seconds that a value lives."""
MAX_VALUES_IN_STORE = 8
MAX_VALUES_IN_FIND = 8
MAX_NODES_IN_FIND = 8
TARGET_NODES = 8

FIND_TIMEOUT = 2.0
"""Seconds until a find-request counts as not answered."""

MAX_ANSWER = 1400
"""Bytes of a packet that passes every network in one piece."""
AMPLIFICATION = 3
"""An address that has not proved to be the sender's gets at most so many times the bytes that came from it."""
PUNCTURE_COST = 45 + 185
"""Bytes of a puncture-request and of the puncture that it makes somebody send to the one who asked."""

REQUESTS_PER_SECOND, REQUESTS_AT_ONCE = 100.0, 500.0
"""Requests from one IPv4 address, or one /64 of IPv6."""
MAX_VISITORS = 4096
"""Nodes outside of the routing tables whose requests are counted; the one that asked the longest ago goes first."""
MAX_PROVEN_ADDRESSES = 4096
PROOF_SECONDS = 1800.0
"""For so long an address counts as that of somebody who answered from it, unless it is pushed out by newer ones."""

MAX_VERSION_LEAD = 3600
"""Seconds that the version of a signed value may lie in the future."""
CROWD = 20
"""Nodes nearest to a key among which is counted how many are nearer than this one."""

NOWHERE = (("0.0.0.0", 0), ("::1", 0))  # noqa: S104 - what the wire says for "no address"


class DHTNode(Community):
    """Answers pings, keeps values for others and says who is near to a key."""

    community_id = bytes.fromhex("8d0be1845d74d175f178197cad001591d04d73cc")
    relayable = False  # others are told where the nodes are

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        shared = self.network
        # Nodes of the DHT are peers of it alone: there may be thousands of them, and they come and go.
        self.network = Network()
        self.network.blacklist.extend(shared.blacklist)
        self.network.blacklist_mids.append(self.my_peer.mid)
        self.storages: dict[type[Any], Storage] = {}
        self.routing_tables: dict[type[Any], RoutingTable] = {}
        self.request_cache = RequestCache()
        self.tokens = ReceivedTokens()
        self.token_secrets: deque[bytes] = deque(maxlen=2)
        self.request_budget = TokenBuckets(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self.round_trips = RoundTrips()
        self.pacer = Pacer()
        self.reachability = Reachability()
        self._visitors: OrderedDict[bytes, Node] = OrderedDict()
        self._proven_addresses: OrderedDict[Address, float] = OrderedDict()
        for payload_class, handler in (
            (PingRequestPayload, self.on_ping_request), (PingResponsePayload, self.on_ping_response),
            (StoreRequestPayload, self.on_store_request), (StoreResponsePayload, self.on_store_response),
            (FindRequestPayload, self.on_find_request), (FindResponsePayload, self.on_find_response),
        ):
            self.add_message_handler(payload_class, handler)

    def get_serializer(self) -> Serializer:
        """The serializer of a community, which knows lists of nodes as well."""
        serializer = super().get_serializer()
        serializer.add_packer("node-list", ListOf(NodePacker(serializer)))
        return serializer

    def get_available_strategies(self) -> dict[str, type[DiscoveryStrategy[Any]]]:
        """The strategies that a configuration may name for this overlay."""
        return {"PingChurn": PingChurn}

    async def unload(self) -> None:
        """Give up all requests, stop listening and end all tasks."""
        await self.request_cache.shutdown()
        await super().unload()

    # Address families

    def get_address_class(self, node: Peer) -> type[Any]:
        """What tells the address families apart: the class of the address."""
        return type(node.address) if isinstance(node.address, tuple) else UDPv4Address

    def get_my_node_id(self, node: Peer) -> bytes:
        """The id of this node in the eyes of ``node``."""
        return self._own_id(self.get_address_class(node))

    def _own_id(self, family: type[Any]) -> bytes:
        return calc_node_id(self.my_peer.addresses.get(family) or self.my_estimated_wan, self.my_peer.mid)

    def get_routing_table(self, node: Peer) -> RoutingTable:
        """The routing table that ``node`` belongs into."""
        family = self.get_address_class(node)
        if family not in self.routing_tables:
            self.routing_tables[family] = RoutingTable(self._own_id(family))
        return self.routing_tables[family]

    def get_storage(self, node: Peer) -> Storage:
        """The storage for the address family of ``node``."""
        family = self.get_address_class(node)
        if family not in self.storages:
            self.storages[family] = Storage(self._own_id(family))
        return self.storages[family]

    def follow_own_address(self) -> None:
        """Sort the nodes anew after our own address, and with it our own id, has changed."""
        for family, table in self.routing_tables.items():
            own_id = self._own_id(family)
            if own_id == table.my_node_id:
                continue
            moved = RoutingTable(own_id)
            for node in sorted(table.nodes(), key=lambda node: -node.last_response):
                moved.add(node)
            self.routing_tables[family] = moved
            if family in self.storages:
                self.storages[family].my_node_id = own_id

    # Nodes that come up

    def introduction_request_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        """Take whoever introduces itself for a node."""
        self.on_node_discovered(peer.public_key.key_to_bin(), peer.address)

    def introduction_response_callback(self, peer: Peer, dist: Any, payload: Any) -> None:
        """Take whoever answers for a node, at an address that is proven thereby."""
        self.follow_own_address()
        self.prove_address(peer.address)
        self.on_node_discovered(peer.public_key.key_to_bin(), peer.address)

    def on_node_discovered(self, public_key_bin: bytes, source_address: Address) -> None:
        """Ping somebody who may be a node, unless it is known already."""
        if isinstance(source_address, UDPv6Address) and UDPv6Address not in self.my_peer.addresses:
            return
        if self.my_estimated_wan in NOWHERE or source_address in self.network.blacklist:
            return
        node = Node(public_key_bin, source_address)
        if self.get_routing_table(node).has(node.id):
            return
        stored = self.admit(node)
        if stored is not None:
            self.ping(stored)

    def admit(self, node: Node) -> Node | None:
        """Take ``node`` into its routing table, if there is room for it and for its network.

        :returns: the object in the table.
        """
        table = self.get_routing_table(node)
        if node.mid == self.my_peer.mid:
            return None
        bucket = table.get_bucket(node.id)
        known = bucket.get(node.id)
        if known is not None and known.last_response and not node.last_response and known.address != node.address:
            return known  # it moves when it answers from there, not when a packet merely comes from there
        if known is None and is_global(self.my_estimated_wan[0]) and not room_for(
                node.address, (other.address for other in bucket.nodes.values()),
                (other.address for other in table.nodes())):
            return None
        rtt, node.rtt = node.rtt, 0  # the time that a node has been here counts for more than its speed
        stored = table.add(node)
        if stored is None and node.last_response and table.get_bucket(node.id).drop_unproven():
            stored = table.add(node)
        node.rtt = rtt
        return stored

    def prove_address(self, address: Address) -> None:
        """Note that somebody received a packet of ours at ``address``."""
        proven = self._proven_addresses
        proven[address] = clock.monotonic()
        proven.move_to_end(address)
        if len(proven) > MAX_PROVEN_ADDRESSES:
            proven.popitem(last=False)

    def is_proven(self, address: Address) -> bool:
        """Whether somebody is known to receive what is sent to ``address``."""
        proof = self._proven_addresses.get(address)
        return proof is not None and clock.monotonic() - proof < PROOF_SECONDS

    def is_acquainted(self, address: Address) -> bool:
        """Whether somebody at ``address`` may have punctures sent: nodes that have answered may, peers or not."""
        return self.is_proven(address) or super().is_acquainted(address)

    # Asking

    def send_request(self, request: Request, payload: Payload) -> Future[Any]:
        """Send ``payload``, which has the number of ``request``; the future of the answer."""
        if self.request_cache.add(request) is not None:
            self.pacer.note(request.node, clock.monotonic())
            request.packet = self.ezr_pack(payload.msg_id, payload)
            self.endpoint.send(request.address, request.packet)
        return request.future

    def ping(self, node: Node) -> Future[Node | None]:
        """Ask ``node`` for a sign of life; the result is ``node``, or ``None`` if there is none in five seconds."""
        request = Request(self, "ping", node, consume_errors=True)
        node.last_ping_sent = clock.time()
        return self.send_request(request, PingRequestPayload(request.number))

    def send_find_request(self, node: Node, target: bytes, force_nodes: bool, offset: int = 0) -> Request:
        """Ask ``node`` for the values of ``target``, or the nodes near to it; the result is a response or ``None``."""
        request = Request(self, "find", node, [force_nodes], consume_errors=True, timeout=FIND_TIMEOUT)
        self.send_request(request, FindRequestPayload(request.number, self.my_estimated_lan, target, offset,
                                                      force_nodes))
        return request

    def on_answer(self, request: Request, source_address: Address) -> None:
        """Learn from the fact that a request was answered."""
        if source_address == request.address:
            self.prove_address(source_address)
            self.reachability.heard(source_address, clock.monotonic())
        self.round_trips.add(request.node.rtt)

    # Answering

    def _visitor(self, peer: Peer) -> Node:
        """The record of somebody who asks something: in the table, or among those who are not in it, or a new one."""
        known = self.get_routing_table(peer).get(calc_node_id(peer.address, peer.mid))
        if known is None:
            known = self._visitors.get(peer.key_bin)
        return known if known is not None and known == peer else Node(peer.public_key, peer.address)

    def is_blocked(self, key_bin: bytes, source_address: Address) -> bool:
        """Whether somebody who claims to have this key has asked too much lately."""
        known = self._visitors.get(key_bin)
        if known is None:
            table = self.routing_tables.get(type(source_address))
            if table is not None:
                mid = sha1(key_bin, usedforsecurity=False).digest()
                known = table.get(calc_node_id(source_address, mid))
        return known is not None and known.blocked

    def get_requesting_node(self, peer: Peer) -> Node | None:
        """The node that ``peer`` is, with one more request counted; ``None`` if it has asked too much lately."""
        return self._count_request(peer, admit=True)

    def count_request(self, peer: Peer) -> Node | None:
        """Like :meth:`get_requesting_node`, for somebody who may not be a node of the DHT."""
        return self._count_request(peer, admit=False)

    def _count_request(self, peer: Peer, admit: bool) -> Node | None:
        node = self._visitor(peer)
        if node.blocked:
            return None
        stored = self.admit(node) if admit else node if node.bucket is not None else None
        if stored is None:
            self._visitors[node.key_bin] = node
            self._visitors.move_to_end(node.key_bin)
            if len(self._visitors) > MAX_VISITORS:
                self._visitors.popitem(last=False)
        else:
            self._visitors.pop(node.key_bin, None)
            node = stored
        node.last_queries.append(clock.time())
        return node

    def answer(self, peer: Peer, payload: Payload) -> None:
        """Send ``payload`` to where a request came from."""
        self._ez_senda(peer.address, payload)

    @receive_request(PingRequestPayload)
    def on_ping_request(self, peer: Peer, payload: PingRequestPayload, data: bytes) -> None:
        """Message 1."""
        if self.get_requesting_node(peer) is not None:
            self.answer(peer, PingResponsePayload(payload.identifier))
            self.on_pinged(peer)

    def on_pinged(self, peer: Peer) -> None:
        """Do more with a ping, which was answered; for subclasses."""

    @receive_response(PingResponsePayload, "ping")
    def on_ping_response(self, request: Request, payload: PingResponsePayload) -> None:
        """Message 2."""
        request.resolve(request.node)
        self.on_ponged(request.node)

    def on_ponged(self, node: Node) -> None:
        """Do more with the answer to a ping; for subclasses."""

    @receive_request(StoreRequestPayload)
    def on_store_request(self, peer: Peer, payload: StoreRequestPayload, data: bytes) -> None:
        """Message 3."""
        node = self.get_requesting_node(peer)
        if (node is None or len(payload.values) > MAX_VALUES_IN_STORE
                or any(len(value) > MAX_ENTRY_SIZE for value in payload.values)
                or not self.check_token(peer, payload.token)):
            return
        self.prove_address(peer.address)
        max_age = self._max_age(payload.target, self.get_routing_table(peer))
        for value in payload.values if max_age else ():
            self.add_value(payload.target, value, self.get_storage(peer), max_age, source=peer.address[0])
        self.answer(peer, StoreResponsePayload(payload.identifier))

    def _max_age(self, target: bytes, table: RoutingTable) -> int:
        """The seconds that a value lives here: fewer, the more nodes are nearer to its key than this one."""
        own_distance = distance(table.my_node_id, target)
        nearer = sum(node.distance(target) < own_distance for node in table.closest_nodes(target, max_nodes=CROWD))
        return MAX_ENTRY_AGE >> max(0, nearer - TARGET_NODES + 1)

    def add_value(self, key: bytes, value: bytes, storage: Storage, max_age: float = MAX_ENTRY_AGE,
                  source: str = "") -> None:
        """Keep a serialized value, if it is sound.

        :param source: the host that is charged for it, empty for this node.
        """
        entry = parse(value)
        if entry is None or entry.version > clock.time() + MAX_VERSION_LEAD:
            return
        signer = None if entry.public_key is None else self.crypto.key_from_network(entry.public_key).key_to_hash()
        storage.put(key, value, id_=signer, version=entry.version, max_age=max_age, source=source)

    @receive_response(StoreResponsePayload, "store")
    def on_store_response(self, request: Request, payload: StoreResponsePayload) -> None:
        """Message 4."""
        request.resolve(request.node)

    @receive_request(FindRequestPayload)
    def on_find_request(self, peer: Peer, payload: FindRequestPayload, data: bytes) -> None:
        """Message 5."""
        if self.get_requesting_node(peer) is None:
            return
        proven = self.is_proven(peer.address)
        room = MAX_ANSWER if proven else AMPLIFICATION * len(data)
        key = self.my_peer.public_key
        room -= 51 + len(key.key_to_bin()) + key.get_signature_length()
        values: list[bytes] = []
        nodes: list[Node] = []
        if not payload.force_nodes:
            values = self.get_storage(peer).page(payload.target, payload.offset, MAX_VALUES_IN_FIND, room)
        if not values:
            nodes = self._nodes_to_tell(peer, payload.target)
            # Others who ask for the very id of a node want it to open the way; that is within the budget of a stranger
            # only if they get fewer nodes.
            opens_way = bool(nodes) and (proven or nodes[0].id == payload.target)
            if opens_way:
                request = self.create_puncture_request(payload.lan_address, peer.address, payload.identifier % 65536)
                self.endpoint.send(nodes[0].address, request)
                room -= 0 if proven else PUNCTURE_COST
            nodes = as_many_as_fit(nodes, room)
        self.answer(peer, FindResponsePayload(payload.identifier, self.generate_token(peer), values, nodes))

    def _nodes_to_tell(self, peer: Peer, target: bytes) -> list[Node]:
        """The nodes near to ``target``; those that never answered only if there are not enough others."""
        asking = Node(peer.public_key, peer.address)
        near = self.get_routing_table(peer).closest_nodes(target, exclude_node=asking, max_nodes=2 * MAX_NODES_IN_FIND)
        if near and near[0].id != target:
            near.sort(key=lambda node: not node.last_response)
        return sorted(near[:MAX_NODES_IN_FIND], key=lambda node: node.distance(target))

    @receive_response(FindResponsePayload, "find")
    def on_find_response(self, request: Request, payload: FindResponsePayload) -> None:
        """Message 6."""
        node = request.node
        self.tokens.note(node.id, clock.time(), payload.token)
        self.admit(node)
        force_nodes = bool(request.params and request.params[0])
        response: Response = {"nodes": payload.nodes}
        if payload.values and not force_nodes:
            response = {"values": payload.values}
        request.resolve(response)

    # Tokens

    def generate_token(self, node: Peer) -> bytes:
        """The token with which ``node`` may store something here for the next five minutes, at least."""
        return make_token(node, self.token_secrets[-1])

    def check_token(self, node: Peer, token: bytes) -> bool:
        """Whether ``node`` got this token from us lately, at the address that it has now."""
        return matches(node, token, self.token_secrets)

    def renew_token_secret(self) -> None:
        """Use a new secret; tokens made with the one before are still accepted."""
        self.token_secrets.append(entropy.randbytes(SECRET_SIZE))


def as_many_as_fit(nodes: Iterable[Node], room: int) -> list[Node]:
    """The first nodes that take at most ``room`` bytes in a packet."""
    chosen: list[Node] = []
    for node in nodes:
        room -= (21 if isinstance(node.address, UDPv6Address) else 9) + len(node.key_bin)
        if room < 0:
            break
        chosen.append(node)
    return chosen[:MAX_NODES_IN_FIND]
