"""Run a node with the default configuration until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
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

from ipv8.cli.service import IPV8Service, add_service_arguments, run_program, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IPV8Service", "main"]


async def main(argv: Sequence[str]) -> None:
    """Run a node; ``argv`` has the command line without the name of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_service_arguments(parser)
    await serve(parser.parse_args(argv))


if __name__ == "__main__":
    run_program("ipv8_plugin.py", main(sys.argv[1:]))
