"""What a node remembers to carry packets for others."""

from __future__ import annotations

from math import exp
from typing import Any

from hypothesis import given, settings, strategies as st

from ipv8.contact.carriage import (
    AHEAD_MICROSECONDS,
    ATTEMPT_PAUSE,
    ATTEMPTS_AT_ONCE,
    ATTEMPTS_AT_ONCE_PER_CARRIER,
    AUTHORS_PER_BUDGET,
    BYTES_AT_ONCE,
    BYTES_PER_SECOND,
    COUNTERS_PER_ORIGIN,
    DESTINATION_BYTES_AT_ONCE,
    DESTINATION_BYTES_PER_SECOND,
    DIRECT_PAUSE,
    MEETING_LIMIT,
    ORIGIN_LIMIT,
    ORIGINS_PER_CARRIER,
    ROUTE_LIFETIME,
    ROUTE_LIMIT,
    ROUTES_PER_CARRIER,
    SETTLED_MICROSECONDS,
    TOTAL_BYTES_AT_ONCE,
    CarriageBudget,
    FairBudget,
    Meetings,
    ReplayWindow,
    Routes,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.inet import is_overlay_host, mid_of_overlay_host, overlay_host
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.peer import Peer

WALL = 1_700_000_000.0
PRESENT = int(WALL * 1e6)


def some_peer() -> Peer:
    return Peer(default_eccrypto.generate_key("curve25519").pub())


def test_overlay_hosts_are_identifiers_that_are_never_routed() -> None:
    mid = bytes.fromhex("f37c16019b1ce0dff055275a54fdfbd8a82ec742")
    assert overlay_host(mid) == "2001:21:f37c:1601:9b1c:e0df:f055:275a"
    assert overlay_host(bytes(20)) == "2001:21::"


@given(st.binary(min_size=20, max_size=20))
def test_overlay_hosts_are_recognised(mid: bytes) -> None:
    assert is_overlay_host(overlay_host(mid))
    assert mid_of_overlay_host(overlay_host(mid)) == mid[:12]


def test_other_hosts_are_not_overlay_hosts() -> None:
    for host in ("1.2.3.4", "2001:db8::1", "2001:20::1", "2001:210::1", "::1"):
        assert not is_overlay_host(host)


def count(routes: Routes, now: float) -> int:
    """How many destinations have a carrier."""
    return len(list(routes._hops.items(now)))


def test_routes_lead_to_who_was_noted_last() -> None:
    routes, first, second = Routes(), some_peer(), some_peer()
    there = UDPv4Address("1.2.3.4", 5)
    assert routes.hop(there, 0.0) is None
    routes.note(there, first, 0.0)
    routes.note(there, second, 0.0)
    assert routes.hop(there, 0.0) is second
    assert routes.hop(there, ROUTE_LIFETIME - 1) is second, "and is used, so it stays"
    assert routes.hop(there, 2 * ROUTE_LIFETIME - 2) is second
    assert routes.known(there, 3 * ROUTE_LIFETIME - 3) is second, "to look at it is no use"
    assert routes.hop(there, 3 * ROUTE_LIFETIME - 1) is None


def test_only_so_many_routes_are_kept() -> None:
    routes = Routes()
    carriers = [some_peer() for _ in range(ROUTE_LIMIT // ROUTES_PER_CARRIER + 1)]
    destinations = [UDPv4Address("1.2.3.4", port) for port in range(1, ROUTE_LIMIT + 2)]
    for number, destination in enumerate(destinations):
        routes.note(destination, carriers[number // ROUTES_PER_CARRIER], 0.0)
    assert count(routes, 0.0) == ROUTE_LIMIT
    assert routes.hop(destinations[0], 0.0) is None
    assert routes.hop(destinations[1], 0.0) is carriers[0]


def test_a_carrier_makes_nobody_forget_the_routes_by_others() -> None:
    routes, mine, greedy = Routes(), some_peer(), some_peer()
    there = UDPv4Address("1.2.3.4", 5)
    routes.note(there, mine, 0.0)
    for port in range(1, 2 * ROUTE_LIMIT):
        routes.note(UDPv4Address("6.6.6.6", port), greedy, 0.0)
    assert count(routes, 0.0) == ROUTES_PER_CARRIER + 1
    assert routes.hop(there, 0.0) is mine
    assert routes.hop(UDPv4Address("6.6.6.6", 2 * ROUTE_LIMIT - 1), 0.0) is greedy


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 80), st.booleans()), max_size=200))
@settings(max_examples=50, deadline=None)
def test_each_route_counts_for_the_one_who_carries_now(steps: list[tuple[int, int, bool]]) -> None:
    routes, carriers, expected = Routes(), CARRIERS, dict[Any, dict[int, Any]]()
    for time, (carrier, port, note) in enumerate(steps):
        there = UDPv4Address("1.2.3.4", port)
        if note:
            for others in expected.values():
                others.pop(port, None)
            mine = expected.setdefault(carriers[carrier], {})
            mine[port] = None
            if len(mine) > ROUTES_PER_CARRIER:
                del mine[next(iter(mine))]
        else:
            hop = routes.hop(there, time / 1000)
            if hop is not None:
                expected[hop].pop(port)
                expected[hop][port] = None
            continue
        routes.note(there, carriers[carrier], time / 1000)
    for carrier_peer, ports in expected.items():
        assert all(routes.known(UDPv4Address("1.2.3.4", port), 1.0) is carrier_peer for port in ports)
    assert count(routes, 1.0) == sum(map(len, expected.values()))


CARRIERS = [some_peer() for _ in range(4)]


def test_who_was_met_is_tried_directly_now_and_then() -> None:
    meetings, peer, there = Meetings(), some_peer(), UDPv4Address("1.2.3.4", 5)
    assert not meetings.is_with_peer(there, {peer}, 0.0)
    meetings.note(there, peer, 0.0)
    assert meetings.is_with_peer(there, {peer}, 0.0)
    assert not meetings.is_with_peer(there, set(), 0.0), "who is lost may be looked for"
    assert [meetings.is_with_peer(there, {peer}, DIRECT_PAUSE) for _ in range(3)] == [False, True, True]


def test_only_so_many_meetings_are_remembered() -> None:
    meetings, peer = Meetings(), some_peer()
    meetings.note(None, peer, 0.0)
    meetings.note(UDPv6Address(overlay_host(peer.mid), 1), peer, 0.0)
    for port in range(1, MEETING_LIMIT + 2):
        meetings.note(UDPv4Address("1.2.3.4", port), peer, 0.0)
    assert [meetings.is_with_peer(UDPv4Address("1.2.3.4", port), {peer}, 0.0) for port in (1, 2, MEETING_LIMIT + 1)
            ] == [False, True, True]
    assert not meetings.is_with_peer(UDPv6Address(overlay_host(peer.mid), 1), {peer}, 0.0)


class TestReplays:
    def accepts(self, window: ReplayWindow, origin: bytes, counter: int, carrier: bytes = b"carrier",
                wall: float = WALL) -> bool:
        return window.refusal(origin, counter, carrier, wall) is None

    def test_a_counter_is_good_once(self) -> None:
        window = ReplayWindow()
        assert self.accepts(window, b"me", 5)
        assert window.refusal(b"me", 5, b"carrier", WALL) == DropCounter.REPLAYED
        assert self.accepts(window, b"you", 5)
        assert self.accepts(window, b"me", 3), "envelopes may overtake each other"
        assert not self.accepts(window, b"me", 3)

    def test_old_counters_are_not_good(self) -> None:
        window = ReplayWindow()
        for counter in range(100, 100 + COUNTERS_PER_ORIGIN):
            assert self.accepts(window, b"me", counter)
        assert not self.accepts(window, b"me", 99)
        assert self.accepts(window, b"me", 1000)
        assert not self.accepts(window, b"me", 100)

    def test_counters_of_the_far_future_are_not_good(self) -> None:
        window = ReplayWindow()
        assert self.accepts(window, b"me", PRESENT + AHEAD_MICROSECONDS)
        assert not self.accepts(window, b"me", PRESENT + AHEAD_MICROSECONDS + 1)

    @given(st.lists(st.integers(0, 40), max_size=200))
    def test_no_counter_is_ever_accepted_twice(self, counters: list[int]) -> None:
        window = ReplayWindow()
        accepted = [counter for counter in counters if self.accepts(window, b"me", counter)]
        assert sorted(accepted) == sorted(set(counters))

    def test_foreign_keys_make_nobody_forget_others(self) -> None:
        window = ReplayWindow()
        assert self.accepts(window, b"me", PRESENT, b"honest")
        for number in range(3 * ORIGIN_LIMIT):
            window.refusal(number.to_bytes(20, "big"), PRESENT + number, b"greedy", WALL)
        assert len(window) == ORIGINS_PER_CARRIER + 1
        assert not self.accepts(window, b"me", PRESENT, b"greedy")
        assert self.accepts(window, b"you", PRESENT, b"honest"), "others still have room"

    def test_many_carriers_do_not_either(self) -> None:
        window = ReplayWindow()
        assert self.accepts(window, b"me", PRESENT, b"honest")
        for number in range(3 * ORIGIN_LIMIT):
            window.refusal(number.to_bytes(20, "big"), PRESENT + number, number.to_bytes(20, "big"), WALL)
        assert len(window) == ORIGIN_LIMIT
        assert not self.accepts(window, b"me", PRESENT, b"greedy")

    @given(st.lists(st.tuples(st.integers(0, 3 * ORIGINS_PER_CARRIER), st.integers(0, 10), st.integers(0, 200)),
                    max_size=300), st.data())
    @settings(max_examples=40, deadline=None)
    def test_what_was_accepted_once_is_never_accepted_again(self, envelopes: list[tuple[int, int, int]],
                                                            data: Any) -> None:
        window, accepted, wall = ReplayWindow(), set(), WALL
        for origin, carrier, age in envelopes:
            wall += data.draw(st.sampled_from([0.0, 0.1, 30.0, 90.0]))
            counter = int(wall * 1e6) - age * 1_000_000
            author = origin.to_bytes(20, "big")
            if self.accepts(window, author, counter, bytes((carrier,)), wall):
                assert (author, counter) not in accepted
                accepted.add((author, counter))
            for known_author, known_counter in tuple(accepted)[-5:]:
                assert not self.accepts(window, known_author, known_counter, b"thief", wall)

    def test_who_is_forgotten_leaves_a_trace(self) -> None:
        window = ReplayWindow()
        old = PRESENT - SETTLED_MICROSECONDS
        for number in range(ORIGINS_PER_CARRIER + 1):
            assert self.accepts(window, number.to_bytes(20, "big"), old + number)
        assert len(window) == ORIGINS_PER_CARRIER
        assert not self.accepts(window, bytes(20), old), "the one that was forgotten"
        assert not self.accepts(window, b"unknown", old, b"other")
        assert self.accepts(window, b"unknown", old + 1, b"other"), "whose clock is a minute late"


def test_who_sends_too_much_waits() -> None:
    budget = CarriageBudget()
    assert budget.allow(b"a", b"b", int(BYTES_AT_ONCE), 0.0)
    assert not budget.allow(b"a", b"c", 1, 0.0)
    assert budget.allow(b"d", b"e", 1, 0.0)
    assert budget.allow(b"a", b"b", int(BYTES_PER_SECOND) // 2, 1.0)


def test_nobody_uses_up_what_others_send_to_the_same_peer() -> None:
    budget = CarriageBudget()
    for _ in range(1000):
        budget.allow(b"greedy", b"b", 1400, 0.0)
    assert budget.allow(b"a", b"b", 1400, 0.0)


def test_there_is_an_end_to_what_is_carried_to_one_peer() -> None:
    budget = CarriageBudget()
    carried = sum(1400 for number in range(20_000) if budget.allow(bytes((number % 100,)), b"b", 1400, 0.0))
    assert DESTINATION_BYTES_AT_ONCE / 2 < carried <= DESTINATION_BYTES_AT_ONCE
    later = sum(1400 for number in range(20_000) if budget.allow(bytes((number % 100,)), b"b", 1400, 1.0))
    assert later <= DESTINATION_BYTES_PER_SECOND + 1400


def test_there_is_an_end_to_what_is_carried_for_all() -> None:
    budget = CarriageBudget()
    carried = sum(1400 for number in range(20_000)
                  if budget.allow(bytes((number % 100,)), bytes((number % 100, 1)), 1400, 0.0))
    assert TOTAL_BYTES_AT_ONCE / 2 < carried <= TOTAL_BYTES_AT_ONCE


def test_many_greedy_peers_leave_something_for_others() -> None:
    budget = CarriageBudget()
    for _ in range(1000):
        for greedy in range(30):
            budget.allow(bytes((greedy,)), bytes((greedy, 1)), 1400, 0.0)
    assert budget.allow(b"honest", b"destination", 1400, 0.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(1.0, 100.0), st.floats(0.0, 2.0)), min_size=1, max_size=200))
