"""The addresses of peers that nodes store for each other (doc/protocol/dht.md section 10)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ..limits import BoundedDict
from .maintenance import PING_INTERVAL
from .moments import Moment, age
from .routing import NODE_STATUS_BAD, Node

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..peer import Peer

__all__ = ["StoredPeers", "StoringNodes"]

PEER_LIFETIME = 60
"""Seconds without a request after which a stored peer is dropped."""
MAX_STORED_PEERS = 10_000
"""Peers that are stored; the one stored the longest ago is evicted first."""


class StoredPeers(BoundedDict[bytes, list[Node]]):
    """The nodes that asked this node to store their addresses, by their mids."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(MAX_STORED_PEERS)

    def __missing__(self, mid: bytes) -> list[Node]:
        nodes = self[mid] = []
        return nodes

    def put(self, peer: Peer) -> None:
        """Store the address of ``peer``, in place of an earlier one of the same family."""
        node = Node(peer.public_key, peer.address)
        node.last_queries.append(Moment.now())
        family = type(node.address)
        self[peer.mid] = [other for other in self.get(peer.mid, ())
                          if other != node or type(other.address) is not family] + [node]

    def at(self, mid: bytes, address: Address) -> dict[bytes, list[Node]]:
        """What is stored under ``mid``, without other addresses than ``address``."""
        return {mid: [node for node in self.get(mid, ()) if node.address == address]}

    def drop_expired(self) -> None:
        """Drop the nodes that have not sent a request for long."""
        for mid, nodes in list(self.items()):
            nodes[:] = [node for node in nodes if age(node.last_query) <= PEER_LIFETIME]
            if not nodes:
                del self[mid]


class StoringNodes(defaultdict[bytes, list[Node]]):
    """The nodes that store the address of this one, by the key that they store it under."""

    def __init__(self) -> None:
        super().__init__(list)

    def add(self, key: bytes, node: Node) -> None:
        """Note that ``node`` stores the address."""
        if node not in self[key]:
            self[key].append(node)

    def drop_bad(self) -> None:
        """Drop the nodes that do not answer."""
        for key, nodes in list(self.items()):
            nodes[:] = [node for node in nodes if node.status != NODE_STATUS_BAD]
            if not nodes:
                del self[key]

    def to_ping(self) -> list[Node]:
        """The nodes to ping now, so that they go on storing the address."""
        return [node for nodes in self.values() for node in nodes if age(node.last_ping_sent) >= PING_INTERVAL]
