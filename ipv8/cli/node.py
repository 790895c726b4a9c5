"""The configuration of the node that ``ipv8 run`` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..configuration import (
    Bootstrapper,
    ConfigBuilder,
    ConfigurationError,
    complete_configuration,
    validate_configuration,
)
from ..runner import add_overlay, bootstrappers_of
from .config_files import read_configuration
from .overlays import load_overlay_class

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..overlay import Overlay

__all__ = ["NodeOptions", "configure"]

KEY_ALIAS = "anonymous id"


class NodeOptions(NamedTuple):
    """The options of ``ipv8 run`` that make a configuration."""

    overlays: tuple[str, ...] = ()
    config: str | None = None
    bootstrap: tuple[tuple[str, int], ...] = ()
    listen_address: str | None = None
    port: int | None = None
    key_file: str | None = None
    peers: str | None = None
    log_level: str | None = None
    trust: str | None = None


def _data_file(name: str) -> Path:
    """A file where the platform keeps the data of programs for a user."""
    from platformdirs import user_data_path

    return user_data_path("ipv8", appauthor=False) / name


def default_key_file() -> Path:
    """The file of the key of the node."""
    return _data_file("key.pem")


def default_statements_file() -> Path:
    """The file of the statements whom the user trusts."""
    return _data_file("trust.json")


def configure(options: NodeOptions, make_directories: bool = True,
              ) -> tuple[dict[str, Any], dict[str, type[Overlay[Any]]]]:
    """The configuration that the options describe, and the overlay classes that it names.

    :param make_directories: whether to make the directory of the default key file.
    :raises ConfigurationError: if the configuration file is not valid.
    :raises ValueError: if an overlay class cannot be used.
    """
    try:
        return _configure(options, make_directories)
    except (AttributeError, KeyError, TypeError):
        if options.config is not None:  # a value of the file, which an option changes, is of another kind: say which
            validate_configuration(complete_configuration(read_configuration(options.config)), bootstrappers=None)
        raise


def _configure(options: NodeOptions, make_directories: bool) -> tuple[dict[str, Any], dict[str, type[Overlay[Any]]]]:
    builder = ConfigBuilder()
    if options.config is None:
        _set_defaults(builder, options, make_directories)
    else:
        builder.config = read_configuration(options.config)
        if builder.config.get("interfaces") == {}:  # which is valid, but nothing can be added to it
            builder.config["interfaces"] = []
    classes = {name: load_overlay_class(name) for name in _names_of_users(builder.config)}
    for name in options.overlays:
        classes[name] = load_overlay_class(name)
        add_overlay(builder, name, classes[name], _first_alias(builder.config))
    if options.listen_address is not None:
        builder.set_address(options.listen_address)
    if options.port is not None:
        builder.set_port(options.port)
    if options.log_level is not None:
        builder.set_log_level(options.log_level)
    if options.key_file is not None:
        builder.config["keys"] = [{**key, "generation": key.get("generation", "curve25519"),
                                   "file": options.key_file} for key in builder.config.get("keys", ())[:1]]
    _set_trust(builder.config, options)
    if options.bootstrap:
        _bootstrap_from(builder.config, options.bootstrap)
    if options.peers is not None:
        builder.remember_peers(options.peers)
    return builder.config, classes


def _set_defaults(builder: ConfigBuilder, options: NodeOptions, make_directories: bool) -> None:
    """The default configuration, or one without any overlays but the user's."""
    if options.overlays:
        builder.config["overlays"] = []
    if options.key_file is None:
        path = default_key_file()
        if make_directories:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as e:
                raise OSError(f"the directory for the key of the node, {path.parent}, cannot be made "
                              f"({e.strerror}): give another file with --key-file") from e
        builder.add_key(KEY_ALIAS, "curve25519", str(path))


def _set_trust(configuration: dict[str, Any], options: NodeOptions) -> None:
    """Let the node use the statements that the user made, if there are any."""
    file: str | Path | None = options.trust
    if file is None and options.config is None and default_statements_file().exists():
        file = default_statements_file()
    if file is not None:
        block = configuration.get("trust")
        configuration["trust"] = {**(block if isinstance(block, dict) else {}), "statements": str(file)}


def _blocks(configuration: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The blocks of a list; none if it is no list of blocks, which the node reports."""
    blocks = configuration.get(name)
    return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []


def _names_of_users(configuration: dict[str, Any]) -> list[str]:
    """The names of overlay classes that are not of this library."""
    names = [overlay.get("class") for overlay in _blocks(configuration, "overlays")]
    return [name for name in names if isinstance(name, str) and ":" in name]


def _first_alias(configuration: dict[str, Any]) -> str:
    aliases = [block.get("alias") for block in _blocks(configuration, "keys")]
    if not aliases or not isinstance(aliases[0], str):
        raise ConfigurationError("the configuration has no key for the overlay: add one to 'keys'")
    return aliases[0]


def _bootstrap_from(configuration: dict[str, Any], servers: Iterable[tuple[str, int]]) -> None:
    """Let all overlays ask these servers in place of others."""
    name = Bootstrapper.DispersyBootstrapper.value
    (definition,) = bootstrappers_of(servers)
    for overlay in _blocks(configuration, "overlays"):
        others = [block for block in _blocks(overlay, "bootstrappers") if block.get("class") != name]
        overlay["bootstrappers"] = [*others, {"class": name, "init": definition.init}]
