"""Names for annotations, as releases up to 3.0 had them (spec 01 section 6).

Each is looked up where it lives when it is first asked for, so importing this module loads nothing and cannot be part
of an import cycle. New code imports the classes from their own modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Address": "ipv8.messaging.address",
    "Bootstrapper": "ipv8.bootstrapping.bootstrapper_interface",
    "Community": "ipv8.community",
    "ConfigBuilder": "ipv8.configuration",
    "Database": "ipv8.database",
    "DiscoveryStrategy": "ipv8.peerdiscovery.discovery",
    "Endpoint": "ipv8.messaging.interfaces.endpoint",
    "EndpointListener": "ipv8.messaging.interfaces.endpoint",
    "IPv8": "ipv8.service",
    "Key": "ipv8.keyvault.keys",
    "Network": "ipv8.peerdiscovery.network",
    "NumberCache": "ipv8.requestcache",
    "Overlay": "ipv8.overlay",
    "Payload": "ipv8.messaging.payload",
    "Peer": "ipv8.peer",
    "PrivateKey": "ipv8.keyvault.keys",
    "PublicKey": "ipv8.keyvault.keys",
    "RequestCache": "ipv8.requestcache",
    "Serializable": "ipv8.messaging.serialization",
    "TaskManager": "ipv8.taskmanager",
}


def __getattr__(name: str) -> Any:
    """A class from where it lives, or the type of message handlers."""
    if name == "MessageHandlerFunction":
        from collections.abc import Callable

        from .messaging.address import Address

        value: Any = Callable[[Address, bytes], object]
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What can be asked for, loaded or not."""
    return sorted({*globals(), *_HOMES, "MessageHandlerFunction"})
