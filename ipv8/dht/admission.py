"""Whose requests are answered: limits for each host and each node, and the addresses that have proved to be right."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING

from ..limits import BoundedDict, ExpiringDict, TokenBuckets
from ..messaging.inet import HOST_BITS, network_of
from .answers import Room
from .moments import Moment
from .routing import Node, calc_node_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..peer import Peer
    from .routing import RoutingTable

__all__ = ["Admission"]

REQUESTS_PER_SECOND, REQUESTS_AT_ONCE = 100.0, 500.0
"""Requests of one host: an IPv4 address, or a /64 of IPv6."""
MAX_VISITORS = 4096
"""Nodes outside the routing tables whose requests are counted; the one that asked the longest ago is evicted first."""
MAX_PROVEN_ADDRESSES = 4096
"""Addresses that somebody answered from; the oldest is evicted first."""
PROOF_SECONDS = 1800.0
"""Seconds for which such an answer proves that the address is right."""


class Admission:
    """Counts requests, by host and by node, and remembers addresses at which somebody receives what is sent there.

    Of the requests of one node, ten in five seconds are answered (:data:`~ipv8.dht.routing.NODE_LIMIT_QUERIES`). Nodes
    of a routing table are counted by their :class:`Node` in the table, others by one that is kept here.

    :param signer_size: bytes of the key and the signature of this node in a packet.
    """

    def __init__(self, signer_size: int) -> None:
        self._signer_size = signer_size
        self._hosts = TokenBuckets(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self._visitors: BoundedDict[bytes, Node] = BoundedDict(MAX_VISITORS)
        self._proven: ExpiringDict[Address, bool] = ExpiringDict(MAX_PROVEN_ADDRESSES, PROOF_SECONDS)

    def allows(self, key_bin: bytes, address: Address, table: RoutingTable | None) -> bool:
        """Whether to look at a request that claims to come from the owner of ``key_bin`` at ``address``.

        Nothing is counted yet: the signature has not been verified.

        :param table: the routing table for the family of the address, if there is one.
        """
        if not self._hosts.holds(network_of(address[0], *HOST_BITS)):
            return False
        known = self._visitors.get(key_bin)
        if known is None and table is not None:
            known = table.get(calc_node_id(address, sha1(key_bin, usedforsecurity=False).digest()))
        return known is None or not known.blocked

    def charge(self, address: Address) -> None:
        """Count a request, whose signature is right, for the host of its address."""
        self._hosts.take(network_of(address[0], *HOST_BITS))

    def take(self, peer: Peer, table: RoutingTable, admit: Callable[[Node], Node | None] | None = None) -> Node | None:
        """Count a request of ``peer`` that is to be answered; ``None``, and not counted, if there were too many.

        :param table: the routing table for the family of its address.
        :param admit: adds a node to the table if there is room, and returns the object in the table.
        :returns: the node by which the requests of ``peer`` are counted.
        """
        node = self._node_of(peer, table)
        if node.blocked:
            return None
        listed = table.get(node.id) if admit is None else admit(node)
        if listed is not None:
            node = listed
            self._visitors.pop(node.key_bin, None)
        else:
            self._visitors[node.key_bin] = node
        node.last_queries.append(Moment.now())
        return node

    def _node_of(self, peer: Peer, table: RoutingTable) -> Node:
        listed = table.get(calc_node_id(peer.address, peer.mid))
        if listed is not None and listed == peer:
            return listed
        visitor = self._visitors.get(peer.key_bin)
        if visitor is not None and visitor.address == peer.address:
            return visitor
        node = Node(peer.public_key, peer.address)
        if visitor is not None:
            node.last_queries.extend(visitor.last_queries)
        return node

    def prove(self, address: Address) -> None:
        """Note that somebody received a packet of this node at ``address``."""
        self._proven[address] = True

    def is_proven(self, address: Address) -> bool:
        """Whether somebody is known to receive what is sent to ``address``."""
        return address in self._proven

    def room(self, address: Address, request_size: int) -> Room:
        """How much the answer to a request of ``request_size`` bytes from ``address`` may hold."""
        return Room.of(request_size, self.is_proven(address), self._signer_size)
