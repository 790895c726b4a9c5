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
import difflib
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from .reexports import reexports

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

CURVES = ("curve25519", "very-low", "low", "medium", "high")
LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")
DEFAULT_ADDRESS = "0.0.0.0"  # noqa: S104 - a peer-to-peer node listens on all of its interfaces
DEFAULT_PORT = 8090
DEFAULT_WALKER_INTERVAL = 0.5  # seconds

_TRACKER_HOSTS = {  # address -> ports, in the order of the list
    "130.161.119.206": (6421, 6422),
    "131.180.27.155": (6423,),
    "131.180.27.156": (6424,),
    "131.180.27.161": (6427, 6521, 6522),
    "131.180.27.162": (6523, 6524),
    "130.161.119.215": (6525, 6526),
    "130.161.119.201": (6527, 6528),
}
_TRACKER_NAMES = {
    "dispersy1": (6421, ("tribler.org", "st.tudelft.nl")),
    "dispersy2": (6422, ("tribler.org", "st.tudelft.nl")),
    "dispersy3": (6423, ("tribler.org", "st.tudelft.nl")),
    "dispersy4": (6424, ("tribler.org",)),
}

DISPERSY_BOOTSTRAPPER: dict[str, Any] = {
    "class": "DispersyBootstrapper",
    "init": {
        "ip_addresses": [(host, port) for host, ports in _TRACKER_HOSTS.items() for port in ports],
        "dns_addresses": [(f"{name}.{domain}", port) for name, (port, domains) in _TRACKER_NAMES.items()
                          for domain in domains],
        "bootstrap_timeout": 30.0,
    },
}
"""The public bootstrap servers. Programs may change ``DISPERSY_BOOTSTRAPPER["init"]`` in place, for a private network:
that changes it for every overlay that is configured or created afterwards."""


class ConfigurationError(ValueError, AssertionError):
    """A configuration is not valid; the message names the key, the values that it may have, and a likely typo."""


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


# -- checks ----------------------------------------------------------------------------------------------------------

