"""``ipv8 trust``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..framework import Group
from ..options import PUBLIC_KEY, RATE, TEXT, Count, FilePath, json_option

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["trust"]

file_option = click.option("--file", type=FilePath("the statements"),
                           help="Keep the statements here, instead of where the platform keeps data of programs.")


def _view(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say from whose view trust is shown, and what is known."""
    for option in reversed([
        file_option,
        click.option("--key-file", type=FilePath("the key of the node", exists=True),
                     help="The key from whose view trust is shown; by default that of 'ipv8 run'."),
        click.option("--database", type=TEXT, metavar="DIRECTORY|URL",
                     help="The working directory of a node that runs TrustChain, or a PostgreSQL URL: its blocks, and "
                          "what the node saw itself, are used too."),
        click.option("--db-name", type=TEXT, default="trustchain", show_default=True,
                     help="The name of the database there."),
        json_option,
    ]):
        function = option(function)
    return function


@click.group(cls=Group, examples=(
    ("ipv8 trust add alice.json --name alice", "state that you trust alice, who sent you that file"),
    ("ipv8 trust show --plot trust.svg", "draw whom that makes you trust"),
))
def trust() -> None:
    """Say whom you know and trust, and see the web of trust.

    A node of 'ipv8 run' takes the statements up when it starts, and changes soon. They are not sent to anybody.
    """


@trust.command("add", short_help="State that you trust somebody.", examples=(
    ("ipv8 trust add alice.json --name alice --weight 5", "trust alice, more than others"),
))
@click.argument("key", type=PUBLIC_KEY)
@click.option("--name", type=TEXT, help="What to call them, in lists and pictures.")
@click.option("--weight", type=RATE, default=1.0, show_default=True,
              help="How much, compared with others. A transaction that both sides signed counts as 1.")
@file_option
@json_option
def add(key: bytes, name: str | None, weight: float, file: str | None, as_json: bool) -> None:
    """State that you trust the owner of the public key KEY.

    KEY is a public key in hexadecimal digits, or a file with one. Your friend makes such a file with 'ipv8 key show
    my_key.pem --json > alice.json'. A second statement about a key replaces the first.
    """
    from .. import trust as library

    library.add(file, key, name or "", weight, as_json)


@trust.command("remove", short_help="Take a statement back.", examples=(
    ("ipv8 trust remove alice", "take the statement about alice back"),
))
@click.argument("who", type=TEXT)
@file_option
@json_option
def remove(who: str, file: str | None, as_json: bool) -> None:
    """Take back the statement about WHO: a name, a public key, or the beginning of a member id."""
    from .. import trust as library

    library.remove(file, who, as_json)


@trust.command("list", examples=(("ipv8 trust list", "show the statements"),))
@file_option
@json_option
def list_(file: str | None, as_json: bool) -> None:
    """Show whom you stated to trust."""
    from .. import trust as library

    library.list_people(file, as_json)


@trust.command("show", examples=(
    ("ipv8 trust show", "list the most trusted keys"),
    ("ipv8 trust show --database . --plot trust.svg", "draw the web of trust of the node that runs in this directory"),
    ("ipv8 trust show --json", "print it for a program"),
))
@_view
@click.option("--plot", type=FilePath("the picture"), help="Draw the web of trust into this SVG file.")
@click.option("--limit", type=Count(), default=60, show_default=True, help="Show so many keys at most.")
def show(file: str | None, key_file: str | None, database: str | None, db_name: str, as_json: bool,
         plot: str | None, limit: int) -> None:
    """Show the web of trust: whom you trust because of whom."""
    from .. import trust as library

    library.show(file, key_file, database, db_name, plot=plot, as_json=as_json, limit=limit)


@trust.command("why", short_help="Say why somebody is trusted.", examples=(
    ("ipv8 trust why alice --database .", "say why alice is trusted"),
))
@click.argument("who", type=TEXT)
@_view
def why(who: str, file: str | None, key_file: str | None, database: str | None, db_name: str, as_json: bool) -> None:
    """Say why WHO is trusted: a name, a public key, or the beginning of a member id."""
    from .. import trust as library

    library.explain(file, key_file, database, db_name, who, as_json)
