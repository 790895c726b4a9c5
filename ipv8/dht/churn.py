"""Finding out which nodes are gone (spec 07 section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import clock
from ..peer import Peer
from ..peerdiscovery.discovery import DiscoveryStrategy
from .routing import Node, calc_node_id

if TYPE_CHECKING:
    from .node import DHTNode

__all__ = ["PingChurn"]


class PingChurn(DiscoveryStrategy[Any]):
    """Pings every node of the routing tables now and then, and keeps the peers of the overlay in step with the tables.

    :param ping_interval: seconds between two pings to a node.
    """

    def __init__(self, overlay: DHTNode, ping_interval: float = 25.0) -> None:
        super().__init__(overlay)
        self.ping_interval = ping_interval

    def take_step(self) -> None:
        """Remove the nodes that do not answer, and ping those whose turn it is."""
        with self.walk_lock:
            overlay = self.overlay
            if not overlay.routing_tables:
                return
            for table in overlay.routing_tables.values():
                for node in table.remove_bad_nodes():
                    overlay.network.remove_peer(node)
            peers = overlay.get_peers()
            for peer in peers:
                self._check(peer)
            known, now = set(overlay.get_peers()), clock.time()
            for table in overlay.routing_tables.values():
                for node in list(table.nodes()):
                    if node not in known:
                        # Not the node itself: a peer may have addresses of other families, a node stays what it is.
                        overlay.network.add_verified_peer(Peer(node.public_key, node.address))
                        overlay.network.discover_services(node, [overlay.community_id])
                    if node.last_ping_sent + self.ping_interval <= now:
                        overlay.ping(node)

    def _check(self, peer: Any) -> None:
        """Remove a peer for which there is no room in the table."""
        overlay = self.overlay
        address = peer.address
        if (address not in overlay.network.blacklist
                and not overlay.get_routing_table(peer).has(calc_node_id(address, peer.mid))
                and overlay.admit(Node(peer.public_key, address)) is None):
            overlay.network.remove_peer(peer)
