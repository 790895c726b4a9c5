"""Which counters of a session came already (doc/protocol/sessions.md section 5.1)."""

from __future__ import annotations

__all__ = ["COUNTER_LIMIT", "WINDOW", "ReplayWindow"]

WINDOW = 2048
"""How far a datagram may be behind the newest one of its session."""

COUNTER_LIMIT = 1 << 48
"""The first counter that may not be used."""


class ReplayWindow:
    """The counters below the highest one that did not come yet; what is older than the window counts as come.

    A mask of *missing* counters is 0 as long as all arrive in order, so the usual case costs nothing.
    """

    __slots__ = ("missing", "top")

    def __init__(self) -> None:
        #: The highest counter that came, -1 at first.
        self.top = -1
        #: Bit ``n`` is set if the counter ``top - 1 - n`` is missing.
        self.missing = 0

    def is_new(self, counter: int) -> bool:
        """Whether a datagram with this counter may be opened."""
        top = self.top
        if counter > top:
            return counter < COUNTER_LIMIT
        age = top - counter
        return 0 < age < WINDOW and bool(self.missing >> (age - 1) & 1)

    def take(self, counter: int) -> None:
        """Note that an authentic datagram with this counter came; :meth:`is_new` was asked before."""
        skipped = counter - self.top - 1
        if skipped < 0:
            self.missing ^= 1 << -(skipped + 2)
        else:
            self.top = counter
            if skipped or self.missing:
                self._advance(skipped)

    def _advance(self, skipped: int) -> None:
        """Move the mask on by one counter that came, and ``skipped`` ones that did not."""
        if skipped >= WINDOW:
            self.missing = (1 << (WINDOW - 1)) - 1
        else:
            self.missing = (self.missing << (skipped + 1) | (1 << skipped) - 1) & (1 << (WINDOW - 1)) - 1
