"""Who is where in the key space: nodes, buckets and the table of them (doc/protocol/dht.md sections 2 and 6)."""

from __future__ import annotations

from binascii import crc32
from collections import deque
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING

from .. import entropy
from ..messaging.address import UDPv6Address
from ..messaging.inet import classic_ipv4_to_bytes, ipv6_to_bytes
from ..messaging.packers import Cache
from ..peer import Peer
from ..reexports import reexports
from .diversity import has_room
from .moments import NEVER, Moment, age
from .payload import NodePacker
from .trie import Branch, Trie

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..keyvault.keys import Key
    from ..messaging.address import Address

__all__ = [
    "MAX_BUCKET_SIZE",
    "NODE_LIMIT_INTERVAL",
    "NODE_LIMIT_QUERIES",
    "NODE_STATUS_BAD",
    "NODE_STATUS_GOOD",
    "NODE_STATUS_UNKNOWN",
    "Bucket",
    "Node",
    "RoutingTable",
    "calc_node_id",
    "distance",
    "id_to_binary_string",
]

NODE_LIMIT_INTERVAL = 5
"""Seconds of the window in which requests of a node are counted."""
NODE_LIMIT_QUERIES = 10
"""Requests of one node that are answered in a window."""

NODE_STATUS_GOOD = 2
NODE_STATUS_UNKNOWN = 1
NODE_STATUS_BAD = 0

MAX_BUCKET_SIZE = 8

ACTIVE_SECONDS = 900
"""A node is good for this many seconds after a packet from it."""
MAX_FAILURES = 2
"""A node is bad after this many requests in a row without an answer."""
SLOWNESS = 2.0
"""A node in a full bucket is replaced by one whose round trip time is shorter by this factor."""

ID_BITS = 160
ID_BYTES = ID_BITS // 8
_IPV4_MASK = 0x030F3FFF
_IPV6_MASK = 0x0103070F1F3F7FFF


def _ipv4_part(host: str) -> bytes:
    masked = int.from_bytes(classic_ipv4_to_bytes(host), "big") & _IPV4_MASK
    return crc32(masked.to_bytes(4, "big")).to_bytes(4, "big")[:3]


def _ipv6_part(host: str) -> bytes:
    masked = int.from_bytes(ipv6_to_bytes(host)[:8], "big") & _IPV6_MASK
    return crc32(masked.to_bytes(8, "big")).to_bytes(4, "big")[:3]


_IPV4_PARTS: Cache[str, bytes] = Cache(_ipv4_part)
_IPV6_PARTS: Cache[str, bytes] = Cache(_ipv6_part)


def calc_node_id(address: Address, mid: bytes) -> bytes:
    """The 20-byte id of a node at ``address`` whose public key has the SHA-1 hash ``mid``.

    See doc/protocol/dht.md section 2.1.
    """
    parts = _IPV6_PARTS if isinstance(address, UDPv6Address) else _IPV4_PARTS
    return parts[address[0]] + mid[:17]


def distance(a: bytes, b: bytes) -> int:
    """The XOR of two ids, which count as big-endian integers whatever their lengths.

    :raises ValueError: if one of them is empty.
    """
    if not a or not b:
        raise ValueError("an id has at least one byte")
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


def id_to_binary_string(node_id: bytes) -> str:
    """The bits of an id as text, at least 160 characters."""
    return format(int.from_bytes(node_id, "big"), "0160b")


class Node(Peer):
    """A peer with an id, and a record of how it answers.

    Times are seconds since the Unix epoch, 0 for "never". Programs may write plain numbers; what this library writes
    are :class:`~ipv8.dht.moments.Moment` objects, so that steps of the wall clock do not change their ages.
    """

    # Most nodes are decoded and dropped: what few of them change is kept on the class.
    bucket: Bucket | None = None
    last_response: float = NEVER
    last_ping_sent: float = NEVER
    #: Requests in a row that were not answered.
    failed: int = 0
    #: The last round trip time in seconds, 0 if none was measured.
    rtt: float = 0
    _id_of: tuple[Address | None, bytes] = (None, b"")

    def __init__(self, key: Key | bytes, address: Address | None = None, intro: bool = True) -> None:
        super().__init__(key, address, intro)
        self.last_response = NEVER

    @cached_property
    def last_queries(self) -> deque[float]:
        """When the last requests of this node were accepted, the newest at the end."""
        return deque(maxlen=NODE_LIMIT_QUERIES)

    @property
    def id(self) -> bytes:
        """The id of this node, which follows from its preferred address and its key."""
        address = self.address
        known, node_id = self._id_of
        if known is not address:
            node_id = calc_node_id(address, self.mid)
            self._id_of = (address, node_id)
        return node_id

    @property
    def last_query(self) -> float:
        """When the last request of this node was accepted."""
        return self.last_queries[-1] if self.last_queries else NEVER

    @property
    def last_contact(self) -> float:
        """When the last answer or request of this node arrived."""
        return min(self.last_response, self.last_query, key=age)

    @property
    def blocked(self) -> bool:
        """Whether this node is over its limit of requests."""
        queries = self.last_queries
        return len(queries) >= NODE_LIMIT_QUERIES and age(queries[0]) < NODE_LIMIT_INTERVAL

    @property
    def status(self) -> int:
        """``NODE_STATUS_GOOD`` if this node answers, ``NODE_STATUS_BAD`` if not, else ``NODE_STATUS_UNKNOWN``."""
        if self.failed >= MAX_FAILURES:
            return NODE_STATUS_BAD
        if not self.last_response:
            return NODE_STATUS_UNKNOWN
        active = age(self.last_response) < ACTIVE_SECONDS or age(self.last_query) < ACTIVE_SECONDS
        return NODE_STATUS_GOOD if active else NODE_STATUS_UNKNOWN

    def distance(self, other_node: Node | bytes) -> int:
        """The XOR distance of the id of this node from that of another node, or from an id."""
        return distance(self.id, other_node if isinstance(other_node, bytes) else other_node.id)


