"""Reaching the owner of a key through the DHT (doc/protocol/dht.md section 10)."""

# ruff: noqa: ARG002 - handlers take what messages bring
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..reexports import reexports
from . import DHTError
from .answers import connect_answer
from .community import TARGET_NODES, DHTCommunity, gather_without_errors
from .moments import Moment
from .payload import (
    ConnectPeerRequestPayload,
    ConnectPeerResponsePayload,
    StorePeerRequestPayload,
    StorePeerResponsePayload,
)
from .peer_store import StoredPeers, StoringNodes
from .replication import StoreTargets
from .requests import Request, receive_request, receive_response
from .routing import Node
from .values import normalise_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ..community import CommunitySettings
    from ..peer import Peer

__all__ = ["DHTDiscoveryCommunity"]


class DHTDiscoveryCommunity(DHTCommunity):
    """A DHT whose nodes also store the addresses of each other, under the mids of their keys."""

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        #: The nodes that asked this one to store their addresses, by their mids.
        self.store = StoredPeers()
        #: The nodes that store the address of this one, by the key that they store it under.
        self.store_for_me = StoringNodes()
        for payload_class, handler in (
            (StorePeerRequestPayload, self.on_store_peer_request),
            (StorePeerResponsePayload, self.on_store_peer_response),
            (ConnectPeerRequestPayload, self.on_connect_peer_request),
            (ConnectPeerResponsePayload, self.on_connect_peer_response),
        ):
            self.add_message_handler(payload_class, handler)
        self.register_task("store_peer", self.store_peer, interval=30)
        self.register_task("ping_all", self.ping_all, interval=10)

    def find_node_in_dict(self, public_key_bin: bytes, node_dict: dict[bytes, list[Node]]) -> Node | None:
        """The first node with this key."""
        return next((node for nodes in node_dict.values() for node in nodes if node.key_bin == public_key_bin), None)

    # Being found

    async def store_peer(self) -> list[Node]:
        """Have the nodes nearest to our own mid store our address, unless half of them do; those that confirmed."""
        key = self.my_peer.mid
        if len(self.store_for_me.get(key, ())) >= TARGET_NODES // 2:
            return []
        try:
            nodes = await self.find_nodes(key)
            return await self.send_store_peer_request(key, self._targets_among(nodes))
        except DHTError as e:
            self.logger.debug("No node stores the address of this one: %s", e)
            return []

    async def send_store_peer_request(self, key: bytes, nodes: Iterable[Node]) -> list[Node]:
        """Ask nodes to store our address, those whose tokens are known and that do not; those that confirmed.

        :raises DHTError: if there are no nodes, or there is a token for none of them.
        """
        others = [Node(node.public_key, node.address) for node in nodes if node not in self.store_for_me.get(key, ())]
        if not others:
            raise DHTError("No nodes found for storing peer")
        futures = []
        for node in others:
            token = self.tokens.usable(node.id)
            if token is not None:
                request = Request(self, "store-peer", node, [key])
                payload = StorePeerRequestPayload(request.number, token, key)
                futures.append(self.requester.send(request, payload))
        if not futures:
            raise DHTError("Peer was not stored")
        return await gather_without_errors(*futures)

    @receive_request(StorePeerRequestPayload)
    def on_store_peer_request(self, peer: Peer, payload: StorePeerRequestPayload, data: bytes) -> None:
        """Message 7."""
        if payload.target == peer.mid and self.check_token(peer, payload.token):
            self.admission.prove(peer.address, peer.key_bin)
            self.store.note(peer)
            self.ez_send(peer, StorePeerResponsePayload(payload.identifier))

    @receive_response(StorePeerResponsePayload, "store-peer")
    def on_store_peer_response(self, request: Request, payload: StorePeerResponsePayload) -> None:
        """Message 8."""
        self.store_for_me.add(request.params[0] if request.params else self.my_peer.mid, request.node)
        request.resolve(request.node)

    def on_pinged(self, peer: Peer) -> None:
        """Go on storing the address of a peer that is still there."""
        node = self.find_node_in_dict(peer.key_bin, self.store.at(peer.mid, peer.address))
        if node is not None:
            node.last_queries.append(Moment.now())

    def on_ponged(self, node: Node) -> None:
        """Note that a node that stores our address is still there."""
        storing = self.find_node_in_dict(node.key_bin, self.store_for_me)
        if storing is not None and storing is not node:
            storing.last_response, storing.failed = node.last_response, 0

    def ping_all(self) -> None:
        """Ping the nodes that store our address, and drop those that are not heard of any more."""
        self.store_for_me.drop_bad()
        for node in self.store_for_me.to_ping():
            self.ping(node)
        self.store.drop_expired()

    # Finding

    async def connect_peer(self, mid: bytes, peer: Peer | None = None) -> list[Node]:
        """Find the addresses of the owner of a key, and have it send a puncture to us.

        :param mid: the SHA-1 hash of its serialized public key.
        :param peer: who it may be, at which address: if it answers from there, the DHT is not needed.
        :returns: the key's owner, once for each address that is known.
        :raises DHTError: if it is not found.
        """
        known = self.store.get(mid)
        if known:
            return list(known)
        if peer is None:
            return await self._find_peer(mid)
        node = Node(peer.public_key, peer.address)
        return await _answer_or(self.ping(node), self.measurements.round_trips.patience(node),
                                lambda: self._find_peer(mid))

    async def _find_peer(self, mid: bytes) -> list[Node]:
        nodes = await self.find_nodes(mid)
        found = await self.send_connect_peer_request(mid, StoreTargets.nearest(nodes, TARGET_NODES))
        if not found:
            raise DHTError("Failed to connect peer")
        return found

    async def send_connect_peer_request(self, key: bytes, nodes: Iterable[Node]) -> list[Node]:
        """Ask nodes for the addresses of the owner of a key; all that they know, each once.

        :raises DHTError: if there are no nodes.
        """
        futures = []
        for node in nodes:
            request = Request(self, "connect-peer", Node(node.public_key, node.address))
            payload = ConnectPeerRequestPayload(request.number, self.my_estimated_lan, key)
            futures.append(self.requester.send(request, payload))
        if not futures:
            raise DHTError("No nodes found for connecting to peer")
        mid = normalise_key(key)
        found: dict[tuple[bytes, type], Node] = {}
        for answer in await gather_without_errors(*futures):
            # That a node owns the key can be checked here as well.
            found |= {(node.key_bin, type(node.address)): node for node in answer if node.mid == mid}
        return list(found.values())

    @receive_request(ConnectPeerRequestPayload)
    def on_connect_peer_request(self, peer: Peer, payload: ConnectPeerRequestPayload, data: bytes) -> None:
        """Message 9."""
        if self.admission.take(peer, self.get_routing_table(peer)) is None:
            return
        nodes = connect_answer(self.store.get(payload.target, []), self.admission.room(peer.address, len(data)))
        for node in nodes:
            self.request_puncture(node, peer, payload)
        self.ez_send(peer, ConnectPeerResponsePayload(payload.identifier, nodes))

    @receive_response(ConnectPeerResponsePayload, "connect-peer")
    def on_connect_peer_response(self, request: Request, payload: ConnectPeerResponsePayload) -> None:
        """Message 10."""
        request.resolve(payload.nodes)


