"""The record of a lookup, as applications see it (doc/protocol/dht.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from . import DHTError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .routing import Node, RoutingTable

__all__ = ["MAX_CRAWL_NODES", "MAX_CRAWL_REQUESTS", "MAX_CRAWL_TASKS", "Crawl", "Response"]

MAX_CRAWL_NODES = 8
"""Nodes of the routing table that a lookup starts with."""
MAX_CRAWL_REQUESTS = 24
"""Nodes that a lookup contacts."""
MAX_CRAWL_TASKS = 4
"""Nodes that a lookup contacts at the same time."""

Response = dict[str, list[Any]]
"""Either ``values`` or ``nodes``."""


@dataclass
class TodoNode:
    """A node to contact, and the node that can make it send a puncture, if that was not asked already."""

    node_to_contact: Node
    node_to_puncture: Node | None

    def __iter__(self) -> Iterator[Node | None]:
        return iter((self.node_to_contact, self.node_to_puncture))


class Crawl:
    """The record of one lookup in one routing table.

    :raises DHTError: if the table is empty.
    """

    TodoNode = TodoNode

    def __init__(self, target: bytes, routing_table: RoutingTable, force_nodes: bool = False, offset: int = 0) -> None:
        self.target = target
        self.routing_table = routing_table
        self.force_nodes = force_nodes
        self.offset = offset
        start = routing_table.closest_nodes(target, max_nodes=MAX_CRAWL_NODES)
        if not start:
            raise DHTError("No nodes found in the routing table")
        self.nodes_todo = [TodoNode(node, None) for node in start]
        self.nodes_tried: set[Node] = set()
        self.responses: list[tuple[Node, Response]] = []

    @property
    def done(self) -> bool:
        """Whether no node is left to contact."""
        return not self.nodes_todo or len(self.nodes_tried) >= MAX_CRAWL_REQUESTS

    def add_response(self, sender: Node, response: Response) -> None:
        """Note an answer, and the nodes in it that are to be contacted."""
        self.responses.append((sender, response))
        for index, node in enumerate(response.get("nodes", ())):
            if node in self.nodes_tried:
                continue
            queue = self.nodes_todo
            if (len(queue) >= MAX_CRAWL_TASKS and node.distance(self.target)
                    > queue[MAX_CRAWL_TASKS - 1].node_to_contact.distance(self.target)):
                continue
            helper = sender if index else None
            for todo in queue:
                if todo.node_to_contact == node:
                    todo.node_to_puncture = helper
                    break
            else:
                queue.append(TodoNode(node, helper))
                queue.sort(key=lambda todo: todo.node_to_contact.distance(self.target))

    @property
    def cache_candidate(self) -> Node | None:
        """The nearest node that answered without values."""
        without = [node for node, response in self.responses if "values" not in response]
        return min(without, key=lambda node: node.distance(self.target), default=None)

    @property
    def values(self) -> list[bytes]:
        """The first value of each answer, then the second of each, and so on, without repetitions."""
        columns = zip_longest(*(response.get("values", ()) for _, response in self.responses))
        return list(dict.fromkeys(value for value in chain.from_iterable(columns) if value is not None))

    @property
    def nodes(self) -> list[Node]:
        """The contacted nodes, the nearest first."""
        return sorted(self.nodes_tried, key=lambda node: node.distance(self.target))