class Bucket:
    """At most ``max_size`` nodes whose ids begin with the bits ``prefix_id``."""

    def __init__(self, prefix_id: str, max_size: int = MAX_BUCKET_SIZE) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.prefix_id = prefix_id
        self.max_size = max_size
        self.last_changed: float = NEVER

    def generate_id(self) -> bytes:
        """A random id that begins with the bits of this bucket."""
        free = max(0, ID_BITS - len(self.prefix_id))
        prefix = int(self.prefix_id or "0", 2)
        return (prefix << free | entropy.randbits(free) if free else prefix).to_bytes(ID_BYTES, "big")

    def owns(self, node_id: bytes) -> bool:
        """Whether an id begins with the bits of this bucket."""
        return id_to_binary_string(node_id).startswith(self.prefix_id)

    def get(self, node_id: bytes) -> Node | None:
        """The node with this id, ``None`` if it is not in this bucket."""
        return self.nodes.get(node_id)

    def add(self, node: Node) -> bool:
        """Add ``node``; if there is a node with its id, give that one the address of ``node`` instead.

        A full bucket drops a bad node, or else one whose round trip time is at least twice as long.

        :returns: whether the id of ``node`` is in the bucket now.
        """
        node_id = node.id
        if not self.owns(node_id):
            return False
        known = self.nodes.get(node_id)
        if known is not None:
            known.address = node.address
        else:
            if len(self.nodes) >= self.max_size:
                self._drop_one_for(node)
            if len(self.nodes) >= self.max_size:
                return False
            self.nodes[node_id] = node
            node.bucket = self
        self.last_changed = Moment.now()
        return True

    def _drop_one_for(self, node: Node) -> None:
        worse = [node_id for node_id, other in self.nodes.items() if other.status == NODE_STATUS_BAD]
        if not worse and node.rtt:
            worse = [node_id for node_id, other in self.nodes.items() if other.rtt / node.rtt >= SLOWNESS]
        if worse:
            del self.nodes[worse[0]]

    @property
    def is_closed(self) -> bool:
        """Whether there is no room for another node, nor a bad one that could be replaced."""
        return len(self.nodes) >= self.max_size and all(node.status != NODE_STATUS_BAD for node in self.nodes.values())

    def drop_unproven(self) -> bool:
        """Drop the first node that never answered, to make room for one that did; ``False`` if there is none."""
        for node_id, node in self.nodes.items():
            if not node.last_response:
                del self.nodes[node_id]
                return True
        return False

    def split(self) -> tuple[Bucket, Bucket] | None:
        """Two buckets with the nodes of this one, by the next bit of their ids; ``None`` if it is not full."""
        if len(self.nodes) < self.max_size:
            return None
        halves = Bucket(self.prefix_id + "0", self.max_size), Bucket(self.prefix_id + "1", self.max_size)
        for node in self.nodes.values():
            for half in halves:
                half.add(node)
        return halves


