"""Names for annotations, which releases up to 3.0 of the ecosystem had in this module.

New code imports the classes from the modules where they live.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .messaging.address import Address
from .reexports import reexports

__all__ = ["Address", "LazyWrappedHandler", "LazyWrappedUnsignedHandler", "LazyWrappedWDataHandler",
           "LazyWrappedWDataUnsignedHandler", "MessageHandlerFunction"]

MessageHandlerFunction = Callable[[Address, bytes], object]
"""What ``Community.add_message_handler`` takes: source address and packet."""
LazyWrappedHandler = Callable[..., object]
"""A method for ``lazy_wrapper``: overlay, peer and payloads."""
LazyWrappedUnsignedHandler = Callable[..., object]
"""A method for ``lazy_wrapper_unsigned``: overlay, source address and payloads."""
LazyWrappedWDataHandler = Callable[..., object]
"""A method for ``lazy_wrapper_wd``: overlay, peer, payloads and packet."""
LazyWrappedWDataUnsignedHandler = Callable[..., object]
"""A method for ``lazy_wrapper_unsigned_wd``: overlay, source address, payloads and packet."""

if TYPE_CHECKING:  # programs import these from here
    from .bootstrapping.bootstrapper_interface import Bootstrapper as Bootstrapper
    from .community import Community as Community
    from .configuration import ConfigBuilder as ConfigBuilder
    from .database import Database as Database
    from .dht.community import DHTCommunity as DHTCommunity
    from .keyvault.keys import Key as Key, PrivateKey as PrivateKey, PublicKey as PublicKey
    from .messaging.interfaces.endpoint import Endpoint as Endpoint, EndpointListener as EndpointListener
    from .messaging.serialization import Payload as Payload, Serializable as Serializable
    from .overlay import Overlay as Overlay
    from .peer import Peer as Peer
    from .peerdiscovery.discovery import DiscoveryStrategy as DiscoveryStrategy
    from .peerdiscovery.network import Network as Network
    from .requestcache import NumberCache as NumberCache, RequestCache as RequestCache
    from .service import IPv8 as IPv8
    from .taskmanager import TaskManager as TaskManager
else:
    __getattr__, __dir__ = reexports(__name__, {
        ".bootstrapping.bootstrapper_interface": "Bootstrapper",
        ".community": "Community",
        ".configuration": "ConfigBuilder",
        ".database": "Database",
        ".dht.community": "DHTCommunity",
        ".keyvault.keys": "Key PrivateKey PublicKey",
        ".messaging.interfaces.endpoint": "Endpoint EndpointListener",
        ".messaging.serialization": "Payload Serializable",
        ".overlay": "Overlay",
        ".peer": "Peer",
        ".peerdiscovery.discovery": "DiscoveryStrategy",
        ".peerdiscovery.network": "Network",
        ".requestcache": "NumberCache RequestCache",
        ".service": "IPv8",
        ".taskmanager": "TaskManager",
    })
