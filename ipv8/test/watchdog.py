"""Ends a test process that hangs: reports where it hangs, interrupts it, and kills it if that does not help."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Watchdog"]

POLL_INTERVAL = 2.0
"""Seconds between two looks at the clock."""
INTERRUPT_GRACE = 5.0
"""Seconds from the interrupt until the process is killed."""


class Watchdog(threading.Thread):
    """A daemon thread that ends the process when ``is_stuck`` returns true.

    :param is_stuck: tells whether to end the process.
    :param loop: returns the event loop whose tasks are reported, or ``None``.
    """

    def __init__(self, is_stuck: Callable[[], bool], loop: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        super().__init__(name="test-watchdog", daemon=True)
        self._is_stuck = is_stuck
        self._loop = loop
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def run(self) -> None:
        """Watch until :meth:`stop` is called."""
        while not self._stopped.wait(POLL_INTERVAL):
            if self._is_stuck():
                self._report()
                os.kill(os.getpid(), signal.SIGINT)
                if not self._stopped.wait(INTERRUPT_GRACE):
                    os._exit(1)

    def _report(self) -> None:
        """Write the stacks of all threads and the pending tasks of the loop to standard error."""
        lines = ["The tests are stuck. Threads:\n"]
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            lines += [f"\n{names.get(ident, ident)}:\n", *traceback.format_stack(frame)]
        loop = self._loop()
        if loop is not None:
            lines += ["\nPending tasks:\n", *(f"{task!r}\n" for task in asyncio.all_tasks(loop))]
        sys.stderr.write("".join(lines))
        sys.stderr.flush()
