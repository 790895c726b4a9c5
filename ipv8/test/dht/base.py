"""A test case with short names for the parts of a DHT (spec 07 section 14.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...dht.routing import Node
from ..base import TestBase

if TYPE_CHECKING:
    from ...dht.routing import RoutingTable
    from ...dht.storage import Storage

__all__ = ["TestDHTBase"]


class TestDHTBase(TestBase[Any]):
    """A test case whose nodes run a ``DHTCommunity``; ``i`` is the number of a node."""

    def dht_node(self, i: int) -> Node:
        """Node ``i`` as others see it, but with its private key."""
        me = self.my_peer(i)
        return Node(self.private_key(i), me.addresses.get(type(me.address), self.overlay(i).my_estimated_wan))

    def routing_table(self, i: int) -> RoutingTable:
        """The routing table of node ``i`` for its own address family."""
        table: RoutingTable = self.overlay(i).get_routing_table(self.dht_node(i))
        return table

    def storage(self, i: int) -> Storage:
        """The storage of node ``i`` for its own address family."""
        storage: Storage = self.overlay(i).get_storage(self.dht_node(i))
        return storage

    def my_node_id(self, i: int) -> bytes:
        """The id of node ``i`` at its own address."""
        node_id: bytes = self.overlay(i).get_my_node_id(self.my_peer(i))
        return node_id
