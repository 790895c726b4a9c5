"""What survives a restart, and what becomes of a damaged file."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.database import DatabaseException
from ipv8.dht import persistence
from ipv8.dht.persistence import (
    CONTACT_INTERVAL,
    MAX_REMEMBERED_NODES,
    RESTORE_PAUSE,
    DHTDatabase,
    Snapshot,
    open_or_set_aside,
)
from ipv8.messaging.address import UDPv4Address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = b"k" * 20


async def test_values_and_nodes_survive(make_nodes: Any, dht: Any, tmp_path: Path, manual_clock: Any) -> None:
    path = str(tmp_path / "dht.sqlite")
    one = await dht.restored(*make_nodes(1, dht_database=path))
    other, = make_nodes(1)
    dht.introduce(one, other)
    await one.ping(one.get_routing_table(dht.as_node(other)).get(dht.as_node(other).id))
    storage = one.get_storage(dht.as_node(other))
    for host in ("1.2.3.4", "4.3.2.1"):
        with storage.charged_to(host):
            for value in (b"\x00old", b"\x00new", other.serialize_value(b"signed")):
                one.add_value(KEY, value, storage, 3600)
    one.add_value(KEY, b"\x00short", storage, 5)
    before = storage.get(KEY)
    await one.unload()

    manual_clock.advance(10)
    again = await dht.restored(*make_nodes(1, dht_database=path))
    (restored,) = again.storages.values()
    assert restored.get(KEY) == before[1:]
    assert {value.max_age for value in restored.items[KEY]} == {3590}
    assert all(set(value.claims) == {"1.2.3.4", "4.3.2.1"} for value in restored.items[KEY])
    await dht.settle()
    assert other.endpoint.wan_address in [address for address, _ in again.endpoint.sent]
    await dht.settle()
    assert again.get_routing_table(dht.as_node(other)).has(dht.as_node(other).id)


@pytest.mark.parametrize("content", [b"junk " * 1000, b"SQLite format 3\x00" + b"\xff" * 4000])
async def test_a_damaged_file_is_set_aside(make_nodes: Any, dht: Any, tmp_path: Path, content: bytes,
                                           caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dht.sqlite"
    path.write_bytes(content)
    one = await dht.restored(*make_nodes(1, dht_database=str(path)))
    assert not one.storages
    assert "is damaged" in caplog.text
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.damaged-*"))] == [content]  # noqa: ASYNC240 - small
    await one.unload()
    await one.unload()
    reopened = DHTDatabase(str(path))
    reopened.open()
    assert list(reopened.values()) == []
    reopened.close()


@pytest.mark.parametrize("statements", [
    "DROP TABLE node", "ALTER TABLE value RENAME COLUMN data TO content",
    "DROP TABLE node; CREATE VIEW node AS SELECT 4 family, '1' host, 5 port, x'00' public_key, 1.0 last_response",
    "UPDATE option SET value = 'abc'", "UPDATE option SET value = NULL"])
def test_a_file_of_another_program_is_set_aside(tmp_path: Path, statements: str) -> None:
    path = str(tmp_path / "dht.sqlite")
    for number in range(3):
        database = open_or_set_aside(path, logging.getLogger())
        assert list(database.nodes()) == []
        assert len(list(tmp_path.glob("*.damaged-*"))) == number
        database.executescript(statements)
        database.close()


def test_a_file_that_is_damaged_somewhere_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "dht.sqlite"
    insert_many(str(path), 0, 5000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 8192 * 8192
    content[middle:middle + 8192] = b"\xff" * 8192
    path.write_bytes(content)
    database = open_or_set_aside(str(path), logging.getLogger())
    assert list(database.values()) == []
    database.save([], [(4, KEY, b"\x00data", 9e9, "1.2.3.4")])
    database.close()
    assert [aside.read_bytes() for aside in tmp_path.glob("*.damaged-*")] == [content]


def test_the_new_file_of_another_program_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dht.sqlite"
    path.write_bytes(b"junk " * 1000)
    new = tmp_path / "new.sqlite"
    insert_many(str(new), 0, 3)

    @contextmanager
    def wait_for_other(directory: Path) -> Iterator[None]:
        assert directory == tmp_path
        new.replace(path)  # what the other program does meanwhile
        yield

    monkeypatch.setattr(persistence, "locked", wait_for_other)
    database = open_or_set_aside(str(path), logging.getLogger())
    assert len(list(database.values())) == 3
    database.close()
    assert not list(tmp_path.glob("*.damaged-*"))


async def test_a_newer_file_is_left_as_it_is(make_nodes: Any, dht: Any, tmp_path: Path,
                                             caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dht.sqlite"
    database = open_or_set_aside(str(path), logging.getLogger())
    database.executescript("UPDATE option SET value = '2'; ALTER TABLE value ADD COLUMN extra; "
                           "INSERT INTO value VALUES(4, x'00', x'00', 9e9, '', 'e')")
    database.close()
    before = path.read_bytes()
    one = await dht.restored(*make_nodes(1, dht_database=str(path)))
    one.add_value(KEY, b"\x00mine", one.get_storage(one.my_peer))
    await one.snapshot.save()
    await one.unload()
    assert path.read_bytes() == before
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "written by a newer version" in record.message
    assert str(path) in record.message
    assert not list(tmp_path.glob("*.damaged-*"))  # noqa: ASYNC240 - small


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
async def test_what_is_no_file_is_refused_at_once(make_nodes: Any, tmp_path: Path, make: Any) -> None:
    path = str(tmp_path / "dht.sqlite")
    make(path)
    with pytest.raises(DatabaseException, match=f"{path} is .*: give the path of a file as dht_database"):
        Snapshot(path, {}, {})


ROWS = [
    "INSERT INTO node VALUES(4, NULL, 5, x'00', 1.0)", "INSERT INTO node VALUES(4, 7, 5, x'00', 1.0)",
    "INSERT INTO node VALUES(4, '1.2.3.4', 'abc', x'00', 1.0)", "INSERT INTO node VALUES(4, '1.2.3.4', 0, x'00', 1.0)",
    "INSERT INTO node VALUES(4, '1.2.3.4', 99999, x'00', 1.0)", "INSERT INTO node VALUES(4, '1.2.3.4', -5, x'00', 1.0)",
    "INSERT INTO node VALUES(4, '224.0.0.1', 5, x'00', 1.0)", "INSERT INTO node VALUES(4, 'no such', 5, x'00', 1.0)",
    "INSERT INTO node VALUES(4, '255.255.255.255', 5, x'00', 1.0)", "INSERT INTO node VALUES(6, '1.2.3.4', 5, x'', 1)",
    "INSERT INTO node VALUES(6, 'ff02::1', 5, x'00', 1.0)", "INSERT INTO node VALUES('x', '1.2.3.4', 5, x'00', 1.0)",
    "INSERT INTO node VALUES(4, x'fffe', 5, x'00', 1.0)", "INSERT INTO node VALUES(4, '1.2.3.4', 5, NULL, 1.0)",
    "INSERT INTO node VALUES(4, CAST(x'fffe' AS TEXT), 5, x'00', 1.0)",
    "INSERT INTO value VALUES(4, NULL, x'0061', 9e9, '')", "INSERT INTO value VALUES(4, 5, x'0061', 9e9, '')",
    "INSERT INTO value VALUES(4, 'abc', x'0061', 9e9, '')", "INSERT INTO value VALUES(4, x'6b', NULL, 9e9, '')",
    "INSERT INTO value VALUES(4, x'6b', 'abc', 9e9, '')", "INSERT INTO value VALUES(4, x'6b', x'0061', NULL, '')",
    "INSERT INTO value VALUES(4, x'6b', x'0061', 'tomorrow', '')",
    "INSERT INTO value VALUES(4, x'6b', x'0061', 9e999, '')", "INSERT INTO value VALUES(4, x'6b', x'0061', 9e9, NULL)",
    "INSERT INTO value VALUES(4, x'6b', x'0061', 9e9, 'nowhere')",
    "INSERT INTO value VALUES(4, x'6b', zeroblob(3000000), 9e9, '')",
    "INSERT INTO value VALUES(NULL, x'6b', x'0061', 9e9, '')", "INSERT INTO value VALUES(5, x'6b', x'0061', 9e9, '')",
    "INSERT INTO value VALUES(4, x'6b', x'', 9e9, '')", "INSERT INTO value VALUES(4, x'6b', x'0161', 9e9, '')",
]


@pytest.mark.parametrize("row", ROWS)
async def test_unusable_rows_are_left_out_and_counted(make_nodes: Any, dht: Any, tmp_path: Path, row: str,
                                                      caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "dht.sqlite")
    database = open_or_set_aside(path, logging.getLogger())
    for statement in ("INSERT INTO node VALUES(4, '99.9.9.9', 9, x'00', 1.0)",
                      "INSERT INTO value VALUES(4, x'6b', x'0062', 9e9, '1.2.3.4')", row):
        database.execute(statement)
    database.close()
    one = await dht.restored(*make_nodes(1, dht_database=path))
    assert [storage.get(b"k".ljust(20, b"\x00")) for storage in one.storages.values()] == [[b"\x00b"]]
    await dht.settle()
    assert [address for address, _ in one.endpoint.sent] == [UDPv4Address("99.9.9.9", 9)]
    (record,) = caplog.records
    assert record.message == f"1 rows of the file {path} of the DHT are unusable, and were left out"


def insert_many(path: str, nodes: int, values: int) -> None:
    database = open_or_set_aside(path, logging.getLogger())
    database.executemany("INSERT INTO node VALUES(4, ?, ?, x'00', ?)",
                         [(f"99.{n % 250}.{n // 250 % 250}.9", 1 + n, float(n)) for n in range(nodes)])
    database.executemany("INSERT INTO value VALUES(4, ?, x'0061', 9e9, '1.2.3.4')",
                         [(n.to_bytes(20, "big"),) for n in range(values)])
    database.close()


async def test_the_load_of_the_start_is_spread(make_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "dht.sqlite")
    insert_many(path, nodes=3000, values=1000)
    pauses: list[float] = []
    stored: list[int] = []
    one, = make_nodes(1, dht_database=path)

    async def sleep(seconds: float) -> None:
        if asyncio.current_task() is restoring:
            pauses.append(seconds)
            stored.append(sum(len(storage.items) for storage in one.storages.values()))
        await real_sleep(0)

    real_sleep = asyncio.sleep
    restoring = one.get_task("restore")
    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert len([task for task in one.get_tasks() if task is not restoring]) < 20
    await restoring
    assert stored[:32] == [min(1000, 32 * number) for number in range(1, 33)]
    assert pauses[:31] == [RESTORE_PAUSE] * 31
    assert pauses[32:] == [CONTACT_INTERVAL] * MAX_REMEMBERED_NODES
    contacted = [address for address, _ in one.endpoint.sent]
    assert len(contacted) == MAX_REMEMBERED_NODES
    assert contacted[0].port == 3000
    assert not caplog.records


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE"])
async def test_a_file_that_is_locked_at_the_start_is_read_later(
    make_nodes: Any, dht: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    lock: str,
) -> None:
    monkeypatch.setattr(DHTDatabase, "busy_timeout", 0.01)
    monkeypatch.setattr(persistence, "RETRY_INTERVAL", 0.01)
    path = str(tmp_path / "dht.sqlite")
    insert_many(path, nodes=0, values=3)
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript(lock)
    other.execute("INSERT INTO value VALUES(4, ?, x'0062', 9e9, '')", (bytes(20),))
    one, = make_nodes(1, dht_database=path)
    if "EXCLUSIVE" in lock:
        while "cannot be read" not in caplog.text:  # noqa: ASYNC110 - a thread logs it
            await asyncio.sleep(0.001)
        one.add_value(KEY, b"\x00new", one.get_storage(one.my_peer))
        await one.snapshot.save()  # this would destroy what has not been read
        assert not one.snapshot.restored
    else:
        await dht.restored(one)  # a file that somebody writes can be read
    other.execute("ROLLBACK")
    other.close()
    await dht.restored(one)
    assert sum(len(storage.items) for storage in one.storages.values()) == 3 + ("EXCLUSIVE" in lock)
    assert caplog.text.count("cannot be read") == ("EXCLUSIVE" in lock)
    await one.unload()
    assert len(rows_of(path)) == 3 + ("EXCLUSIVE" in lock)


def rows_of(path: str) -> list[bytes]:
    database = DHTDatabase(path)
    database.open()
    try:
        return [data for _, _, data, _, _ in database.values()]
    finally:
        database.close()


async def test_a_file_that_is_locked_meanwhile_is_written_later(
    make_nodes: Any, dht: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(DHTDatabase, "busy_timeout", 0.01)
    path = str(tmp_path / "dht.sqlite")
    one = await dht.restored(*make_nodes(1, dht_database=path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    one.add_value(KEY, b"\x00new", one.get_storage(one.my_peer))
    for _ in range(3):
        await one.snapshot.save()
    assert caplog.text.count("could not be written; this is tried again") == 1
    other.execute("ROLLBACK")
    await one.snapshot.save()
    assert rows_of(path) == [b"\x00new"]
    other.execute("BEGIN IMMEDIATE")
    await one.unload()
    other.execute("ROLLBACK")
    other.close()
    assert caplog.text.count("could not be written") == 2
    assert rows_of(path) == [b"\x00new"]


async def test_a_full_disk_is_logged_and_spoils_nothing(make_nodes: Any, dht: Any, tmp_path: Path,
                                                        caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "dht.sqlite")
    one = await dht.restored(*make_nodes(1, dht_database=path))
    storage = one.get_storage(one.my_peer)
    one.add_value(KEY, b"\x00kept", storage)
    await one.snapshot.save()
    pages = next(one.snapshot.database.execute("PRAGMA page_count"))[0]
    one.snapshot.database.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(500):
        one.add_value(bytes((number % 250, number // 250)) * 10, bytes(160), storage)
    await one.snapshot.save()
    assert "could not be written; this is tried again, and what was saved before is still there" in caplog.text
    assert rows_of(path) == [b"\x00kept"]
    await one.unload()  # there is room again
    assert len(rows_of(path)) == 501


async def test_a_directory_that_is_removed_meanwhile(make_nodes: Any, dht: Any, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "dht.sqlite"
    one = await dht.restored(*make_nodes(1, dht_database=str(path)))
    one.add_value(KEY, b"\x00kept", one.get_storage(one.my_peer))
    shutil.rmtree(path.parent)
    for _ in range(2):
        await one.snapshot.save()
    await one.unload()
    assert not one.get_tasks()


async def test_unloading_while_the_file_is_read(make_nodes: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "dht.sqlite")
    insert_many(path, nodes=0, values=300)
    one, = make_nodes(1, dht_database=path)
    await one.unload()
    assert one.snapshot.database is None
    assert len(rows_of(path)) == 300


async def test_only_one_value_of_a_signer_is_kept(make_nodes: Any, dht: Any, tmp_path: Path, manual_clock: Any) -> None:
    path = str(tmp_path / "dht.sqlite")
    one = await dht.restored(*make_nodes(1, dht_database=path))
    for data in (b"old", b"new"):
        one.add_value(KEY, one.serialize_value(data), one.get_storage(one.my_peer))
        manual_clock.advance(1)
    await one.unload()
    again = await dht.restored(*make_nodes(1, dht_database=path))
    again.add_value(KEY, one.serialize_value(b"newest"), again.get_storage(again.my_peer))
    (storage,) = again.storages.values()
    assert [again.unserialize_value(value)[0] for value in storage.get(KEY)] == [b"newest"]


async def test_the_loop_is_not_blocked_by_a_save(make_nodes: Any, dht: Any, tmp_path: Path) -> None:
    one = await dht.restored(*make_nodes(1, dht_database=str(tmp_path / "dht.sqlite")))
    one.snapshot.database._lock.acquire()  # as if another thread were writing
    saving = asyncio.ensure_future(one.snapshot.save())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not saving.done()
    one.snapshot.database._lock.release()
    await saving


async def test_it_is_optional(make_nodes: Any) -> None:
    one, = make_nodes(1)
    assert one.snapshot is None
