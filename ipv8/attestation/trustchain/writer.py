"""A thread that makes stored blocks permanent, many at a time, so that the event loop does not wait for the disk."""

from __future__ import annotations

import logging
import sqlite3
from threading import Condition, Thread
from typing import TYPE_CHECKING

from ...database import DatabaseException

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BackgroundWriter"]

BATCH = 200
"""Blocks that are committed together at most."""

INTERVAL = 0.02
"""Seconds that a block waits for others at most."""

SYNC_AFTER = 1.0
"""Seconds without a change after which the file is brought up to date and flushed to the disk."""

SYNC_COMMITS = 100
"""Commits after which that is done in any case."""

logger = logging.getLogger("TrustChainDB")


class BackgroundWriter:
    """Commits a while after changes were noted, and flushes the file to the disk through a connection of its own.

    :param commit: makes all changes permanent; safe to be called by any thread.
    :param path: the SQLite file to flush to the disk; ``None`` if a commit does that.
    """

    def __init__(self, commit: Callable[[], object], path: str | None = None) -> None:
        self.path = path
        self.commit = commit
        self.commits = 0
        self._changes = 0
        self._sync_now = False
        self._stopping = False
        self._state = Condition()
        self._thread: Thread | None = None

    def changed(self) -> None:
        """Note a change, which is to be committed soon."""
        with self._state:
            self._changes += 1
            self._start()
            if self._changes == 1 or self._changes >= BATCH:
                self._state.notify()

    def sync(self) -> None:
        """Flush what is committed to the disk as soon as possible."""
        with self._state:
            self._sync_now = True
            self._start()
            self._state.notify()

    def stop(self) -> None:
        """End the thread, after it has committed what it knows of."""
        with self._state:
            self._stopping = True
            self._state.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        if self._thread is None and not self._stopping:
            self._thread = Thread(target=self._run, name="trustchain-writer", daemon=True)
            self._thread.start()

    def _wait(self) -> tuple[bool, bool, bool]:
        """Wait for something to do: whether to commit, whether to flush, whether to end then."""
        with self._state:
            idle = self._state.wait_for(lambda: self._changes or self._sync_now or self._stopping,
                                        SYNC_AFTER if self.commits else None)
            if self._changes:
                self._state.wait_for(lambda: self._changes >= BATCH or self._sync_now or self._stopping, INTERVAL)
            commit, sync = bool(self._changes), self._sync_now or not idle
            self._changes, self._sync_now = 0, False
            return commit, sync, self._stopping

    def _run(self) -> None:
        ended = False
        while not ended:
            commit, sync, ended = self._wait()
            try:
                if commit:
                    self.commit()
                    self.commits += 1
                if sync or self.commits >= SYNC_COMMITS:
                    self.commits = 0
                    self._checkpoint()
            except (sqlite3.Error, DatabaseException):
                logger.exception("Blocks could not be written to %s", self.path or "the database server")

    def _checkpoint(self) -> None:
        if self.path is None:
            return
        connection = sqlite3.connect(self.path, timeout=1.0)
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            connection.close()
