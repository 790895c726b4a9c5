"""``ipv8 dht``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..framework import Group
from ..options import IPV4, KEY, MID, PORT, SERVER, FilePath, Seconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["dht"]

LONGEST_WAIT = 3600.0
LONGEST_VALUE = 169
"""Bytes of a value that is not signed."""

SHARED = "ipv8.cli.dht"
"""Where the values of the shared options are kept in the context."""


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep the value of an option that may stand in front of the action and behind it."""
    assert parameter.name is not None
    kept = ctx.meta.setdefault(SHARED, {})
    if parameter.multiple:
        kept[parameter.name] = (*kept.get(parameter.name, ()), *value)
    elif (parameter.name not in kept
            or ctx.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE):
        kept[parameter.name] = value


def _shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ``ipv8 dht`` and all its actions have."""
    for option in reversed([
        click.option("--json", "as_json", is_flag=True, expose_value=False, callback=_keep,
                     help="Print JSON, for programs."),
        click.option("--peer", "peers", type=SERVER, multiple=True, expose_value=False, callback=_keep,
                     help="A node to start from, instead of the bootstrap servers; may be given again."),
        click.option("--listen-address", type=IPV4, default="0.0.0.0", show_default=True,  # noqa: S104 - a node
                     expose_value=False, callback=_keep, help="The IPv4 address to listen on."),
        click.option("-p", "--port", type=PORT, default=0, show_default=True, expose_value=False, callback=_keep,
                     help="The UDP port to listen on; 0 for any."),
        click.option("--key-file", type=FilePath("the key to sign with"), expose_value=False, callback=_keep,
                     help="The key to sign with, made if missing; by default it is a new one."),
        click.option("--database", type=FilePath("nodes and values"), expose_value=False, callback=_keep,
                     help="Keep nodes and values here, for faster starts."),
        click.option("--wait", type=Seconds(LONGEST_WAIT), default=10.0, show_default=True, expose_value=False,
                     callback=_keep, help="How many seconds to look for nodes before giving up."),
    ]):
        function = option(function)
    return function


def _run(ctx: click.Context, action: Any) -> int:
    from .. import dht as library

    node = dict(ctx.meta[SHARED])
    as_json = node.pop("as_json")
    return library.run(library.Node(**node), action, as_json)


@click.group(cls=Group, examples=(
    ('ipv8 dht put "my key" "a value"', "store a value for an hour"),
    ('ipv8 dht get "my key" --json', "find it, from any machine"),
    ("ipv8 dht status --peer node.example.org:8090", "start from a node that you know"),
))
@_shared
def dht() -> None:
    """Store and find values in the DHT, and find the owners of keys.

    Each call runs a node of its own until it is done. The options may stand in front of the action or behind it. The
    exit status is 0 if something was found or stored, and 1 if not.
    """


@dht.command("get", short_help="Print the values of a key.", examples=(
    ('ipv8 dht get "my key"', "print the values, one a line"),
))
@click.argument("key", type=KEY)
@_shared
@click.pass_context
def get(ctx: click.Context, key: bytes) -> int:
    """Print the values of KEY, which is 40 hex digits, or at most 20 bytes of text."""
    from .. import dht as library

    return _run(ctx, library.getting(key))


@dht.command("put", short_help="Store a value under a key for an hour.", examples=(
    ('ipv8 dht put "my key" "a value"', "store a value"),
    ('ipv8 dht put "my key" mine --sign --key-file my_key.pem', "store one that you can replace later"),
))
@click.argument("key", type=KEY)
@click.argument("value")
@click.option("--sign", is_flag=True, help="Sign it, so that it replaces an earlier value of yours.")
@_shared
@click.pass_context
def put(ctx: click.Context, key: bytes, value: str, sign: bool) -> int:
    """Store VALUE under KEY for an hour.

    KEY is 40 hex digits, or at most 20 bytes of text. VALUE is text of at most 169 bytes, or 23 if it is signed.
    """
    from .. import dht as library

    size = len(value.encode(errors="surrogateescape"))
    if size > LONGEST_VALUE:
        raise click.UsageError(f"the value has {size} bytes: at most {LONGEST_VALUE} can be stored, or 23 if it is "
                               "signed", ctx)
    return _run(ctx, library.putting(key, value, sign))


@dht.command("find-peer", short_help="Find the owner of a key.", examples=(
    ("ipv8 dht find-peer 5ffbda02f0676e045654021e45de951a75767e0c", "print where the owner of a key is"),
))
@click.argument("mid", type=MID)
@_shared
@click.pass_context
def find_peer(ctx: click.Context, mid: bytes) -> int:
    """Print the addresses of the owner of a key, given by its MID: the SHA-1 hash of the public key, 40 hex digits."""
    from .. import dht as library

    return _run(ctx, library.finding_peer(mid))


@dht.command("status", examples=(("ipv8 dht status --wait 30", "look for nodes for half a minute"),))
@_shared
@click.pass_context
def status(ctx: click.Context) -> int:
    """Print what this node knows of the DHT."""
    from .. import dht as library

    return _run(ctx, library.status)
