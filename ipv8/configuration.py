"""The configuration of a node as plain data: interfaces, keys and overlays (doc/configuration.md).

A configuration is a dictionary of JSON types, so it can be stored, edited and sent. A program that does not store it
may also use ``os.PathLike`` objects for paths and other iterables for lists. Edit a copy of the default configuration
(:func:`get_default_configuration`) or use a :class:`ConfigBuilder`::

    configuration = (ConfigBuilder()
                     .clear_keys()
                     .add_key("my peer", "curve25519", "my_key.pem")
                     .set_port(9000)
                     .finalize())
"""

from __future__ import annotations

import base64
import copy
import os
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from .bootstrapping.public import DISPERSY_BOOTSTRAPPER as DISPERSY_BOOTSTRAPPER
from .checks import did_you_mean
from .reexports import reexports
from .validation import (
    CURVES as CURVES,
    DEFAULT_ADDRESS,
    DEFAULT_PORT,
    DEFAULT_WALKER_INTERVAL,
    LOG_LEVELS as LOG_LEVELS,
    ConfigurationError,
    complete_configuration as complete_configuration,
    repeatable,
    require,
    validate,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "DISPERSY_BOOTSTRAPPER",
    "Bootstrapper",
    "BootstrapperDefinition",
    "ConfigBuilder",
    "ConfigurationError",
    "Strategy",
    "WalkerDefinition",
    "default_bootstrap_defs",
    "did_you_mean",
    "get_default_configuration",
    "validate_configuration",
]

DEFAULT_INTERFACES = {4: ("UDPIPv4", DEFAULT_ADDRESS), 6: ("UDPIPv6", "::")}
"""For each version of IP the name of its interface, and all addresses of a machine."""


class _Named(Enum):
    @classmethod
    def values(cls) -> list[str]:
        """The names that may be used in a configuration."""
        return [member.name for member in cls]


class Strategy(_Named):
    """The walkers of this library, by their names in a configuration."""

    RandomWalk = "RandomWalk"
    RandomChurn = "RandomChurn"
    PeriodicSimilarity = "PeriodicSimilarity"
    EdgeWalk = "EdgeWalk"
    PingChurn = "PingChurn"


class Bootstrapper(_Named):
    """The bootstrappers of this library, by their names in a configuration."""

    DispersyBootstrapper = "DispersyBootstrapper"
    UDPBroadcastBootstrapper = "UDPBroadcastBootstrapper"
    MulticastBootstrapper = "MulticastBootstrapper"
    MemoryBootstrapper = "MemoryBootstrapper"


class WalkerDefinition(NamedTuple):
    """A walker of an overlay.

    ``peers`` is the number of peers from which on the walker takes no steps (-1 or infinity: it always takes them).
    ``init`` has the keyword arguments of its constructor.
    """

    strategy: Strategy
    peers: int
    init: dict[str, Any]


class BootstrapperDefinition(NamedTuple):
    """A bootstrapper of an overlay; ``init`` has the keyword arguments of its constructor."""

    bootstrapper: Bootstrapper
    init: dict[str, Any]


default_bootstrap_defs = [BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, DISPERSY_BOOTSTRAPPER["init"])]


def _overlay_block(name: str, walkers: Iterable[tuple[str, int, dict[str, Any]]],
                   initialize: dict[str, int] | None = None,
                   on_start: Iterable[tuple[Any, ...]] = ()) -> dict[str, Any]:
    return {
        "class": name,
        "key": "anonymous id",
        "walkers": [{"strategy": strategy, "peers": peers, "init": init} for strategy, peers, init in walkers],
        "bootstrappers": [DISPERSY_BOOTSTRAPPER.copy()],
        "initialize": initialize or {},
        "on_start": list(on_start),
    }


default: dict[str, Any] = {
    "interfaces": [{"interface": "UDPIPv4", "ip": DEFAULT_ADDRESS, "port": DEFAULT_PORT}],
    "keys": [{"alias": "anonymous id", "generation": "curve25519", "file": "ec_multichain.pem"}],
    "logger": {"level": "INFO"},
    "working_directory": ".",
    "walker_interval": DEFAULT_WALKER_INTERVAL,
    "overlays": [
        _overlay_block("DiscoveryCommunity", [
            ("RandomWalk", 20, {"timeout": 3.0}),
            ("RandomChurn", -1, {"sample_size": 8, "ping_interval": 10.0, "inactive_time": 27.5, "drop_time": 57.5}),
            ("PeriodicSimilarity", -1, {}),
        ]),
        _overlay_block("HiddenTunnelCommunity", [("RandomWalk", 20, {"timeout": 3.0})], {
            "dht_lookup_interval": 30,  # seconds
            "max_traffic": 262_144_000,  # bytes: 250 MiB a circuit
            "max_time": 600,  # seconds
            "max_time_inactive": 20,  # seconds
            "max_joined_circuits": 100,
            "max_circuits": 1,
            "min_circuits": 1,
        }, [("build_tunnels", 1)]),
        _overlay_block("DHTDiscoveryCommunity", [("RandomWalk", 20, {"timeout": 3.0}), ("PingChurn", -1, {})]),
    ],
}
"""The default configuration itself. Programs may change it in place, to change the defaults of the process."""


