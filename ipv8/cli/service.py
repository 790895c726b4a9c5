"""The node as a program: ``python -m ipv8_service`` and ``scripts/ipv8_plugin.py``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

from ..configuration import get_default_configuration
from ..service import IPv8
from ..util import run_forever
from .status import status_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

__all__ = ["IPV8Service", "add_service_arguments", "main", "run_program", "serve"]


class IPV8Service:
    """A node that a program starts and stops.

    ``ipv8`` is the node while it runs. ``restapi`` is for its HTTP interface, which this release does not have.

    :param configuration: by default, the default configuration.
    """

    def __init__(self, configuration: dict[str, Any] | None = None) -> None:
        self.configuration = configuration
        self.ipv8: IPv8 | None = None
        self.restapi: None = None

    async def start_ipv8(self, statistics: bool = False, no_rest_api: bool = False, api_key: str | None = None,
                         cert_file: str | None = None) -> None:
        """Start the node.

        :param statistics: count messages.
        :param no_rest_api: do not warn that this release has no HTTP interface.
        :param api_key: an option of the HTTP interface, without effect.
        :param cert_file: likewise.
        """
        ipv8 = IPv8(get_default_configuration() if self.configuration is None else self.configuration,
                    enable_statistics=statistics)
        if not no_rest_api or api_key or cert_file:
            logging.getLogger(type(self).__name__).warning(
                "This release of the library has no REST API: the node runs without it. Start it with --no-rest-api to "
                "avoid this message.")
        try:
            await ipv8.start()
        except BaseException:
            await ipv8.stop()
            raise
        self.ipv8 = ipv8

    async def stop_ipv8(self) -> None:
        """Stop the node if it runs."""
        ipv8, self.ipv8 = self.ipv8, None
        if ipv8 is not None:
            await ipv8.stop()


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the service, as in other implementations."""
    parser.add_argument("-s", "--statistics", action="store_true", help="count the messages of each overlay")
    parser.add_argument("-a", "--no-rest-api", action="store_true", help="accepted for compatibility")
    parser.add_argument("-k", "--api-key", help="accepted for compatibility: belongs to the REST API")
    parser.add_argument("-c", "--cert-file", help="accepted for compatibility: belongs to the REST API")


def _describe(ipv8: IPv8) -> str:
    """The addresses and identities of a running node."""
    parts = getattr(ipv8.endpoint, "interfaces", {"": ipv8.endpoint}).values()
    addresses = ["{}, UDP port {}".format(*part.get_address()[:2]) for part in parts if part.is_open()]
    identities = [f"{alias!r} with mid {peer.mid.hex()}" for alias, peer in ipv8.keys.items()]
    return f"The node listens on {' and '.join(addresses)}, as {', '.join(identities) or 'no identity'}"


async def serve(arguments: argparse.Namespace, configuration: dict[str, Any] | None = None) -> None:
    """Run a node until SIGINT or SIGTERM."""
    service = IPV8Service(configuration)
    await service.start_ipv8(arguments.statistics, arguments.no_rest_api, arguments.api_key, arguments.cert_file)
    assert service.ipv8 is not None, "start_ipv8() sets or raises"
    logging.getLogger(type(service).__name__).info("%s", _describe(service.ipv8))
    try:
        await run_forever()
    finally:
        await service.stop_ipv8()


def main(argv: Sequence[str] | None = None) -> None:
    """Run a node with the default configuration until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="ipv8_service", description="Run a node with the default configuration.")
    add_service_arguments(parser)
    run_program(parser.prog, serve(parser.parse_args(argv)))


def run_program(name: str, program: Coroutine[Any, Any, None]) -> None:
    """Run a program to its end. If the user made a mistake, print it in one line and exit."""
    def run() -> int:
        asyncio.run(program)
        return 0

    status = status_of(name, run)
    if status:
        sys.exit(status)
