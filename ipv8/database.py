"""SQLite files with a schema version and delayed commits.

Text comes out of the database as bytes.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from . import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    Lockable = Any  # the class of RLock has no public name
    Row = tuple[Any, ...]

__all__ = ["DB_TYPES", "CorruptDatabaseException", "Database", "DatabaseException", "DeferredCommits", "IgnoreCommits",
           "database_blob", "db_call", "db_locks"]

MINIMUM_PAGE_SIZE = 8192
"""Bytes; smaller pages are enlarged when a database is opened."""
STREAM_ROWS = 256
"""Rows that :meth:`Database.stream` fetches at a time."""
OPENING_ATTEMPTS = 100
"""How often a file is prepared that other programs are preparing at the same moment."""

BOUNDARY = re.compile(r"\s*(BEGIN|COMMIT|END)\b", re.IGNORECASE)
"""How a statement starts that begins or ends a transaction."""

DB_TYPES = int | float | str | bytes | None

database_blob = bytes
"""What programs make binary values of before they bind them."""

P = ParamSpec("P")
T = TypeVar("T")
DatabaseT = TypeVar("DatabaseT", bound="Database")

class _Locks(WeakValueDictionary[str, "Lockable"]):
    """A lock for each path that is asked for; it exists as long as there is a reference to it.

    A fork has locks of its own: threads of the other process that held one do not exist in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._guard = Lock()
        self._process = os.getpid()

    def __getitem__(self, path: str) -> Lockable:
        if self._process != os.getpid():
            self._guard, self._process = Lock(), os.getpid()
            self.clear()
        with self._guard:
            return self.setdefault(path, RLock())


db_locks = _Locks()
"""The lock of each file path, for as long as a database object or a caller has a reference to it."""


_connections_of_others: list[sqlite3.Connection] = []
"""Connections that were open when this process was forked, so that they are never closed: one for each database."""


class IgnoreCommits(Exception):  # noqa: N818 - a signal to the with block, not an error
    """Raised by programs in a ``with database:`` block, to leave it without the commits that it asked for.

    The ``with`` statement does not pass it on. The changes stay in the open transaction; the next commit makes them
    permanent.
    """


class DatabaseException(RuntimeError):  # noqa: N818 - a public name
    """A database was used in a wrong way, or cannot be used."""


class CorruptDatabaseException(DatabaseException, sqlite3.DatabaseError):
    """The file is damaged or not an SQLite database. It is not changed."""


def db_call(f: Callable[Concatenate[DatabaseT, P], T]) -> Callable[Concatenate[DatabaseT, P], T]:
    """Decorator for methods of a :class:`Database`: hold the lock of its file; return ``None`` if it is not open."""
    @wraps(f)
    def locked(self: DatabaseT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._process != os.getpid():
            self._check_process()
        with self._lock:
            if self._connection is None:
                return None  # type: ignore[return-value]  # methods declare what an open database returns
            try:
                return f(self, *args, **kwargs)
            except sqlite3.DatabaseError as e:
                self._explain(e)
                raise

    return locked


class DeferredCommits(ABC):
    """What databases do in a ``with`` block: the commits that are asked for happen at its end, in one.

    :param lock: held while something of the database changes.
    """

    def __init__(self, lock: Lockable) -> None:
        self._lock = lock
        # Zero outside of with blocks; inside, one more than the number of commits asked for.
        self._pending_commits = 0
        self._outer_commits: list[int] = []

    @abstractmethod
    def commit(self, exiting: bool = False) -> bool:
        """Make all changes permanent and return ``True``; in a ``with`` block, that is done at its end: ``False``."""

    def __enter__(self) -> Self:
        with self._lock:
            self._outer_commits.append(self._pending_commits)
            self._pending_commits = 1
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None,
                 traceback: TracebackType | None) -> bool:
        with self._lock:
            asked = self._pending_commits - 1
            self._pending_commits = self._outer_commits.pop()
            if exc_type is None and asked:
                self.commit()
        return exc_type is not None and issubclass(exc_type, IgnoreCommits)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one after another."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement  # a comment, or an error that SQLite will tell


