"""Run a node."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``ipv8 run``."""
    parser.add_argument("--config", metavar="FILE", help="a configuration as JSON, instead of the default one")
    parser.add_argument("--listen-address", metavar="IP", help="the IPv4 address to listen on")
    parser.add_argument("-p", "--port", type=int, metavar="PORT",
                        help="the UDP port to listen on, or the next free one")
    parser.add_argument("--key-file", metavar="FILE", help="the only key of the node, made if missing")
    parser.add_argument("--peers", metavar="DIRECTORY",
                        help="store good peers here, and contact them first at the next start")
    parser.add_argument("--log-level", metavar="LEVEL", help="CRITICAL, ERROR, WARNING, INFO (default) or DEBUG")
    parser.add_argument("-s", "--statistics", action="store_true", help="count the messages of each overlay")
    parser.add_argument("-a", "--no-rest-api", action="store_true", help="accepted for compatibility")
    parser.set_defaults(api_key=None, cert_file=None)


def run(arguments: argparse.Namespace) -> int:
    """Run ``ipv8 run``."""
    from .service import serve

    arguments.no_rest_api = True
    asyncio.run(serve(arguments, _configure(arguments)))
    return 0


def _configure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The configuration that the arguments describe."""
    from ..configuration import ConfigBuilder, ConfigurationError

    builder = ConfigBuilder()
    if arguments.config is not None:
        try:
            builder.config = json.loads(Path(arguments.config).read_text("utf-8"))
        except FileNotFoundError as e:
            raise FileNotFoundError(f"there is no file {arguments.config}: write a configuration there, or leave out "
                                    "--config for the default one") from e
        except ValueError as e:
            raise ConfigurationError(f"{arguments.config} is not a JSON file: {e}") from e
        if not isinstance(builder.config, dict):
            raise ConfigurationError(f"{arguments.config} does not hold a JSON object")
    if arguments.listen_address is not None:
        builder.set_address(arguments.listen_address)
    if arguments.port is not None:
        builder.set_port(arguments.port)
    if arguments.log_level is not None:
        builder.set_log_level(arguments.log_level.upper())
    if arguments.key_file is not None:
        builder.config["keys"] = [{**key, "generation": key.get("generation", "curve25519"),
                                   "file": arguments.key_file} for key in builder.config.get("keys", ())[:1]]
    if arguments.peers is not None:
        builder.remember_peers(arguments.peers)
    return builder.config
