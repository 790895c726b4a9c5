"""The command line, ``python -m ipv8 COMMAND``.

A command is a module of this package with a docstring, a function ``add_arguments(parser)`` and a function
``run(arguments)`` that returns the exit status; list it in :data:`COMMANDS`. Modules are imported for each call, so
they leave expensive imports to ``run``.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "main", "status_of"]

COMMANDS = {
    "run": "ipv8.cli.run",
    "tracker": "ipv8.cli.tracker",
    "key": "ipv8.cli.key",
    "dht": "ipv8.cli.dht",
    "netcheck": "ipv8.cli.netcheck",
}
"""The commands and their modules, in the order of the help."""

USAGE_ERROR = 2


class _Command(Protocol):
    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


class _Version(argparse.Action):
    """Tells the version of the installed library."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(parser.prog, version("ipv8"))
        parser.exit()


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ipv8", description="Peer-to-peer overlays between public keys.")
    parser.add_argument("--version", action=_Version, nargs=0, help="tell the version and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = cast("_Command", import_module(module))
        summary = (command.__doc__ or "").partition("\n")[0]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def status_of(name: str, program: Callable[[], int]) -> int:
    """Run a program of that name; what the user did wrong is told in a line on stderr, with status 2."""
    try:
        return program()
    except (ImportError, OSError, ValueError) as e:
        reason = f"{e.filename}: {e.strerror}" if isinstance(e, OSError) and e.filename is not None else e
        print(f"{name}: {reason}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: the arguments, by default those of the process.
    :returns: the exit status of the process; what the user did wrong is told on stderr.
    """
    arguments = _create_parser().parse_args(argv)
    return status_of("ipv8", lambda: cast("int", arguments.run(arguments)))
