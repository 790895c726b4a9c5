"""Stored values and their limits (doc/protocol/dht.md sections 9.4 and 13)."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import clock
from ipv8.dht import storage as storage_module
from ipv8.dht.diversity import Source, source_of
from ipv8.dht.routing import Node, distance
from ipv8.dht.storage import MAX_CLAIMS, MAX_VALUES_PER_KEY, Storage, Value, lifetime
from ipv8.test.clock import ManualClock

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
    assert put_from(storage, "2a00:1:3:3::1", 9, b"x" * 100)


def test_charges_end_with_the_block() -> None:
    storage = Storage()
    with suppress(ZeroDivisionError), storage.charged_to("1.2.3.4"):
        storage.put(KEY, b"charged")
        raise ZeroDivisionError
    storage.put(KEY, b"own")
    assert [(value.data, value.source) for value in storage.items[KEY]] == [(b"own", ""), (b"charged", "1.2.3.4")]


HOSTS = ["", "8.8.8.8", "8.8.8.9", "9.9.9.9", "192.168.1.1", "2a00:1:2:3::1", "2a00:1:2:3::2", "2a00:1:2:4::1"]


def check_accounts(storage: Storage) -> None:
    values = [(key, value) for key, values in storage.items.items() for value in values]
    assert storage._bytes == sum(value.size for _, value in values)
    assert all(value.claims for _, value in values)
    networks: Counter[bytes] = Counter()
    hosts: Counter[Source] = Counter()
    for _, value in values:
        for host in value.claims:
            networks[source_of(host).network] += value.size
            hosts[source_of(host)] += value.size
    accounts = storage._accounts
    for host in HOSTS:
        source = source_of(host)
        assert accounts.size_of_network(source.network) == networks[source.network]
        assert accounts.size_of_host(source) == hosts[source]
    heaviest = accounts.heaviest_network()
    assert (heaviest is None) == (not networks)
    if heaviest is not None:
        assert networks[heaviest] == max(networks.values())
        farthest = accounts.farthest_key(heaviest)
        assert farthest is not None
        assert distance(farthest, storage.my_node_id) == max(
            distance(key, storage.my_node_id) for key, value in values
            if any(source_of(host).network == heaviest for host in value.claims))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.sampled_from(HOSTS), st.integers(1, 3),
                          st.integers(1, 20)), max_size=60))
def test_accounts_stay_right(puts: list[tuple[int, int, str, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, clock.use(ManualClock()) as manual:
        patch.setattr(storage_module, "MAX_VALUES_PER_KEY", 5)
        patch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 900)
        patch.setattr(storage_module, "MAX_BYTES", 2000)
        patch.setattr(storage_module, "MAX_KEYS", 3)
        patch.setattr(storage_module, "MAX_CLAIMS", 3)
        storage = Storage(b"\x02" * 20)
        for key, id_, source, version, max_age in puts:
            with storage.charged_to(source):
                kept = storage.put(bytes((key,)) * 20, bytes((id_, version)), id_=bytes((id_,)) * 20, max_age=max_age,
                                   version=version)
            assert kept == storage.holds(bytes((key,)) * 20, bytes((id_, version)))
            check_accounts(storage)
            manual.advance(1)
        storage.clean()
        check_accounts(storage)
        assert all(len(values) <= 5 for values in storage.items.values())
        for host in HOSTS[1:]:
            assert storage._accounts.size_of_network(source_of(host).network) <= 900
        storage.items.clear()
        check_accounts(storage)


# Values of others

def put_value(storage: Storage, source: str, data: bytes, key: bytes = KEY, **details: Any) -> bool:
    with storage.charged_to(source):
        return storage.put(key, data, **details)


@pytest.mark.parametrize("hosts", [[f"6.6.6.{n}" for n in range(1, 250)], [f"2a00:6:6:{n:x}::1" for n in range(250)]])
def test_many_values_of_one_network_hide_and_evict_none_of_others(hosts: list[str], manual_clock: Any) -> None:
    storage = Storage()
    assert put_value(storage, "8.8.8.8", b"alone")
    for number, host in enumerate(hosts):
        manual_clock.advance(1)
        assert put_value(storage, host, b"%d" % number)
    assert len(storage.items[KEY]) == MAX_VALUES_PER_KEY
    assert b"alone" in storage.get(KEY)
    assert storage.page(KEY, 0, 8, 1400)[1] == b"alone"
    pages = [storage.page(KEY, offset, 8, 1400) for offset in range(0, 64, 8)]
    assert sorted(chain.from_iterable(pages)) == sorted(storage.get(KEY))


def test_one_host_hides_none_of_another_in_its_network(manual_clock: Any) -> None:
    storage = Storage()
    put_value(storage, "6.6.6.1", b"alone")
    put_value(storage, "7.7.7.7", b"elsewhere")
    for number in range(200):
        manual_clock.advance(1)
        put_value(storage, "6.6.6.6", b"%d" % number)
    assert set(storage.page(KEY, 0, 3, 1400)) == {b"199", b"elsewhere", b"alone"}


def test_pages_are_fair_to_networks_then_to_hosts() -> None:
    storage = Storage()
    for source, data in (("6.6.6.1", b"a1"), ("6.6.6.1", b"a2"), ("6.6.6.2", b"b1"), ("7.7.7.7", b"c1"),
                         ("7.7.7.7", b"c2"), ("6.6.6.1", b"a3")):
        put_value(storage, source, data)
    assert [storage.page(KEY, number, 1, 1400)[0] for number in range(6)] == [b"a3", b"c2", b"b1", b"c1", b"a2", b"a1"]


def test_networks_with_one_value_each_replace_the_oldest(manual_clock: Any) -> None:
    storage = Storage()
    for number in range(MAX_VALUES_PER_KEY + 3):
        manual_clock.advance(1)
        assert put_value(storage, f"6.6.{number}.6", b"%d" % number)
    assert len(storage.items[KEY]) == MAX_VALUES_PER_KEY
    assert {b"0", b"1", b"2"}.isdisjoint(storage.get(KEY))


def test_who_stores_a_value_of_somebody_else_pays_for_it_and_nobody_else(manual_clock: Any) -> None:
    storage = Storage()
    size = Value(b"", b"value", 1, 0).size
    one, other = source_of("8.8.8.8"), source_of("9.9.9.9")
    for source in ("8.8.8.8", "9.9.9.9"):
        assert put_value(storage, source, b"value", max_age=100)
        manual_clock.advance(50)
    assert storage._bytes == size
    assert storage._accounts.size_of_host(one) == storage._accounts.size_of_host(other) == size
    (value,) = storage.items[KEY]
    assert (value.source, list(value.claims), value.age) == ("8.8.8.8", ["8.8.8.8", "9.9.9.9"], 50)
    manual_clock.advance(1)
    storage.clean()
    assert storage._accounts.size_of_host(one) == 0
    assert storage.get(KEY) == [b"value"]
    manual_clock.advance(50)
    storage.clean()
    assert not storage.items


def test_a_value_is_not_lost_with_those_of_another_who_stored_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 600)
    storage = Storage()
    put_value(storage, "8.8.8.8", b"value")
    assert put_value(storage, "6.6.6.6", b"value", max_age=10 ** 6)
    for number in range(9):
        put_value(storage, "6.6.6.7", b"%d" % number)
    (value,) = [value for value in storage.items[KEY] if value.data == b"value"]
    assert "8.8.8.8" in value.claims
    assert value.max_age == max(claim.max_age for claim in value.claims.values())


def test_claims_of_one_value_are_limited() -> None:
    storage = Storage()
    for number in range(20):
        put_value(storage, f"6.6.{number}.6", b"value")
    assert list(storage.items[KEY][0].claims) == [f"6.6.{number}.6" for number in range(20 - MAX_CLAIMS, 20)]
    assert storage._accounts.size_of_network(source_of("6.6.1.6").network) == 0


def test_hosts_share_the_bytes_of_their_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host does not shut out its neighbours: they replace its oldest values until they have as many."""
    monkeypatch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 6 * 228)
    storage = Storage()
    assert [put_from(storage, "6.6.6.1", number, b"x" * 100) for number in range(8)].count(True) == 6
    assert [put_from(storage, "6.6.6.2", 16 + number, b"x" * 100) for number in range(8)] == [True] * 3 + [False] * 5
    assert [key[0] for key in storage.items] == [3, 4, 5, 16, 17, 18]
    assert put_from(storage, "6.6.7.1", 99, b"x" * 100)


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_KEYS"])
def test_one_network_displaces_no_more_than_others_have(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(storage_module, limit, {"MAX_BYTES": 40 * 228, "MAX_KEYS": 40}[limit])
    monkeypatch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 20 * 228)
    storage = Storage(bytes(20))
    others = [f"8.8.{number}.8" for number in range(10)]
    for number, host in enumerate(others):
        for copy in range(4):
            assert put_from(storage, host, 255 - 4 * number - copy, bytes((copy,)) * 100)
    for number in range(100):
        put_from(storage, f"2a00:6:6:{number:x}::1", 1 + number, b"j" * 100)
    left = Counter(value.source for values in storage.items.values() for value in values)
    assert min(left[host] for host in others) >= 3
    assert sum(left[host] for host in others) >= 36


