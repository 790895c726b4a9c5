"""Reaching the owner of a key through the DHT (spec 07 section 12)."""

# ruff: noqa: ARG002 - handlers take what messages bring
from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from .. import clock
from ..reexports import reexports
from . import DHTError
from .community import MAX_NODES_IN_FIND, PING_INTERVAL, TARGET_NODES, DHTCommunity, gather_without_errors
from .node import AMPLIFICATION, MAX_ANSWER, PUNCTURE_COST, as_many_as_fit
from .payload import (
    ConnectPeerRequestPayload,
    ConnectPeerResponsePayload,
    StorePeerRequestPayload,
    StorePeerResponsePayload,
)
from .requests import Request, receive_request, receive_response
from .routing import NODE_STATUS_BAD, Node
from .values import normalise_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..community import CommunitySettings
    from ..peer import Peer

__all__ = ["DHTDiscoveryCommunity"]

STORE_PEER_INTERVAL = 30
PING_ALL_INTERVAL = 10
PEER_LIFETIME = 60
"""Seconds without a request after which a stored peer is forgotten."""
MAX_STORED_PEERS = 10_000
"""Peers that are stored here; the one that was stored first is forgotten first."""


class DHTDiscoveryCommunity(DHTCommunity):
    """A DHT whose nodes also keep the addresses of each other, under the mids of their keys."""

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        #: The nodes that asked to be stored here, by their mids.
        self.store: defaultdict[bytes, list[Node]] = defaultdict(list)
        #: The nodes that store this one, by the key that they do it under.
        self.store_for_me: defaultdict[bytes, list[Node]] = defaultdict(list)
        for payload_class, handler in (
            (StorePeerRequestPayload, self.on_store_peer_request),
            (StorePeerResponsePayload, self.on_store_peer_response),
            (ConnectPeerRequestPayload, self.on_connect_peer_request),
            (ConnectPeerResponsePayload, self.on_connect_peer_response),
        ):
            self.add_message_handler(payload_class, handler)
        self.register_task("store_peer", self.store_peer, interval=STORE_PEER_INTERVAL)
        self.register_task("ping_all", self.ping_all, interval=PING_ALL_INTERVAL)

    @staticmethod
    def find_node_in_dict(public_key_bin: bytes, node_dict: dict[bytes, list[Node]]) -> Node | None:
        """The first node with this key."""
        return next((node for nodes in node_dict.values() for node in nodes if node.key_bin == public_key_bin), None)

    # Being found

    async def store_peer(self) -> list[Node]:
        """Have the nodes nearest to our own mid store us, unless half of them do; those that confirmed."""
        key = self.my_peer.mid
        if len(self.store_for_me.get(key, ())) >= TARGET_NODES // 2:
            return []
        try:
            nodes = await self.find_nodes(key)
            return await self.send_store_peer_request(key, _nearest(nodes))
        except DHTError as e:
            self.logger.debug("There was nobody to store this peer: %s", e)
            return []

    async def send_store_peer_request(self, key: bytes, nodes: Iterable[Node]) -> list[Node]:
        """Ask nodes whose tokens are known, and that do not store us already, to do so; those that confirmed.

        :raises DHTError: if there are no nodes, or there is a token for none of them.
        """
        others = [Node(node.public_key, node.address) for node in nodes if node not in self.store_for_me.get(key, ())]
        if not others:
            raise DHTError("No nodes found for storing peer")
        futures = []
        for node in others:
            token = self.tokens.usable(node.id, clock.time())
            if token is not None:
                request = Request(self, "store-peer", node, [key])
                futures.append(self.send_request(request, StorePeerRequestPayload(request.number, token, key)))
        if not futures:
            raise DHTError("Peer was not stored")
        return await gather_without_errors(*futures)

    @receive_request(StorePeerRequestPayload)
    def on_store_peer_request(self, peer: Peer, payload: StorePeerRequestPayload, data: bytes) -> None:
        """Message 7."""
        if payload.target != peer.mid or not self.check_token(peer, payload.token):
            return
        self.prove_address(peer.address)
        node = Node(peer.public_key, peer.address)
        node.last_queries.append(clock.time())
        # The latest address is the one that counts, for each address family.
        family = type(node.address)
        self.store[peer.mid] = [other for other in self.store.pop(peer.mid, ())
                                if other != node or type(other.address) is not family] + [node]
        if len(self.store) > MAX_STORED_PEERS:
            del self.store[next(iter(self.store))]
        self.answer(peer, StorePeerResponsePayload(payload.identifier))

    @receive_response(StorePeerResponsePayload, "store-peer")
    def on_store_peer_response(self, request: Request, payload: StorePeerResponsePayload) -> None:
        """Message 8."""
        nodes = self.store_for_me[request.params[0] if request.params else self.my_peer.mid]
        if request.node not in nodes:
            nodes.append(request.node)
        request.resolve(request.node)

    def on_pinged(self, peer: Peer) -> None:
        """Keep a stored peer for another while, if it is still where it was."""
        for node in self.store.get(peer.mid, ()):
            if node == peer and node.address == peer.address:
                node.last_queries.append(clock.time())

    def on_ponged(self, node: Node) -> None:
        """Note that a node that stores us is still there."""
        for nodes in self.store_for_me.values():
            for other in nodes:
                if other == node and other is not node:
                    other.last_response, other.failed = node.last_response, 0

    def ping_all(self) -> None:
        """Stay known to those who store us, and forget those who are not heard of any more."""
        now = clock.time()
        for key, nodes in list(self.store_for_me.items()):
            nodes[:] = [node for node in nodes if node.status != NODE_STATUS_BAD]
            for node in nodes:
                if node.last_ping_sent + PING_INTERVAL <= now:
                    self.ping(node)
            if not nodes:
                del self.store_for_me[key]
        for key, nodes in list(self.store.items()):
            nodes[:] = [node for node in nodes if now <= node.last_query + PEER_LIFETIME]
            if not nodes:
                del self.store[key]

    # Finding

    async def connect_peer(self, mid: bytes, peer: Peer | None = None) -> list[Node]:
        """Find where the owner of a key is, and have it open the way to us.

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
        ping = self.ping(node)
        await asyncio.wait([ping], timeout=self.round_trips.patience(node))
        looking: asyncio.Future[list[Node]] | None = None
        if not ping.done():
            # It may be gone, which will be certain in a few seconds only.
            looking = asyncio.ensure_future(self._find_peer(mid))
            either: list[asyncio.Future[Any]] = [ping, looking]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if looking is not None and looking.done() and not looking.exception():
            return looking.result()
        if not ping.done():
            await asyncio.wait([ping])
        if not ping.cancelled() and ping.result() is not None:
            if looking is not None:
                looking.cancel()
            return [node]
        return await (looking or self._find_peer(mid))

    async def _find_peer(self, mid: bytes) -> list[Node]:
        nodes = await self.send_connect_peer_request(mid, _nearest(await self.find_nodes(mid)))
        if not nodes:
            raise DHTError("Failed to connect peer")
        return nodes

    async def send_connect_peer_request(self, key: bytes, nodes: Iterable[Node]) -> list[Node]:
        """Ask nodes where the owner of a key is; everything that they know, without repetitions.

        :raises DHTError: if there are no nodes.
        """
        futures = []
        for node in nodes:
            request = Request(self, "connect-peer", Node(node.public_key, node.address))
            futures.append(self.send_request(request, ConnectPeerRequestPayload(request.number, self.my_estimated_lan,
                                                                                key)))
        if not futures:
            raise DHTError("No nodes found for connecting to peer")
        mid = normalise_key(key)
        found: dict[tuple[bytes, type], Node] = {}
        for answer in await gather_without_errors(*futures):
            # Whoever stores a peer has checked its key; that the key is the wanted one can be checked here as well.
            found |= {(node.key_bin, type(node.address)): node for node in answer if node.mid == mid}
        return list(found.values())

    @receive_request(ConnectPeerRequestPayload)
    def on_connect_peer_request(self, peer: Peer, payload: ConnectPeerRequestPayload, data: bytes) -> None:
        """Message 9."""
        if self.count_request(peer) is None:
            return
        room = MAX_ANSWER if self.is_proven(peer.address) else AMPLIFICATION * len(data)
        room -= 30 + len(self.my_peer.key_bin) + self.my_peer.public_key.get_signature_length()
        nodes: list[Node] = []
        for node in self.store.get(payload.target, ())[:MAX_NODES_IN_FIND]:
            room -= 0 if self.is_proven(peer.address) else PUNCTURE_COST
            if len(as_many_as_fit([*nodes, node], room)) <= len(nodes):
                break
            nodes.append(node)
            self.endpoint.send(node.address, self.create_puncture_request(payload.lan_address, peer.address,
                                                                          payload.identifier % 65536))
        self.answer(peer, ConnectPeerResponsePayload(payload.identifier, nodes))

    @receive_response(ConnectPeerResponsePayload, "connect-peer")
    def on_connect_peer_response(self, request: Request, payload: ConnectPeerResponsePayload) -> None:
        """Message 10."""
        request.resolve(payload.nodes)


def _nearest(nodes: Iterable[Node]) -> list[Node]:
    """The first eight nodes of each address family."""
    counts: dict[type, int] = defaultdict(int)
    chosen = []
    for node in nodes:
        family = type(node.address)
        counts[family] += 1
        if counts[family] <= TARGET_NODES:
            chosen.append(node)
    return chosen


if TYPE_CHECKING:  # programs import these from here
    from ..lazy_community import lazy_wrapper as lazy_wrapper, lazy_wrapper_wd as lazy_wrapper_wd
    from .payload import PingRequestPayload as PingRequestPayload, PingResponsePayload as PingResponsePayload
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..lazy_community": "lazy_wrapper lazy_wrapper_wd",
        ".payload": "PingRequestPayload PingResponsePayload",
    })