async def _answer_or(ping: asyncio.Future[Node | None], patience: float,
                     look_up: Callable[[], Awaitable[list[Node]]]) -> list[Node]:
    """The node that answers a ping, or else what ``look_up`` finds, which begins when the answer is late."""
    lookup: asyncio.Future[list[Node]] | None = None
    await asyncio.wait([ping], timeout=patience)
    try:
        if not ping.done():
            lookup = asyncio.ensure_future(look_up())
            either: list[asyncio.Future[Any]] = [ping, lookup]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if lookup.done() and lookup.exception() is None:
                return lookup.result()
            await asyncio.wait([ping])
        node = None if ping.cancelled() else ping.result()
        if node is not None:
            return [node]
        return await (lookup or look_up())
    finally:
        if lookup is not None:
            lookup.cancel()


if TYPE_CHECKING:  # programs import these from here
    from ..lazy_community import lazy_wrapper as lazy_wrapper, lazy_wrapper_wd as lazy_wrapper_wd
    from .answers import MAX_NODES_IN_FIND as MAX_NODES_IN_FIND
    from .maintenance import PING_INTERVAL as PING_INTERVAL
    from .payload import PingRequestPayload as PingRequestPayload, PingResponsePayload as PingResponsePayload
    from .routing import NODE_STATUS_BAD as NODE_STATUS_BAD
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..lazy_community": "lazy_wrapper lazy_wrapper_wd",
        ".answers": "MAX_NODES_IN_FIND",
        ".maintenance": "PING_INTERVAL",
        ".payload": "PingRequestPayload PingResponsePayload",
        ".routing": "NODE_STATUS_BAD",
    })