class RoutingTable:
    """The known nodes of one address family: few of those far from ``my_node_id``, more of those near to it."""

    def __init__(self, my_node_id: bytes) -> None:
        self.my_node_id = my_node_id
        self.trie: Trie[Bucket] = Trie("01")
        self.trie[""] = Bucket("")
        self.lock = RLock()

    def get_bucket(self, node_id: bytes) -> Bucket:
        """The bucket that a node with this id belongs into."""
        bucket: Bucket | None = self.trie.longest_prefix_value(id_to_binary_string(node_id), None)
        return self.trie[""] if bucket is None else bucket

    def add(self, node: Node) -> Node | None:
        """Add ``node`` to its bucket, splitting buckets where that makes room.

        :returns: the object in the table, which is another one if the id was known; ``None`` if there is no room.
        """
        node_id = node.id
        with self.lock:
            while True:
                bucket = self.get_bucket(node_id)
                if bucket.add(node):
                    return bucket.get(node_id)
                halves = bucket.split() if bucket.owns(self.my_node_id) else None
                if halves is None or len(bucket.prefix_id) >= ID_BITS:
                    return None
                del self.trie[bucket.prefix_id]
                for half in halves:
                    self.trie[half.prefix_id] = half

    def admit(self, node: Node, diverse: bool) -> Node | None:
        """Add ``node`` as :meth:`add` does, on the terms for nodes that strangers may have made up.

        - A node that has answered keeps its address until ``node``, which has the same id, has answered as well: a
          packet from an address does not prove who is there.
        - A node that has answered replaces one that never has. A faster one replaces nobody.

        :param diverse: whether the limits of one host and one network apply.
        :returns: the object in the table; ``None`` if there is no room.
        """
        bucket = self.get_bucket(node.id)
        known = bucket.get(node.id)
        if known is not None and known.last_response and not node.last_response and known.address != node.address:
            return known
        if known is None and not node.last_response and bucket.is_closed and not bucket.owns(self.my_node_id):
            return None  # the search for nodes of the same network would take longer
        if known is None and diverse and not has_room(node.address[0],
                                                      (other.address[0] for other in bucket.nodes.values()),
                                                      (other.address[0] for other in self.nodes())):
            return None
        rtt, node.rtt = node.rtt, 0
        stored = self.add(node)
        if stored is None and node.last_response and self.get_bucket(node.id).drop_unproven():
            stored = self.add(node)
        node.rtt = rtt
        return stored

    def around(self, my_node_id: bytes) -> RoutingTable:
        """A table of the same nodes around another id; the nodes that answered last are added first."""
        table = type(self)(my_node_id)
        for node in sorted(self.nodes(), key=lambda node: age(node.last_response)):
            table.add(node)
        return table

    def nodes(self) -> Iterator[Node]:
        """All nodes."""
        for bucket in self.trie.itervalues():
            yield from bucket.nodes.values()

    def remove_bad_nodes(self) -> list[Node]:
        """Remove the bad nodes, and return them."""
        removed = []
        with self.lock:
            for bucket in self.trie.itervalues():
                bad = [node_id for node_id, node in bucket.nodes.items() if node.status == NODE_STATUS_BAD]
                removed += [bucket.nodes.pop(node_id) for node_id in bad]
        return removed

    def has(self, node_id: bytes) -> bool:
        """Whether there is a node with this id."""
        return self.get(node_id) is not None

    def get(self, node_id: bytes) -> Node | None:
        """The node with this id."""
        return self.get_bucket(node_id).get(node_id)

    def closest_nodes(self, node_id: bytes, max_nodes: int = 8, exclude_node: Node | None = None) -> list[Node]:
        """The ``max_nodes`` nodes nearest to ``node_id`` that are not bad, the nearest first.

        :param exclude_node: leave out the node with the same id as this one.
        """
        with self.lock:
            excluded = None if exclude_node is None else exclude_node.id
            target = int.from_bytes(node_id, "big")
            found: list[Node] = []
            for bucket in self._buckets_by_distance(id_to_binary_string(node_id)):
                near: list[tuple[int, int, int, Node]] = []
                for node in bucket.nodes.values():
                    status = node.status
                    if status != NODE_STATUS_BAD:
                        own_id = node.id
                        if own_id != excluded:
                            near.append((int.from_bytes(own_id, "big") ^ target, status, len(near), node))
                near.sort()
                found += [entry[3] for entry in near]
                if len(found) >= max_nodes:
                    break
            return found[:max_nodes]

    def _buckets_by_distance(self, bits: str) -> Iterator[Bucket]:
        """All buckets, ordered by the distance of their nodes from the id with these ``bits``."""
        remaining: list[tuple[int, Branch[Bucket]]] = [(0, self.trie.root)]
        while remaining:
            depth, branch = remaining.pop()
            if branch.value is not None:
                yield branch.value
            bit = bits[depth:depth + 1]
            far, near = branch.children.get("0" if bit == "1" else "1"), branch.children.get(bit)
            remaining += [(depth + 1, child) for child in (far, near) if child is not None]


NodePacker.node_class = Node  # the wire knows nothing of clocks, so it cannot import this class


if TYPE_CHECKING:  # programs import these from here
    from ..messaging.address import Address as Address
else:
    __getattr__, __dir__ = reexports(__name__, {"..messaging.address": "Address"})