def _advice(error: sqlite3.OperationalError) -> str:
    """What to do about an error that the place of a file, or another program, is the reason of."""
    text = str(error)
    if "database is locked" in text:
        return "; another program uses it: end that, or try again"
    if "unable to open" in text or "readonly" in text:
        return "; check that it is a file, and that this program may write to it and to its directory"
    if "disk is full" in text:
        return "; make room on the disk"
    if "disk I/O error" in text:
        return "; check the disk"
    return ""


class Database(DeferredCommits):
    """One SQLite file, or ``:memory:``.

    Unlike most of this library it may be used in any thread, as SQLite blocks: calls for the same path wait for each
    other.

    :raises DatabaseException: if ``file_path`` is not a ``str``.
    """

    #: Seconds that a statement waits, in its thread, while another program has locked the file. The opening of a file
    #: may wait for so long twice: to prepare the file, and to change its schema.
    busy_timeout: ClassVar[float] = 5.0

    def __init__(self, file_path: str) -> None:
        self._assert(isinstance(file_path, str), f"The path of a database must be a str, not {file_path!r}")
        self._logger = logging.getLogger(type(self).__name__)
        self._file_path = file_path
        DeferredCommits.__init__(self, db_locks[file_path])
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._process = os.getpid()
        self._database_version = 0
        self._is_exclusive = False

    @staticmethod
    def _assert(condition: bool, message: str = "") -> None:
        if not condition:
            raise DatabaseException(message)

    @property
    def database_version(self) -> int:
        """What :meth:`check_database` returned; 0 before :meth:`open`."""
        return self._database_version

    @property
    def file_path(self) -> str:
        """The path that was given."""
        return self._file_path

    # Opening and closing

    def open(self, initial_statements: bool = True, prepare_visioning: bool = True) -> bool:
        """Connect, create the file and its directory if they do not exist, and return ``True``.

        :param initial_statements: set the page size, the journal mode and the synchronization of the file.
        :param prepare_visioning: call :meth:`check_database`, which creates or upgrades the schema.
        :raises DatabaseException: if it is open already or the schema version is not an integer.
        :raises CorruptDatabaseException: if the file is not a valid database; its path is in the message.
        :raises sqlite3.OperationalError: if the file cannot be opened; its path is in the message.
        """
        if self._process != os.getpid():
            self._give_up_connection()
        with self._lock:
            self._assert(self._connection is None, f"The database {self._file_path} is open already")
            try:
                self._connect()
                if initial_statements:
                    self._wait_for_initial_statements()
                if prepare_visioning:
                    self._prepare_version()
            except BaseException as e:
                self._disconnect()
                if isinstance(e, sqlite3.OperationalError) and not str(e).startswith(self._file_path):
                    e.args = (f"{self._file_path}: {e}{_advice(e)}",)
                self._explain(e)
                raise
            return True

    def _give_up_connection(self) -> None:
        """Forget, without closing it, the connection of the process that this one was forked from.

        SQLite does not allow to use it in two processes. To close it here would harm the other one.
        """
        if self._connection is not None:
            _connections_of_others.append(self._connection)
        self._connection = self._cursor = None
        self._pending_commits, self._outer_commits, self._is_exclusive = 0, [], False
        self._lock = db_locks[self._file_path]
        self._process = os.getpid()

    def _check_process(self) -> None:
        if self._connection is None:
            self._give_up_connection()
        elif self._file_path.startswith(":"):  # a database in memory was copied, with all that it has
            self._lock, self._process = db_locks[self._file_path], os.getpid()
        else:
            raise DatabaseException(f"The database {self._file_path} was opened before the process was forked: open "
                                    "it again in each process that uses it")

    def __enter__(self) -> Self:
        if self._process != os.getpid():
            self._check_process()
        return super().__enter__()

    def _explain(self, error: BaseException) -> None:
        """Let an error of SQLite say which file it is about and what to do, or raise one that does.

        What is wrong in a statement stays as it is.
        """
        if isinstance(error, sqlite3.OperationalError):
            advice = _advice(error)
            if advice and not str(error).endswith(advice):
                error.args = (f"{self._file_path}: {error}{advice}",)
        if type(error) is sqlite3.DatabaseError:  # its subclasses are about statements, not about the file
            raise CorruptDatabaseException(f"{self._file_path}: {error}; restore a copy, or move the file away to "
                                           "start with an empty database") from error

    def _connect(self) -> None:
        if not self._file_path.startswith(":"):
            Path(self._file_path).parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self._file_path, timeout=self.busy_timeout, check_same_thread=False)
        self._connection.text_factory = bytes
        self._cursor = self._connection.cursor()

    def _disconnect(self) -> None:
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.close()

    def _pragma(self, name: str) -> Any:
        return self._open_cursor().execute(f"PRAGMA {name}").fetchone()[0]

    def _wait_for_initial_statements(self) -> None:
        """Try again if another program does the same: of two that wait for each other, SQLite lets one fail at once.

        All attempts together wait no longer than one statement does.
        """
        deadline, attempts = clock.monotonic() + self.busy_timeout, OPENING_ATTEMPTS
        try:
            while True:
                attempts -= 1
                try:
                    return self._initial_statements()
                except sqlite3.OperationalError as e:
                    if "locked" not in str(e) or attempts <= 0 or clock.monotonic() > deadline:
                        raise
                self._wait_at_most(deadline - clock.monotonic())
                self._open_cursor().executescript("BEGIN IMMEDIATE; COMMIT;")  # waits until no other program writes
                self._wait_at_most(deadline - clock.monotonic())
        finally:
            self._wait_at_most(self.busy_timeout)

    def _wait_at_most(self, seconds: float) -> None:
        self._pragma(f"busy_timeout = {max(0, round(1000 * seconds))}")

    def _initial_statements(self) -> None:
        """Set large pages, a write-ahead log (other connections can read while one writes), and few disk flushes."""
        cursor = self._open_cursor()
        journal = self._pragma("journal_mode").upper()
        if journal != b"WAL":  # pages of a write-ahead log keep their size
            if self._pragma("page_size") < MINIMUM_PAGE_SIZE:
                cursor.execute(f"PRAGMA page_size = {MINIMUM_PAGE_SIZE}")
                cursor.execute("VACUUM")
            if self._file_path != ":memory:":
                cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")

    def _stored_version(self) -> bytes:
        """The version of the schema that the file has now."""
        cursor = self._open_cursor()
        found = None
        if cursor.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'option'").fetchone():
            found = cursor.execute("SELECT value FROM option WHERE key = 'database_version'").fetchone()
        return b"0" if found is None else found[0]

    def _number_of(self, version: bytes, latest: int) -> int:
        try:
            number = int(version)
        except (TypeError, ValueError):
            raise DatabaseException(f"The version of {self.file_path} is {version!r}, which is not a number: restore a "
                                    "copy, or move the file away to start anew") from None
        self._assert(number <= latest, f"A newer release made {self.file_path}: its version is {number}, and this "
                                       f"release knows {latest} at most. Use that release, or another file")
        return number

    def upgrade_schema(self, version: bytes, latest: int, upgrade: Callable[[int], object]) -> int:
        """Make the latest version of the schema, unless the file has it, and return it; for :meth:`check_database`.

        Another program that does the same at this moment waits until this is done, and changes nothing then.

        :param version: that of the file, as :meth:`check_database` gets it.
        :param upgrade: called with the number of the version that the file has, in an :meth:`exclusive_transaction`.
        :raises DatabaseException: if that is no number, or above ``latest``, so that a newer release made the file.
        """
        if self._number_of(version, latest) < latest:
            with self.exclusive_transaction():
                number = self._number_of(self._stored_version(), latest)
                if number < latest:
                    upgrade(number)
        return latest

    def _prepare_version(self) -> None:
        version = self.check_database(self._stored_version())
        self._assert(isinstance(version, int), f"check_database must return an int, not {version!r}")
        self._database_version = version

    @db_call
    def close(self, commit: bool = True) -> bool:
        """Close the file and return ``True``; with ``commit=False``, changes that were not committed are lost.

        If the commit fails, its exception is raised and the database stays open.
        """
        if commit:
            self.commit(exiting=True)
        self._disconnect()
        return True

    @abstractmethod
    def check_database(self, database_version: bytes) -> int:
        """Create or upgrade the schema, and return its new version.

        Another program may do the same at this moment: :meth:`upgrade_schema` takes care of that.

        :param database_version: the ``value`` for the ``key`` ``database_version`` in the table
            ``option(key TEXT PRIMARY KEY, value BLOB)``, which the schema should have; ``b"0"`` if there is none.
        """

    # Statements

    def _open_cursor(self) -> sqlite3.Cursor:
        if self._cursor is None:
            raise DatabaseException(f"The database {self._file_path} is not open")
        return self._cursor

    @db_call
    def execute(self, statement: str, bindings: Sequence[DB_TYPES] | dict[str, DB_TYPES] = (),
                get_lastrowid: bool = False, fetch_all: bool = True) -> Any:
        """Run one statement; a change opens a transaction.

        :returns: the rows as tuples, which are all fetched already. With ``get_lastrowid``: the row id of the last
            insertion. With ``fetch_all=False``: the columns of the first row, none if there is no row.
        """
        cursor = self._open_cursor().execute(statement, bindings)
        return cursor.lastrowid if get_lastrowid else self._result(cursor, fetch_all)

    @db_call
    def executescript(self, statements: str, fetch_all: bool = True) -> Iterator[Any]:
        """Commit, then run several statements separated by semicolons; the result is like that of :meth:`execute`.

        In an :meth:`exclusive_transaction` the statements are part of it, so that ``BEGIN`` and ``COMMIT`` are ignored.
        """
        cursor = self._open_cursor()
        if self._is_exclusive:
            for statement in _statements(statements):
                if not BOUNDARY.match(statement):
                    cursor.execute(statement)
        else:
            cursor.executescript(statements)
        return self._result(cursor, fetch_all)

    @db_call
    def executemany(self, statement: str, sequence: Iterable[Sequence[DB_TYPES] | dict[str, DB_TYPES]],
                    fetch_all: bool = True) -> Iterator[Any]:
        """Run one statement for each bindings of ``sequence``; the result is like that of :meth:`execute`."""
        return self._result(self._open_cursor().executemany(statement, sequence), fetch_all)

    @staticmethod
    def _result(cursor: sqlite3.Cursor, fetch_all: bool) -> Iterator[Any]:
        return iter(cursor.fetchall() if fetch_all else cursor.fetchone() or ())

    @db_call
    def stream(self, statement: str, bindings: Sequence[DB_TYPES] | dict[str, DB_TYPES] = ()) -> Iterator[Row]:
        """Run one query and fetch its rows while they are iterated over, for results larger than memory.

        Other statements may run meanwhile. If the database is closed, iterating raises ``sqlite3.ProgrammingError``.
        """
        cursor = self._open_cursor().connection.cursor().execute(statement, bindings)
        return self._stream_rows(cursor)

    def _stream_rows(self, cursor: sqlite3.Cursor) -> Iterator[Row]:
        while True:
            with self._lock:
                try:
                    rows = cursor.fetchmany(STREAM_ROWS)
                except sqlite3.DatabaseError as e:
                    self._explain(e)
                    raise
            if not rows:
                return
            yield from rows

    # Transactions

    @db_call
    def commit(self, exiting: bool = False) -> bool:
        """Make all changes permanent and return ``True``; in a ``with`` block, that is done at its end: ``False``.

        :raises DatabaseException: if ``exiting`` is true inside of a ``with`` block.
        """
        if self._pending_commits:
            self._assert(not exiting, f"Leave the with block of {self._file_path} before closing it")
            self._pending_commits += 1
            return False
        self._open_cursor().connection.commit()
        return True

    @contextmanager
    def exclusive_transaction(self) -> Iterator[None]:
        """What is read in this context is still so when it is changed, as no other program can write meanwhile.

        What was changed before is committed first. All changes in the context, those of scripts too, are committed at
        its end, or undone if it raises. ``VACUUM`` cannot be used in it.

        :raises DatabaseException: in another transaction of this kind, or in a ``with`` block of the database.
        :raises sqlite3.OperationalError: if another program writes for longer than :attr:`busy_timeout`.
        """
        if self._process != os.getpid():
            self._check_process()
        with self._lock:
            connection = self._open_cursor().connection
            self._assert(not self._pending_commits, f"Leave the with block of {self._file_path} before an exclusive "
                                                    "transaction begins")
            try:
                connection.commit()
                connection.execute("BEGIN IMMEDIATE")
                self._is_exclusive = True
                with self:
                    yield
                connection.commit()
            except BaseException as e:
                if self._is_exclusive:
                    connection.rollback()
                self._explain(e)
                raise
            finally:
                self._is_exclusive = False
