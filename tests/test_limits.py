"""Token buckets."""

from __future__ import annotations

from typing import Any

from ipv8.limits import TokenBuckets


def test_a_full_bucket_holds_the_burst_and_refills_at_its_rate(manual_clock: Any) -> None:
    buckets = TokenBuckets(rate=2.0, burst=3.0)
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]
    manual_clock.advance(0.5)
    assert [buckets.take("a") for _ in range(2)] == [True, False]
    manual_clock.advance(100)
    assert sum(buckets.take("a") for _ in range(10)) == 3


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
