"""Token buckets and bounded tables."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from ipv8.limits import BoundedDict, ExpiringDict, TokenBuckets


def test_a_full_bucket_holds_the_burst_and_refills_at_its_rate(manual_clock: Any) -> None:
    buckets = TokenBuckets(rate=2.0, burst=3.0)
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]
    manual_clock.advance(0.5)
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    manual_clock.advance(100)
    assert sum(buckets.take("a") for _ in range(10)) == 3


def test_a_bucket_can_be_told_the_time() -> None:
    buckets = TokenBuckets(rate=2.0, burst=3.0)
    assert [buckets.take("a", now=5.0) for _ in range(4)] == [True, True, True, False]
    assert [buckets.take("a", now=5.5) for _ in range(2)] == [True, False]


def test_keys_have_buckets_of_their_own(manual_clock: Any) -> None:
    buckets = TokenBuckets(rate=1.0, burst=1.0)
    assert buckets.take("a")
    assert buckets.take("b")
    assert not buckets.take("a")


def test_nothing_is_taken_when_there_is_too_little(manual_clock: Any) -> None:
    buckets = TokenBuckets(rate=1.0, burst=2.0)
    assert not buckets.take("a", 3.0)
    assert buckets.take("a", 2.0)


def test_holding_takes_nothing(manual_clock: Any) -> None:
    buckets = TokenBuckets(rate=1.0, burst=1.0)
    assert buckets.holds("a")
    assert len(buckets) == 0
    buckets.take("a")
    assert not buckets.holds("a")
    manual_clock.advance(1)
    assert buckets.holds("a")


def test_the_bucket_that_was_used_least_recently_is_forgotten(manual_clock: Any) -> None:
    buckets = TokenBuckets(rate=1.0, burst=1.0, capacity=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key)
    assert len(buckets) == 2
    assert not buckets.take("a")
    assert buckets.take("b"), "its bucket was forgotten, so it starts full"


def test_the_oldest_key_of_a_bounded_dict_is_evicted() -> None:
    evicted: list[tuple[str, int]] = []
    table: BoundedDict[str, int] = BoundedDict(2, on_evict=lambda key, value: evicted.append((key, value)))
    table["a"], table["b"] = 1, 2
    table["a"] = 3  # now the newest
    table["c"] = 4
    assert dict(table) == {"a": 3, "c": 4}
    assert evicted == [("b", 2)]
    table.touch("a")
    table.update({"d": 5})
    assert list(table) == ["a", "d"]
    assert table.setdefault("d", 9) == 5
    assert table.setdefault("e", 6) == 6
    table |= {"f": 7}
    assert list(table) == ["e", "f"]
    assert evicted == [("b", 2), ("c", 4), ("a", 3), ("d", 5)]
    del table["e"]
    assert table.evict_oldest() == ("f", 7)
    with pytest.raises(KeyError):
        table.evict_oldest()


def test_copies_of_a_bounded_dict_are_bounded() -> None:
    table: BoundedDict[str, int] = BoundedDict(2)
    table["a"], table["b"] = 1, 2
    for other in (table.copy(), copy.copy(table), copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert type(other) is BoundedDict
        assert other == table
        other["c"] = 3
        assert dict(other) == {"b": 2, "c": 3}
    assert dict(table) == {"a": 1, "b": 2}


def test_a_table_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        BoundedDict(0)
    with pytest.raises(ValueError, match="lifetime"):
        ExpiringDict(1, 0.0)


def test_an_expiring_dict_can_be_told_the_time() -> None:
    evicted: list[tuple[str, int]] = []
    table: ExpiringDict[str, int] = ExpiringDict(3, 10.0, on_evict=lambda key, value: evicted.append((key, value)))
    table.set("a", 1, 0.0)
    table.set("b", 2, 6.0)
    assert [table.get("a", now=9.0), table.age("a", 9.0), table.values(9.0)] == [1, 9.0, [1, 2]]
    assert [table.get("a", now=10.0), table.age("a", 10.0), table.values(10.0)] == [None, None, [2]]
    assert not evicted
    table.expire(10.0)
    assert evicted == [("a", 1)]
    assert table.pop("b", now=15.0) == 2
    table.set("c", 3, 20.0)
    assert table.pop("c", 7, 30.0) == 7
    assert evicted == [("a", 1)]


def test_entries_of_an_expiring_dict_end_with_their_lifetime(manual_clock: Any) -> None:
    evicted: list[tuple[str, int]] = []
    table: ExpiringDict[str, int] = ExpiringDict(3, 10.0, on_evict=lambda key, value: evicted.append((key, value)))
    table["a"] = 1
    manual_clock.advance(6)
    table["b"] = 2
    assert (table["a"], table.get("b"), table.age("a")) == (1, 2, 6.0)
    manual_clock.advance(4)
    assert "a" not in table
    assert table.get("a", 7) == 7
    assert list(table) == ["b"]
    with pytest.raises(KeyError):
        table["a"]
    assert table.pop("a", 8) == 8
    assert len(table) == 1
    table.touch("b")
    manual_clock.advance(9)
    assert table.pop("b") == 2
    for number, key in enumerate("cdef"):
        table[key] = number
    assert table.items() == [("d", 1), ("e", 2), ("f", 3)]
    assert evicted == [("a", 1), ("c", 0)]
    manual_clock.advance(10)
    table.expire()
    assert [key for key, _ in evicted] == ["a", "c", "d", "e", "f"]