def get_default_configuration() -> dict[str, Any]:
    """A deep copy of the default configuration."""
    return copy.deepcopy(default)


def validate_configuration(config: Mapping[str, Any], *,
                           bootstrappers: Collection[str] | None = tuple(Bootstrapper.values())) -> None:
    """Check that ``config`` is valid; it is not changed.

    The names of overlay classes, of strategies of overlays, and of settings are checked by the service, as programs
    have classes of their own.

    :param config: the configuration dictionary.
    :param bootstrappers: the names that a bootstrapper's ``class`` may have; ``None`` allows all.
    :raises ConfigurationError: (a ``ValueError`` and an ``AssertionError``) for the first mistake.
    """
    validate(config, bootstrappers)


class EphemeralKey(str):
    """The base64 text of a private key that one running node of a process has at a time.

    Another node of the same configuration makes a key of its own. As JSON it is plain text, so a stored configuration
    keeps the key.
    """

    __slots__ = ()


class ConfigBuilder:
    """Makes a configuration step by step. Every method but :meth:`finalize` returns the builder.

    :param clean: start with an empty configuration instead of the default one.
    """

    def __init__(self, clean: bool = False) -> None:
        self.config: dict[str, Any] = {} if clean else get_default_configuration()

    def finalize(self) -> dict[str, Any]:
        """Check the configuration and return it; it is the builder's own dictionary.

        :raises ConfigurationError: see :func:`validate_configuration`.
        """
        validate_configuration(self.config)
        return self.config

    def _set(self, name: str, value: object) -> ConfigBuilder:
        self.config[name] = value
        return self

    def _set_in_interface(self, interface: str, name: str, value: str | int) -> ConfigBuilder:
        blocks: list[dict[str, Any]] = self.config.setdefault("interfaces", [])
        block = next((block for block in blocks if block["interface"] == interface), None)
        if block is None:
            block = {"interface": interface}
            blocks.append(block)
        block[name] = value
        return self

    def _put_key(self, block: dict[str, Any]) -> ConfigBuilder:
        others = [key for key in self.config.get("keys", ()) if key["alias"] != block["alias"]]
        return self._set("keys", [*others, block])

    def clear_keys(self) -> ConfigBuilder:
        """Remove all keys."""
        return self._set("keys", [])

    def clear_overlays(self) -> ConfigBuilder:
        """Remove all overlays."""
        return self._set("overlays", [])

    def set_address(self, address: str, interface: str = "UDPIPv4") -> ConfigBuilder:
        """Listen on ``address``, which is an IP address of this machine in text form."""
        return self._set_in_interface(interface, "ip", address)

    def set_port(self, port: int, interface: str = "UDPIPv4") -> ConfigBuilder:
        """Listen on the UDP ``port``; if it is in use when the node starts, on the next free one."""
        return self._set_in_interface(interface, "port", port)

    def set_ip_versions(self, *versions: int, port: int | None = None) -> ConfigBuilder:
        """Listen with these versions of IP only: 4, 6, or both.

        An interface that is there already keeps its address and port. A new one listens on all addresses, and on the
        port of the one that is there, or 8090. To change the address or the port of IPv6 later, give
        ``interface="UDPIPv6"`` to :meth:`set_address` or :meth:`set_port`.

        :param port: the UDP port of all these interfaces.
        :raises ConfigurationError: if there is no version, or another one than 4 and 6.
        """
        require(versions and all(version in DEFAULT_INTERFACES for version in versions),
                f"give the versions of IP to use: 4, 6, or both, not {versions!r}")
        names = [name for name, _ in DEFAULT_INTERFACES.values()]
        blocks = self.config.get("interfaces", ())
        known = {block["interface"]: block for block in blocks if block["interface"] in names}
        usual_port = next((block["port"] for block in known.values() if "port" in block), DEFAULT_PORT)
        chosen = []
        for version in dict.fromkeys(versions):
            name, ip = DEFAULT_INTERFACES[version]
            block = {"interface": name, "ip": ip, "port": usual_port, **known.get(name, {})}
            chosen.append(block if port is None else {**block, "port": port})
        return self._set("interfaces", [*chosen, *(block for block in blocks if block["interface"] not in names)])

    def set_log_level(self, log_level: str) -> ConfigBuilder:
        """Log messages of this level of the ``logging`` module and above.

        :raises ConfigurationError: if there is no such level.
        """
        require(log_level in LOG_LEVELS, f"unknown log level {log_level!r}{did_you_mean(log_level, LOG_LEVELS)}")
        return self._set("logger", {"level": log_level})

    def set_working_directory(self, folder_path: str | os.PathLike[str]) -> ConfigBuilder:
        """Keep databases and similar files below ``folder_path``."""
        return self._set("working_directory", folder_path)

    def set_walker_interval(self, interval: float) -> ConfigBuilder:
        """Let every walker take a step each ``interval`` seconds."""
        return self._set("walker_interval", interval)

    def set_port_mapping(self, enabled: bool = True) -> ConfigBuilder:
        """Ask the router to forward the UDP port of IPv4 while the node runs.

        No router is asked unless a configuration says so.
        """
        return self._set("port_mapping", enabled)

    def set_sessions(self, **options: Any) -> ConfigBuilder:
        """Use encrypted sessions (doc/encryption.md).

        :param options: the settings of :class:`ipv8.sessions.SessionSettings`, and ``overlays``: a policy by the class
            name of an overlay, as in ``{"DHTDiscoveryCommunity": "prefer"}``.
        """
        return self._set("sessions", {"enabled": True, **options})

    def add_key(self, alias: str, generation: str, file_path: str | os.PathLike[str] | None) -> ConfigBuilder:
        """Use the key in ``file_path``. If the file does not exist, a key on the curve ``generation`` is made.

        Without a path, a new key is made for each node and is not stored. A key of the same alias is replaced.

        :raises ConfigurationError: if there is no such curve.
        """
        require(generation in CURVES, f"unknown curve {generation!r}{did_you_mean(generation, CURVES)}")
        return self._put_key({"alias": alias, "generation": generation, "file": file_path})

    def add_key_from_bin(self, alias: str, key_bin_b64: str | bytes,
                         file_path: str | os.PathLike[str] | None = None) -> ConfigBuilder:
        """Use a private key (base64 of its binary), which is stored in ``file_path`` if that is given.

        White space in the base64 is ignored. If the file exists, its key is used instead of the one given here. A key
        of the same alias is replaced.
        """
        return self._put_key({"alias": alias, "bin": key_bin_b64, "file": file_path or ""})

    def add_ephemeral_key(self, alias: str) -> ConfigBuilder:
        """Use a new curve25519 key that is stored only in the configuration.

        If nodes of one process share the configuration, the first one has this key. Each other one that runs at the
        same time makes a new key for itself.
        """
        from .keyvault.crypto import default_eccrypto

        key = default_eccrypto.generate_key("curve25519")
        return self.add_key_from_bin(alias, EphemeralKey(base64.b64encode(key.key_to_bin()).decode()), "")

    def remember_peers(self, directory: str = "peers") -> ConfigBuilder:
        """Let all overlays that were added store good peers below ``directory``, and contact these at the next start.

        Overlays that do so already, and overlays without any bootstrapper, are not changed.
        """
        name = Bootstrapper.MemoryBootstrapper.value
        for overlay in self.config.get("overlays", ()):
            bootstrappers = overlay["bootstrappers"]
            if bootstrappers and all(block["class"] != name for block in bootstrappers):
                block = {"class": name, "init": {"path": os.path.join(directory, "")}}
                overlay["bootstrappers"] = [block, *bootstrappers]
        return self

    def add_overlay(self, overlay_class: str, key_alias: str, walkers: Iterable[WalkerDefinition],
                    bootstrappers: Iterable[BootstrapperDefinition], initialize: dict[str, Any],
                    on_start: Iterable[Any], allow_duplicate: bool = False) -> ConfigBuilder:
        """Run an overlay.

        :param overlay_class: the name of its class; for a class of your own see ``extra_communities`` of the service.
        :param key_alias: the alias of the key that is its identity.
        :param walkers: the strategies that find its peers.
        :param bootstrappers: the bootstrappers that find its first peers. Their ``init`` dictionaries are not copied,
            so a later change of ``DISPERSY_BOOTSTRAPPER["init"]`` has an effect.
        :param initialize: attributes of its settings object.
        :param on_start: calls to make when the sockets are open: lists of a method's name and its arguments.
        :param allow_duplicate: keep other overlays of the same class; otherwise they are replaced.
        """
        block = {
            "class": overlay_class,
            "key": key_alias,
            "walkers": [{"strategy": strategy.name, "peers": peers, "init": init} for strategy, peers, init in walkers],
            "bootstrappers": [{"class": kind.name, "init": init} for kind, init in bootstrappers],
            "initialize": initialize,
            "on_start": repeatable(on_start),
        }
        others = [other for other in self.config.get("overlays", ())
                  if allow_duplicate or other["class"] != overlay_class]
        return self._set("overlays", [*others, block])


if TYPE_CHECKING:  # programs import these from here
    from .keyvault.crypto import default_eccrypto as default_eccrypto
else:
    __getattr__, __dir__ = reexports(__name__, {".keyvault.crypto": "default_eccrypto"})