def test_a_fair_budget_is_never_exceeded(takes: list[tuple[int, float, float]]) -> None:
    budget, now, used, own = FairBudget(100.0, 1000.0, 4), 0.0, 0.0, dict.fromkeys(range(6), 0.0)
    for author, cost, pause in takes:
        now += pause
        left = exp(-pause / 10)
        used *= left
        own = {key: value * left for key, value in own.items()}
        if budget.holds("key", bytes((author,)), cost, now):
            budget.take("key", bytes((author,)), cost, now)
            used += cost
            own[author] += cost
            assert own[author] <= 1000.0 - used + 1e-6, "nobody uses more than what is left"
        else:
            assert own[author] + cost > 1000.0 - used - cost - 1e-6


def test_a_fair_budget_has_a_limit_of_keys_and_of_authors() -> None:
    budget = FairBudget(1.0, 1e9, 3)
    for number in range(AUTHORS_PER_BUDGET + 10):
        budget.take("key", number.to_bytes(2, "big"), 1.0, 0.0)
    assert len(budget._pools["key"].authors) == AUTHORS_PER_BUDGET
    for key in range(10):
        budget.take(key, b"author", 1.0, 0.0)
    assert len(budget) == 3


def test_attempts_are_few() -> None:
    budget, there = CarriageBudget(), UDPv4Address("1.2.3.4", 5)
    assert budget.may_attempt(b"a", there, 0.0)
    assert not budget.may_attempt(b"b", there, 0.0)
    assert budget.may_attempt(b"a", there, ATTEMPT_PAUSE)
    later = ATTEMPT_PAUSE + 1000.0
    others = [UDPv4Address("1.2.3.4", port) for port in range(100, 200)]
    assert sum(budget.may_attempt(b"a", other, later) for other in others[:50]) == ATTEMPTS_AT_ONCE_PER_CARRIER
    assert (sum(budget.may_attempt(bytes((number,)), other, later) for number, other in enumerate(others[50:]))
            == ATTEMPTS_AT_ONCE - ATTEMPTS_AT_ONCE_PER_CARRIER)
