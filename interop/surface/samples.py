"""Makes an object of each class, with arguments chosen by the names of parameters, and describes it."""

from __future__ import annotations

import copy
import inspect
import pickle
import unittest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Samples", "can_be_pickled"]


def can_be_pickled(value: Any) -> bool:
    """Whether a value survives ``pickle``."""
    return _succeeds(lambda: pickle.loads(pickle.dumps(value)))


def _succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except Exception:  # noqa: BLE001 - whatever is raised is the answer
        return False
    return True


def _is_true(value: object) -> None:
    if not value:
        raise AssertionError


CONFIGURATION: dict[str, Any] = {"interfaces": [], "keys": [], "logger": {}, "working_directory": ".",
                                 "walker_interval": 0.5, "overlays": []}

CONSTANTS: dict[str, Any] = {
    "alphabet": "01", "configuration": CONFIGURATION, "connection_type": "unknown", "crypto_curve_or_peer": "very-low",
    "dns_addresses": [], "file_path": ":memory:", "format_str": ">I", "host": "localhost", "init": {},
    "interfaces": ["UDPIPv4"], "introduced_by": b"", "ip": "1.2.3.4", "ip_addresses": [], "keystring": b"",
    "length_format": ">H", "message_classes": [], "message_filter": None, "msg_type": "type", "new_style": False,
    "nodes": [], "peers": 20, "preference_list": [bytes(20)], "prefix": "prefix", "prefix_id": "0",
    "public_key": b"key", "public_key_bin": b"key", "seeder_pk": b"key", "services": set(), "tb_overlap": [],
    "values": [],
    **dict.fromkeys(("data", "extra_bytes", "id_", "intro_pk", "introduce_to", "my_node_id", "target", "token"),
                    bytes(20)),
}
"""Arguments by the names of parameters. Those for names that end with "address" are addresses, all others numbers."""


MAX_NUMBER = 1_000_000_000
"""Larger numbers are times in whole seconds, which differ from run to run."""


class Samples:
    """Has arguments for the parameters of most classes. An event loop must be running when objects are made.

    :param shape: describes the value of an attribute in JSON types.
    """

    def __init__(self, shape: Callable[[Any], dict[str, Any]]) -> None:
        self._shape = shape
        self._makers: dict[str, Callable[[Any], Any]] = {
            "bootstrapper": lambda _: _of("ipv8.configuration", "Bootstrapper").DispersyBootstrapper,
            "community": lambda _: self._overlay("ipv8.dht.community", "DHTCommunity"),
            "dht_community": lambda _: self._overlay("ipv8.dht.community", "DHTCommunity"),
            "endpoint": lambda _: self._endpoint(),
            "key": lambda _: self._key().pub(),
            "node": lambda _: _of("ipv8.dht.routing", "Node")(self._key(), ("1.2.3.4", 5)),
            "overlay": lambda _: self._overlay("ipv8.peerdiscovery.community", "DiscoveryCommunity"),
            "overlay_class": lambda _: _of("ipv8.peerdiscovery.community", "DiscoveryCommunity"),
            "packer": lambda _: _of("ipv8.messaging.serialization", "default_serializer").get_packer_for("varlenH"),
            "peer": lambda _: _of("ipv8.peer", "Peer")(self._key()),
            "request_cache": lambda _: _of("ipv8.requestcache", "RequestCache")(),
            "routing_table": lambda _: _of("ipv8.dht.routing", "RoutingTable")(bytes(20)),
            "serializer": lambda _: _of("ipv8.messaging.serialization", "default_serializer"),
            "settings": self._settings,
            "strategy": lambda _: _of("ipv8.configuration", "Strategy").RandomWalk,
        }

    def describe(self, cls: type) -> dict[str, Any]:
        """Describe an object of the class, or the reason why there is none, as ``failed``.

        For a class with abstract methods, an object of a subclass is made, and only its attributes are described.
        """
        abstract = getattr(cls, "__abstractmethods__", ())
        if abstract:
            cls = type("Sample", (cls,), dict.fromkeys(abstract, lambda *_, **__: None))
        try:
            made, other = self._make(cls), self._make(cls)
        except Exception as e:  # noqa: BLE001 - no arguments are known, or there cannot be an object
            return {"failed": f"{type(e).__name__}: {e}"}
        attributes = self._attributes(made, other)
        if abstract:
            return {"abilities": {}, "attributes": attributes}
        abilities = {
            "called": callable(made),
            "iterated": _succeeds(lambda: iter(made)),
            "hashed": _succeeds(lambda: hash(made)),
            "sorted": _succeeds(lambda: made < other),
            "true": _succeeds(lambda: _is_true(made)),
        }
        if not isinstance(made, unittest.TestCase):
            abilities |= {"pickled": can_be_pickled(made), "copied": _succeeds(lambda: copy.copy(made)),
                          "copied deeply": _succeeds(lambda: copy.deepcopy(made))}
        return {"abilities": abilities, "attributes": attributes}

    def _make(self, cls: type) -> Any:
        try:
            parameters = inspect.signature(cls).parameters.values()
        except ValueError:
            return cls()
        return cls(**{parameter.name: self._argument(cls, parameter.name) for parameter in parameters
                      if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD})

    def _argument(self, cls: type, name: str) -> Any:
        if name in self._makers:
            return self._makers[name](cls)
        if name.endswith("address"):
            return _of("ipv8.messaging.interfaces.udp.endpoint", "UDPv4Address")("1.2.3.4", 5)
        return CONSTANTS.get(name, 1)

    def _attributes(self, made: Any, other: Any) -> dict[str, Any]:
        """The attributes of two objects that were made in the same way. Values that differ are left out."""
        described = {}
        hidden = "_" if isinstance(made, unittest.TestCase) else "__"  # its private attributes vary with Python
        for name in sorted(name for name in getattr(made, "__dict__", ()) if not name.startswith(hidden)):
            first, second = (self._shape(getattr(each, name)) for each in (made, other))
            is_time = isinstance(getattr(made, name), int) and getattr(made, name) > MAX_NUMBER
            described[name] = {"types": first["types"]} if first != second or is_time else first
        return described

    @staticmethod
    def _endpoint() -> Any:
        _of("ipv8.messaging.interfaces.lan_addresses.interfaces", "get_providers")().clear()
        endpoint = _of("ipv8.test.mocking.endpoint", "AutoMockEndpoint")()
        endpoint.open()
        return endpoint

    @staticmethod
    def _key() -> Any:
        return _of("ipv8.keyvault.crypto", "default_eccrypto").generate_key("very-low")

    def _settings(self, cls: Any) -> Any:
        network = _of("ipv8.peerdiscovery.network", "Network")()
        return cls.settings_class(my_peer=_of("ipv8.peer", "Peer")(self._key()), endpoint=self._endpoint(),
                                  network=network, community_id=bytes(20))

    def _overlay(self, module: str, name: str) -> Any:
        cls = _of(module, name)
        return cls(self._settings(cls))


def _of(module: str, name: str) -> Any:
    """A name in a module of the running library."""
    return getattr(__import__(module, fromlist=[name]), name)
