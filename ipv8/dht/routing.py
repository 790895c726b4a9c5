"""Who is where in the key space: nodes, buckets and the table of them (spec 07 sections 3 and 8)."""

from __future__ import annotations

from binascii import crc32
from collections import deque
from threading import RLock
from typing import TYPE_CHECKING

from .. import clock, entropy
from ..messaging.address import UDPv6Address
from ..messaging.inet import classic_ipv4_to_bytes, ipv6_to_bytes
from ..messaging.packers import Cache
from ..peer import Peer
from ..reexports import reexports
from .trie import Trie

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..keyvault.keys import Key
    from ..messaging.address import Address
    from .trie import Node as Branch

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
"""A node that was heard of in so many seconds is a good one."""
MAX_FAILURES = 2
"""Requests in a row that a node may leave unanswered before it is a bad one."""
SLOWNESS = 2.0
"""A node in a full bucket makes way for one that answers in so much less time."""

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
    """The 20-byte id of a node at ``address`` whose public key has the SHA-1 hash ``mid`` (spec 07 section 3.1)."""
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
    """A peer with a place in the key space and a record of how it behaves."""

    def __init__(self, key: Key | bytes, address: Address | None = None, intro: bool = True) -> None:
        super().__init__(key, address, intro)
        self.bucket: Bucket | None = None
        #: Seconds since the Unix epoch, 0 if the node never answered.
        self.last_response: float = 0
        #: When the last requests of this node were accepted, the newest at the end.
        self.last_queries: deque[float] = deque(maxlen=NODE_LIMIT_QUERIES)
        self.last_ping_sent: float = 0
        #: Requests that timed out since the last answer.
        self.failed = 0
        #: The last round trip time in seconds, 0 if none was measured.
        self.rtt: float = 0
        self._id_of: tuple[Address | None, bytes] = (None, b"")

    @property
    def id(self) -> bytes:
        """The place of this node in the key space, which follows from its preferred address and its key."""
        address = self.address
        known, node_id = self._id_of
        if known is not address:
            node_id = calc_node_id(address, self.mid)
            self._id_of = (address, node_id)
        return node_id

    @property
    def last_query(self) -> float:
        """When the last request was accepted, 0 if none was."""
        return self.last_queries[-1] if self.last_queries else 0

    @property
    def last_contact(self) -> float:
        """When this node was last heard of, 0 if never."""
        return max(self.last_response, self.last_query)

    @property
    def blocked(self) -> bool:
        """Whether this node has used up the requests of the present window."""
        return (len(self.last_queries) >= NODE_LIMIT_QUERIES
                and clock.time() - self.last_queries[0] < NODE_LIMIT_INTERVAL)

    @property
    def status(self) -> int:
        """Whether this node is known to work (2), known not to (0), or neither (1)."""
        if self.failed >= MAX_FAILURES:
            return NODE_STATUS_BAD
        if not self.last_response:
            return NODE_STATUS_UNKNOWN
        horizon = clock.time() - ACTIVE_SECONDS
        return NODE_STATUS_GOOD if self.last_contact > horizon else NODE_STATUS_UNKNOWN

    def distance(self, other_node: Node | bytes) -> int:
        """How far this node is from another one, or from an id."""
        return distance(self.id, other_node if isinstance(other_node, bytes) else other_node.id)


class Bucket:
    """At most ``max_size`` nodes whose ids begin with the bits ``prefix_id``."""

    def __init__(self, prefix_id: str, max_size: int = MAX_BUCKET_SIZE) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.prefix_id = prefix_id
        self.max_size = max_size
        self.last_changed: float = 0

    def generate_id(self) -> bytes:
        """A random id that belongs into this bucket."""
        free = max(0, ID_BITS - len(self.prefix_id))
        prefix = int(self.prefix_id or "0", 2)
        return (prefix << free | entropy.randbits(free) if free else prefix).to_bytes(ID_BYTES, "big")

    def owns(self, node_id: bytes) -> bool:
        """Whether a node with this id belongs into this bucket."""
        return id_to_binary_string(node_id).startswith(self.prefix_id)

    def get(self, node_id: bytes) -> Node | None:
        """The node with this id, if it is here."""
        return self.nodes.get(node_id)

    def add(self, node: Node) -> bool:
        """Take ``node`` in, or only its address if there is a node with its id already.

        A full bucket parts with a bad node, or else with one that takes twice as long to answer.

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
        self.last_changed = clock.time()
        return True

    def _drop_one_for(self, node: Node) -> None:
        worse = [node_id for node_id, other in self.nodes.items() if other.status == NODE_STATUS_BAD]
        if not worse and node.rtt:
            worse = [node_id for node_id, other in self.nodes.items() if other.rtt / node.rtt >= SLOWNESS]
        if worse:
            del self.nodes[worse[0]]

    def drop_unproven(self) -> bool:
        """Make room for a node that has answered, at the expense of the first one that never has, if there is one."""
        for node_id, node in self.nodes.items():
            if not node.last_response:
                del self.nodes[node_id]
                return True
        return False

    def split(self) -> tuple[Bucket, Bucket] | None:
        """Two buckets, for the next bit 0 and 1, with the nodes of this one; ``None`` if it is not full."""
        if len(self.nodes) < self.max_size:
            return None
        halves = Bucket(self.prefix_id + "0", self.max_size), Bucket(self.prefix_id + "1", self.max_size)
        for node in self.nodes.values():
            for half in halves:
                half.add(node)
        return halves


class RoutingTable:
    """All known nodes of one address family, in more detail the nearer they are to ``my_node_id``."""

    def __init__(self, my_node_id: bytes) -> None:
        self.my_node_id = my_node_id
        self.trie: Trie[Bucket] = Trie("01")
        self.trie[""] = Bucket("")
        self.lock = RLock()

    def get_bucket(self, node_id: bytes) -> Bucket:
        """Where a node with this id belongs."""
        bucket: Bucket | None = self.trie.longest_prefix_value(id_to_binary_string(node_id), None)
        return self.trie[""] if bucket is None else bucket

    def add(self, node: Node) -> Node | None:
        """Take ``node`` in.

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

    def nodes(self) -> Iterator[Node]:
        """All nodes."""
        for bucket in self.trie.itervalues():
            yield from bucket.nodes.values()

    def remove_bad_nodes(self) -> list[Node]:
        """Remove, and return, the nodes that do not answer."""
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
        """All buckets, so that every node of one is nearer to the id with these ``bits`` than those of the next one."""
        remaining: list[tuple[int, Branch[Bucket]]] = [(0, self.trie.root)]
        while remaining:
            depth, branch = remaining.pop()
            if branch.value is not None:
                yield branch.value
            bit = bits[depth:depth + 1]
            far, near = branch.children.get("0" if bit == "1" else "1"), branch.children.get(bit)
            remaining += [(depth + 1, child) for child in (far, near) if child is not None]


if TYPE_CHECKING:  # programs import these from here
    from ..messaging.address import Address as Address
else:
    __getattr__, __dir__ = reexports(__name__, {"..messaging.address": "Address"})
