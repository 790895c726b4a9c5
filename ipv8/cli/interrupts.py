"""What Ctrl+C and SIGTERM do while a command runs."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from . import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["end_on_interrupt", "interrupt_on_termination"]


def _set(number: signal.Signals, expected: object, handler: Callable[..., object]) -> bool:
    """Set the handler of a signal, if the present one is the expected one and this is the main thread."""
    if signal.getsignal(number) is not expected:  # the signal is ignored, or a program has a handler of its own
        return False
    try:
        signal.signal(number, handler)
    except ValueError:  # not the main thread
        return False
    return True


def end_on_interrupt() -> Callable[[], object]:
    """End the process at once on Ctrl+C, with the status for that and without a traceback.

    This is for the time in which there is nothing to clean up: while modules are imported, and at the end.

    :returns: what makes Ctrl+C raise ``KeyboardInterrupt`` again.
    """
    def end(*_: object) -> None:
        os._exit(INTERRUPTED)

    _set(signal.SIGINT, signal.default_int_handler, end)
    return lambda: _set(signal.SIGINT, end, signal.default_int_handler)


def interrupt_on_termination() -> None:
    """Let SIGTERM do what Ctrl+C does, so that a command cleans up. Servers have handlers of their own.

    What Ctrl+C does is looked up when the signal comes: an event loop cancels the command, while an exception could be
    raised in any of its tasks.
    """
    def interrupt(_: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    _set(signal.SIGTERM, signal.SIG_DFL, interrupt)
