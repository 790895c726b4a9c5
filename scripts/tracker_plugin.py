"""Run a bootstrap server until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import logging
import pathlib
import sys
from typing import TYPE_CHECKING

try:
    import ipv8
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    if __name__ == "__main__":  # the requirements of the package are missing, too
        from scripts.bootstrap import enter
        enter()
    import ipv8  # noqa: F401 - shows that the path is right

from ipv8.cli.service import run_program
from ipv8.cli.tracker import TrackerService, add_arguments, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TrackerService", "main"]


async def main(argv: Sequence[str]) -> None:
    """Run a tracker; ``argv`` has the command line without the name of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    await serve(parser.parse_args(argv))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run_program("tracker_plugin.py", main(sys.argv[1:]))
