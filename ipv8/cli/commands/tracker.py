"""``ipv8 tracker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..framework import Command
from ..options import IPV4, IPV6, PORT, RATE, TEXT, Count, FilePath, ParamType, json_option, option_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tracker import TrackerService

__all__ = ["arguments_of", "options", "tracker"]

API_KEY_VARIABLE = "IPV8_TRACKER_API_KEY"
DEFAULT_MAX_PEERS = 5000
DEFAULT_REQUESTS_PER_ADDRESS = 50.0


def options(api_port: ParamType = PORT) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """All options of a tracker.

    :param api_port: the type of the port of the HTTP interface.
    """
    declared = [
        click.option("-p", "--port", "--listen_port", "listen_port", type=PORT, default=8090, show_default=True,
                     help="UDP port."),
        click.option("--listen-address", type=IPV4, default="0.0.0.0", show_default=True,  # noqa: S104 - a server
                     help="IPv4 address to listen on."),
        click.option("--listen-address-ipv6", type=IPV6, help="IPv6 address to listen on as well; :: for all."),
        click.option("-a", "--api-port", "--listen_port_api", "api_port", type=api_port,
                     help="TCP port of the HTTP interface, which needs aiohttp; without it there is none."),
        click.option("-k", "--api-key", "--api_key", "api_key", type=TEXT, envvar=API_KEY_VARIABLE, show_envvar=True,
                     help="The key that HTTP clients need. Other users of this machine see arguments: better set the "
                          "environment variable."),
        click.option("-c", "--cert-file", "--cert_file", "cert_file",
                     type=FilePath("certificate and private key", exists=True),
                     help="Certificate and private key (PEM): speak HTTPS."),
        click.option("--key-file", type=FilePath("the key of the tracker"),
                     help="Where the tracker's key is kept, made if missing; by default it is a new one."),
        click.option("--max-peers", type=Count(), default=DEFAULT_MAX_PEERS, show_default=True,
                     help="How many peers to remember."),
        click.option("--requests-per-address", type=RATE, default=DEFAULT_REQUESTS_PER_ADDRESS, show_default=True,
                     help="Packets a second from one address."),
        json_option,
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(declared):
            function = option(function)
        return function

    return decorate


def arguments_of(parameters: dict[str, Any]) -> tuple[TrackerService, dict[str, Any]]:
    """The tracker that the options describe, and the other arguments of :func:`ipv8.cli.tracker.serve`."""
    from ...peerdiscovery.tracker import TrackerLimits
    from .. import tracker as library

    arguments = dict(parameters)
    rate = arguments.pop("requests_per_address")
    limits = TrackerLimits(peers=arguments.pop("max_peers"), requests_per_address=rate, requests_per_subnet=5 * rate)
    return library.TrackerService(limits, arguments.pop("key_file")), arguments


@click.command(cls=Command, short_help="Run a bootstrap server.", examples=(
    ("ipv8 tracker --port 6421 --key-file tracker.pem", "run a tracker that keeps its identity"),
    ("ipv8 tracker --listen-address-ipv6 ::", "listen on IPv6 as well"),
    ("ipv8 tracker --api-port 6480", "tell programs of this machine by HTTP what it does"),
    ("ipv8 run --bootstrap tracker.example.org:6421", "let a node on another machine use it"),
))
@options()
@click.pass_context
def tracker(ctx: click.Context, /, **parameters: Any) -> None:
    """Run a bootstrap server, which introduces the peers of any overlay to one another.

    It ends on Ctrl+C or SIGTERM, with exit status 0. With --json, it prints a line when it has started, with its
    addresses, and one when it has stopped.
    """
    import asyncio
    import logging

    from .. import tracker as library

    if parameters["api_port"] is None:
        if parameters["cert_file"] is not None:
            option_error(ctx, "--cert-file", "needs --api-port, the port on which HTTPS is spoken")
        if ctx.get_parameter_source("api_key") is click.core.ParameterSource.COMMANDLINE:
            option_error(ctx, "--api-key", "needs --api-port, the port on which the key is asked for")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    service, arguments = arguments_of(parameters)
    asyncio.run(library.serve(service, **arguments))
