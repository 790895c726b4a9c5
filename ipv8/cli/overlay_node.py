"""A node that runs one overlay for a command."""

from __future__ import annotations

from typing import NamedTuple

from ..configuration import ConfigBuilder

__all__ = ["NodeOptions", "builder_for"]


class NodeOptions(NamedTuple):
    """How a node takes part in its overlay.

    :param bootstrap: the servers that are asked for first peers, instead of the public ones.
    :param listen_address: the IPv4 address to listen on.
    :param port: the UDP port; 0 for any.
    :param key_file: the file with the key of the node, which is made if it is missing; by default it is a new key.
    """

    bootstrap: tuple[tuple[str, int], ...] = ()
    listen_address: str = "0.0.0.0"  # noqa: S104 - nodes are to be reached
    port: int = 0
    key_file: str | None = None


def builder_for(node: NodeOptions, alias: str, walk_interval: float) -> ConfigBuilder:
    """A configuration with the address and the key of a node, and without overlays.

    :param alias: that of its key.
    :param walk_interval: seconds between two steps of a walk.
    """
    builder = ConfigBuilder().clear_keys().clear_overlays().set_address(node.listen_address).set_port(node.port)
    if node.key_file is None:
        builder.add_ephemeral_key(alias)
    else:
        builder.add_key(alias, "curve25519", node.key_file)
    return builder.set_walker_interval(walk_interval)
