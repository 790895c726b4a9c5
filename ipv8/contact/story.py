"""The log of introductions, for people: lines at DEBUG, and not without end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..limits import TokenBuckets

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["Story"]

LINES_PER_SECOND, LINES_AT_ONCE = 2.0, 50.0
"""Lines of one kind that are logged: strangers cause most of them."""


class Story:
    """Logs what happens to introductions, as far as the budget of each kind of line allows.

    :param logger: the log of an overlay.
    """

    __slots__ = ("_lines", "_logger")

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._lines: TokenBuckets | None = None

    def tell(self, line: str, *values: object) -> None:
        """Log ``line % values`` at DEBUG. Lines with the same text before formatting have a budget."""
        if self._logger.isEnabledFor(logging.DEBUG):
            if self._lines is None:
                self._lines = TokenBuckets(LINES_PER_SECOND, LINES_AT_ONCE, capacity=64)
            if self._lines.take(line):
                self._logger.debug(line, *values)
