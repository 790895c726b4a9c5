"""What a node of the DHT keeps of others: routing tables and storages for each address family, and their requests."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

from ..community import Community, CommunitySettings
from ..messaging.address import UDPv4Address
from ..messaging.inet import is_global
from ..messaging.serialization import ListOf
from ..peerdiscovery.network import Network
from .admission import Admission
from .payload import NodePacker
from .routing import Node, RoutingTable, calc_node_id
from .storage import Storage

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..messaging.serialization import Serializer
    from ..peer import Peer

__all__ = ["DHTBase", "DHTSettings"]


class DHTSettings(CommunitySettings):
    """What a DHT is built from."""

    #: The path of a file in which values and nodes survive a restart.
    dht_database: str | None = None
    #: A DHT meets many nodes once. A session pays from about the fifth message to a node on.
    session_after: int = 8


class DHTBase(Community):
    """A community whose peers are nodes, with a network of its own.

    There may be thousands of nodes, and they come and go. So they are no peers of the network that was given. It learns
    only that this node runs a DHT.
    """

    community_id = bytes.fromhex("8d0be1845d74d175f178197cad001591d04d73cc")
    settings_class: ClassVar[type[Any]] = DHTSettings
    relayable = False  # others are told the addresses of nodes

    def __init__(self, settings: CommunitySettings) -> None:
        shared = settings.network
        own_settings = copy(settings)
        own_settings.network = Network()
        own_settings.network.blacklist.extend(shared.blacklist)
        super().__init__(own_settings)
        shared.register_service_provider(self.community_id, self)
        shared.blacklist_mids.append(self.my_peer.mid)
        self._shared_network: Network | None = shared
        #: The nodes that this one knows, by the class of their addresses.
        self.routing_tables: dict[type[Any], RoutingTable] = {}
        #: The values that this node stores, by the class of the addresses of the nodes that sent them.
        self.storages: dict[type[Any], Storage] = {}
        self.admission = Admission(len(self.my_peer.key_bin) + self.my_peer.public_key.get_signature_length())

    def _leave_shared_network(self) -> None:
        shared, self._shared_network = self._shared_network, None
        if shared is not None:
            shared.unregister_service_provider(self.community_id, self)
            if self.my_peer.mid in shared.blacklist_mids:
                shared.blacklist_mids.remove(self.my_peer.mid)  # once, as each overlay of the key has added it

    def get_serializer(self) -> Serializer:
        """The serializer of a community, with a format for lists of nodes."""
        serializer = super().get_serializer()
        serializer.add_packer("node-list", ListOf(NodePacker(serializer)))
        return serializer

    def get_address_class(self, node: Peer) -> type[Any]:
        """The class of the address of ``node``, by which address families are told apart."""
        return type(node.address) if isinstance(node.address, tuple) else UDPv4Address

    def get_my_node_id(self, node: Peer) -> bytes:
        """The id of this node as ``node`` sees it."""
        return self._id_in(self.get_address_class(node))

    def _id_in(self, family: type[Any]) -> bytes:
        return calc_node_id(self.my_peer.addresses.get(family) or self.my_estimated_wan, self.my_peer.mid)

    def get_routing_table(self, node: Peer) -> RoutingTable:
        """The routing table for the address family of ``node``."""
        family = self.get_address_class(node)
        if family not in self.routing_tables:
            self.routing_tables[family] = RoutingTable(self._id_in(family))
        return self.routing_tables[family]

    def get_storage(self, node: Peer) -> Storage:
        """The storage for the address family of ``node``."""
        family = self.get_address_class(node)
        if family not in self.storages:
            self.storages[family] = Storage(self._id_in(family))
        return self.storages[family]

    def _follow_own_address(self) -> None:
        """Order nodes and values anew if the address of this node, and so its id, has changed."""
        for family, table in self.routing_tables.items():
            if table.my_node_id != self._id_in(family):
                self.routing_tables[family] = table.around(self._id_in(family))
        for family, storage in self.storages.items():
            storage.move(self._id_in(family))

    def admit(self, node: Node) -> Node | None:
        """Add ``node`` to its routing table if there is room for it and for its network; the object in the table."""
        if node.mid == self.my_peer.mid:
            return None
        return self.get_routing_table(node).admit(node, diverse=self._is_public())

    def _is_public(self) -> bool:
        """Whether this node has a global address, so that other nodes need one too."""
        return is_global(self.my_estimated_wan[0])

    def get_requesting_node(self, peer: Peer) -> Node | None:
        """Count a request of ``peer``, and take it for a node; ``None`` if it has sent too many lately.

        Programs call this to add nodes that they know. They may even add this node itself, with its private key: then
        it stores values, and finds them, without any other.
        """
        admit = self.get_routing_table(peer).add if peer.key.has_secret_key() else self.admit
        return self.admission.take(peer, self.get_routing_table(peer), admit)

    def is_acquainted(self, address: Address) -> bool:
        """Whether somebody at ``address`` is known; nodes that have answered are, whether or not they are peers."""
        return self.admission.is_proven(address) or super().is_acquainted(address)
