"""The tables of a node that have a cap, and how full they are."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import clock
from ...attestation.trustchain.broadcast import RelayQueue
from ...attestation.trustchain.signatures import SignatureCache
from ...dht.accounts import FairDict
from ...dht.community import DHTCommunity
from ...events import EventBus
from ...fill import Fill
from ...keyvault.keys import Key
from ...limits import BoundedDict, ExpiringDict, TokenBuckets
from ...messaging.cache import Cache
from ...messaging.interfaces.dispatcher.endpoint import FAST_ADDR_TO_INTERFACE
from ...messaging.interfaces.endpoint import Endpoint
from ...messaging.serialization import Serializable, Serializer
from ...overlay import Overlay
from ...peer import Peer
from ...peerdiscovery.network import Network
from ...sessions import SessionService
from .parts import all_listeners_of, communities_of, endpoints_of, graph_of, name_of, networks_of, overlays_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PEERS", "Row", "Tables"]

LOOK_INTERVAL = 1.0
"""Seconds for which the tables are not looked at again."""

DEEPEST = 8
"""Parts inside of each other that are looked at."""

CachedFunction: type[Any] = type(lru_cache()(len))
"""The class of functions that remember results. Its name is not public."""

LIBRARY = __name__.partition(".")[0]

PEERS = "peers"
"""The name of the table of the peers of an overlay. It is usual that it is full."""

ROOTS = (Endpoint, Network, Overlay, SessionService, EventBus)
"""What is looked at by itself, not as a part of what refers to it."""

LEAVES = (Peer, Key, Serializer, Serializable, type)
"""What has no tables of its own."""


LEAST_USED = "the least recently used goes first"
RULES: dict[type[Any], str] = {
    BoundedDict: "the oldest goes first", TokenBuckets: LEAST_USED, Cache: "all go when it is full",
    FairDict: "of the network with the most entries, the oldest goes first",
    RelayQueue: "single blocks go before pairs, the oldest first", SignatureCache: "the oldest goes first"}
"""What happens to a further entry of a table of each class."""


class Row(NamedTuple):
    """How full a table is."""

    owner: str
    """The class, or the module, that it belongs to."""
    name: str
    """The attributes that lead from there to it, or what people call it."""
    kind: str
    size: int
    capacity: int
    rule: str = ""
    """What happens to a further entry, or which one goes for it; empty if that is not known."""

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return self._asdict()


def _is_ours(cls: type[Any]) -> bool:
    return cls.__module__.partition(".")[0] == LIBRARY


class _Class:
    """What is known of the objects of a class, of which ``sample`` is one."""

    __slots__ = ("is_capped", "is_followed", "kind", "slots")

    def __init__(self, sample: Any) -> None:
        cls = type(sample)
        self.slots = tuple(name for base in cls.__mro__ for name in _slots(base))
        self.kind: str | None = None
        self.is_capped = (_is_ours(cls) and not issubclass(cls, ROOTS) and callable(getattr(cls, "capped", None)))
        if _is_ours(cls) and hasattr(cls, "__len__") and isinstance(getattr(sample, "capacity", None), int):
            self.kind = ("budgets" if issubclass(cls, TokenBuckets) else "cache" if issubclass(cls, Cache) else "table")
        self.is_followed = (_is_ours(cls) and self.kind is None and not issubclass(cls, (*ROOTS, *LEAVES))
                            and not hasattr(cls, "_fields"))


def _slots(cls: type[Any]) -> Iterator[str]:
    slots = vars(cls).get("__slots__", ())
    for name in (slots,) if isinstance(slots, str) else slots:
        is_mangled = name.startswith("__") and not name.endswith("__")
        yield f"_{cls.__name__.lstrip('_')}{name}" if is_mangled else name


def _rule_of(table: Any) -> str:
    """What happens to a further entry of a table."""
    if isinstance(table, ExpiringDict):
        return f"the oldest goes first; each after {table.lifetime:g} s"
    return next((rule for kind, rule in RULES.items() if isinstance(table, kind)), "")


class Tables:
    """Finds the tables of a node.

    These are the objects of this library that have a length and a capacity, such as those of ``ipv8.limits``, and what
    the method ``capped`` of other objects tells. They are found in the attributes of the parts of the node, and in
    those of their parts, if their classes are of this library. What one value is kept in has no row.

    :param node: the node.
    :param bus: where its events go.
    """

    def __init__(self, node: Any, bus: EventBus) -> None:
        self._node = node
        self._bus = bus
        self._classes: dict[type[Any], _Class] = {}
        self._rows: list[Row] = []
        self._looked: float | None = None
        self._shared: list[tuple[str, str, Any]] = []
        self._modules = 0

    def rows(self) -> list[Row]:
        """The tables, as they were at most a second ago."""
        now = clock.monotonic()
        if self._looked is None or now - self._looked >= LOOK_INTERVAL:
            self._looked = now
            self._rows = [row for row in self._look() if row.capacity > 1]
        return self._rows

    def _look(self) -> Iterator[Row]:
        seen = {id(self._node)}
        shared = list(self._of_process(seen))
        for owner, path, root in self._roots():
            if root is not None and id(root) not in seen:
                seen.add(id(root))
                described = self._class_of(root)
                if described.kind is not None:
                    yield Row(owner, path, described.kind, len(root), root.capacity, _rule_of(root))
                yield from self._inside(root, owner, path, seen, 0)
        for overlay in communities_of(self._node):
            if overlay.max_peers >= 0:  # as many are let in, and one more
                yield Row(name_of(overlay), PEERS, "table", len(overlay.get_peers()), overlay.max_peers + 1,
                          "unproven peers of large networks go first, and further ones are not let in")
        yield from shared

    def _roots(self) -> Iterator[tuple[str, str, Any]]:
        """What is looked at: its name, the path that leads to it, if there is one, and the object."""
        for endpoint in endpoints_of(self._node):
            yield from _roots_of(endpoint)
        for network, owner in zip(networks_of(self._node), self._network_names(), strict=True):
            yield owner, "", network
            for observer in tuple(network.peer_observers):
                if _is_ours(type(observer)):
                    yield name_of(observer), "", observer
        for name in ("sessions", "trust", "port_mapping"):
            part = getattr(self._node, name, None)
            yield name_of(part), "", part
        yield name_of(self._bus), "", self._bus
        for overlay in overlays_of(self._node):
            yield name_of(overlay), "", overlay
            if isinstance(overlay, DHTCommunity):
                for family, storage in overlay.storages.items():
                    yield name_of(overlay), f"storage {FAST_ADDR_TO_INTERFACE.get(family, family.__name__)}", storage
        for listener in all_listeners_of(self._node):
            if isinstance(listener, Overlay):  # the others are reached by the endpoints
                yield name_of(listener), "", listener
        graph = graph_of(self._node)
        yield name_of(graph), "", graph
        for overlay in communities_of(self._node):
            for bootstrapper in overlay.bootstrappers:
                yield name_of(bootstrapper), "", bootstrapper
        for strategy, _ in getattr(self._node, "strategies", ()):
            yield f"{name_of(strategy)} of {name_of(getattr(strategy, 'overlay', None))}", "", strategy

    def _network_names(self) -> list[str]:
        """The names of the networks: one that is not of the node has that of the overlay that has it."""
        own = getattr(self._node, "network", None)
        return [name_of(network) if network is own else f"{name_of(network)} of " + next(
            (name_of(overlay) for overlay in communities_of(self._node) if overlay.network is network), "another")
            for network in networks_of(self._node)]

    def _class_of(self, value: Any) -> _Class:
        cls = type(value)
        found = self._classes.get(cls)
        if found is None:
            found = self._classes[cls] = _Class(value)
        return found

    def _inside(self, value: Any, owner: str, path: str, seen: set[int], depth: int) -> Iterator[Row]:
        """The tables in the attributes of an object, and in the parts that it has."""
        described = self._class_of(value)
        if described.is_capped or (isinstance(value, ROOTS) and callable(getattr(type(value), "capped", None))):
            yield from _told(value, owner, path)
        attributes = dict(getattr(value, "__dict__", ()))
        for name in described.slots:
            found = getattr(value, name, None)
            if found is not None:
                attributes[name] = found
        for name, found in attributes.items():
            inner = self._class_of(found)
            if (inner.kind is None and not inner.is_followed and not inner.is_capped) or id(found) in seen:
                continue
            seen.add(id(found))
            inner_path = f"{path}.{name}" if path else name
            if inner.kind is not None:
                yield Row(owner, inner_path, inner.kind, len(found), found.capacity, _rule_of(found))
            if inner.is_followed and depth < DEEPEST:
                yield from self._inside(found, owner, inner_path, seen, depth + 1)

    def _of_process(self, seen: set[int]) -> Iterator[Row]:
        """The tables of modules, which all nodes of the process share."""
        if self._modules != len(sys.modules):
            self._modules = len(sys.modules)
            self._shared = list(_in_modules())
        for owner, name, found in self._shared:
            if hasattr(found, "cache_info"):
                info = found.cache_info()
                yield Row(owner, name, "cache", info.currsize, info.maxsize, LEAST_USED)
            elif id(found) not in seen:
                seen.add(id(found))
                described = self._class_of(found)
                if described.kind is not None:
                    yield Row(owner, name, "cache", len(found), found.capacity, _rule_of(found))
                if described.is_capped:
                    yield from _told(found, owner, name)


def _roots_of(endpoint: Any) -> Iterator[tuple[str, str, Any]]:
    """An endpoint, those inside of it, and what these have."""
    while isinstance(endpoint, Endpoint):
        yield name_of(endpoint), "", endpoint
        for name, interface in endpoint.interfaces.items():
            yield name, "", interface
        for shared in endpoint.gate.shared_objects():
            yield name_of(shared), "", shared
        endpoint = vars(endpoint).get("endpoint")  # of one that wraps another


def _in_modules() -> Iterator[tuple[str, str, Any]]:
    """What modules of the library have that may be a table: modules, names and objects."""
    classes: dict[type[Any], bool] = {CachedFunction: True}
    seen = set()
    for module_name, module in tuple(sys.modules.items()):
        if module_name.partition(".")[0] != LIBRARY or module is None:
            continue
        for name, found in tuple(vars(module).items()):
            cls = type(found)
            may_be = classes.get(cls)
            if may_be is None:
                may_be = classes[cls] = _is_ours(cls) and not issubclass(cls, LEAVES) and (
                    callable(getattr(cls, "capped", None)) or hasattr(cls, "__len__"))
            if not may_be or id(found) in seen:
                continue
            if cls is CachedFunction:
                if found.__module__ == module_name and (found.cache_info().maxsize or 0) > 1:
                    yield module_name, name, found
            elif hasattr(found, "capped") or hasattr(found, "capacity"):
                seen.add(id(found))
                yield module_name if name.startswith("_") else cls.__module__, name, found


def _told(value: Any, owner: str, path: str) -> Iterator[Row]:
    for fill in value.capped():
        if isinstance(fill, Fill):  # a program may use that name for something else
            yield Row(owner, f"{path}.{fill.name}" if path else fill.name, fill.kind, fill.size, fill.capacity,
                      fill.rule)
