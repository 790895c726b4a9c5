"""What a node remembers to carry packets for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, strategies as st

from ipv8.contact.carriage import (
    ATTEMPT_PAUSE,
    ATTEMPTS_AT_ONCE,
    ATTEMPTS_AT_ONCE_PER_CARRIER,
    BYTES_AT_ONCE,
    BYTES_PER_SECOND,
    COUNTERS_PER_ORIGIN,
    DIRECT_PAUSE,
    MEETING_LIMIT,
    ORIGIN_LIMIT,
    ROUTE_LIFETIME,
    ROUTE_LIMIT,
    TOTAL_BYTES_AT_ONCE,
    CarriageBudget,
    Meetings,
    ReplayWindow,
    Routes,
    is_overlay_host,
    overlay_host,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer

if TYPE_CHECKING:
    from tests.conftest import ManualClock


def some_peer() -> Peer:
    return Peer(default_eccrypto.generate_key("curve25519").pub())


def test_overlay_hosts_are_identifiers_that_are_never_routed() -> None:
    mid = bytes.fromhex("f37c16019b1ce0dff055275a54fdfbd8a82ec742")
    assert overlay_host(mid) == "2001:21:f37c:1601:9b1c:e0df:f055:275a"
    assert overlay_host(bytes(20)) == "2001:21::"


@given(st.binary(min_size=20, max_size=20))
def test_overlay_hosts_are_recognised(mid: bytes) -> None:
    assert is_overlay_host(overlay_host(mid))


def test_other_hosts_are_not_overlay_hosts() -> None:
    for host in ("1.2.3.4", "2001:db8::1", "2001:20::1", "2001:210::1", "::1"):
        assert not is_overlay_host(host)


def test_routes_lead_to_who_was_noted_last(manual_clock: ManualClock) -> None:
    routes, first, second = Routes(), some_peer(), some_peer()
    there = UDPv4Address("1.2.3.4", 5)
    assert routes.hop(there) is None
    routes.note(there, first)
    routes.note(there, second)
    assert routes.hop(there) is second
    manual_clock.advance(ROUTE_LIFETIME - 1)
    assert routes.hop(there) is second, "and is used, so it stays"
    manual_clock.advance(ROUTE_LIFETIME - 1)
    assert routes.hop(there) is second
    manual_clock.advance(ROUTE_LIFETIME + 1)
    assert routes.hop(there) is None


def test_only_so_many_routes_are_kept() -> None:
    routes, peer = Routes(), some_peer()
    for port in range(1, ROUTE_LIMIT + 2):
        routes.note(UDPv4Address("1.2.3.4", port), peer)
    assert len(routes) == ROUTE_LIMIT
    assert routes.hop(UDPv4Address("1.2.3.4", 1)) is None
    assert routes.hop(UDPv4Address("1.2.3.4", 2)) is peer


def test_who_was_met_is_tried_directly_now_and_then(manual_clock: ManualClock) -> None:
    meetings, peer, there = Meetings(), some_peer(), UDPv4Address("1.2.3.4", 5)
    assert not meetings.is_with_peer(there, {peer})
    meetings.note(there, peer)
    assert meetings.is_with_peer(there, {peer})
    assert not meetings.is_with_peer(there, set()), "who is lost may be looked for"
    manual_clock.advance(DIRECT_PAUSE)
    assert [meetings.is_with_peer(there, {peer}) for _ in range(3)] == [False, True, True]


def test_only_so_many_meetings_are_remembered() -> None:
    meetings, peer = Meetings(), some_peer()
    meetings.note(None, peer)
    meetings.note(UDPv6Address(overlay_host(peer.mid), 1), peer)
    for port in range(1, MEETING_LIMIT + 2):
        meetings.note(UDPv4Address("1.2.3.4", port), peer)
    assert [meetings.is_with_peer(UDPv4Address("1.2.3.4", port), {peer}) for port in (1, 2, MEETING_LIMIT + 1)] == [
        False, True, True]
    assert not meetings.is_with_peer(UDPv6Address(overlay_host(peer.mid), 1), {peer})


def test_a_counter_is_good_once() -> None:
    fresh = ReplayWindow()
    assert fresh.accept(b"me", 5)
    assert not fresh.accept(b"me", 5)
    assert fresh.accept(b"you", 5)
    assert fresh.accept(b"me", 3), "envelopes may overtake each other"
    assert not fresh.accept(b"me", 3)


def test_old_counters_are_not_good() -> None:
    fresh = ReplayWindow()
    for counter in range(100, 100 + COUNTERS_PER_ORIGIN):
        assert fresh.accept(b"me", counter)
    assert not fresh.accept(b"me", 99)
    assert fresh.accept(b"me", 1000)
    assert not fresh.accept(b"me", 100)


@given(st.lists(st.integers(0, 40), max_size=200))
def test_no_counter_is_ever_accepted_twice(counters: list[int]) -> None:
    fresh = ReplayWindow()
    accepted = [counter for counter in counters if fresh.accept(b"me", counter)]
    assert sorted(accepted) == sorted(set(counters))


def test_the_counters_of_so_many_authors_are_remembered() -> None:
    fresh = ReplayWindow()
    for number in range(ORIGIN_LIMIT + 1):
        assert fresh.accept(number.to_bytes(20, "big"), 1)
    assert not fresh.accept(ORIGIN_LIMIT.to_bytes(20, "big"), 1)
    assert fresh.accept(bytes(20), 1), "the oldest one was forgotten"


def test_who_sends_too_much_waits(manual_clock: ManualClock) -> None:
    budget = CarriageBudget()
    assert budget.allow(b"a", b"b", int(BYTES_AT_ONCE))
    assert not budget.allow(b"a", b"c", 1)
    assert not budget.allow(b"c", b"b", 1), "neither does anybody receive more"
    assert budget.allow(b"d", b"e", 1)
    manual_clock.advance(1.0)
    assert budget.allow(b"a", b"b", int(BYTES_PER_SECOND))


def test_there_is_an_end_to_what_is_carried_for_all(manual_clock: ManualClock) -> None:
    budget = CarriageBudget()
    pairs = ((bytes((number,)), bytes((number, number))) for number in range(100))
    assert sum(budget.allow(*pair, 100_000) for pair in pairs) == int(TOTAL_BYTES_AT_ONCE // 100_000)


def test_attempts_are_few(manual_clock: ManualClock) -> None:
    budget, there = CarriageBudget(), UDPv4Address("1.2.3.4", 5)
    assert budget.may_attempt(b"a", there)
    assert not budget.may_attempt(b"b", there)
    manual_clock.advance(ATTEMPT_PAUSE)
    assert budget.may_attempt(b"a", there)
    manual_clock.advance(1000.0)
    others = [UDPv4Address("1.2.3.4", port) for port in range(100, 200)]
    assert sum(budget.may_attempt(b"a", other) for other in others[:50]) == ATTEMPTS_AT_ONCE_PER_CARRIER
    assert (sum(budget.may_attempt(bytes((number,)), other) for number, other in enumerate(others[50:]))
            == ATTEMPTS_AT_ONCE - ATTEMPTS_AT_ONCE_PER_CARRIER)
