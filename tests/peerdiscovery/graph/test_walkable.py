"""Addresses that are offered and not taken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.address import UDPv4Address
from ipv8.peerdiscovery.graph.walkable import WalkableAddresses

A, B, C = (("1.1.1.1", port) for port in (1, 2, 3))


@pytest.fixture
def walkable() -> WalkableAddresses:
    return WalkableAddresses()


def test_offered_addresses_are_free_until_they_are_taken(walkable: WalkableAddresses) -> None:
    walkable.offer(A)
    walkable.offer(B)
    walkable.offer(A)
    assert walkable.to_list() == [A, B]
    walkable.take(A)
    walkable.take(A)
    assert walkable.to_list() == [B]
    walkable.release(A)
    assert walkable.to_list() == [B]
    walkable.release(A)
    assert walkable.to_list() == [B, A], "it is the newest now"


def test_taken_addresses_are_not_free_when_they_are_offered(walkable: WalkableAddresses) -> None:
    walkable.take(A)
    walkable.offer(A)
    assert walkable.to_list() == []
    walkable.withdraw(A)
    walkable.release(A)
    assert walkable.to_list() == []
    walkable.withdraw(A)


def test_refreshed_addresses_are_the_newest(walkable: WalkableAddresses) -> None:
    for address in (A, B, C):
        walkable.offer(address)
    walkable.refresh(A)
    assert list(walkable.free) == [B, C, A]
    walkable.take(B)
    walkable.refresh(B)
    assert list(walkable.free) == [C, A]


def test_the_class_of_the_offered_address_stays(walkable: WalkableAddresses) -> None:
    walkable.offer(UDPv4Address(*A))
    walkable.take(A)
    walkable.release(A)
    walkable.refresh(A)
    assert type(walkable.to_list()[0]) is UDPv4Address


def test_the_list_stays_until_something_changes(walkable: WalkableAddresses) -> None:
    walkable.offer(A)
    listed = walkable.to_list()
    assert walkable.to_list() is listed
    listed.clear()
    assert walkable.to_list() == [A], "callers may edit what they get"
    walkable.replace([], [B])
    walkable.replace([B], [A])
    assert walkable.to_list() == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["offer", "withdraw", "take", "release", "refresh"]),
                          st.sampled_from([A, B, C]))))
def test_any_order_of_changes(changes: list[tuple[str, tuple[str, int]]]) -> None:
    walkable, offered, taken = WalkableAddresses(), set(), {A: 0, B: 0, C: 0}
    for change, address in changes:
        if change == "release" and not taken[address]:
            continue
        getattr(walkable, change)(address)
        if change == "offer":
            offered.add(address)
        elif change == "withdraw":
            offered.discard(address)
        elif change in {"take", "release"}:
            taken[address] += 1 if change == "take" else -1
        assert set(walkable.to_list()) == {free for free in offered if not taken[free]}
