"""``ipv8 tunnel``."""

from __future__ import annotations

from typing import Any

import click

from ..framework import Group
from ..options import IPV4, PORT, Count, FilePath, Seconds, Text
from ..terminal import busy
from .node_options import node_options, split

__all__ = ["tunnel"]

LONGEST_WAIT = 3600.0
MOST_HOPS = 8


class _Hops(Count):
    """The length of a circuit."""

    def read(self, text: str) -> int:
        """The number of hops."""
        number = super().read(text)
        if number > MOST_HOPS:
            raise ValueError(f"a circuit has at most {MOST_HOPS} hops, not {number}")
        return number


class _User(Text):
    """``NAME:PASSWORD``."""

    name = "name:password"

    def read(self, text: str) -> tuple[str, str]:
        """The name and the password."""
        name, separator, password = text.partition(":")
        if not (name and separator and password) or max(len(name.encode()), len(password.encode())) > 255:
            raise ValueError(f"{text!r:.80} is not NAME:PASSWORD, each of 1 to 255 bytes")
        return name, password


class _Bandwidth(Count):
    """Kilobytes a second."""

    name = "kB/s"


@click.group(cls=Group, short_help="Send anonymously, or let others do so.", examples=(
    ("ipv8 tunnel proxy", "run a proxy for the programs of this machine"),
    ("ipv8 tunnel exit --relay-only", "pass on what others send, and connect to nobody for them"),
    ("ipv8 tunnel status", "say how many relays and exits there are"),
))
def tunnel() -> None:
    """Send through anonymizing tunnels, or take part in those of others.

    Read doc/anonymity.md first: it says what tunnels protect against, and what not.
    """


@tunnel.command("proxy", examples=(
    ("ipv8 tunnel proxy --socks-port 1080", "run a proxy"),
    ("ipv8 tunnel proxy --user me:secret", "serve only clients that know a password"),
))
@click.option("--socks-port", type=PORT, default=1080, show_default=True, help="The TCP port for clients; 0 for any.")
@click.option("--socks-address", type=IPV4, default="127.0.0.1", show_default=True,
              help="The IPv4 address for clients. With another one than that of loopback, other machines can use the "
                   "proxy too.")
@click.option("--hops", type=_Hops(), default=3, show_default=True, help="The length of circuits, 1 to 8.")
@click.option("--user", "users", type=_User(), multiple=True,
              help="Serve only clients with this name and password; may be given again. Other users of this machine "
                   "see arguments.")
@click.option("--guards-file", type=FilePath("the first hops of circuits"),
              help="Keep the first hops of circuits here. By default they are kept where the platform keeps data of "
                   "programs.")
@click.option("--client-only", is_flag=True, help="Relay nothing for others.")
@click.option("--api-port", type=PORT,
              help="The TCP port of the HTTP interface and of the dashboard, for this machine; without it there are "
                   "none.")
@node_options
def proxy(**parameters: Any) -> None:
    """Run a SOCKS5 proxy whose connections go through circuits.

    It ends on Ctrl+C or SIGTERM, with exit status 0. With --json, it prints a line when it has started, with its
    addresses, one when the first circuit is ready, and one when it has stopped.
    """
    import asyncio
    import logging

    from .. import tunnel as library

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    node, as_json, others = split(parameters)
    users = others.pop("users")
    asyncio.run(library.serve_proxy(node, library.ProxyOptions(passwords=dict(users) or None, **others), as_json))


@tunnel.command("exit", short_help="Run a relay that is also an exit.", examples=(
    ("ipv8 tunnel exit --key-file node.pem --port 8090", "run an exit that keeps its identity"),
    ("ipv8 tunnel exit --relay-only --relay-bandwidth 500", "relay at most 500 kB a second, and be no exit"),
    ("ipv8 tunnel exit --no-tcp", "pass on packets, and open no connections"),
))
@click.option("--tcp/--no-tcp", default=True, show_default=True, help="Open TCP connections for others.")
@click.option("--bittorrent/--no-bittorrent", default=True, show_default=True, help="Pass on packets of BitTorrent.")
@click.option("--overlays/--no-overlays", default=True, show_default=True, help="Pass on packets of IPv8 overlays.")
@click.option("--relay-only", is_flag=True, help="Be no exit.")
@click.option("--exit-bandwidth", type=_Bandwidth(), help="At most so many kB a second as an exit.")
@click.option("--relay-bandwidth", type=_Bandwidth(), help="At most so many kB a second as a relay.")
@click.option("--api-port", type=PORT,
              help="The TCP port of the HTTP interface and of the dashboard, for this machine; without it there are "
                   "none.")
@node_options
def exit_(**parameters: Any) -> None:
    """Run a relay that is also an exit: what others do on the Internet seems to come from this machine.

    It ends on Ctrl+C or SIGTERM, with exit status 0. With --json, it prints a line when it has started, with its
    addresses, and one when it has stopped.
    """
    import asyncio
    import logging

    from .. import tunnel as library

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    node, as_json, others = split(parameters)
    if others.pop("relay_only"):
        others.update(tcp=False, bittorrent=False, overlays=False)
    for name in ("exit_bandwidth", "relay_bandwidth"):
        others[name] = 1000 * (others[name] or 0)
    asyncio.run(library.serve_exit(node, library.ExitOptions(**others), as_json))


@tunnel.command("status", short_help="Say which relays and exits there are.", examples=(
    ("ipv8 tunnel status --hops 1 --wait 10", "look for ten seconds"),
))
@click.option("--hops", type=_Hops(), default=3, show_default=True, help="The length of the circuit that is built.")
@click.option("--wait", type=Seconds(LONGEST_WAIT), default=30.0, show_default=True,
              help="How many seconds to try before giving up.")
@node_options
def status(**parameters: Any) -> int:
    """Say which relays and exits this machine finds, and how long a circuit takes to build.

    The exit status is 0 if one was built, and 1 if not.
    """
    import asyncio
    import json
    import logging

    from .. import tunnel as library

    logging.basicConfig(level=logging.ERROR)
    node, as_json, others = split(parameters)
    with busy(f"Looking for relays, and building a circuit of {others['hops']} hops"):
        report = asyncio.run(library.report_status(node, others["hops"], others["wait"]))
    if as_json:
        print(json.dumps(report))
    else:
        built = "none was built" if report["seconds"] is None else f"built in {report['seconds']:.2f} s"
        print(f"nodes: {report['peers']}", f"relays: {report['relays']}",
              *(f"exits for {name}: {count}" for name, count in report["exits"].items()),
              f"circuit of {report['hops']} hops: {built}",
              f"library for TCP: {report['streams'] or 'none; install ipv8[streams]'}", sep="\n")
    return library.FOUND if report["found"] else library.NOT_FOUND
