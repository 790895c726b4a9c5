"""Overlays between public keys.

The names that most programs need, importable from here::

    from . import Community, Peer, message, run

A name is loaded when it is first asked for, so importing the package costs next to nothing and pulls in nothing that is
not used.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""Not imported from ``typing``, which takes longer to load than all else here; type checkers know the name."""

if TYPE_CHECKING:
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
    from .declaration import message as message
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
    from .service import IPv8 as IPv8, run as run
    from .taskmanager import TaskManager as TaskManager, task as task
    from .util import run_forever as run_forever

_HOMES = {
    "community": ("Community", "CommunitySettings"),
    "configuration": ("Bootstrapper", "BootstrapperDefinition", "ConfigBuilder", "Strategy", "WalkerDefinition",
                      "default_bootstrap_defs", "get_default_configuration"),
    "declaration": ("message",),
    "keyvault.crypto": ("ECCrypto", "default_eccrypto"),
    "lazy_community": ("EZPackOverlay", "PacketDecodingError", "lazy_wrapper", "lazy_wrapper_unsigned",
                       "lazy_wrapper_unsigned_wd", "lazy_wrapper_wd", "retrieve_cache"),
    "loader": ("CommunityLauncher", "IPv8CommunityLoader"),
    "messaging.address": ("Address", "DomainAddress", "UDPv4Address", "UDPv6Address"),
    "messaging.lazy_payload": ("VariablePayload", "VariablePayloadWID", "vp_compile"),
    "messaging.payload_dataclass": ("DataClassPayload", "type_from_format"),
    "messaging.serialization": ("PackError", "Packer", "Payload", "Serializable", "Serializer", "default_serializer"),
    "overlay": ("Overlay",),
    "peer": ("Peer",),
    "peerdiscovery.discovery": ("DiscoveryStrategy", "EdgeWalk", "RandomWalk"),
    "peerdiscovery.network": ("Network", "PeerObserver"),
    "requestcache": ("NumberCache", "NumberCacheWithName", "RandomNumberCache", "RandomNumberCacheWithName",
                     "RequestCache"),
    "service": ("IPv8", "run"),
    "taskmanager": ("TaskManager", "task"),
    "util": ("run_forever",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - the table above is the one list of names


if not TYPE_CHECKING:  # for type checkers it would mean that every name is there, misspelt ones included
    def __getattr__(name: str) -> object:
        """Load a name of the public surface, the first time that it is used."""
        home = _HOME_OF.get(name)
        if home is None:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return value


def __dir__() -> list[str]:
    """What can be asked for, loaded or not."""
    return sorted({*globals(), *_HOME_OF})
