"""Run a node with the default configuration until SIGINT or SIGTERM."""

from __future__ import annotations

import pathlib
import sys
from typing import TYPE_CHECKING

try:
    import ipv8
except ImportError:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    if __name__ == "__main__":  # the requirements of the package are missing, too
        from scripts.bootstrap import enter
        enter("cli")
    import ipv8  # noqa: F401 - shows that the path is right

from ipv8.cli.service import IPV8Service, run_program, serve_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IPV8Service", "main"]


async def main(argv: Sequence[str]) -> None:
    """Run a node; ``argv`` has the command line without the name of the program."""
    await serve_arguments("ipv8_plugin.py", argv)


if __name__ == "__main__":
    run_program("ipv8_plugin.py", main(sys.argv[1:]))
