"""Database files with what only their owner may read, and with nothing of what was deleted."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..database import DatabaseException, db_locks
from .trustchain.schema import examine

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ..database import DB_TYPES, Database

__all__ = ["insert_if", "overwrite_deleted", "prepare_file", "restrict", "write_deletions"]

OWNER_ONLY = 0o600
OTHERS = 0o077


def prepare_file(path: str, latest_version: int, tables: Mapping[str, Collection[str]]) -> None:
    """Get a file ready to be opened: only its owner can read it then. It is created if it does not exist.

    :param path: nothing is done for ``:memory:``.
    :param tables: the columns that the tables have at least, in all versions.
    :raises DatabaseException: if it is damaged, a newer release made it, or it is of another program. It is not changed
        then.
    """
    if path.startswith(":"):
        return
    examine(path, latest_version)
    _refuse_foreign(path, tables)
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    # A database that exists is opened by SQLite only: POSIX ends all locks of a process on a file when it closes any
    # descriptor of it (POSIX.1-2017, fcntl), and other programs would delete the journal that this one writes.
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    for part in (file, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with suppress(FileNotFoundError):
            restrict(part)


def restrict(file: Path) -> None:
    """Let nobody but the owner read a file, on systems where this is possible."""
    if os.name == "posix" and file.stat().st_mode & OTHERS:
        file.chmod(OWNER_ONLY)


def _refuse_foreign(path: str, tables: Mapping[str, Collection[str]]) -> None:
    file = Path(path)
    if not file.exists() or not file.stat().st_size:
        return
    try:
        # To wait for a file that is locked is left to those who open it.
        address = f"file:{quote(str(file.resolve()))}?mode=ro"
        with closing(sqlite3.connect(address, timeout=0.0, uri=True)) as connection:
            found = {name.lower() for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')") if not name.startswith("sqlite_")}
            is_versioned = "option" in found and connection.execute(
                "SELECT 1 FROM option WHERE key = 'database_version'").fetchone() is not None
            columns = {name: {row[1].lower() for row in connection.execute(f'PRAGMA table_info("{name}")')}
                       for name in tables}
    except sqlite3.OperationalError:
        return  # it cannot be read at all, which opening it will tell
    fits = (all(columns[name].issuperset(wanted) for name, wanted in tables.items()) if is_versioned
            else not found - {"option"})
    if not fits:
        raise DatabaseException(f"The database {path} is of another program, or of another part of this one: it has "
                                "other tables than those that are needed. It was left as it is. Move it away, or use "
                                "another directory")


def insert_if(database: Database, statement: str, bindings: Sequence[DB_TYPES]) -> bool:
    """Run and commit an insertion that has a condition; whether something was inserted, or the database is closed."""
    with db_locks[database.file_path], database:
        database.execute(statement, bindings)
        changes = list(database.execute("SELECT changes()") or ((None,),))
        database.commit()
    return changes != [(0,)]


def overwrite_deleted(database: Database) -> None:
    """Let what is deleted from an open database be overwritten."""
    database.execute("PRAGMA secure_delete = ON")


def write_deletions(database: Database) -> None:
    """Write what was deleted into the file, so that it is not left in the journal."""
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
