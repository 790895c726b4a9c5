"""The checks of configurations (doc/configuration.md). Programs use them by way of :mod:`ipv8.configuration`.

A mistake is an error, with the path of the value, what is allowed there, and the name that was probably meant. A key
that nobody knows, and that is no typo of a known one, is only a warning: programs of the ecosystem have such.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .bootstrapping.servers import read_ip_server, read_named_server
from .checks import (
    argument_problem,
    did_you_mean,
    number_problem,
    setting_names,
    setting_problem,
    shown,
    similar,
)
from .class_tables import _BOOTSTRAPPERS, _WALKERS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CURVES", "LOG_LEVELS", "ConfigurationError", "check_arguments", "check_settings", "complete_configuration",
           "require", "validate"]

CURVES = ("curve25519", "very-low", "low", "medium", "high")
LOG_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")
DEFAULT_ADDRESS = "0.0.0.0"  # noqa: S104 - a peer-to-peer node listens on all of its interfaces
DEFAULT_PORT = 8090
DEFAULT_WALKER_INTERVAL = 0.5  # seconds

LONGEST_WALKER_INTERVAL = 1e9
"""Seconds, more than 30 years; a longer interval, such as infinity, counts as this."""

_TOP_LEVEL = ("keys", "logger", "walker_interval", "overlays", "working_directory")
_OPTIONAL = ("interfaces", "port_mapping", "sessions", "trust")
_DEPRECATED = ("address", "port")
_OVERLAY = ("class", "key", "walkers", "bootstrappers", "initialize", "on_start")
_WALKER = ("strategy", "peers", "init")
_BOOTSTRAPPER = ("class", "init")
_TRUST: dict[str, tuple[tuple[type, ...], str]] = {
    "key": ((str,), "the alias of a key"), "statements": ((str, os.PathLike, type(None)), "the path of a file or None"),
    "working_directory": ((str, os.PathLike, type(None)), "the path of a directory or None"),
    "report": ((bool,), "True or False"), "prefer": ((bool,), "True or False"),
    "walks": ((int,), "a whole number of at least 1"),
    "half_life": ((int, float, type(None)), "a number of seconds or None"),
}
_SESSIONS: dict[str, tuple[tuple[type, ...], str]] = {
    "enabled": ((bool,), "True or False"), "hybrid": ((str,), "a text"), "cipher": ((str,), "a text"),
    "answer_unknown": ((bool,), "True or False"), "refuse_clear": ((bool,), "True or False"),
    "idle_timeout": ((int, float), "a number of seconds"), "rekey_after": ((int, float), "a number of seconds"),
    "max_sessions": ((int,), "a whole number"), "padding": ((int,), "a whole number"),
    "overlays": ((Mapping,), "a dictionary of policies by class"),
}
_LARGEST = {"walks": 1_000_000, "padding": 65535}
"""The largest values of numbers that memory is needed for."""
_CHOICES = {"hybrid": ("off", "auto", "require"), "cipher": ("auto", "aes", "chacha20")}
_POLICIES = ("off", "accept", "prefer", "require")
_LOGGER = ("filename", "filemode", "format", "datefmt", "style", "level", "stream", "handlers", "force", "encoding",
           "errors")
_SERVERS = {"ip_addresses": read_ip_server, "dns_addresses": read_named_server}


class ConfigurationError(ValueError, AssertionError):
    """A configuration is not valid; the message names the key, the values that it may have, and a likely typo."""


def require(condition: object, message: str) -> None:
    """Raise a ConfigurationError with ``message`` unless ``condition`` is true."""
    if not condition:
        raise ConfigurationError(message)


def _require_type(value: object, kinds: type | tuple[type, ...], where: str, what: str) -> None:
    require(isinstance(value, kinds), f"{where} must be {what}, not {type(value).__name__} ({shown(value)})")


def check_arguments(where: str, function: Callable[..., Any], given: Mapping[str, Any], passed: int = 0,
                    complete: bool = True) -> None:
    """Check that a class can be made with the keyword arguments ``given``.

    :param passed: how many arguments it gets by position.
    :param complete: whether no other arguments are going to be added.
    :raises ConfigurationError: if not; its message begins with ``where``.
    """
    problem = argument_problem(function, given, passed, complete)
    if problem is not None:
        raise ConfigurationError(f"{where}: {function.__name__} {problem}")


def check_settings(where: str, overlay_class: type[Any], given: Mapping[str, Any]) -> list[str]:
    """Check the settings of an overlay by what its class of settings declares; the result is warnings.

    A class of settings with a true ``allow_unknown`` takes any name.

    :raises ConfigurationError: if a value does not fit, or a name is probably a typo.
    """
    settings_class = overlay_class.settings_class
    known = setting_names(settings_class)
    warnings = []
    for name, value in given.items():
        problem = setting_problem(settings_class, name, value)
        require(problem is None, f"{where}: the setting {name!r} {problem}")
        if name not in known and not getattr(settings_class, "allow_unknown", False):
            message = (f"{where}: the settings of {overlay_class.__name__} do not know {name!r}"
                       f"{did_you_mean(name, known)}")
            require(similar(name, known) is None, message)
            warnings.append(f"{message}. It is set nevertheless. If the overlay uses it, declare it in a class of "
                            "settings")
    return warnings


class _Check:
    """One pass over a configuration, which collects warnings."""

    def __init__(self, bootstrappers: Collection[str] | None) -> None:
        self.bootstrappers = bootstrappers
        self.warnings: list[str] = []

    def keys(self, block: object, where: str, names: Collection[str], optional: Collection[str] = ()) -> None:
        """Check that ``block`` has all keys called ``names``, and no others that are not ``optional``."""
        _require_type(block, Mapping, where, "a dictionary")
        assert isinstance(block, Mapping)  # for the type checker; the line above has checked it
        known = (*names, *optional)
        strangers = [key for key in block if key not in known]
        for name in names:
            if name not in block:
                close = similar(name, map(str, strangers))
                hint = f"; is {close!r} a typo of it?" if close else ""
                raise ConfigurationError(f"{where} lacks the key {name!r}{hint} (needed: {', '.join(names)})")
        for key in strangers:
            message = f"{where} has an unknown key {key!r}{did_you_mean(key, known)}"
            require(similar(key, known) is None, message)
            self.warnings.append(f"{message}; it is ignored")

    @staticmethod
    def blocks(config: Mapping[str, Any], name: str, where: str = "") -> Iterable[tuple[str, Any]]:
        """The path, for messages, and the value of each block in the list ``config[name]``."""
        value = config[name]
        path = f"{where}{name}"
        require(_is_list(value) and not isinstance(value, Iterator),
                f"{path} must be a list, not {type(value).__name__} ({shown(value)})")
        return ((f"{path}[{index}]", block) for index, block in enumerate(value))

    def interface(self, where: str, block: Mapping[str, Any]) -> None:
        _require_type(block, Mapping, where, "a dictionary")
        require("interface" in block, f"{where} lacks the key 'interface' (needed: interface)")
        _require_type(block["interface"], str, f"{where}.interface", "the name of an interface such as 'UDPIPv4'")
        if "ip" in block:
            _require_type(block["ip"], str, f"{where}.ip", "an address such as '0.0.0.0'")
        port = block.get("port", 0)
        require(_is_whole(port) and 0 <= port <= 65535,
                f"{where}.port must be an integer from 0 (any free port) to 65535, not {shown(port)}")
        for path, option in self.blocks({"sockopts": block.get("sockopts") or ()}, "sockopts", f"{where}."):
            require(isinstance(option, Sequence) and len(option) == 3
                    and all(not isinstance(part, int) or abs(part) < 2**31 for part in option),
                    f"{path} must be the three arguments of socket.setsockopt, not {shown(option)}")

    def key(self, where: str, block: Mapping[str, Any]) -> None:
        self.keys(block, where, ("alias",), ("file", "generation", "bin"))
        alias = block["alias"]
        require(isinstance(alias, (str, int)), f"{where}.alias must be a string, not {type(alias).__name__} "
                                               f"({shown(alias)})")
        if not isinstance(alias, str):
            self.warnings.append(f"{where}.alias should be a string, not {shown(alias)}")
        _require_type(block.get("file"), (str, os.PathLike, type(None)), f"{where}.file",
                      "a path (empty or None: the key is not stored)")
        require(any(block.get(source) for source in ("file", "generation", "bin")),
                f"{where} ({alias!r}) needs a 'file', a 'generation' (a curve) or a 'bin' (a private key)")
        curve = block.get("generation")
        require(not curve or curve in CURVES,
                f"{where}.generation: unknown curve {shown(curve)}{did_you_mean(curve, CURVES)}")

    def walker(self, where: str, block: Mapping[str, Any]) -> None:
        self.keys(block, where, _WALKER)
        _require_type(block["strategy"], str, f"{where}.strategy", "the name of a strategy")
        peers = block["peers"]
        problem = number_problem(peers)
        require(problem is None, f"{where}.peers {problem}; give a number of peers, or -1 or infinity to walk always")
        if peers != math.inf and not _is_whole(peers):
            self.warnings.append(f"{where}.peers should be a whole number of peers, not {shown(peers)}")
        _require_type(block["init"], Mapping, f"{where}.init", "a dictionary of keyword arguments")
        strategy_class = _WALKERS.get(block["strategy"])
        if strategy_class is not None:
            check_arguments(f"{where}.init", strategy_class, block["init"], passed=1, complete=False)

    def bootstrapper(self, where: str, block: Mapping[str, Any]) -> None:
        self.keys(block, where, _BOOTSTRAPPER)
        name, init = block["class"], block["init"]
        require(self.bootstrappers is None or name in self.bootstrappers,
                f"{where}.class: unknown bootstrapper {shown(name)}{did_you_mean(name, self.bootstrappers or ())}")
        _require_type(init, Mapping, f"{where}.init", "a dictionary of keyword arguments")
        bootstrapper_class = _BOOTSTRAPPERS.get(name) if isinstance(name, str) else None
        if bootstrapper_class is None:
            return
        check_arguments(f"{where}.init", bootstrapper_class, init, complete=False)
        if name == "DispersyBootstrapper":
            for list_name, read in _SERVERS.items():
                if list_name in init and not isinstance(init[list_name], Iterator):
                    for path, entry in self.blocks(init, list_name, f"{where}.init."):
                        try:
                            read(entry)
                        except ValueError as e:  # noqa: PERF203 - the message names the entry
                            raise ConfigurationError(f"{path}, {shown(entry)}, cannot be contacted: {e}") from None

    def overlay(self, where: str, block: Mapping[str, Any], aliases: Collection[str]) -> None:
        self.keys(block, where, _OVERLAY)
        name = block["class"]
        hint = (f": write {name.__name__!r}, and give the class to IPv8 as extra_communities="
                f"{{{name.__name__!r}: {name.__name__}}}" if isinstance(name, type) else "")
        require(isinstance(name, str), f"{where}.class must be the name of an overlay class, not "
                                       f"{type(name).__name__} ({shown(name)}){hint}")
        where = f"{where} ({name})"
        require(block["key"] in aliases,
                f"{where}.key: no key has the alias {shown(block['key'])}"
                f"{did_you_mean(block['key'], map(str, aliases))}")
        for path, walker in self.blocks(block, "walkers", f"{where}."):
            self.walker(path, walker)
        for path, bootstrapper in self.blocks(block, "bootstrappers", f"{where}."):
            self.bootstrapper(path, bootstrapper)
        _require_type(block["initialize"], Mapping, f"{where}.initialize", "a dictionary of settings")
        for setting in block["initialize"]:
            _require_type(setting, str, f"{where}.initialize: each key", "a string")
        for path, call in self.blocks(block, "on_start", f"{where}."):
            require(_is_list(call) and isinstance(call, Sequence) and len(call) > 0 and isinstance(call[0], str),
                    f"{path} must be a list of a method's name and its arguments, not {shown(call)}")

    def logger(self, block: Mapping[str, Any]) -> None:
        _require_type(block, Mapping, "logger", "a dictionary of arguments of logging.basicConfig")
        for name in block:
            require(name in _LOGGER, f"logger: logging.basicConfig has no argument {name!r}"
                                     f"{did_you_mean(name, _LOGGER)}")
        level = block.get("level")
        # logging gives the number of a level that it knows by name, also of one that a program added.
        require(level is None or isinstance(level, int)
                or (isinstance(level, str) and isinstance(logging.getLevelName(level), int)),
                f"logger.level: unknown level {shown(level)}{did_you_mean(level, LOG_LEVELS)}")

    def options(self, block: Any, where: str, table: Mapping[str, tuple[tuple[type, ...], str]]) -> None:
        """Check a dictionary whose values have the types of ``table``."""
        _require_type(block, Mapping, where, "a dictionary")
        self.keys(block, where, (), tuple(table))
        for name, value in block.items():
            if name in table:
                kinds, what = table[name]
                require(isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)),
                        f"{where}.{name} must be {what}, not {type(value).__name__} ({shown(value)})")
                problem = number_problem(value) if isinstance(value, (int, float)) else None
                require(problem is None, f"{where}.{name} {problem}")
                require(name not in _LARGEST or value <= _LARGEST[name],
                        f"{where}.{name} must be at most {_LARGEST.get(name)}, not {shown(value)}")

    def sessions(self, block: Any, classes: Collection[str]) -> None:
        self.options(block, "sessions", _SESSIONS)
        for name, choices in _CHOICES.items():
            value = block.get(name, choices[0])
            require(value in choices, f"sessions.{name}: there is no {shown(value)}{did_you_mean(value, choices)}")
        for name in ("idle_timeout", "rekey_after", "max_sessions", "padding"):
            require(block.get(name, 1) > 0, f"sessions.{name} must be positive, not {shown(block.get(name))}")
        for name, policy in block.get("overlays", {}).items():
            require(policy in _POLICIES, f"sessions.overlays: the policy of {shown(name)} cannot be {shown(policy)}"
                                         f"{did_you_mean(policy, _POLICIES)}")
            if name not in classes:
                message = (f"sessions.overlays: the configuration has no overlay of the class {shown(name)}"
                           f"{did_you_mean(name, classes)}")
                require(similar(name, classes) is None, message)
                self.warnings.append(f"{message}; its policy has no effect")

    def trust(self, block: Any, aliases: list[str]) -> None:
        self.options(block, "trust", _TRUST)
        require(block.get("walks", 1) >= 1, f"trust.walks must be at least 1, not {block.get('walks')}")
        half_life = block.get("half_life")
        require(half_life is None or half_life > 0, f"trust.half_life must be more than 0 seconds, not {half_life}")
        require(aliases, "trust needs a key: add one to 'keys'")
        require(block.get("key", aliases[0] if aliases else None) in aliases,
                f"trust.key: there is no key {shown(block.get('key'))}{did_you_mean(block.get('key'), aliases)}")

    def configuration(self, config: Mapping[str, Any]) -> None:
        self.keys(config, "the configuration", _TOP_LEVEL, (*_OPTIONAL, *_DEPRECATED))
        self.logger(config["logger"])
        interval = config["walker_interval"]
        problem = number_problem(interval)
        require(problem is None, f"walker_interval {problem}; it is in seconds")
        require(interval >= 0, f"walker_interval must be a number of seconds that is not negative, not {interval!r}")
        if not isinstance(config["working_directory"], (str, os.PathLike, type(None))):
            self.warnings.append("working_directory should be the path of a directory, not "
                                 f"{shown(config['working_directory'])}")
        _require_type(config.get("port_mapping", False), int, "port_mapping", "True or False")
        for path, block in self.blocks({"interfaces": (), **config}, "interfaces"):
            self.interface(path, block)
        for path, block in self.blocks(config, "keys"):
            self.key(path, block)
        aliases = [block["alias"] for block in config["keys"]]
        if config.get("trust") is not None:
            self.trust(config["trust"], aliases)
        for path, block in self.blocks(config, "overlays"):
            self.overlay(path, block, aliases)
        if config.get("sessions") is not None:
            self.sessions(config["sessions"], {block["class"] for block in config["overlays"]})


def validate(config: Mapping[str, Any], bootstrappers: Collection[str] | None) -> list[str]:
    """Check that ``config`` is valid; the result is warnings.

    :param bootstrappers: the names that a bootstrapper's ``class`` may have; ``None`` allows all.
    :raises ConfigurationError: for the first mistake.
    """
    check = _Check(bootstrappers)
    check.configuration(config)
    return check.warnings


def _is_list(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def repeatable(value: Any) -> Any:
    """``value``, as a list if it can be iterated over only once."""
    return list(value) if isinstance(value, Iterator) else value


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, float)) and value % 1 == 0  # infinity % 1 is no number


def _completed(block: Any, optional: Mapping[str, Any]) -> Any:
    """A copy of a block in which all optional keys are present; anything else as it is."""
    if not isinstance(block, Mapping):
        return block
    return {name: repeatable(value) for name, value in {**optional, **block}.items()}


def complete_configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``config`` in which all optional keys are present.

    Iterators are consumed; in the copy they are lists. The deprecated top-level keys ``address`` and ``port`` become a
    ``UDPIPv4`` interface. A walker interval that is negative or endless becomes the shortest or the longest one.
    """
    _require_type(config, Mapping, "the configuration", "a dictionary")
    complete = {"interfaces": [], "logger": {}, "working_directory": ".", "walker_interval": DEFAULT_WALKER_INTERVAL,
                "port_mapping": False, "sessions": None, "trust": None, **config}
    for name in ("interfaces", "keys", "overlays"):
        if name in complete:
            complete[name] = repeatable(complete[name])
            if complete[name] == {}:
                complete[name] = []
    if any(name in config for name in _DEPRECATED):
        complete["interfaces"] = [*complete["interfaces"], {
            "interface": "UDPIPv4",
            "ip": config.get("address") or DEFAULT_ADDRESS,
            "port": config.get("port") or DEFAULT_PORT,
        }]
    if number_problem(complete["walker_interval"]) is None:
        complete["walker_interval"] = min(max(complete["walker_interval"], 0), LONGEST_WALKER_INTERVAL)
    if _is_list(complete.get("overlays")):
        optional: dict[str, Any] = {"walkers": [], "bootstrappers": [], "initialize": {}, "on_start": []}
        complete["overlays"] = [_completed(block, optional) for block in complete["overlays"]]
        for block in complete["overlays"]:
            for name in ("walkers", "bootstrappers"):
                if isinstance(block, dict) and _is_list(block[name]):
                    block[name] = [_completed(inner, {"init": {}}) for inner in block[name]]
    return complete
