"""What an answer holds, so that it fits into a packet and is not much larger than the request for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..messaging.address import UDPv6Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .payload import FindRequestPayload
    from .routing import Node, RoutingTable
    from .storage import Storage

__all__ = ["FindAnswer", "Room", "connect_answer", "find_answer"]

MAX_VALUES_IN_FIND = 8
"""Values of one answer."""
MAX_NODES_IN_FIND = 8
"""Nodes of one answer."""
MAX_ANSWER = 1400
"""Bytes of a packet that passes most networks in one piece."""
AMPLIFICATION = 3
"""Bytes that are sent for each byte of a request, at most, to an address that is not proven to be that of the sender.

What others are made to send there counts as well.
"""
PUNCTURE_COST = 45 + 185
"""Bytes of a puncture-request, and of the puncture that its receiver sends to the one who asked."""

HEADER_SIZE = 25
"""Bytes before the key in a signed packet."""
FIND_FIELDS, CONNECT_FIELDS = 4 + 20 + 1 + 1, 4 + 1
"""Bytes of the fields of a response, without its values and nodes."""
NODE_SIZE, IPV6_NODE_SIZE = 9, 21
"""Bytes of a node, without its key."""


class Room(NamedTuple):
    """How much may be sent to whoever asked.

    :param size: bytes, without header, key and signature of the packet.
    :param proven: whether the address that the request came from is proven to be that of its sender.
    """

    size: int
    proven: bool

    @classmethod
    def of(cls, request_size: int, proven: bool, signer_size: int) -> Room:
        """The room in the answer to a request of ``request_size`` bytes.

        :param signer_size: bytes of the key and the signature of this node.
        """
        return cls((MAX_ANSWER if proven else AMPLIFICATION * request_size) - HEADER_SIZE - signer_size, proven)


class FindAnswer(NamedTuple):
    """The content of a find-response, and which node is to send a puncture to the one who asked, if one is."""

    values: list[bytes]
    nodes: list[Node]
    puncturing: Node | None


def find_answer(request: FindRequestPayload, asking: Node, storage: Storage | None, table: RoutingTable,
                room: Room) -> FindAnswer:
    """The answer to a find-request.

    :param storage: the values of this node; ``None`` if nodes are wanted.
    """
    size = room.size - FIND_FIELDS
    if storage is not None:
        values = storage.page(request.target, request.offset, MAX_VALUES_IN_FIND, size)
        if values:
            return FindAnswer(values, [], None)
    nodes = _nodes_to_tell(asking, request.target, table)
    puncturing = None
    # Who asks for the id of a node wants its puncture; for others who are not proven it would leave no room for nodes.
    if nodes and (room.proven or nodes[0].id == request.target):
        puncturing = nodes[0]
        size -= 0 if room.proven else PUNCTURE_COST
    return FindAnswer([], _as_many_as_fit(nodes, size), puncturing)


def connect_answer(stored: Sequence[Node], room: Room) -> list[Node]:
    """Which of the nodes that are ``stored`` under a mid an answer holds; each of them is to send a puncture."""
    size = room.size - CONNECT_FIELDS
    nodes: list[Node] = []
    for node in stored[:MAX_NODES_IN_FIND]:
        size -= 0 if room.proven else PUNCTURE_COST
        if len(_as_many_as_fit([*nodes, node], size)) <= len(nodes):
            break
        nodes.append(node)
    return nodes


def _nodes_to_tell(asking: Node, target: bytes, table: RoutingTable) -> list[Node]:
    """The nodes nearest to ``target``; those that never answered only if there are not enough others."""
    near = table.closest_nodes(target, exclude_node=asking, max_nodes=2 * MAX_NODES_IN_FIND)
    if near and near[0].id != target:
        near.sort(key=lambda node: not node.last_response)
    return sorted(near[:MAX_NODES_IN_FIND], key=lambda node: node.distance(target))


def _as_many_as_fit(nodes: Iterable[Node], size: int) -> list[Node]:
    """The first nodes that take at most ``size`` bytes."""
    chosen: list[Node] = []
    for node in nodes:
        size -= (IPV6_NODE_SIZE if isinstance(node.address, UDPv6Address) else NODE_SIZE) + len(node.key_bin)
        if size < 0:
            break
        chosen.append(node)
    return chosen
