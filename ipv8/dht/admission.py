"""Whose requests are answered: limits for each host and each node, and the addresses that have proved to be right."""

from __future__ import annotations

from hashlib import blake2b, sha1
from typing import TYPE_CHECKING

from .. import clock
from ..limits import TokenBuckets
from ..messaging.interfaces.network_stats import DropCounter
from .accounts import FairDict
from .answers import Room
from .diversity import source_of
from .moments import Moment
from .routing import NODE_LIMIT_INTERVAL, NODE_LIMIT_QUERIES, Node, calc_node_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..messaging.address import Address
    from ..peer import Peer
    from .routing import RoutingTable

__all__ = ["Admission"]

REQUESTS_PER_SECOND, REQUESTS_AT_ONCE = 100.0, 500.0
"""Requests of one host (an IPv4 address, or a /64 of IPv6) of nodes that have proved to be there; as many of others."""
PROOFS_WANTED_PER_SECOND, PROOFS_WANTED_AT_ONCE = 1 / 30, 1.0
"""Find-requests to a node that is over its limit. The token of the answer tells its new requests from repeated ones."""
MAX_VISITORS = 4096
"""Nodes outside the routing tables whose requests are counted; of the network with the most, the one that asked the
longest ago is evicted first."""
MAX_PROVEN_ADDRESSES = 4096
"""Addresses that somebody answered from, and nodes that did; of the network with the most, the oldest is evicted
first."""
PROOF_SECONDS = 1800.0
"""Seconds for which such an answer proves that the address is right."""
MAX_REMEMBERED_REQUESTS = 16_384
"""Requests that are not accepted again, two hours of a node that is always at its limit; of the network with the most,
the oldest is forgotten first."""

DIGEST_SIZE = 8


