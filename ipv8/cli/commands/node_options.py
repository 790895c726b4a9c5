"""The options of commands that run a node of one overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..options import IPV4, PORT, SERVER, FilePath, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..overlay_node import NodeOptions

__all__ = ["node_options", "split"]


def node_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of :class:`ipv8.cli.overlay_node.NodeOptions`, and ``--json``."""
    for option in reversed([
        click.option("--bootstrap", type=SERVER, multiple=True,
                     help="Ask this server for first peers, instead of the public ones; may be given again."),
        click.option("--listen-address", type=IPV4, default="0.0.0.0", show_default=True,  # noqa: S104 - a node
                     help="The IPv4 address to listen on."),
        click.option("-p", "--port", type=PORT, default=0, show_default=True, help="The UDP port; 0 for any."),
        click.option("--key-file", type=FilePath("the key of the node"),
                     help="The key of the node, made if missing; by default it is a new one."),
        json_option,
    ]):
        function = option(function)
    return function


def split(parameters: dict[str, Any]) -> tuple[NodeOptions, bool, dict[str, Any]]:
    """The node that the options describe, whether to print JSON, and the other options."""
    from ..overlay_node import NodeOptions

    node = NodeOptions(*(parameters.pop(name) for name in NodeOptions._fields))
    return node, parameters.pop("as_json"), parameters