_TOP_LEVEL = ("keys", "logger", "walker_interval", "overlays", "working_directory")
_OPTIONAL = ("interfaces", "port_mapping")
_DEPRECATED = ("address", "port")
_OVERLAY = ("class", "key", "walkers", "bootstrappers", "initialize", "on_start")
_WALKER = ("strategy", "peers", "init")
_BOOTSTRAPPER = ("class", "init")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of an error message about an unknown ``name``: the most similar ``known`` name, and all known names."""
    options = sorted(known)
    close = difflib.get_close_matches(str(name), options, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known: {', '.join(options) or 'none'})"


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)


def _require_type(value: object, kinds: type | tuple[type, ...], where: str, what: str) -> None:
    _require(isinstance(value, kinds), f"{where} must be {what}, not {type(value).__name__} ({value!r:.80})")


def _require_keys(block: object, where: str, names: Collection[str], optional: Collection[str] = ()) -> None:
    _require_type(block, Mapping, where, "a dictionary")
    assert isinstance(block, Mapping)  # for the type checker; the line above has checked it
    for name in names:
        if name not in block:
            strangers = [str(key) for key in block if key not in names and key not in optional]
            close = difflib.get_close_matches(name, strangers, n=1)
            hint = f"; is {close[0]!r} a typo of it?" if close else ""
            raise ConfigurationError(f"{where} lacks the key {name!r}{hint} (needed: {', '.join(names)})")


def _is_list(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def _repeatable(value: Any) -> Any:
    """``value``, as a list if it can be iterated over only once."""
    return list(value) if isinstance(value, Iterator) else value


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, float)) and value % 1 == 0  # infinity % 1 is no number


def _blocks(config: Mapping[str, Any], name: str, where: str = "") -> Iterable[tuple[str, Any]]:
    """The path, for messages, and the value of each block in the list ``config[name]``."""
    value = config[name]
    path = f"{where}{name}"
    _require(_is_list(value) and not isinstance(value, Iterator),
             f"{path} must be a list, not {type(value).__name__} ({value!r:.80})")
    return ((f"{path}[{index}]", block) for index, block in enumerate(value))


def _check_interface(where: str, block: Mapping[str, Any]) -> None:
    _require_keys(block, where, ("interface",), ("ip", "port"))
    _require_type(block["interface"], str, f"{where}.interface", "the name of an interface such as 'UDPIPv4'")
    if "ip" in block:
        _require_type(block["ip"], str, f"{where}.ip", "an address such as '0.0.0.0'")
    port = block.get("port", 0)
    _require(_is_whole(port) and not isinstance(port, bool) and 0 <= port <= 65535,
             f"{where}.port must be an integer from 0 (any free port) to 65535, not {port!r}")


def _check_key(where: str, block: Mapping[str, Any]) -> None:
    _require_keys(block, where, ("alias",), ("file", "generation", "bin"))
    _require_type(block["alias"], str, f"{where}.alias", "a string")
    _require_type(block.get("file"), (str, os.PathLike, type(None)), f"{where}.file",
                  "a path (empty or None: the key is not stored)")
    _require(any(block.get(source) for source in ("file", "generation", "bin")),
             f"{where} ({block['alias']!r}) needs a 'file', a 'generation' (a curve) or a 'bin' (a private key)")
    curve = block.get("generation")
    _require(not curve or curve in CURVES, f"{where}.generation: unknown curve {curve!r}{did_you_mean(curve, CURVES)}")


def _check_walker(where: str, block: Mapping[str, Any]) -> None:
    _require_keys(block, where, _WALKER)
    _require_type(block["strategy"], str, f"{where}.strategy", "the name of a strategy")
    peers = block["peers"]
    _require(peers == math.inf or _is_whole(peers),
             f"{where}.peers must be a whole number of peers, or -1 or infinity to walk always, not {peers!r:.80}")
    _require_type(block["init"], Mapping, f"{where}.init", "a dictionary of keyword arguments")


def _check_bootstrapper(where: str, block: Mapping[str, Any], known: Collection[str] | None) -> None:
    _require_keys(block, where, _BOOTSTRAPPER)
    name = block["class"]
    _require(known is None or name in known,
             f"{where}.class: unknown bootstrapper {name!r}{did_you_mean(name, known or ())}")
    _require_type(block["init"], Mapping, f"{where}.init", "a dictionary of keyword arguments")


def _check_overlay(where: str, block: Mapping[str, Any], aliases: Collection[str],
                   bootstrappers: Collection[str] | None) -> None:
    _require_keys(block, where, _OVERLAY)
    _require_type(block["class"], str, f"{where}.class", "the name of an overlay class")
    where = f"{where} ({block['class']})"
    _require(block["key"] in aliases,
             f"{where}.key: no key has the alias {block['key']!r}{did_you_mean(block['key'], aliases)}")
    for path, walker in _blocks(block, "walkers", f"{where}."):
        _check_walker(path, walker)
    for path, bootstrapper in _blocks(block, "bootstrappers", f"{where}."):
        _check_bootstrapper(path, bootstrapper, bootstrappers)
    _require_type(block["initialize"], Mapping, f"{where}.initialize", "a dictionary of settings")
    for name in block["initialize"]:
        _require_type(name, str, f"{where}.initialize: each key", "a string")
    for path, call in _blocks(block, "on_start", f"{where}."):
        _require(_is_list(call) and isinstance(call, Sequence) and len(call) > 0 and isinstance(call[0], str),
                 f"{path} must be a list of a method's name and its arguments, not {call!r:.80}")


def validate_configuration(config: Mapping[str, Any], *,
                           bootstrappers: Collection[str] | None = tuple(Bootstrapper.values())) -> None:
    """Check that ``config`` is valid; it is not changed.

    The names of overlay classes and strategies are checked by the service, as programs have classes of their own.

    :param config: the configuration dictionary.
    :param bootstrappers: the names that a bootstrapper's ``class`` may have; ``None`` allows all.
    :raises ConfigurationError: (a ``ValueError`` and an ``AssertionError``) for the first mistake.
    """
    _require_keys(config, "the configuration", _TOP_LEVEL, (*_OPTIONAL, *_DEPRECATED))
    _require_type(config["logger"], Mapping, "logger", "a dictionary of arguments of logging.basicConfig")
    interval = config["walker_interval"]
    _require(isinstance(interval, (int, float)) and math.isfinite(interval) and interval >= 0,
             f"walker_interval must be a number of seconds that is not negative, not {interval!r}")
    _require_type(config["working_directory"], (str, os.PathLike, type(None)), "working_directory",
                  "the path of a directory")
    _require_type(config.get("port_mapping", False), bool, "port_mapping", "True or False")
    for path, block in _blocks({"interfaces": (), **config}, "interfaces"):
        _check_interface(path, block)
    for path, block in _blocks(config, "keys"):
        _check_key(path, block)
    aliases = [block["alias"] for block in config["keys"]]
    for path, block in _blocks(config, "overlays"):
        _check_overlay(path, block, aliases, bootstrappers)


def complete_configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``config`` in which all optional keys are present.

    Iterators are consumed; in the copy they are lists. The deprecated top-level keys ``address`` and ``port`` become a
    ``UDPIPv4`` interface.
    """
    _require_type(config, Mapping, "the configuration", "a dictionary")
    complete = {"interfaces": [], "logger": {}, "working_directory": ".", "walker_interval": DEFAULT_WALKER_INTERVAL,
                "port_mapping": False, **config}
    for name in ("interfaces", "keys", "overlays"):
        if name in complete:
            complete[name] = _repeatable(complete[name])
    if any(name in config for name in _DEPRECATED):
        complete["interfaces"] = [*complete["interfaces"], {
            "interface": "UDPIPv4",
            "ip": config.get("address") or DEFAULT_ADDRESS,
            "port": config.get("port") or DEFAULT_PORT,
        }]
    if _is_list(complete.get("overlays")):
        optional: dict[str, Any] = {"walkers": [], "bootstrappers": [], "initialize": {}, "on_start": []}
        complete["overlays"] = [
            {name: _repeatable(value) for name, value in {**optional, **block}.items()}
            if isinstance(block, Mapping) else block for block in complete["overlays"]]
    return complete


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

    def set_log_level(self, log_level: str) -> ConfigBuilder:
        """Log messages of this level of the ``logging`` module and above.

        :raises ConfigurationError: if there is no such level.
        """
        _require(log_level in LOG_LEVELS, f"unknown log level {log_level!r}{did_you_mean(log_level, LOG_LEVELS)}")
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

    def add_key(self, alias: str, generation: str, file_path: str | os.PathLike[str] | None) -> ConfigBuilder:
        """Use the key in ``file_path``. If the file does not exist, a key on the curve ``generation`` is made.

        Without a path, a new key is made for each node and is not stored. A key of the same alias is replaced.

        :raises ConfigurationError: if there is no such curve.
        """
        _require(generation in CURVES, f"unknown curve {generation!r}{did_you_mean(generation, CURVES)}")
        return self._put_key({"alias": alias, "generation": generation, "file": file_path})

    def add_key_from_bin(self, alias: str, key_bin_b64: str | bytes,
                         file_path: str | os.PathLike[str] | None = None) -> ConfigBuilder:
        """Use a private key (base64 of its binary), which is stored in ``file_path`` if that is given.

        White space in the base64 is ignored. If the file exists, its key is used instead of the one given here. A key
        of the same alias is replaced.
        """
        return self._put_key({"alias": alias, "bin": key_bin_b64, "file": file_path or ""})

    def add_ephemeral_key(self, alias: str) -> ConfigBuilder:
        """Use a new curve25519 key that is stored only in the configuration."""
        from .keyvault.crypto import default_eccrypto

        key = default_eccrypto.generate_key("curve25519")
        return self.add_key_from_bin(alias, base64.b64encode(key.key_to_bin()).decode(), "")

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
            "on_start": _repeatable(on_start),
        }
        others = [other for other in self.config.get("overlays", ())
                  if allow_duplicate or other["class"] != overlay_class]
        return self._set("overlays", [*others, block])


if TYPE_CHECKING:  # programs import these from here
    from .keyvault.crypto import default_eccrypto as default_eccrypto
else:
    __getattr__, __dir__ = reexports(__name__, {".keyvault.crypto": "default_eccrypto"})
