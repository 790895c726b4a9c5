"""``ipv8 netcheck``."""

from __future__ import annotations

import click

from ..framework import Command
from ..options import PORT, SERVER, Seconds, json_option

__all__ = ["netcheck"]

LONGEST_TIMEOUT = 3600.0


@click.command(cls=Command, short_help="Find out why a node finds no peers.", examples=(
    ("ipv8 netcheck", "ask the public servers, and the router"),
    ("ipv8 netcheck --server 192.0.2.1:6421 --server tracker.example.org:6421", "ask trackers of your own"),
    ("ipv8 netcheck --json --no-port-mapping", "do not ask the router, and print JSON"),
))
@json_option
@click.option("--server", "servers", type=SERVER, multiple=True,
              help="Ask this server instead of the public ones; may be given again, and two are needed to recognise "
                   "a NAT.")
@click.option("--timeout", type=Seconds(LONGEST_TIMEOUT), default=5.0, show_default=True,
              help="Seconds to wait for names and then for answers.")
@click.option("-p", "--port", type=PORT, default=0, show_default=True, help="The UDP port to ask from; 0 for any.")
@click.option("--no-port-mapping", is_flag=True,
              help="Do not ask the router whether it would forward a port.")
def netcheck(as_json: bool, servers: tuple[tuple[str, int], ...], timeout: float, port: int,
             no_port_mapping: bool) -> int:
    """Find out whether and how this machine can be reached by other nodes.

    The exit status is 0 if a server answered, and 1 if none did.
    """
    import asyncio
    import logging

    from ..netcheck import check_and_print

    logging.basicConfig(level=logging.CRITICAL)
    return asyncio.run(check_and_print(servers, timeout, port, not no_port_mapping, as_json))
