"""The blocks that a node knows, in SQLite (doc/trustchain.md, section "The database")."""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ...database import Database
from . import schema
from .store import BlockStore
from .writer import BackgroundWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...database import DB_TYPES

__all__ = ["DATABASE_DIRECTORY", "TrustChainDB"]

DATABASE_DIRECTORY = "sqlite"

CHECKPOINT_PAGES = 10_000
"""Pages of the write-ahead log after which a commit writes them back itself, because the writer has not done it."""


_open_files: defaultdict[str, WeakSet[TrustChainDB]] = defaultdict(WeakSet)
"""The databases that this process, or one that it was forked from, has opened, by their paths."""


class TrustChainDB(Database, BlockStore):
    """Half blocks by author and height.

    Blocks are made by the class that ``block_types`` has for their type. With ``batched`` set, a block that was added
    is committed by a thread within 20 ms, and by :meth:`flush` at once; without it by :meth:`add_block` itself.

    :param working_directory: where the directory of the file is made, or ``":memory:"``.
    :param db_name: the name of the file without its suffix.
    :param my_pk: the public key of the chain that is our own, if any.
    :raises DatabaseException: if the file cannot be used: it is damaged, or a newer release made it.
    """

    LATEST_DB_VERSION = 8

    def __init__(self, working_directory: str, db_name: str, my_pk: bytes | None = None) -> None:
        in_memory = working_directory == ":memory:"
        path = working_directory if in_memory else os.path.join(working_directory, DATABASE_DIRECTORY,
                                                                f"{db_name}.db")
        Database.__init__(self, path)
        BlockStore.__init__(self, my_pk)
        self.db_name = db_name
        self.open()

    # Opening and closing

    def open(self, initial_statements: bool = True, prepare_visioning: bool = True) -> bool:
        """Open the file, after a look at whether it is sound, and bring it up to date."""
        in_memory = self.file_path.startswith(":")
        if not in_memory:
            schema.examine(self.file_path, self.LATEST_DB_VERSION)
            for other in self._others():
                other.flush()
        opened = super().open(initial_statements, prepare_visioning)
        try:
            if prepare_visioning:
                self._convert()
            if not in_memory:
                self.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
                self._writer = BackgroundWriter(self.commit, self.file_path)
                with self._lock:
                    _open_files[self.file_path].add(self)
        except BaseException:
            super().close(commit=False)
            raise
        return opened

    def _forget_open(self) -> None:
        with self._lock:
            files = _open_files[self.file_path]
            files.discard(self)
            if not files:
                del _open_files[self.file_path]

    def _others(self) -> list[TrustChainDB]:
        """The other databases of this process that have the same file."""
        with self._lock:
            return [other for other in _open_files.get(self.file_path, ())
                    if other is not self and other._process == os.getpid()]

    def _is_to_wait(self) -> bool:
        """Not if another database of this process has the file: it has the same lock, and would wait with that."""
        return super()._is_to_wait() and not self._others()

    def _has(self, kind: str, name: str) -> bool:
        return bool(self._select("SELECT 1 FROM sqlite_master WHERE type = ? AND name = ?", (kind, name)))

    def _convert(self) -> None:
        """Make the view of the table ``blocks``, which programs and older files have."""
        if self._has("table", "blocks") or not self._has("table", "double_spends"):
            with self.exclusive_transaction():
                if self._has("table", "blocks"):
                    self.executescript(schema.CONVERT)
                self.executescript(self.get_sql_create_blocks_table("double_spends",
                                                                    "public_key, sequence_number, block_hash"))

    def close(self, commit: bool = True) -> bool:
        """Close the file; what is not committed yet is committed first, unless ``commit`` is false."""
        self._forget_open()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.stop()
        return super().close(commit)

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._connection is not None

    def _select(self, statement: str, bindings: Sequence[DB_TYPES] | dict[str, DB_TYPES] = ()) -> list[Any]:
        """The rows of a statement, none if the database is closed; as ``execute``, but faster."""
        if self._process != os.getpid():
            self._check_process()
        with self._lock:
            cursor = self._cursor
            if cursor is None:
                return []
            try:
                return cursor.execute(statement, bindings).fetchall()
            except sqlite3.DatabaseError as e:
                self._explain(e)
                raise

    @contextmanager
    def signing(self) -> Iterator[None]:
        """A context in which our own chain is read, and the next block is made of that and added."""
        if self._process != os.getpid():
            self._check_process()
        with self._lock:
            if self._connection is None:
                yield
            elif self._pending_commits:  # the program makes several changes together
                if not self._connection.in_transaction:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield
            else:
                with self._undone_after_failure(), self.exclusive_transaction():
                    yield
        if self._writer is not None:
            self._writer.sync()

    @contextmanager
    def _undone_after_failure(self) -> Iterator[None]:
        """Forget what was kept of rows that may have been undone, if something fails in this context."""
        try:
            yield
        except BaseException:
            self._key_ids.clear()
            self._forget_removed()
            raise

    def commit(self, exiting: bool = False) -> bool:
        """Make all changes permanent and return ``True``; in a ``with`` block, that is done at its end: ``False``."""
        if self._process != os.getpid():
            self._check_process()
        with self._lock, self._undone_after_failure():
            return super().commit(exiting)

    _INSERT = schema.INSERT_WITH_KEYS

    def _insert(self, values: tuple[Any, ...]) -> list[Any]:
        try:
            return super()._insert(values)
        except sqlite3.IntegrityError:  # there is such a block, or another program has removed a key of this one
            self._key_ids.clear()
            return super()._insert(values)
        except sqlite3.Error:  # the disk may be full, and SQLite may have undone the whole transaction
            self._key_ids.clear()
            self._forget_removed()
            raise

    def _insert_key(self, key: bytes) -> int:
        self.execute("INSERT INTO trustchain_keys(key) VALUES(?) ON CONFLICT DO NOTHING", (key,))
        return int(self._select("SELECT id FROM trustchain_keys WHERE key = ?", (key,))[0][0])

    # The schema

    def get_sql_header(self) -> str:
        """The beginning of a query for blocks, in the order of the values that a block is made of."""
        return ("SELECT type, tx, public_key, sequence_number, link_public_key, link_sequence_number, previous_hash, "
                "signature, block_timestamp, insert_time FROM blocks ")

    def get_sql_create_blocks_table(self, table_name: str, primary_key: str) -> str:
        """The statement that makes a table with the columns of blocks."""
        return schema.blocks_table(table_name, primary_key)

    def get_schema(self) -> str:
        """The statements that make what is missing in a file, and set its version."""
        return (self.get_sql_create_blocks_table("blocks", "public_key, sequence_number")  # noqa: S608 - constants
                + self.get_sql_create_blocks_table("double_spends", "public_key, sequence_number, block_hash")
                + schema.OPTION_TABLE
                + "DELETE FROM option WHERE key = 'database_version';"
                + f"INSERT INTO option(key, value) VALUES('database_version', '{self.LATEST_DB_VERSION}');")

    def get_upgrade_script(self, current_version: int) -> str:
        """The statements that make version ``current_version + 1`` of a file, none if nothing is to be done."""
        return schema.upgrade_script(current_version)

    def check_database(self, database_version: bytes) -> int:
        """Make the schema of a new file, or upgrade that of an older one.

        :raises DatabaseException: if a newer release made the file.
        """
        return self.upgrade_schema(database_version, self.LATEST_DB_VERSION, self._upgrade)

    def _upgrade(self, version: int) -> None:
        for current in range(version, self.LATEST_DB_VERSION) if version else ():
            script = self.get_upgrade_script(current)
            if script:
                self.executescript(script)
            if current <= schema.LAST_DROPPED_VERSION:
                break  # nothing is left to be upgraded
        self.executescript(self.get_schema())
