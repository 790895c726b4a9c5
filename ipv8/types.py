"""Names for annotations, as releases up to 3.0 had them (spec 01 section 6).

A name is imported from its own module when it is first asked for. So importing this module loads nothing and is never
part of an import circle. New code imports the classes from their own modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bootstrapping.bootstrapper_interface import Bootstrapper
    from .community import Community
    from .configuration import ConfigBuilder
    from .database import Database
    from .keyvault.keys import Key, PrivateKey, PublicKey
    from .messaging.address import Address
    from .messaging.interfaces.endpoint import Endpoint, EndpointListener
    from .messaging.payload import Payload
    from .messaging.serialization import Serializable
    from .overlay import Overlay
    from .peer import Peer
    from .peerdiscovery.discovery import DiscoveryStrategy
    from .peerdiscovery.network import Network
    from .requestcache import NumberCache, RequestCache
    from .service import IPv8
    from .taskmanager import TaskManager

    MessageHandlerFunction = Callable[[Address, bytes], object]

__all__ = ["Address", "Bootstrapper", "Community", "ConfigBuilder", "Database", "DiscoveryStrategy", "Endpoint",
           "EndpointListener", "IPv8", "Key", "MessageHandlerFunction", "Network", "NumberCache", "Overlay", "Payload",
           "Peer", "PrivateKey", "PublicKey", "RequestCache", "Serializable", "TaskManager"]


if not TYPE_CHECKING:  # type checkers would take every name for one of this module
    def __getattr__(name: str) -> Any:  # noqa: C901 - one case for each module
        """Import a name when it is first asked for."""
        match name:
            case "Bootstrapper":
                from .bootstrapping import bootstrapper_interface as home
            case "Community":
                from . import community as home
            case "ConfigBuilder":
                from . import configuration as home
            case "Database":
                from . import database as home
            case "Key" | "PrivateKey" | "PublicKey":
                from .keyvault import keys as home
            case "Address":
                from .messaging import address as home
            case "Endpoint" | "EndpointListener":
                from .messaging.interfaces import endpoint as home
            case "Payload":
                from .messaging import payload as home
            case "Serializable":
                from .messaging import serialization as home
            case "Overlay":
                from . import overlay as home
            case "Peer":
                from . import peer as home
            case "DiscoveryStrategy":
                from .peerdiscovery import discovery as home
            case "Network":
                from .peerdiscovery import network as home
            case "NumberCache" | "RequestCache":
                from . import requestcache as home
            case "IPv8":
                from . import service as home
            case "TaskManager":
                from . import taskmanager as home
            case "MessageHandlerFunction":
                from collections.abc import Callable

                from .messaging.address import Address
                return Callable[[Address, bytes], object]
            case _:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(home, name)
        return value


def __dir__() -> list[str]:
    """The names that can be asked for, imported or not."""
    return sorted({*globals(), *__all__})
