"""The last lines of the log of a process."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["LogBuffer", "LogRecord"]

MAX_RECORDS = 2000
"""Lines that are kept; the oldest is forgotten first."""

LONGEST_MESSAGE = 4000
"""Characters of a line, with its traceback; the middle of longer ones is left out."""


class LogRecord(NamedTuple):
    """A line of the log."""

    id: int
    """Counts the lines, from 1."""
    time: float
    """Seconds since the Unix epoch."""
    level: str
    """As in ``"WARNING"``."""
    level_number: int
    """The same as a number, as :mod:`logging` has it."""
    logger: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The line as JSON has it."""
        return {"id": self.id, "time": self.time, "level": self.level, "logger": self.logger, "message": self.message}


def _is_alone() -> bool:
    """Whether no other kind of handler gets what all loggers write."""
    return all(isinstance(handler, LogBuffer) for handler in logging.getLogger().handlers)


class LogBuffer(logging.Handler):
    """Keeps the last lines of all loggers, as far as their levels let them through.

    :param tell: called with each line, on the event loop.
    """

    def __init__(self, tell: Callable[[LogRecord], object]) -> None:
        super().__init__()
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._format = logging.Formatter("%(message)s")
        self.records: deque[LogRecord] = deque(maxlen=MAX_RECORDS)
        #: The id of the last line.
        self.last_id = 0
        #: How many errors there were.
        self.errors = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep lines from now on."""
        self._loop = loop
        logging.getLogger().addHandler(self)

    def stop(self) -> None:
        """Keep no further lines."""
        self._loop = None
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line. Loggers call this in any thread, one at a time."""
        if _is_alone() and record.levelno >= logging.WARNING and logging.lastResort is not None:
            logging.lastResort.handle(record)  # as without this handler, in programs that configure no logging
        try:
            message = self._format.format(record)
        except Exception:  # noqa: BLE001 - a logging call with wrong arguments, which logging reports in this way
            self.handleError(record)
            return
        if len(message) > LONGEST_MESSAGE:
            half = LONGEST_MESSAGE // 2
            message = f"{message[:half]}\n[…]\n{message[-half:]}"
        self.last_id += 1
        if record.levelno >= logging.ERROR:
            self.errors += 1
        kept = LogRecord(self.last_id, record.created, record.levelname, record.levelno, record.name, message)
        self.records.append(kept)
        loop = self._loop
        if loop is not None and not loop.is_closed():
            # Later, since the line may have been written in another thread, or by what is told of it.
            loop.call_soon_threadsafe(self._tell, kept)

    def select(self, level: int = logging.NOTSET, after: int | None = None, limit: int = MAX_RECORDS,
               text: str = "") -> list[LogRecord]:
        """Some lines, the oldest first.

        :param level: the least level.
        :param after: the id of a line; only later ones are wanted.
        :param limit: at most so many; without ``after`` the last ones, else the first ones behind it.
        :param text: what the message or the name of the logger must have in it, whatever the case.
        """
        text = text.lower()
        found = [record for record in tuple(self.records)
                 if record.id > (after or 0) and record.level_number >= level
                 and (not text or text in record.message.lower() or text in record.logger.lower())]
        return found[-limit:] if after is None else found[:limit]
