"""What survives a restart, and what becomes of a damaged file."""

from __future__ import annotations

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
    for value in (b"\x00old", b"\x00new", other.serialize_value(b"signed")):
        one.add_value(KEY, value, storage, 3600, source="1.2.3.4")
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
    assert one.memory is not None
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


async def test_it_is_optional(make_nodes: Any) -> None:
    one, = make_nodes(1)
    assert one.memory is None