def test_what_programs_take_away_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_BYTES_PER_SOURCE", 1000)
    monkeypatch.setattr(storage_module, "MAX_KEYS", 4)
    storage = Storage()
    for number in range(1, 5):
        put_from(storage, "6.6.6.6", number, b"x" * 100)
    for key in list(storage.items):
        del storage.items[key]
    assert put_from(storage, "6.6.6.7", 9, b"x" * 100)
    assert put_from(storage, "6.6.6.8", 10, b"x" * 100)
    for key in list(storage.items):
        storage.items[key] = []
    for number in range(11, 20):
        assert put_from(storage, f"7.7.{number}.7", number, b"x" * 100)


def test_the_cost_of_storing_does_not_grow_with_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in calls of the functions that evicting could repeat."""
    calls: Counter[str] = Counter()
    forget = Storage._forget
    monkeypatch.setattr(storage_module, "MAX_BYTES", 2000 * 129)
    monkeypatch.setattr(Storage, "_forget", lambda self, *arguments: (calls.update(["_forget"]),
                                                                      forget(self, *arguments)))
    storage = Storage(bytes(20))
    for number in range(4000):
        with storage.charged_to(f"6.{number >> 8}.{number & 255}.6"):
            storage.put(number.to_bytes(20, "big"), b"x")
    assert len(storage.items) == 2000
    assert calls["_forget"] == 2000


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
            return [Node(b"LibNaCLPK:" + bytes((n,)) * 64, (f"{n + 20}.1.1.1", 1))
                    for n in range(min(nearer, max_nodes))]

    assert lifetime(bytes(20), cast("RoutingTable", Table())) == seconds


def test_many_nodes_of_one_network_do_not_shorten_lives() -> None:
    class Table:
        my_node_id = b"\xff" * 20

        def closest_nodes(self, _: bytes, max_nodes: int) -> list[Any]:
            return [Node(b"LibNaCLPK:" + bytes((n,)) * 64, (f"8.{n // 10}.{n % 10}.{n}", 1)) for n in range(max_nodes)]

    assert lifetime(bytes(20), cast("RoutingTable", Table())) == 3600


def test_values_are_equal_by_id() -> None:
    assert Value(b"i", b"a", 1, 0) == Value(b"i", b"b", 2, 1)
    assert Value(b"i", b"a", 1, 0) != Value(b"j", b"a", 1, 0)
    assert Value(b"i", b"a", 1, 0) != b"i"
    assert len({Value(b"i", b"a", 1, 0), Value(b"i", b"b", 1, 0)}) == 1
