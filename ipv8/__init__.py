"""Overlays between public keys.

The names that most programs need can be imported from here::

    from ipv8 import Community, Peer, message, run

A name is imported from its own module when it is first asked for, so importing the package takes little time and loads
nothing that is not used.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
"""Not imported from ``typing``, which takes longer to load than everything else here; type checkers know the name."""

if TYPE_CHECKING:
    from .asking import request as request
    from .community import Community as Community, CommunitySettings as CommunitySettings
    from .configuration import (
        Bootstrapper as Bootstrapper,
        BootstrapperDefinition as BootstrapperDefinition,
        ConfigBuilder as ConfigBuilder,
        Strategy as Strategy,
        WalkerDefinition as WalkerDefinition,
        default_bootstrap_defs as default_bootstrap_defs,
        get_default_configuration as get_default_configuration,
    )
    from .declaration import confidential as confidential, message as message, stream as stream
    from .keyvault.crypto import ECCrypto as ECCrypto, default_eccrypto as default_eccrypto
    from .lazy_community import (
        EZPackOverlay as EZPackOverlay,
        PacketDecodingError as PacketDecodingError,
        lazy_wrapper as lazy_wrapper,
        lazy_wrapper_unsigned as lazy_wrapper_unsigned,
        lazy_wrapper_unsigned_wd as lazy_wrapper_unsigned_wd,
        lazy_wrapper_wd as lazy_wrapper_wd,
        retrieve_cache as retrieve_cache,
    )
    from .loader import CommunityLauncher as CommunityLauncher, IPv8CommunityLoader as IPv8CommunityLoader
    from .messaging.address import (
        Address as Address,
        DomainAddress as DomainAddress,
        UDPv4Address as UDPv4Address,
        UDPv6Address as UDPv6Address,
    )
    from .messaging.lazy_payload import (
        VariablePayload as VariablePayload,
        VariablePayloadWID as VariablePayloadWID,
        vp_compile as vp_compile,
    )
    from .messaging.payload_dataclass import DataClassPayload as DataClassPayload, type_from_format as type_from_format
    from .messaging.serialization import (
        Packer as Packer,
        PackError as PackError,
        Payload as Payload,
        Serializable as Serializable,
        Serializer as Serializer,
        default_serializer as default_serializer,
    )
    from .overlay import Overlay as Overlay
    from .peer import Peer as Peer
    from .peerdiscovery.discovery import (
        DiscoveryStrategy as DiscoveryStrategy,
        EdgeWalk as EdgeWalk,
        RandomWalk as RandomWalk,
    )
    from .peerdiscovery.network import Network as Network, PeerObserver as PeerObserver
    from .requestcache import (
        NumberCache as NumberCache,
        NumberCacheWithName as NumberCacheWithName,
        RandomNumberCache as RandomNumberCache,
        RandomNumberCacheWithName as RandomNumberCacheWithName,
        RequestCache as RequestCache,
    )
    from .runner import run as run, running as running
    from .service import IPv8 as IPv8
    from .streams import Stream as Stream
    from .taskmanager import TaskManager as TaskManager, task as task
    from .util import run_forever as run_forever

__all__ = [
    "Address", "Bootstrapper", "BootstrapperDefinition", "Community", "CommunityLauncher", "CommunitySettings",
    "ConfigBuilder", "DataClassPayload", "DiscoveryStrategy", "DomainAddress", "ECCrypto", "EZPackOverlay", "EdgeWalk",
    "IPv8", "IPv8CommunityLoader", "Network", "NumberCache", "NumberCacheWithName", "Overlay", "PackError", "Packer",
    "PacketDecodingError", "Payload", "Peer", "PeerObserver", "RandomNumberCache", "RandomNumberCacheWithName",
    "RandomWalk", "RequestCache", "Serializable", "Serializer", "Strategy", "Stream", "TaskManager", "UDPv4Address",
    "UDPv6Address", "VariablePayload", "VariablePayloadWID", "WalkerDefinition", "confidential",
    "default_bootstrap_defs", "default_eccrypto", "default_serializer", "get_default_configuration", "lazy_wrapper",
    "lazy_wrapper_unsigned", "lazy_wrapper_unsigned_wd", "lazy_wrapper_wd", "message", "request", "retrieve_cache",
    "run", "run_forever", "running", "stream", "task", "type_from_format", "vp_compile",
]


if not TYPE_CHECKING:  # type checkers would take every name, misspelt ones included, for one of this module
    def __getattr__(name: str) -> object:  # noqa: C901 - one case for each module
        """Import a name of the public surface when it is first asked for."""
        match name:
            case "request":
                from . import asking as home
            case "Community" | "CommunitySettings":
                from . import community as home
            case (
                "Bootstrapper" | "BootstrapperDefinition" | "ConfigBuilder" | "Strategy" | "WalkerDefinition" |
                "default_bootstrap_defs" | "get_default_configuration"
            ):
                from . import configuration as home
            case "confidential" | "message" | "stream":
                from . import declaration as home
            case "ECCrypto" | "default_eccrypto":
                from .keyvault import crypto as home
            case (
                "EZPackOverlay" | "PacketDecodingError" | "lazy_wrapper" | "lazy_wrapper_unsigned" |
                "lazy_wrapper_unsigned_wd" | "lazy_wrapper_wd" | "retrieve_cache"
            ):
                from . import lazy_community as home
            case "CommunityLauncher" | "IPv8CommunityLoader":
                from . import loader as home
            case "Address" | "DomainAddress" | "UDPv4Address" | "UDPv6Address":
                from .messaging import address as home
            case "VariablePayload" | "VariablePayloadWID" | "vp_compile":
                from .messaging import lazy_payload as home
            case "DataClassPayload" | "type_from_format":
                from .messaging import payload_dataclass as home
            case "PackError" | "Packer" | "Payload" | "Serializable" | "Serializer" | "default_serializer":
                from .messaging import serialization as home
            case "Overlay":
                from . import overlay as home
            case "Peer":
                from . import peer as home
            case "DiscoveryStrategy" | "EdgeWalk" | "RandomWalk":
                from .peerdiscovery import discovery as home
            case "Network" | "PeerObserver":
                from .peerdiscovery import network as home
            case (
                "NumberCache" | "NumberCacheWithName" | "RandomNumberCache" | "RandomNumberCacheWithName" |
                "RequestCache"
            ):
                from . import requestcache as home
            case "run" | "running":
                from . import runner as home
            case "IPv8":
                from . import service as home
            case "Stream":
                from . import streams as home
            case "TaskManager" | "task":
                from . import taskmanager as home
            case "run_forever":
                from . import util as home
            case _:
                msg = f"module {__name__!r} has no attribute {name!r}"
                raise AttributeError(msg)
        value = globals()[name] = getattr(home, name)
        return value


def __dir__() -> list[str]:
    """The names that can be asked for, imported or not."""
    return sorted({*globals(), *__all__})
