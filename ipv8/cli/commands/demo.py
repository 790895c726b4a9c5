"""``ipv8 demo``."""

from __future__ import annotations

import click

from ..framework import Command
from ..options import PORT, Count, Seconds, json_option, option_error

__all__ = ["demo"]

LEAST_NODES, MOST_NODES = 2, 25
LONGEST_WAIT = 3600.0


class _Nodes(Count):
    """How many nodes there are."""

    def read(self, text: str) -> int:
        """The number."""
        number = super().read(text)
        if not LEAST_NODES <= number <= MOST_NODES:
            raise ValueError(f"{number} is no number from {LEAST_NODES}, as a node alone has nobody to meet, to "
                             f"{MOST_NODES}, as all nodes run in this one process")
        return number


@click.command(cls=Command, short_help="See a network of nodes at work on this machine.", examples=(
    ("ipv8 demo", "see five nodes find one another, and use the overlays of the library"),
    ("ipv8 demo --serve", "let them go on, and look at one of them in a browser"),
    ("ipv8 demo --nodes 20 --plain", "print what happens as lines of text"),
))
@click.option("--nodes", type=_Nodes(), default=5, show_default=True,
              help=f"How many nodes, {LEAST_NODES} to {MOST_NODES}.")
@click.option("--seconds", type=Seconds(LONGEST_WAIT), default=30.0, show_default=True,
              help="How many seconds to wait until the nodes have done everything.")
@click.option("--plain", is_flag=True, help="Print lines of text. This is also done if there is no terminal.")
@click.option("--serve", is_flag=True,
              help="Let the nodes go on until Ctrl+C, and serve the dashboard of the first one.")
@click.option("--api-port", type=PORT,
              help="The TCP port of the dashboard; by default the first free one from 8085 on.")
@json_option
def demo(nodes: int, seconds: float, plain: bool, serve: bool, api_port: int | None, as_json: bool) -> int:
    """Run a network on this machine: a tracker, and nodes that know nothing else.

    The nodes find one another by the tracker. Then they store values in the DHT and find them, build anonymizing
    circuits, and sign blocks of TrustChain with one another. All of it stays on the loopback interface.

    The exit status is 0 if they did all of this, and 1 if not. With --serve, Ctrl+C or SIGTERM ends it, with exit
    status 0.
    """
    from ..demo import demonstration
    from ..demo.library import LibraryOverlays
    from ..rest import RestOptions

    if not serve:
        if api_port is not None:
            option_error(click.get_current_context(), "--api-port", "needs --serve")
        return demonstration.demonstrate(nodes, seconds, LibraryOverlays(), plain=plain, as_json=as_json)
    return demonstration.serve(nodes, seconds, LibraryOverlays(), RestOptions(api_port), plain=plain, as_json=as_json)
