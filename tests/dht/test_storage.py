"""Stored values and their limits (doc/protocol/dht.md sections 9.4 and 13)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.dht import storage as storage_module
from ipv8.dht.routing import Node
from ipv8.dht.storage import MAX_VALUES_PER_KEY, Storage, Value, lifetime
from ipv8.messaging.inet import HOST_BITS, network_of

if TYPE_CHECKING:
    from ipv8.dht.routing import RoutingTable

KEY = b"k" * 20


def test_newest_first_and_again_in_front(manual_clock: Any) -> None:
    storage = Storage()
    for data in (b"1", b"2", b"3", b"1"):
        storage.put(KEY, data)
        manual_clock.advance(1)
    assert storage.get(KEY) == [b"1", b"3", b"2"]
    assert storage.get(KEY, 1, 1) == [b"3"]
    assert storage.get(KEY, limit=0) == []
    assert storage.get(b"other") == []
    assert list(storage.items) == [KEY]
    assert storage.items_older_than(1.5) == [(KEY, b"3"), (KEY, b"2")]


def test_ids_of_any_kind() -> None:
    storage = Storage()
    storage.put(KEY, b"a", 1)
    storage.put(KEY, b"b", 1)
    assert storage.get(KEY) == [b"b"]


def test_versions() -> None:
    storage = Storage()
    assert storage.put(KEY, b"five", b"id", version=5)
    assert not storage.put(KEY, b"four", b"id", version=4)
    assert storage.put(KEY, b"also five", b"id", version=5)
    assert storage.get(KEY) == [b"also five"]


def test_what_has_expired_is_not_found(manual_clock: Any) -> None:
    storage = Storage()
    for max_age in (5, 1, 9):
        storage.put(KEY, bytes((max_age,)), max_age=max_age)
    manual_clock.advance(6)
    assert storage.get(KEY) == [b"\x09"]
    assert storage.page(KEY, 0, 8, 1000) == [b"\x09"]
    assert len(storage.items[KEY]) == 3
    storage.clean()
    assert len(storage.items[KEY]) == 1
    manual_clock.advance(6)
    storage.clean()
    assert not storage.items


def test_pages_are_complete_and_the_owner_is_on_the_first_one() -> None:
    storage = Storage()
    storage.put(KEY, b"owner", KEY)
    for number in range(20):
        storage.put(KEY, bytes((number,)) * 100)
    first = storage.page(KEY, 0, 8, 1400)
    assert first[0] == b"owner"
    assert len(first) == 8
    assert len(storage.page(KEY, 0, 8, 250)) == 3
    pages = [storage.page(KEY, offset, 8, 10 ** 6) for offset in (0, 8, 16, 24)]
    assert sorted(value for page in pages for value in page) == sorted(storage.get(KEY))


def test_values_per_key() -> None:
    storage = Storage()
    storage.put(KEY, b"owner", KEY)
    for number in range(MAX_VALUES_PER_KEY + 10):
        storage.put(KEY, b"%d" % number)
    assert len(storage.items[KEY]) == MAX_VALUES_PER_KEY
    assert storage.get(KEY)[-1] == b"owner"
    assert b"0" not in storage.get(KEY)


def test_far_keys_make_room_for_near_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_KEYS", 10)
    storage = Storage(bytes(20))
    for number in range(10, 20):
        assert storage.put(bytes((number,)) * 20, b"v")
    assert not storage.put(b"\xff" * 20, b"v")
    assert storage.put(b"\x01" * 20, b"v")
    assert b"\x13" * 20 not in storage.items
    assert len(storage.items) == 10
    storage.items.clear()
    assert storage.put(b"\xff" * 20, b"v")


def test_bytes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_BYTES", 3000)
    storage = Storage(bytes(20))
    for number in range(100):
        storage.put(bytes((number % 5,)) * 20, bytes((number,)) * 100)
    assert sum(value.size for values in storage.items.values() for value in values) <= 3000 + 228


def test_expired_values_make_room_first(monkeypatch: pytest.MonkeyPatch, manual_clock: Any) -> None:
    monkeypatch.setattr(storage_module, "MAX_KEYS", 2)
    storage = Storage(bytes(20))
    storage.put(b"\x01" * 20, b"v", max_age=1)
    storage.put(b"\x02" * 20, b"v", max_age=100)
    manual_clock.advance(2)
    assert storage.put(b"\xff" * 20, b"v")
    assert set(storage.items) == {b"\x02" * 20, b"\xff" * 20}


def put_from(storage: Storage, source: str, key: int, data: bytes) -> bool:
    with storage.charged_to(source):
        return storage.put(bytes((key,)) * 20, data)


def test_one_host_cannot_fill_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 1000)
    storage = Storage()
    kept = [put_from(storage, "1.2.3.4", number, b"x" * 100) for number in range(20)]
    assert kept.count(True) == 4
    assert put_from(storage, "1.2.3.4", 0, b"x" * 100)
    assert put_from(storage, "4.3.2.1", 0x30, b"x" * 100)
    assert storage.put(b"\x31" * 20, b"x" * 100)


def test_all_addresses_of_one_64_are_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 1000)
    storage = Storage()
    assert [put_from(storage, f"2a00:1:2:3::{n:x}", n, b"x" * 100) for n in range(1, 8)].count(True) == 4
    assert put_from(storage, "2a00:1:2:4::1", 9, b"x" * 100)


def test_charges_end_with_the_block() -> None:
    storage = Storage()
    with suppress(ZeroDivisionError), storage.charged_to("1.2.3.4"):
        storage.put(KEY, b"charged")
        raise ZeroDivisionError
    storage.put(KEY, b"own")
    assert [(value.data, value.source) for value in storage.items[KEY]] == [(b"own", ""), (b"charged", "1.2.3.4")]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from(["", "a", "b"])), max_size=60))
def test_accounts_stay_right(puts: list[tuple[int, int, str]]) -> None:
    storage = Storage()
    for key, data, source in puts:
        put_from(storage, source, key, bytes((data,)))
    values = [value for values in storage.items.values() for value in values]
    assert storage._bytes == sum(value.size for value in values)
    assert storage._bytes_of == {network_of(source, *HOST_BITS): sum(value.size for value in values
                                                                     if value.source == source)
                                 for source in {value.source for value in values}}


def test_near_keys_are_near_to_where_the_node_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_KEYS", 3)
    storage = Storage(bytes(20))
    for number in (1, 2, 0x80):
        storage.put(bytes((number,)) * 20, b"v")
    storage.move(b"\x81" * 20)
    assert storage.put(b"\x82" * 20, b"v")
    assert set(storage.items) == {b"\x01" * 20, b"\x80" * 20, b"\x82" * 20}
    assert not storage.put(b"\x7f" * 20, b"v")


def test_steps_of_the_wall_clock_expire_nothing_and_keep_nothing(two_clocks: Any) -> None:
    storage = Storage()
    storage.put(KEY, b"v", max_age=3600)
    for step in (86400, -30 * 86400):
        two_clocks.wall += step
        assert storage.get(KEY) == [b"v"]
        assert storage.items[KEY][0].age == 0
    two_clocks.advance(3601)
    assert storage.get(KEY) == []
    storage.clean()
    assert not storage.items


def test_programs_set_the_time_of_a_value(two_clocks: Any) -> None:
    storage = Storage()
    storage.put(KEY, b"v", max_age=60)
    value = storage.items[KEY][0]
    assert value.last_update == two_clocks.wall
    value.last_update = two_clocks.wall - 61
    assert value.expired
    value.last_update = 0
    assert value.expired


@pytest.mark.parametrize(("nearer", "seconds"), [(0, 3600), (7, 3600), (8, 1800), (9, 900), (18, 1), (19, 0), (25, 0)])
def test_values_live_shorter_the_more_nodes_are_nearer(nearer: int, seconds: int) -> None:
    class Table:
        my_node_id = b"\xff" * 20

        def closest_nodes(self, _: bytes, max_nodes: int) -> list[Any]:
            return [Node(b"LibNaCLPK:" + bytes((n,)) * 64, ("1.1.1.1", 1)) for n in range(min(nearer, max_nodes))]

    assert lifetime(bytes(20), cast("RoutingTable", Table())) == seconds


def test_values_are_equal_by_id() -> None:
    assert Value(b"i", b"a", 1, 0) == Value(b"i", b"b", 2, 1)
    assert Value(b"i", b"a", 1, 0) != Value(b"j", b"a", 1, 0)
    assert Value(b"i", b"a", 1, 0) != b"i"
    assert len({Value(b"i", b"a", 1, 0), Value(b"i", b"b", 1, 0)}) == 1
