from __future__ import annotations

import gc
import os
import re
import sqlite3
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock, database as module
from ipv8.database import (
    DB_TYPES,
    CorruptDatabaseException,
    Database,
    DatabaseException,
    IgnoreCommits,
    db_call,
    db_locks,
)
from tests.forking import in_a_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

SCHEMA = """
CREATE TABLE IF NOT EXISTS option(key TEXT PRIMARY KEY, value BLOB);
DELETE FROM option WHERE key = 'database_version';
INSERT INTO option(key, value) VALUES('database_version', '{}');
CREATE TABLE IF NOT EXISTS numbers(number INTEGER, name TEXT);
"""


class Numbers(Database):
    """A database whose version goes up each time it is opened."""

    def __init__(self, file_path: str) -> None:
        super().__init__(file_path)
        self.seen: list[bytes] = []

    def check_database(self, database_version: bytes) -> int:
        self.seen.append(database_version)
        version = int(database_version) + 1
        self.executescript(SCHEMA.format(version))
        return version

    def add(self, *numbers: int) -> None:
        self.executemany("INSERT INTO numbers VALUES(?, ?)", [(number, str(number)) for number in numbers])

    def numbers(self) -> list[int]:
        return [number for number, in self.execute("SELECT number FROM numbers ORDER BY number")]

    @db_call
    def count(self) -> int:
        """How many numbers there are."""
        return len(self.numbers())


@pytest.fixture
def memory() -> Iterator[Numbers]:
    database = Numbers(":memory:")
    database.open()
    yield database
    database.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "numbers.db")


def reopened(database: Database, commit: bool = True) -> Numbers:
    database.close(commit)
    again = Numbers(database.file_path)
    again.open()
    return again


def test_types() -> None:
    assert isinstance(1, DB_TYPES)
    assert isinstance(b"", DB_TYPES)
    assert not isinstance([], DB_TYPES)


def test_path_is_a_string() -> None:
    with pytest.raises(DatabaseException, match="str"):
        Numbers(b":memory:")  # type: ignore[arg-type]  # the mistake under test
    assert issubclass(DatabaseException, RuntimeError)


def test_check_database_is_abstract() -> None:
    with pytest.raises(TypeError):
        Database(":memory:")  # type: ignore[abstract]  # the mistake under test


# Opening and closing


def test_closed_database_answers_none() -> None:
    database = Numbers(":memory:")

    def outcomes() -> list[Any]:
        return [database.execute("SELECT 1"), database.executescript("SELECT 1"), database.executemany("SELECT 1", []),
                database.stream("SELECT 1"), database.commit(), database.close(), database.count()]

    assert outcomes() == [None] * 7
    database.open()
    assert list(database.execute("SELECT * FROM option")) == [(b"database_version", b"1")]
    assert database.close(True)
    assert outcomes() == [None] * 7


def test_open_twice(memory: Numbers) -> None:
    with pytest.raises(DatabaseException, match="open already"):
        memory.open()
    assert memory.count() == 0


def test_attributes(path: str) -> None:
    database = Numbers(path)
    assert (database.database_version, database._database_version, database._pending_commits) == (0, 0, 0)
    assert database.execute("SELECT 1") is None
    assert database.open() is True
    assert (database.database_version, database.file_path, database._file_path) == (1, path, path)
    assert database._connection is not None
    assert database._cursor is not None
    assert database.close() is True
    assert database.execute("SELECT 1") is None


def test_directories_are_created(tmp_path: Path) -> None:
    database = Numbers(str(tmp_path / "a" / "b" / "numbers.db"))
    database.open()
    database.close()
    assert (tmp_path / "a" / "b" / "numbers.db").is_file()


def test_bare_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Numbers("numbers.db")
    database.open()
    database.close()
    assert (tmp_path / "numbers.db").is_file()


def test_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Numbers(":memory:")
    database.open()
    database.close()
    assert list(tmp_path.iterdir()) == []


def test_version_goes_through_check_database(path: str) -> None:
    database = Numbers(path)
    database.open()
    database = reopened(database)
    assert database.seen == [b"1"]
    assert database.database_version == 2
    database.close()


def test_no_version_is_version_zero(path: str) -> None:
    database = Numbers(path)
    database.open()
    database.execute("DELETE FROM option")
    database = reopened(database)
    assert database.seen == [b"0"]
    database.close()


