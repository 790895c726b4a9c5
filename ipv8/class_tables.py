"""The classes that a configuration may name; their modules are imported when they are needed (spec 06 section 3).

Programs extend the three tables in place, by way of ``ipv8_service``::

    from ipv8_service import _COMMUNITIES
    _COMMUNITIES["MyCommunity"] = MyCommunity
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView

__all__ = ["_BOOTSTRAPPERS", "_COMMUNITIES", "_WALKERS", "ClassTable"]

T = TypeVar("T")


class ClassTable(dict[str, type[Any]]):
    """A dictionary of classes, some of which are known by module only until somebody asks for them.

    A class whose module this release does not have is absent from the dictionary in every respect, but its name is
    one of :attr:`absent`.

    :param modules: for each class the module that defines it.
    """

    def __init__(self, modules: dict[str, str]) -> None:
        super().__init__()
        self._modules = modules

    def __missing__(self, name: str) -> type[Any]:
        module = self._modules.get(name)
        if module is None:
            raise KeyError(name)
        try:
            found = import_module(module)
        except ModuleNotFoundError as e:
            if e.name is None or not (module == e.name or module.startswith(f"{e.name}.")):
                raise  # the module is there, but something that it needs is not
            raise KeyError(name) from e
        self[name] = loaded = cast("type[Any]", getattr(found, name))
        return loaded

    def _load(self) -> None:
        for name in self._modules:
            self.get(name)

    @property
    def absent(self) -> list[str]:
        """The names that the ecosystem knows and this release cannot serve."""
        return [name for name in self._modules if name not in self]

    def get(self, name: str, default: Any = None, /) -> Any:
        """The class called ``name``, imported if need be, or ``default``."""
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        self._load()
        return super().__iter__()

    def __len__(self) -> int:
        self._load()
        return super().__len__()

    def keys(self) -> KeysView[str]:  # type: ignore[override] # dict_keys is not public before Python 3.11
        """The names of all classes."""
        self._load()
        return cast("KeysView[str]", super().keys())

    def values(self) -> ValuesView[type[Any]]:  # type: ignore[override] # as for keys()
        """All classes."""
        self._load()
        return cast("ValuesView[type[Any]]", super().values())

    def items(self) -> ItemsView[str, type[Any]]:  # type: ignore[override] # as for keys()
        """All classes with their names."""
        self._load()
        return cast("ItemsView[str, type[Any]]", super().items())


_COMMUNITIES = ClassTable({
    "AttestationCommunity": "ipv8.attestation.wallet.community",
    "DiscoveryCommunity": "ipv8.peerdiscovery.community",
    "HiddenTunnelCommunity": "ipv8.messaging.anonymization.hidden_services",
    "IdentityCommunity": "ipv8.attestation.identity.community",
    "TunnelCommunity": "ipv8.messaging.anonymization.community",
    "DHTDiscoveryCommunity": "ipv8.dht.discovery",
    "TrustChainCommunity": "ipv8.attestation.trustchain.community",
    "TrustChainTestnetCommunity": "ipv8.attestation.trustchain.community",
})
_WALKERS = ClassTable({
    "EdgeWalk": "ipv8.peerdiscovery.discovery",
    "RandomWalk": "ipv8.peerdiscovery.discovery",
})
_BOOTSTRAPPERS = ClassTable({
    "DispersyBootstrapper": "ipv8.bootstrapping.dispersy.bootstrapper",
    "UDPBroadcastBootstrapper": "ipv8.bootstrapping.udpbroadcast.bootstrapper",
    "MemoryBootstrapper": "ipv8.bootstrapping.memory.bootstrapper",
    "MulticastBootstrapper": "ipv8.bootstrapping.multicast.bootstrapper",
})
