"""The command line, ``python -m ipv8 COMMAND``.

A command is a module of this package with a docstring, a function ``add_arguments(parser)`` and a function
``run(arguments)`` that returns the exit status; it is listed in :data:`COMMANDS`. All of them are imported for each
call, so ``run`` does the imports that take long.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Protocol, cast

from . import dht, key, netcheck, run, tracker
from .status import status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "Command", "main", "status_of"]


class Command(Protocol):
    """What the module of a command has."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command to a parser."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command and return the exit status."""


COMMANDS: dict[str, Command] = {"run": run, "tracker": tracker, "key": key, "dht": dht, "netcheck": netcheck}
"""The commands by name, in the order of the help."""


class _Version(argparse.Action):
    """Prints the version of the installed library and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(parser.prog, version("ipv8"))
        parser.exit()


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ipv8", description="Peer-to-peer overlays between public keys.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: the arguments, by default those of the process.
    :returns: the exit status of the process. A mistake of the user is printed to stderr.
    """
    arguments = _create_parser().parse_args(argv)
    return status_of("ipv8", lambda: cast("int", arguments.run(arguments)))
