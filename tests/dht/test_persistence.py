"""What survives a restart, and what becomes of a damaged file."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.dht.persistence import DHTDatabase, open_or_set_aside

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 20


async def test_values_and_nodes_survive(make_nodes: Any, dht: Any, tmp_path: Path, manual_clock: Any) -> None:
    path = str(tmp_path / "dht.sqlite")
    one, = make_nodes(1, dht_database=path)
    other, = make_nodes(1)
    dht.introduce(one, other)
    await one.ping(one.get_routing_table(dht.as_node(other)).get(dht.as_node(other).id))
    storage = one.get_storage(dht.as_node(other))
    with storage.charged_to("1.2.3.4"):
        for value in (b"\x00old", b"\x00new", other.serialize_value(b"signed")):
            one.add_value(KEY, value, storage, 3600)
    one.add_value(KEY, b"\x00short", storage, 5)
    before = storage.get(KEY)
    await one.unload()

    manual_clock.advance(10)
    again, = make_nodes(1, dht_database=path)
    (restored,) = again.storages.values()
    assert restored.get(KEY) == before[1:]
    assert {value.max_age for value in restored.items[KEY]} == {3590}
    assert {value.source for value in restored.items[KEY]} == {"1.2.3.4"}
    await dht.settle()
    assert other.endpoint.wan_address in [address for address, _ in again.endpoint.sent]
    await dht.settle()
    assert again.get_routing_table(dht.as_node(other)).has(dht.as_node(other).id)


@pytest.mark.parametrize("content", [b"junk " * 1000, b"SQLite format 3\x00" + b"\xff" * 4000])
async def test_a_damaged_file_is_set_aside(make_nodes: Any, tmp_path: Path, content: bytes,
                                           caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "dht.sqlite"
    path.write_bytes(content)
    one, = make_nodes(1, dht_database=str(path))
    assert one.snapshot is not None
    assert not one.storages
    assert "is damaged" in caplog.text
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.damaged-*"))] == [content]  # noqa: ASYNC240 - small
    await one.unload()
    await one.unload()
    reopened = DHTDatabase(str(path))
    reopened.open()
    assert list(reopened.values()) == []
    reopened.close()


def test_a_file_of_another_program_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "dht.sqlite"
    database = open_or_set_aside(str(path), logging.getLogger())
    database.execute("DROP TABLE node")
    database.close()
    database = open_or_set_aside(str(path), logging.getLogger())
    assert list(database.nodes()) == []
    database.close()
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


async def test_a_failure_is_logged_and_spoils_nothing(make_nodes: Any, tmp_path: Path,
                                                      caplog: pytest.LogCaptureFixture) -> None:
    one, = make_nodes(1, dht_database=str(tmp_path / "dht.sqlite"))
    storage = one.get_storage(one.my_peer)
    one.add_value(KEY, b"\x00kept", storage)
    await one.snapshot.save()
    pages = next(one.snapshot.database.execute("PRAGMA page_count"))[0]
    one.snapshot.database.execute(f"PRAGMA max_page_count = {pages}")  # a full disk
    for number in range(500):
        one.add_value(bytes((number % 250, number // 250)) * 10, bytes(160), storage)
    await one.snapshot.save()
    await one.unload()
    assert caplog.text.count("could not be written to") == 2
    reopened = DHTDatabase(str(tmp_path / "dht.sqlite"))
    reopened.open()
    assert [data for _, _, data, _, _ in reopened.values()] == [b"\x00kept"]
    reopened.close()


async def test_only_one_value_of_a_signer_is_kept(make_nodes: Any, tmp_path: Path, manual_clock: Any) -> None:
    path = str(tmp_path / "dht.sqlite")
    one, = make_nodes(1, dht_database=path)
    for data in (b"old", b"new"):
        one.add_value(KEY, one.serialize_value(data), one.get_storage(one.my_peer))
        manual_clock.advance(1)
    await one.unload()
    again, = make_nodes(1, dht_database=path)
    again.add_value(KEY, one.serialize_value(b"newest"), again.get_storage(again.my_peer))
    (storage,) = again.storages.values()
    assert [again.unserialize_value(value)[0] for value in storage.get(KEY)] == [b"newest"]


async def test_the_loop_is_not_blocked_by_a_save(make_nodes: Any, tmp_path: Path) -> None:
    one, = make_nodes(1, dht_database=str(tmp_path / "dht.sqlite"))
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
