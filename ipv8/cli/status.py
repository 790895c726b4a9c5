"""Exit statuses of programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["USAGE_ERROR", "status_of"]

USAGE_ERROR = 2
INTERRUPTED = 130


def status_of(name: str, program: Callable[[], int]) -> int:
    """Run a program and return its exit status.

    A mistake of the user is printed to stderr, in one line with the name of the program, and the status is 2.
    """
    try:
        return program()
    except (ImportError, OSError, ValueError) as e:
        reason = f"{e.filename}: {e.strerror}" if isinstance(e, OSError) and e.filename is not None else e
        print(f"{name}: {reason}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