def test_version_is_an_integer() -> None:
    class Wrong(Numbers):
        def check_database(self, database_version: bytes) -> int:
            return database_version  # type: ignore[return-value]  # the mistake under test

    database = Wrong(":memory:")
    with pytest.raises(DatabaseException, match="int"):
        database.open()
    assert database.execute("SELECT 1") is None


def test_failing_upgrade_closes_the_file_without_commit(path: str) -> None:
    class Failing(Numbers):
        def check_database(self, database_version: bytes) -> int:
            self.execute("INSERT INTO numbers VALUES(1, 'half')")
            raise ValueError("deliberate")

    database = Numbers(path)
    database.open()
    database.close()
    failing = Failing(path)
    with pytest.raises(ValueError, match="deliberate"):
        failing.open()
    assert failing._connection is None
    database.open()
    assert database.numbers() == []
    database.close()


def test_open_without_version_and_pragmas(path: str) -> None:
    database = Numbers(path)
    database.open(initial_statements=False, prepare_visioning=False)
    assert database.seen == []
    assert database.database_version == 0
    assert list(database.execute("PRAGMA journal_mode")) == [(b"delete",)]
    database.close()


def pragmas(database: Database) -> dict[str, Any]:
    return {name: next(database.execute(f"PRAGMA {name}", fetch_all=False))
            for name in ("page_size", "journal_mode", "synchronous")}


def test_pragmas(path: str) -> None:
    expected = {"page_size": 8192, "journal_mode": b"wal", "synchronous": 1}
    database = Numbers(path)
    database.open()
    assert pragmas(database) == expected
    database = reopened(database)
    assert pragmas(database) == expected
    database.close()


