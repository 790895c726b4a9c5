"""What is particular to blocks in PostgreSQL; what all databases do is in ``test_database.py``."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.trustchain import postgres as module
from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.attestation.trustchain.postgres import PostgresTrustChainDB
from ipv8.database import CorruptDatabaseException, DatabaseException
from tests.attestation.trustchain.vectors import BLOCKS, KEYS, private_key
from tests.postgres import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipv8.attestation.trustchain.store import BlockStore

ALICE, BOB = KEYS["alice"], KEYS["bob"]


@pytest.fixture
def backend(postgres: str, tmp_path: Path) -> Iterator[Backend]:
    made = Backend(postgres, tmp_path)
    yield made
    made.close()


def add_next(database: BlockStore, author: str = "alice") -> TrustChainBlock:
    made = TrustChainBlock.create(b"test", {}, database, KEYS[author])
    made.sign(private_key(author))
    database.add_block(made)
    return made


def test_schemas_do_not_meet(backend: Backend) -> None:
    name = 'a "strange" name, 100 % or 100 %% and a half: ?'
    one, other = backend.open(name), backend.open("other")
    block = add_next(one)
    assert list(one.stream("SELECT block_hash FROM blocks")) == [(block.hash,)]
    assert other.get_all_blocks() == []
    one.close()
    assert backend.open(name).get_all_blocks() == [block]
    assert list(other.execute("SELECT nspname FROM pg_namespace WHERE nspname = ?", (backend.name(name),)))


def test_view_for_other_programs(backend: Backend) -> None:
    database = backend.open()
    block = add_next(database)
    rows = list(database.execute("SELECT public_key, block_hash FROM blocks WHERE sequence_number = ?", (1,)))
    assert rows == [(ALICE, block.hash)]
    assert list(database.execute("SELECT 1, 2", fetch_all=False)) == [1, 2]
    assert list(database.stream("SELECT block_hash FROM blocks WHERE public_key = ?", (ALICE,))) == [(block.hash,)]
    with pytest.raises(DatabaseException, match="RETURNING"):
        database.execute("SELECT 1", get_lastrowid=True)


def test_a_schema_has_one_owner(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    database = backend.open()
    with pytest.raises(DatabaseException, match=r"Another process has .* open"):
        backend.open()
    database.close()
    backend.open()


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "mysql://host/database"])
def test_urls_of_something_else(url: str) -> None:
    with pytest.raises((DatabaseException), match="URL of a PostgreSQL database"):
        PostgresTrustChainDB(url)


@pytest.mark.parametrize("name", ["", "x" * 64, "a\0b"])
def test_names_of_schemas(name: str) -> None:
    with pytest.raises(DatabaseException, match="name of a schema"):
        PostgresTrustChainDB("postgresql://localhost/x", name)


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DatabaseException, match="No connection") as info:
        PostgresTrustChainDB(f"postgresql://user:secret@/x?host={tmp_path}")
    assert "secret" not in str(info.value)


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(module, "import_module", fail)
    with pytest.raises(RuntimeError, match=r"psycopg.*pip install ipv8\[postgres\]"):
        PostgresTrustChainDB("postgresql://localhost/x")
    assert importlib.import_module("ipv8.attestation.trustchain.postgres") is module


@pytest.mark.parametrize(("statement", "error", "message"), [
    ("UPDATE option SET value = '99'", DatabaseException, "newer release .* 99"),
    ("UPDATE option SET value = 'x'", CorruptDatabaseException, "no number"),
    ("DELETE FROM option", CorruptDatabaseException, "no number"),
    ("DROP TABLE option", CorruptDatabaseException, "no table option"),
    ("DROP VIEW blocks", None, ""),
    ("ALTER TABLE trustchain_blocks RENAME TO lost", CorruptDatabaseException, "no table trustchain_blocks"),
])
def test_what_cannot_be_used_is_left_alone(backend: Backend, statement: str, error: Any, message: str) -> None:
    database = backend.open()
    add_next(database)
    database.execute(statement)
    database.close()
    if error is None:
        assert backend.open().get_number_of_known_blocks() == 1
        return
    with pytest.raises(error, match=message):
        backend.open()
    with pytest.raises(error, match=message):
        backend.open()


def test_upgrade(backend: Backend) -> None:
    class Newer(PostgresTrustChainDB):
        LATEST_DB_VERSION = 3

        def get_upgrade(self, current_version: int) -> tuple[str, ...]:
            return {1: ("CREATE TABLE orders(id BIGINT)",), 2: ("INSERT INTO orders(id) VALUES(7)",)}[current_version]

    database = backend.open()
    block = add_next(database)
    database.close()
    assert backend.url is not None
    for _ in range(2):
        newer = Newer(backend.url, backend.name())
        assert list(newer.execute("SELECT id FROM orders")) == [(7,)]
        assert newer.get_all_blocks() == [block]
        newer.close()
    with pytest.raises(DatabaseException, match="newer release"):
        backend.open()


def test_an_upgrade_that_fails_changes_nothing(backend: Backend) -> None:
    class Broken(PostgresTrustChainDB):
        LATEST_DB_VERSION = 2

        def get_upgrade(self, current_version: int) -> tuple[str, ...]:
            return "CREATE TABLE orders(id BIGINT)", "this is no statement"

    backend.open().close()
    assert backend.url is not None
    with pytest.raises(DatabaseException, match="syntax error"):
        Broken(backend.url, backend.name())
    database = backend.open()
    assert list(database.execute("SELECT to_regclass('orders')")) == [(None,)]


def test_a_failed_statement_keeps_what_is_committed(backend: Backend) -> None:
    database = backend.open(my_pk=ALICE)
    first = add_next(database)
    database.batched = True
    add_next(database, "bob")
    with pytest.raises(DatabaseException, match="syntax error"):
        database.execute("nonsense")
    assert database.get_all_blocks() == [first]
    again = add_next(database, "bob")  # the number of its key was forgotten
    with pytest.raises(DatabaseException, match="were not stored"):
        database.flush()
    assert database.get_all_blocks() == [first, again]
    with pytest.raises(DatabaseException, match="open already"):
        database.open()  # type: ignore[attr-defined]


def test_lost_connection(backend: Backend) -> None:
    database, other = backend.open("one"), backend.open("other")
    first = add_next(database)
    database.batched = True
    (number,), = database.execute("SELECT pg_backend_pid()")
    assert database._writer is not None
    database._writer.stop()
    add_next(database, "bob")
    other.execute("SELECT pg_terminate_backend(?, 5000)", (number,))
    with pytest.raises(DatabaseException):
        add_next(database)
    assert database.get_all_blocks() == [first], "connected again"
    add_next(database, "bob")
    with pytest.raises(DatabaseException, match="were not stored"):
        database.flush()
    database.flush()
    database.close()
    assert backend.open("one").get_number_of_known_blocks() == 2


def test_fork(backend: Backend) -> None:
    database = backend.open()
    database._process = os.getpid() + 1  # type: ignore[attr-defined]
    with pytest.raises(DatabaseException, match="before the process was forked"):
        database.get_all_blocks()
    database._process = os.getpid()  # type: ignore[attr-defined]


def test_look_ups_use_indices(backend: Backend) -> None:
    database = backend.open()
    database.execute("INSERT INTO trustchain_keys(key) SELECT int8send(n) FROM generate_series(1, 100) n")
    database.execute("INSERT INTO trustchain_blocks(author, sequence_number, counterparty, link_sequence_number, type, "
                     "tx, previous_hash, signature, block_timestamp, insert_time, block_hash) "
                     "SELECT n % 100 + 1, n / 100, (n + 1) % 100 + 1, n / 100, 'x', 'x', 'x', 'x', n, n, "
                     "sha256(int8send(n)) FROM generate_series(1, 20000) n")
    database.commit()
    database.execute("ANALYZE")
    database.commit()
    plans: list[str] = []
    select = database._select

    def explained(statement: str, bindings: Any = ()) -> list[Any]:
        if "FROM trustchain_blocks" in statement:
            plans.append("\n".join(row[0] for row in database._select_plan(statement, bindings)))  # type: ignore[attr-defined]
        return select(statement, bindings)

    database._select_plan = lambda statement, bindings: select(  # type: ignore[attr-defined]
        f"EXPLAIN {statement}", bindings)
    database._select = explained  # type: ignore[method-assign]
    block = BLOCKS["a1"]
    block_key = (5).to_bytes(8, "big")
    database.get(block_key, 7)
    database.contains(block)
    database.get_latest(block_key)
    database.get_block_with_hash(block.hash)
    database.crawl(block_key, 1, 10)
    database.get_recent_blocks()
    database.get_stored_after(19_000, 10)
    database.get_lowest_range_unknown(block_key)
    assert len(plans) >= 9
    scans = [plan for plan in plans if "Seq Scan on trustchain_blocks" in plan]
    assert not scans, scans[0]
