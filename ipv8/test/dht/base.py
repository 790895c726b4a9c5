"""A test case with short names for the parts of a DHT (doc/testing.md)."""

from __future__ import annotations

from typing import TypeVar

from ...dht.community import DHTCommunity
from ...dht.routing import Node, RoutingTable
from ...dht.storage import Storage
from ..base import TestBase

__all__ = ["OT", "DHTCommunity", "RoutingTable", "Storage", "TestDHTBase"]

OT = TypeVar("OT", bound=DHTCommunity)
"""The class of the overlays that a test case is about."""


class TestDHTBase(TestBase[OT]):
    """A test case whose nodes run a :class:`DHTCommunity` or a subclass of it, as in ``TestDHTBase[DHTCommunity]``.

    ``i`` is the number of a node.
    """

    def dht_node(self, i: int) -> Node:
        """Node ``i`` as others see it, but with its private key."""
        me = self.my_peer(i)
        return Node(self.private_key(i), me.addresses.get(type(me.address), self.overlay(i).my_estimated_wan))

    def routing_table(self, i: int) -> RoutingTable:
        """The routing table of node ``i`` for the address family that it is in itself."""
        return self.overlay(i).get_routing_table(self.dht_node(i))

    def storage(self, i: int) -> Storage:
        """The storage of node ``i`` for the address family that it is in itself."""
        return self.overlay(i).get_storage(self.dht_node(i))

    def my_node_id(self, i: int) -> bytes:
        """The id of node ``i`` in its own eyes."""
        return self.overlay(i).get_my_node_id(self.my_peer(i))
