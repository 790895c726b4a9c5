"""Run a bootstrap server until SIGINT or SIGTERM."""

from __future__ import annotations

import logging
import pathlib
import sys
from typing import TYPE_CHECKING, Any

try:
    import ipv8
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    if __name__ == "__main__":  # the requirements of the package are missing, too
        from scripts.bootstrap import enter
        enter("cli")
    import ipv8  # noqa: F401 - shows that the path is right

import click

from ipv8.cli.commands.tracker import arguments_of, options
from ipv8.cli.framework import Command, parse
from ipv8.cli.options import PORT, ParamType
from ipv8.cli.service import run_program
from ipv8.cli.tracker import TrackerService, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TrackerService", "main"]


class PortOrNone(ParamType):
    """A port, or -1 for none, as other implementations have it."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The port, or ``None``."""
        return None if value in {"-1", None} else PORT.convert(value, param, ctx)


@click.command(cls=Command, help=__doc__)
@options(PortOrNone())
def tracker() -> None:
    """The options."""


async def main(argv: Sequence[str]) -> None:
    """Run a tracker; ``argv`` has the command line without the name of the program."""
    service, arguments = arguments_of(parse(tracker, "tracker_plugin.py", argv))
    await serve(service, **arguments)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run_program("tracker_plugin.py", main(sys.argv[1:]))
