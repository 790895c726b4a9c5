"""The classes that a configuration may name; each is imported when it is first needed (doc/configuration.md).

Programs extend the three tables in place, by way of ``ipv8_service``::

    from ipv8_service import _COMMUNITIES
    _COMMUNITIES["MyCommunity"] = MyCommunity

A package that is added gets a function that imports its class, as those below.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["_BOOTSTRAPPERS", "_COMMUNITIES", "_WALKERS", "ClassTable", "tunnel_endpoint_class"]

Importer = Callable[[], type[Any]]


class ClassTable(dict[str, type[Any]]):
    """A dictionary of classes, some of which are imported only when they are first asked for.

    Whatever looks at the whole dictionary imports all of them.

    :param importers: for each of these classes a function that imports and returns it.
    """

    def __init__(self, importers: Mapping[str, Importer]) -> None:
        super().__init__()
        self._importers = dict(importers)

    def __missing__(self, name: str) -> type[Any]:
        importer = self._importers.get(name)
        if importer is None:
            raise KeyError(name)
        self[name] = loaded = importer()
        return loaded

    def import_all(self) -> None:
        """Import all classes."""
        for name in tuple(self._importers):
            self[name]  # imports it
            self._importers.pop(name, None)

    def __reduce__(self) -> tuple[type[dict[str, type[Any]]], tuple[dict[str, type[Any]]]]:
        return dict, (self.copy(),)

    def get(self, name: str, default: Any = None, /) -> Any:
        """The class called ``name``, imported if need be, or ``default``."""
        if name not in self:
            return default
        return self[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._importers

    def __setitem__(self, name: str, value: type[Any]) -> None:
        super().__setitem__(name, value)
        self._importers.pop(name, None)

    def __delitem__(self, name: str) -> None:
        self[name]  # imports it
        super().__delitem__(name)


def _of_all(name: str) -> Callable[..., Any]:
    """The method of a dictionary called ``name``, which imports all classes first."""
    method = getattr(dict, name)

    @wraps(method)
    def call(self: ClassTable, /, *args: Any, **kwargs: Any) -> Any:
        self.import_all()
        return method(self, *args, **kwargs)

    return call


# These methods of the built-in class look into the table directly, past the methods above.
for _name in ("__eq__", "__iter__", "__len__", "__ne__", "__or__", "__repr__", "__reversed__", "__ror__", "clear",
              "copy", "items", "keys", "pop", "popitem", "setdefault", "values"):
    setattr(ClassTable, _name, _of_all(_name))


def tunnel_endpoint_class() -> type[Any]:
    """The class of endpoints that send through anonymizing tunnels."""
    from .messaging.anonymization.endpoint import TunnelEndpoint
    return TunnelEndpoint


def _discovery_community() -> type[Any]:
    from .peerdiscovery.community import DiscoveryCommunity
    return DiscoveryCommunity


def _dht_discovery_community() -> type[Any]:
    from .dht.discovery import DHTDiscoveryCommunity
    return DHTDiscoveryCommunity


def _attestation_community() -> type[Any]:
    from .attestation.wallet.community import AttestationCommunity
    return AttestationCommunity


def _identity_community() -> type[Any]:
    from .attestation.identity.community import IdentityCommunity
    return IdentityCommunity


def _trustchain_community() -> type[Any]:
    from .attestation.trustchain.community import TrustChainCommunity
    return TrustChainCommunity


def _trustchain_testnet_community() -> type[Any]:
    from .attestation.trustchain.community import TrustChainTestnetCommunity
    return TrustChainTestnetCommunity


def _tunnel_community() -> type[Any]:
    from .messaging.anonymization.community import TunnelCommunity
    return TunnelCommunity


def _hidden_tunnel_community() -> type[Any]:
    from .messaging.anonymization.hidden_services import HiddenTunnelCommunity
    return HiddenTunnelCommunity


def _edge_walk() -> type[Any]:
    from .peerdiscovery.discovery import EdgeWalk
    return EdgeWalk


def _random_walk() -> type[Any]:
    from .peerdiscovery.discovery import RandomWalk
    return RandomWalk


def _trust_walk() -> type[Any]:
    from .trust.strategy import TrustWalk
    return TrustWalk


def _random_churn() -> type[Any]:
    from .peerdiscovery.churn import RandomChurn
    return RandomChurn


def _dispersy_bootstrapper() -> type[Any]:
    from .bootstrapping.dispersy.bootstrapper import DispersyBootstrapper
    return DispersyBootstrapper


def _udp_broadcast_bootstrapper() -> type[Any]:
    from .bootstrapping.udpbroadcast.bootstrapper import UDPBroadcastBootstrapper
    return UDPBroadcastBootstrapper


def _memory_bootstrapper() -> type[Any]:
    from .bootstrapping.memory.bootstrapper import MemoryBootstrapper
    return MemoryBootstrapper


def _multicast_bootstrapper() -> type[Any]:
    from .bootstrapping.multicast.bootstrapper import MulticastBootstrapper
    return MulticastBootstrapper


_COMMUNITIES = ClassTable({
    "AttestationCommunity": _attestation_community,
    "DiscoveryCommunity": _discovery_community,
    "DHTDiscoveryCommunity": _dht_discovery_community,
    "TunnelCommunity": _tunnel_community,
    "HiddenTunnelCommunity": _hidden_tunnel_community,
    "IdentityCommunity": _identity_community,
    "TrustChainCommunity": _trustchain_community,
    "TrustChainTestnetCommunity": _trustchain_testnet_community,
})
_WALKERS = ClassTable({
    "EdgeWalk": _edge_walk,
    "RandomWalk": _random_walk,
})
_GENERAL_STRATEGIES = ClassTable({"RandomChurn": _random_churn, "TrustWalk": _trust_walk})
"""Strategies for any overlay that are no walkers."""

_BOOTSTRAPPERS = ClassTable({
    "DispersyBootstrapper": _dispersy_bootstrapper,
    "UDPBroadcastBootstrapper": _udp_broadcast_bootstrapper,
    "MemoryBootstrapper": _memory_bootstrapper,
    "MulticastBootstrapper": _multicast_bootstrapper,
})
