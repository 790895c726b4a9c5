"""The command line, ``python -m ipv8 COMMAND`` (doc/command_line.md).

Almost nothing is imported before :func:`main` can treat Ctrl+C and missing packages. All commands are in
:mod:`ipv8.cli.root`.
"""

from __future__ import annotations

import sys

from . import INTERRUPTED

TYPE_CHECKING = False
"""Not imported from ``typing``, which takes longer to load than this module; type checkers know the name."""

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

NEEDED = ("click", "platformdirs")
"""The packages without which there is no command line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: the arguments. By default they are those of the process, which then belongs to the command: Ctrl+C
        ends it without a traceback at any time, and SIGTERM does what Ctrl+C does.
    :returns: the exit status of the process. A mistake of the user is printed to stderr.
    """
    if argv is not None:
        return _run(argv, lambda: None)
    try:
        return _run_process()
    except KeyboardInterrupt:  # while the module was imported that treats it
        return INTERRUPTED


def _run_process() -> int:
    from .interrupts import end_on_interrupt, interrupt_on_termination

    allow_cleaning_up = end_on_interrupt()

    def on_imported() -> None:
        allow_cleaning_up()
        interrupt_on_termination()

    status = _run(sys.argv[1:], on_imported)
    end_on_interrupt()
    return status


def _run(argv: Sequence[str], on_imported: Callable[[], object]) -> int:
    from importlib.util import find_spec

    from .status import FAILURE, print_error, status_of

    for name in NEEDED:
        if find_spec(name) is None:
            print_error(f"ipv8: the command line needs the package {name}. This command installs it:\n"
                        f"  {sys.executable or 'python'} -m pip install \"ipv8[cli]\"")
            return FAILURE
    from .root import invoke

    on_imported()
    return status_of("ipv8", lambda: invoke(argv))
