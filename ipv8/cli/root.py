"""The command ``ipv8`` with all its commands.

A command is an object of click, best made with ``cls=Command`` or ``cls=Group`` of :mod:`ipv8.cli.framework`, in a
module of :mod:`ipv8.cli.commands`, and listed in :data:`COMMANDS`. Its function returns the exit status, or ``None``
for success. All modules of commands are imported for each call, so their functions do the imports that take long.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from .commands.completion import completion
from .commands.demo import demo
from .commands.dht import dht
from .commands.files import fetch, send
from .commands.identity import identity
from .commands.key import key
from .commands.netcheck import netcheck
from .commands.run import run
from .commands.top import top
from .commands.tracker import tracker
from .commands.trust import trust
from .commands.tunnel import tunnel
from .framework import COMPLETION_VARIABLE, SETTINGS, Group

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "invoke", "root"]

COMMANDS: tuple[click.Command, ...] = (run, demo, top, tracker, key, dht, send, fetch, tunnel, identity, netcheck,
                                       trust, completion)
"""The commands in the order of the help."""


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("ipv8")
        except PackageNotFoundError:
            number = "(not installed)"
        click.echo(f"ipv8 {number}")
        ctx.exit()


@click.group(cls=Group, name="ipv8", examples=(
    ("ipv8 demo --serve", "see a network on this machine, in the terminal and in a browser"),
    ("ipv8 run my_module:MyCommunity", "run an overlay of yours until Ctrl+C"),
    ("ipv8 netcheck", "say why a node finds no peers"),
))
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
              help="Print the version and exit.")
def root() -> None:
    """Peer-to-peer overlays between public keys.

    'ipv8 COMMAND --help' explains a command, with examples.
    """


for _command in COMMANDS:
    root.add_command(_command)


def invoke(argv: Sequence[str]) -> int:
    """Run the command that the arguments name, and return its exit status."""
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return int(shell_complete(root, dict(SETTINGS), "ipv8", COMPLETION_VARIABLE, instruction))
    with root.make_context("ipv8", list(argv), **SETTINGS) as ctx:  # type: ignore[arg-type]  # of several types
        return root.invoke(ctx) or 0