class Admission:
    """Counts requests, by host and by node, and remembers addresses at which somebody receives what is sent there.

    Of the requests of one node, ten in five seconds are answered (:data:`~ipv8.dht.routing.NODE_LIMIT_QUERIES`). Nodes
    of a routing table are counted by their :class:`Node` in the table, others by one that is kept here.

    A signature does not say to whom a request was sent, or when. So others can send it again, and from any address. At
    another host than that of the node, it counts for that host only; at the same host, it counts once. Requests with a
    token, which the node can have got at its address only, and find-requests that show that they are new, have ten in
    five seconds of their own.

    :param signer_size: bytes of the key and the signature of this node in a packet.
    """

    def __init__(self, signer_size: int) -> None:
        self._signer_size = signer_size
        self._of_strangers = TokenBuckets(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self._of_proven = TokenBuckets(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self._proofs_wanted = TokenBuckets(PROOFS_WANTED_PER_SECOND, PROOFS_WANTED_AT_ONCE)
        self._with_token = TokenBuckets(NODE_LIMIT_QUERIES / NODE_LIMIT_INTERVAL, NODE_LIMIT_QUERIES)
        self._visitors: FairDict[tuple[bytes, bytes], Node] = FairDict(MAX_VISITORS)
        # When somebody answered from an address; when the owner of a key answered from a host.
        self._proven: FairDict[Address, float] = FairDict(MAX_PROVEN_ADDRESSES)
        self._residents: FairDict[tuple[bytes, bytes], float] = FairDict(MAX_PROVEN_ADDRESSES)
        # Digests of requests and the hosts that they came from.
        self._accepted: FairDict[bytes, None] = FairDict(MAX_REMEMBERED_REQUESTS)

    # Before the signature is verified

    def refusal(self, key_bin: bytes, address: Address, data: bytes, table: RoutingTable | None,
                is_new: Callable[[bytes], bool] = lambda _mid: False) -> str | None:
        """Why a request is not looked at that claims to come from the owner of ``key_bin`` at ``address``.

        Nothing is counted yet: the signature has not been verified.

        :param table: the routing table for the family of the address, if there is one.
        :param is_new: whether the request proves that nobody repeats it; it is given the mid of its author.
        :returns: a reason of ``DropCounter``; ``None`` if the request is to be looked at.
        """
        host = source_of(address[0]).host
        mid = sha1(key_bin, usedforsecurity=False).digest()
        if _digest(host, data) in self._accepted:
            return DropCounter.REPLAYED
        node = self._known(key_bin, mid, address, table)
        is_over_limit = (node is not None and node.blocked) or not self._budget(key_bin, host).holds(host)
        if is_over_limit and not (self._with_token.holds(key_bin) and is_new(mid)):
            return DropCounter.RATE_LIMITED
        return None

    def _budget(self, key_bin: bytes, host: bytes) -> TokenBuckets:
        """What pays for a request that claims to come from the owner of a key.

        Anybody can send packets with the address of somebody else. So those of strangers have another budget than those
        of nodes that have proved to be there.
        """
        since = self._residents.get((key_bin, host))
        is_proven = since is not None and clock.monotonic() - since < PROOF_SECONDS
        return self._of_proven if is_proven else self._of_strangers

    def _known(self, key_bin: bytes, mid: bytes, address: Address, table: RoutingTable | None) -> Node | None:
        """What the requests of a node at this host are counted by; ``None`` if it has sent none lately."""
        host = source_of(address[0]).host
        listed = None if table is None else table.get(calc_node_id(address, mid))
        if listed is not None and listed.key_bin == key_bin and source_of(listed.address[0]).host == host:
            return listed
        return self._visitors.get((key_bin, host))

    # Afterwards

    def charge(self, key_bin: bytes, address: Address, data: bytes) -> None:
        """Count a request, whose signature is right, for the host of its address, and do not accept it again."""
        network, host = source_of(address[0])
        self._budget(key_bin, host).take(host)
        self._accepted.put(_digest(host, data), None, network)

    def take(self, peer: Peer, table: RoutingTable, admit: Callable[[Node], Node | None] | None = None) -> Node | None:
        """Count a request of ``peer`` that is to be answered; ``None``, and not counted, if there were too many.

        :param table: the routing table for the family of its address.
        :param admit: adds a node to the table if there is room, and returns the object in the table.
        :returns: the node by which the requests of ``peer`` are counted.
        """
        known = self._known(peer.key_bin, peer.mid, peer.address, table)
        if known is not None and known.blocked:
            return None
        if known is not None and known.address == peer.address:
            node = known
        else:
            node = Node(peer.public_key, peer.address)
            if known is not None:
                node.last_queries.extend(known.last_queries)
        network, host = source_of(peer.address[0])
        listed = table.get(node.id) if admit is None else admit(node)
        if listed is not None and listed == node and source_of(listed.address[0]).host == host:
            node = listed
            self._visitors.discard((peer.key_bin, host))
        else:
            self._visitors.put((peer.key_bin, host), node, network)
        node.last_queries.append(Moment.now())
        return node

    def take_with_token(self, peer: Peer) -> bool:
        """Count a request that proves to be new, for which :meth:`take` had no room; whether it is to be answered."""
        return self._with_token.take(peer.key_bin)

    def wants_proof(self, key_bin: bytes, address: Address, table: RoutingTable | None) -> bool:
        """Whether to ask a node for a token now, because more requests of it were verified than are answered."""
        if not self._proofs_wanted.holds(key_bin):
            return False
        node = self._known(key_bin, sha1(key_bin, usedforsecurity=False).digest(), address, table)
        return node is not None and node.blocked and node.address == address and self._proofs_wanted.take(key_bin)

    # Proofs

    def prove(self, address: Address, key_bin: bytes = b"") -> None:
        """Note that somebody received a packet of this node at ``address``.

        :param key_bin: the key of that node, if it is known.
        """
        network, host = source_of(address[0])
        now = clock.monotonic()
        self._proven.put(address, now, network)
        if key_bin:
            self._residents.put((key_bin, host), now, network)

    def is_proven(self, address: Address) -> bool:
        """Whether somebody is known to receive what is sent to ``address``."""
        since = self._proven.get(address)
        return since is not None and clock.monotonic() - since < PROOF_SECONDS

    def room(self, address: Address, request_size: int) -> Room:
        """How much the answer to a request of ``request_size`` bytes from ``address`` may hold."""
        return Room.of(request_size, self.is_proven(address), self._signer_size)


def _digest(host: bytes, data: bytes) -> bytes:
    return blake2b(host + data, digest_size=DIGEST_SIZE).digest()
