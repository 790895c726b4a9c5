"""Finding out which nodes are gone (doc/protocol/dht.md section 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..peer import Peer
from ..peerdiscovery.discovery import DiscoveryStrategy
from .moments import age
from .routing import Node, calc_node_id

if TYPE_CHECKING:
    from .community import DHTCommunity

__all__ = ["PingChurn"]


class PingChurn(DiscoveryStrategy[Any]):
    """Pings every node of the routing tables now and then, and makes the nodes of the tables peers of the overlay.

    :param ping_interval: seconds between two pings to a node.
    """

    def __init__(self, overlay: DHTCommunity, ping_interval: float = 25.0) -> None:
        super().__init__(overlay)
        self.ping_interval = ping_interval

    def take_step(self) -> None:
        """Remove the nodes that do not answer, and ping those that were not pinged for the interval."""
        with self.walk_lock:
            overlay = self.overlay
            if not overlay.routing_tables:
                return
            for table in overlay.routing_tables.values():
                for node in table.remove_bad_nodes():
                    overlay.network.remove_peer(node)
            for peer in overlay.get_peers():
                self._check(peer)
            known = set(overlay.get_peers())
            for table in overlay.routing_tables.values():
                for node in list(table.nodes()):
                    if node not in known:
                        # A copy: a peer may get addresses of other families, but a node has one address.
                        overlay.network.add_verified_peer(Peer(node.public_key, node.address))
                        overlay.network.discover_services(node, [overlay.community_id])
                    if age(node.last_ping_sent) >= self.ping_interval:
                        overlay.ping(node)

    def _check(self, peer: Any) -> None:
        """Remove a peer for which there is no room in the table."""
        overlay = self.overlay
        address = peer.address
        if (address not in overlay.network.blacklist
                and not overlay.get_routing_table(peer).has(calc_node_id(address, peer.mid))
                and overlay.admit(Node(peer.public_key, address)) is None):
            overlay.network.remove_peer(peer)
