"""How programs end: exit statuses, messages about mistakes, interrupts, and output that nobody takes.

This module needs none of the packages of the extra ``cli``.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from . import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAILURE", "SUCCESS", "UNSUCCESSFUL", "print_error", "status_of"]

SUCCESS = 0
UNSUCCESSFUL = 1
"""Nothing was found, or nobody answered, or the reader of the output has closed it."""
FAILURE = 2
"""A mistake of the user, or something that this machine does not allow."""

def status_of(name: str, program: Callable[[], int]) -> int:
    """Run a program and return its exit status.

    A mistake of the user is printed to stderr, in one line with the name of the program. If the output cannot be
    written, because its reader has closed it or the device is full, the rest of it is dropped.
    """
    try:
        try:
            return program()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # an error at the exit could not be reported
    except BrokenPipeError:
        _drop_output()
        return UNSUCCESSFUL
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ImportError, OSError, ValueError) as e:
        if isinstance(e, OSError):
            _drop_output()
        print_error(f"{name}: {_reason(e)}")
        return FAILURE
    except Exception as e:
        status = _status_of_click(name, e)
        if status is not None:
            return status
        if not _is_of_a_database(e):
            raise
        print_error(f"{name}: {e}")
        return FAILURE


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror or str(error)


def _is_of_a_database(error: Exception) -> bool:
    """Whether a database is damaged, locked, not to be written, or of a newer release."""
    if "sqlite3" not in sys.modules:
        return False
    import sqlite3

    from ..database import DatabaseException

    return isinstance(error, (sqlite3.OperationalError, DatabaseException))


def _status_of_click(name: str, error: Exception) -> int | None:
    """The exit status for an exception of click; ``None`` for any other one."""
    if "click" not in sys.modules:
        return None
    import click

    if isinstance(error, click.exceptions.Exit):
        return int(error.exit_code)
    if isinstance(error, click.Abort):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        from .framework import show_usage_error

        show_usage_error(error, name)
        return FAILURE
    return None


def print_error(text: str) -> None:
    """Print to stderr, if it is open."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Let what is left in the buffer of stdout go nowhere, as writing it would fail again at the exit."""
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
        return
    with suppress(AttributeError, OSError, ValueError):
        target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, sys.stdout.fileno())
        os.close(target)
