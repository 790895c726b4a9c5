"""What becomes of the open sockets of a process in a copy of it that ``os.fork`` made.

Both processes would read from the same sockets, so each would miss what the other one got. They would also share what
the system keeps for the event loop, and a copy that closes a socket properly would stop the reading of the original.
So in the copy, sockets are given up as soon as it exists, without asking the event loop.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Abandonable", "forget", "note"]


class Abandonable(Protocol):
    """Something that belongs to one process."""

    def _abandon(self) -> None:
        """Give up what was opened by another process, which still uses it."""


_opened: WeakSet[Abandonable] = WeakSet()


def note(opened: Abandonable) -> None:
    """Call ``_abandon`` of ``opened`` in each copy of this process, from now on."""
    _opened.add(opened)


def forget(closed: Abandonable) -> None:
    """Do not do so any more."""
    _opened.discard(closed)


def _abandon_all() -> None:
    for opened in tuple(_opened):
        opened._abandon()
    _opened.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_abandon_all)
