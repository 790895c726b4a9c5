"""Tests of what happens in a fork of the process."""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SECONDS", "in_a_fork"]

SECONDS = 20
"""How long a fork may live."""


def in_a_fork(check: Callable[[], None]) -> None:
    """Call ``check`` in a fork of this process, and wait for its end; it fails as ``check`` does."""
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        code = 1
        try:
            check()
            code = 0
        except BaseException:  # noqa: BLE001 - a child must not go on with the tests
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