def test_pragmas_of_old_files(path: str) -> None:
    """A file with small pages gets larger ones and keeps its content; large pages stay."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("CREATE TABLE numbers(number INTEGER, name TEXT)")
        connection.execute("INSERT INTO numbers VALUES(1, 'one')")
    connection.close()
    database = Numbers(path)
    database.open()
    assert pragmas(database)["page_size"] == 8192
    assert database.numbers() == [1]
    database.close()

    os.remove(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("VACUUM")
    connection.close()
    database.open()
    assert pragmas(database) == {"page_size": 16384, "journal_mode": b"wal", "synchronous": 1}
    database.close()


def test_pragmas_in_memory(memory: Numbers) -> None:
    assert pragmas(memory) == {"page_size": 8192, "journal_mode": b"memory", "synchronous": 1}


def test_second_reader(path: str) -> None:
    database, reader = Numbers(path), Numbers(path)
    database.open()
    database.add(1, 2)
    database.commit()
    reader.open(prepare_visioning=False)
    assert reader.numbers() == [1, 2]
    reader.close()
    database.close()


def test_close_commits(path: str) -> None:
    database = Numbers(path)
    database.open()
    database.add(1)
    database = reopened(database)
    assert database.numbers() == [1]
    database.add(2)
    database = reopened(database, commit=False)
    assert database.numbers() == [1]
    database.close()


# Files that cannot be used


def test_corrupt_file(path: str) -> None:
    content = b"no database" * 1000
    Path(path).write_bytes(content)
    database = Numbers(path)
    for _ in range(2):
        with pytest.raises(CorruptDatabaseException) as caught:
            database.open()
        assert path in str(caught.value)
        assert isinstance(caught.value, DatabaseException)
        assert isinstance(caught.value, sqlite3.DatabaseError)
    assert Path(path).read_bytes() == content
    assert database.execute("SELECT 1") is None


def test_corruption_found_later(path: str) -> None:
    database = Numbers(path)
    database.open()
    database.add(*range(10000))
    database.close()
    with open(path, "r+b") as file:
        file.seek(8192 * 3)
        file.write(b"\xff" * (os.path.getsize(path) - 8192 * 3))
    database.open(initial_statements=False, prepare_visioning=False)
    with pytest.raises(CorruptDatabaseException, match=re.escape(path)):
        database.numbers()
    database.close()


def test_path_that_cannot_be_opened(tmp_path: Path) -> None:
    database = Numbers(str(tmp_path))
    with pytest.raises(sqlite3.OperationalError, match=re.escape(str(tmp_path))):
        database.open()
    assert database._connection is None


def test_errors_of_statements_stay_what_they_are(memory: Numbers) -> None:
    with pytest.raises(sqlite3.OperationalError):
        memory.execute("SELECT * FROM nowhere")
    memory.execute("CREATE UNIQUE INDEX one ON numbers(number)")
    with pytest.raises(sqlite3.IntegrityError):
        memory.add(1, 1)


def test_methods_that_need_an_open_database() -> None:
    with pytest.raises(DatabaseException, match="not open"):
        Numbers(":memory:")._initial_statements()


# Statements


def test_execute(memory: Numbers) -> None:
    assert list(memory.execute("INSERT INTO numbers VALUES(?, ?)", (1, "one"))) == []
    memory.execute("INSERT INTO numbers VALUES(:number, :name)", {"number": 2, "name": "two"})
    rows = memory.execute("SELECT * FROM numbers ORDER BY number")
    assert iter(rows) is rows
    assert list(rows) == [(1, b"one"), (2, b"two")]  # text comes back as bytes
    assert list(memory.execute("SELECT * FROM numbers WHERE number > ?", (5,))) == []


def test_results_survive_further_statements(memory: Numbers) -> None:
    memory.add(1, 2, 3)
    rows = memory.execute("SELECT number FROM numbers")
    memory.execute("DELETE FROM numbers")
    assert list(rows) == [(1,), (2,), (3,)]


def test_row_id(memory: Numbers) -> None:
    memory.add(1, 2)
    assert memory.execute("INSERT INTO numbers VALUES(?, ?)", (3, "x"), get_lastrowid=True) == 3


def test_first_row(memory: Numbers) -> None:
    memory.add(7, 8)
    columns = memory.execute("SELECT number, name FROM numbers", fetch_all=False)
    assert next(columns) == 7
    assert next(columns) == b"7"
    assert next(columns, None) is None
    assert list(memory.execute("SELECT * FROM numbers WHERE number = 9", fetch_all=False)) == []


def test_several_statements(memory: Numbers) -> None:
    assert list(memory.executescript("INSERT INTO numbers VALUES(1, 'a'); INSERT INTO numbers VALUES(2, 'b');")) == []
    rows = ((number, "c") for number in (3, 4))
    assert list(memory.executemany("INSERT INTO numbers VALUES(?, ?)", rows, fetch_all=False)) == []
    assert memory.numbers() == [1, 2, 3, 4]


def test_stream(memory: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAM_ROWS", 2)
    memory.add(*range(5))
    rows = memory.stream("SELECT number, name FROM numbers WHERE number > ?", (0,))
    assert next(rows) == (1, b"1")
    assert memory.count() == 5  # other statements do not disturb it
    assert [number for number, _ in rows] == [2, 3, 4]
    assert list(memory.stream("SELECT * FROM numbers WHERE number > 5")) == []


def test_stream_from_a_database_that_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAM_ROWS", 2)
    database = Numbers(":memory:")
    database.open()
    database.add(*range(5))
    rows = database.stream("SELECT * FROM numbers")
    next(rows)
    next(rows)
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        next(rows)


# Commits


def in_transaction(database: Database) -> bool:
    assert database._connection is not None
    return database._connection.in_transaction


def test_commit(memory: Numbers) -> None:
    memory.add(1)
    assert in_transaction(memory)
    assert memory.commit() is True
    assert not in_transaction(memory)
    assert memory.commit(exiting=True) is True


def test_commits_wait_for_the_end_of_the_block(memory: Numbers) -> None:
    with memory as entered:
        assert entered is memory
        memory.add(1)
        assert memory.commit() is False
        assert memory.commit() is False
        assert in_transaction(memory)
    assert not in_transaction(memory)
    assert memory._pending_commits == 0
    assert memory.commit() is True


def test_block_without_commit(memory: Numbers) -> None:
    with memory:
        memory.add(1)
    assert in_transaction(memory)


def test_blocks_in_blocks_commit_once(memory: Numbers) -> None:
    with memory:
        with memory:
            memory.add(1)
            memory.commit()
        assert in_transaction(memory)
        assert memory.commit() is False
        with memory:
            pass
    assert not in_transaction(memory)


def test_inner_commit_is_enough(memory: Numbers) -> None:
    with memory, memory:
        memory.add(1)
        memory.commit()
    assert not in_transaction(memory)


def test_ignore_commits(path: str) -> None:
    database = Numbers(path)
    database.open()
    with database:
        database.add(1)
        database.commit()
        raise IgnoreCommits
    assert database._pending_commits == 0
    assert in_transaction(database)
    assert database.numbers() == [1]  # not undone: the next commit includes it
    database = reopened(database, commit=False)
    assert database.numbers() == []
    database.close()


def test_ignore_commits_of_an_inner_block(memory: Numbers) -> None:
    with memory:
        with memory:
            memory.add(1)
            memory.commit()
            raise IgnoreCommits
        memory.add(2)
    assert in_transaction(memory)
    with memory:
        memory.commit()
        with memory:
            raise IgnoreCommits
    assert not in_transaction(memory)


def test_other_exceptions_leave_the_block(memory: Numbers) -> None:
    with pytest.raises(sqlite3.OperationalError), memory:  # noqa: PT012 - the block itself is under test
        memory.add(1)
        memory.commit()
        memory.execute("no statement")
    assert in_transaction(memory)
    assert memory.commit() is True


def test_closing_inside_of_a_block(memory: Numbers) -> None:
    with memory:
        memory.commit()
        with pytest.raises(DatabaseException, match="with block"):
            memory.close()
    assert memory.count() == 0


# Threads and locks


def test_use_from_another_thread(memory: Numbers) -> None:
    thread = threading.Thread(target=memory.add, args=(1,))
    thread.start()
    thread.join()
    assert memory.numbers() == [1]


def test_calls_take_turns(memory: Numbers) -> None:
    started, finished = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        memory.add(1)
        finished.set()

    thread = threading.Thread(target=work)
    with db_locks[":memory:"]:
        thread.start()
        assert started.wait(10)
        assert memory.count() == 0  # the lock may be taken again by its holder
        assert not finished.is_set()
    thread.join()
    assert finished.is_set()


def test_locks_are_shared_and_do_not_pile_up(path: str) -> None:
    first, second = Numbers(path), Numbers(path)
    assert first._lock is second._lock is db_locks[path]
    del first, second
    gc.collect()
    assert path not in db_locks


def test_lock_of_a_path_without_a_database(path: str) -> None:
    lock = db_locks[path]
    assert db_locks[path] is lock
    database = Numbers(path)
    assert database._lock is lock
    del lock
    with db_locks[path]:
        assert path in db_locks
        del database
        gc.collect()
        assert path in db_locks  # held for as long as it is locked
    gc.collect()
    assert path not in db_locks


def test_all_who_ask_for_a_lock_at_once_get_the_same(path: str) -> None:
    everyone = threading.Barrier(8)
    locks: list[Any] = []

    def ask() -> None:
        everyone.wait(10)
        locks.append(db_locks[path])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(locks) == 8
    assert all(lock is locks[0] for lock in locks)


@contextmanager
def held(*locks: Any) -> Iterator[None]:
    """A context in which another thread holds locks."""
    locked, finished = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            locked.set()
            assert finished.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    try:
        yield
    finally:
        finished.set()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # with other threads, which this is about
class TestForks:
    """Processes that are forked while a database is open."""

    def test_a_fork_opens_the_file_again(self, path: str) -> None:
        database = Numbers(path)
        database.open()
        database.add(1)
        database.commit()

        def child() -> None:
            for call in (database.numbers, database.count, database.commit, database.close):
                with pytest.raises(DatabaseException, match="before the process was forked: open it again"):
                    call()
            database.open()
            assert database.numbers() == [1]
            database.add(2)
            database.close()
            assert database.execute("SELECT 1") is None

        in_a_fork(child)
        assert database.numbers() == [1, 2]
        database.add(3)
        database.close()
        database.open()
        assert database.numbers() == [1, 2, 3]
        database.close()

    def test_a_closed_database_can_be_opened(self, path: str) -> None:
        database = Numbers(path)

        def child() -> None:
            assert database.execute("SELECT 1") is None
            assert database.open()
            database.add(1)
            database.close()

        in_a_fork(child)

    def test_a_database_in_memory_is_copied(self, memory: Numbers) -> None:
        memory.add(1)

        def child() -> None:
            memory.add(2)
            assert memory.numbers() == [1, 2]

        in_a_fork(child)
        assert memory.numbers() == [1]

    @pytest.mark.parametrize("enter", [lambda database: database, Database.exclusive_transaction])
    def test_contexts(self, path: str, memory: Numbers,
                      enter: Callable[[Numbers], AbstractContextManager[Any]]) -> None:
        database = Numbers(path)
        database.open()

        def child() -> None:
            with enter(memory):
                memory.add(1)
            with pytest.raises(DatabaseException, match="before the process was forked"), enter(database):
                pass

        with held(database._lock, memory._lock):
            in_a_fork(child)
        database.close()

    def test_locks_that_another_thread_held(self, path: str, memory: Numbers) -> None:
        database = Numbers(path)

        def child() -> None:
            assert database.open()
            memory.add(1)
            database.close()

        with held(database._lock, memory._lock, db_locks._guard):
            in_a_fork(child)


def test_how_long_a_locked_file_is_waited_for(path: str) -> None:
    class Impatient(Numbers):
        busy_timeout = 0.01

    database = Impatient(path)
    database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        database.execute("DELETE FROM numbers")
    assert [*(database.execute("PRAGMA busy_timeout") or ())] == [(10,)]
    other.close()
    database.close(commit=False)


def test_errors_say_which_file_is_locked_and_what_to_do(path: str) -> None:
    class Impatient(Numbers):
        busy_timeout = 0.01

    database = Impatient(path)
    database.open()
    other = sqlite3.connect(path, isolation_level=None)
    call: Any
    calls = [lambda: database.execute("DELETE FROM numbers"), lambda: database.executescript("DELETE FROM numbers;"),
             lambda: database.executemany("INSERT INTO numbers VALUES(?, '')", [(7,)]),
             lambda: database.exclusive_transaction().__enter__()]
    other.execute("BEGIN IMMEDIATE")
    for call in calls:
        with pytest.raises(sqlite3.OperationalError) as raised:
            call()
        assert type(raised.value) is sqlite3.OperationalError
        assert str(raised.value) == f"{path}: database is locked; another program uses it: end that, or try again"
        if sys.version_info >= (3, 11):
            assert raised.value.sqlite_errorname == "SQLITE_BUSY"
    other.execute("ROLLBACK")
    database.close()
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as raised:
        Impatient(path).open()
    assert str(raised.value) == f"{path}: database is locked; another program uses it: end that, or try again"
    other.close()


def test_errors_of_rows_that_are_fetched_later(path: str) -> None:
    class FailingCursor:
        def fetchmany(self, _: int) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    cursor: Any = FailingCursor()
    with pytest.raises(sqlite3.OperationalError, match=f"^{re.escape(path)}: disk I/O error; check the disk$"):
        next(Numbers(path)._stream_rows(cursor))


def test_errors_of_full_disks(path: str) -> None:
    database = Numbers(path)
    database.open()
    database.execute("PRAGMA max_page_count = 4")
    with pytest.raises(sqlite3.OperationalError, match=f"^{re.escape(path)}: .* is full; make room on the disk$"):
        database.execute("INSERT INTO numbers VALUES(1, ?)", (bytes(1_000_000),))
    database.close(commit=False)


@pytest.mark.parametrize("statement", ["nonsense", "SELECT * FROM nothing", "INSERT INTO numbers VALUES(1)"])
def test_errors_of_statements_stay_as_they_are(memory: Numbers, statement: str) -> None:
    plain = sqlite3.connect(":memory:")
    plain.execute("CREATE TABLE numbers(number INTEGER, name TEXT)")
    with pytest.raises(sqlite3.OperationalError) as expected:
        plain.execute(statement)
    plain.close()
    with pytest.raises(sqlite3.OperationalError) as raised:
        memory.execute(statement)
    assert str(raised.value) == str(expected.value)


def test_errors_of_another_database_in_an_exclusive_transaction(path: str, memory: Numbers) -> None:
    class Impatient(Numbers):
        busy_timeout = 0.01

    database = Impatient(path)
    database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as raised, memory.exclusive_transaction():
        database.execute("DELETE FROM numbers")
    assert str(raised.value).startswith(f"{path}: ")
    other.close()
    database.close(commit=False)


# Several programs


def test_exclusive_transaction(path: str) -> None:
    database, other = Numbers(path), sqlite3.connect(path, timeout=0, isolation_level=None)
    database.open()
    database.add(1)
    with database.exclusive_transaction():
        assert other.execute("SELECT number FROM numbers").fetchall() == [(1,)], "what was changed before is committed"
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("DELETE FROM numbers")
        database.add(2)
        database.commit()
        database.executescript("""
            CREATE TABLE log(text); -- a comment; with a semicolon
            CREATE TRIGGER logged AFTER INSERT ON numbers BEGIN
                INSERT INTO log VALUES('a;b'); INSERT INTO log VALUES(NEW.name); END;
            INSERT INTO numbers VALUES(3, 'three')""")
        assert other.execute("SELECT COUNT(*) FROM numbers").fetchone() == (1,)
    assert other.execute("SELECT * FROM log").fetchall() == [("a;b",), ("three",)]
    assert database.numbers() == [1, 2, 3]
    other.close()
    database.close()


def test_exclusive_transaction_that_fails(memory: Numbers) -> None:
    memory.add(1)
    with pytest.raises(sqlite3.OperationalError, match="syntax error"), memory.exclusive_transaction():
        memory.executescript("BEGIN; DELETE FROM numbers; CREATE TABLE other(name); COMMIT; nonsense;")
    with pytest.raises(ZeroDivisionError), memory.exclusive_transaction():  # noqa: PT012 - it is the transaction
        memory.add(2)
        memory.commit()
        raise ZeroDivisionError
    with pytest.raises(sqlite3.OperationalError), memory.exclusive_transaction():
        memory.executescript("SELECT 'text without an end;")
    assert memory.numbers() == [1]
    assert not list(memory.execute("SELECT 1 FROM sqlite_master WHERE name = 'other'"))
    memory.executescript("BEGIN; INSERT INTO numbers VALUES(3, 'three'); COMMIT;")
    assert memory.numbers() == [1, 3]


def test_exclusive_transactions_are_not_nested(memory: Numbers) -> None:
    with memory, pytest.raises(DatabaseException, match="Leave the with block"), memory.exclusive_transaction():
        pass
    with (memory.exclusive_transaction(), pytest.raises(DatabaseException, match="Leave the with block"),
          memory.exclusive_transaction()):
        pass
    memory.close()
    with pytest.raises(DatabaseException, match="not open"), memory.exclusive_transaction():
        pass


@pytest.mark.parametrize("version", [b"", b"one", None])
def test_versions_that_are_no_numbers(memory: Numbers, version: Any) -> None:
    with pytest.raises(DatabaseException, match="not a number"):
        memory.upgrade_schema(version, 3, lambda _: None)


def test_schema_is_upgraded_from_the_version_that_the_file_has(memory: Numbers) -> None:
    made: list[int] = []
    assert memory.upgrade_schema(b"3", 3, made.append) == 3
    assert memory.upgrade_schema(b"0", 1, made.append) == 1, "another program has done it since"
    assert made == []
    assert memory.upgrade_schema(b"0", 3, made.append) == 3
    assert made == [1]
    with pytest.raises(DatabaseException, match=r"newer release made .* version is 4, and .* knows 3"):
        memory.upgrade_schema(b"4", 3, made.append)
    memory.executescript(SCHEMA.format(5))
    with pytest.raises(DatabaseException, match=r"newer release made .* version is 5, and .* knows 3"):
        memory.upgrade_schema(b"0", 3, made.append)
    assert made == [1]


def test_another_program_prepares_the_file_at_the_same_moment(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite does not wait for the other one if both want to change the journal mode, as they wait for each other."""
    attempts: list[int] = []

    def fail_twice(database: Database) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise sqlite3.OperationalError("database is locked")
        prepare(database)

    prepare = Database._initial_statements
    monkeypatch.setattr(Database, "_initial_statements", fail_twice)
    database = Numbers(path)
    database.open()
    assert len(attempts) == 3
    assert list(database.execute("PRAGMA journal_mode")) == [(b"wal",)]
    database.close()


def test_a_file_that_stays_locked(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def stay_locked(_: Database) -> None:
        now[0] += 1.0
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(Database, "_initial_statements", stay_locked)
    with pytest.raises(sqlite3.OperationalError, match="another program uses it"):
        Numbers(path).open()
    assert now[0] == Database.busy_timeout + 1.0


def test_all_attempts_to_prepare_a_file_wait_no_longer_than_one_statement(
        path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now, waits = [0.0], []

    def fail_late(database: Database) -> None:
        ((milliseconds,),) = database._open_cursor().execute("PRAGMA busy_timeout").fetchall()
        waits.append(milliseconds)
        now[0] += 2.0
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(Database, "_initial_statements", fail_late)
    database = Numbers(path)
    with pytest.raises(sqlite3.OperationalError, match="another program uses it"):
        database.open()
    assert waits == [5000, 3000, 1000]
    monkeypatch.undo()
    database.open()
    assert list(database.execute("PRAGMA busy_timeout")) == [(5000,)]
    database.close()
