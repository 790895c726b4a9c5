from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from ipv8 import clock, entropy
from ipv8.messaging.anonymization.budgets import NETWORK_SHARE, Rate, SourceBudget
from ipv8.messaging.anonymization.end_to_end import (
    CONNECTIONS_AT_ONCE_PER_CIRCUIT,
    CONNECTIONS_AT_ONCE_PER_HOST,
    KEY_SEEN_LIFETIME,
    ServiceBudget,
)
from ipv8.messaging.anonymization.intro_points import (
    ANSWER_SIZE,
    MAX_POINTS_IN_ANSWER,
    MAX_POINTS_IN_SHORT_ANSWER,
    MAX_REGISTRATIONS,
    MAX_REGISTRATIONS_PER_CIRCUIT,
    MAX_REGISTRATIONS_PER_KEY,
    PADDED_REQUEST_SIZE,
    POINT_SIZE,
    REQUEST_SIZE,
    IntroductionRegistry,
    points_in_answer,
)
from ipv8.messaging.anonymization.rendezvous import (
    COOKIE_LIFETIME,
    MAX_COOKIES,
    MAX_COOKIES_PER_CIRCUIT,
    RendezvousRegistry,
)
from ipv8.test.clock import ManualClock

SWARM = b"s" * 20


@pytest.fixture(autouse=True)
def manual_clock() -> Any:
    with clock.use(ManualClock()) as manual, entropy.use(Random(1)):
        yield manual


def end(circuit_id: int, host: str = "1.2.3.4") -> Any:
    return SimpleNamespace(circuit_id=circuit_id, hop=SimpleNamespace(address=(host, 5)))


def key(number: int) -> bytes:
    return b"%74d" % number


# Introduction points


def test_a_service_registers() -> None:
    registry = IntroductionRegistry()
    one = end(1)
    assert registry.register(one, SWARM, key(1)) == (True, None)
    assert registry.first == {key(1): (one, SWARM)}
    assert [known.circuit_id for known in registry.of_key(key(1))] == [1]
    assert len(registry) == len(registry.of_info_hash(SWARM)) == len(registry.of_circuit(1)) == 1


def test_registering_again_changes_nothing() -> None:
    registry = IntroductionRegistry()
    registry.register(end(1), SWARM, key(1))
    assert registry.register(end(1), SWARM, key(1)) == (True, None)
    assert registry.register(end(1), b"o" * 20, key(1)) == (False, None)
    assert len(registry) == 1


def test_a_key_that_somebody_else_has_taken_can_still_be_registered() -> None:
    registry = IntroductionRegistry()
    squatter, owner = end(1, "6.6.6.6"), end(2)
    registry.register(squatter, SWARM, key(1))
    assert registry.register(owner, SWARM, key(1)) == (True, None)
    assert [known.exit_socket for known in registry.of_key(key(1))] == [squatter, owner]
    assert registry.first[key(1)] == (squatter, SWARM)
    registry.remove_circuit(1)
    assert registry.first[key(1)] == (owner, SWARM)


def test_registrations_of_a_key_and_of_a_circuit_are_limited() -> None:
    registry = IntroductionRegistry()
    accepted = [registry.register(end(number), SWARM, key(1))[0] for number in range(MAX_REGISTRATIONS_PER_KEY + 1)]
    assert accepted == [True] * MAX_REGISTRATIONS_PER_KEY + [False]
    accepted = [registry.register(end(99), SWARM, key(number))[0]
                for number in range(2, MAX_REGISTRATIONS_PER_CIRCUIT + 3)]
    assert accepted == [True] * MAX_REGISTRATIONS_PER_CIRCUIT + [False]


def test_a_flood_of_registrations_does_not_keep_others_out() -> None:
    registry = IntroductionRegistry()
    for number in range(MAX_REGISTRATIONS):
        assert registry.register(end(number, "6.6.6.6"), SWARM, key(number))[0]
    assert not registry.register(end(1000, "6.6.6.6"), SWARM, key(1000))[0]
    accepted, removed = registry.register(end(1001), SWARM, key(1001))
    assert accepted
    assert removed is not None
    assert removed.seeder_pk == key(MAX_REGISTRATIONS - 1)
    assert removed.seeder_pk not in registry.first
    assert len(registry) == MAX_REGISTRATIONS


def test_a_neighbour_with_as_many_registrations_gets_no_more() -> None:
    registry = IntroductionRegistry()
    for number in range(MAX_REGISTRATIONS):
        registry.register(end(number, ("6.6.6.6", "7.7.7.7")[number % 2]), SWARM, key(number))
    assert not registry.register(end(1000, "7.7.7.7"), SWARM, key(1000))[0]


def test_a_circuit_that_goes_takes_its_registrations_with_it() -> None:
    registry = IntroductionRegistry()
    registry.register(end(1), SWARM, key(1))
    registry.register(end(1), SWARM, key(2))
    registry.register(end(2), SWARM, key(3))
    assert {known.seeder_pk for known in registry.remove_circuit(1)} == {key(1), key(2)}
    assert registry.remove_circuit(1) == []
    assert list(registry.first) == [key(3)]
    assert [known.seeder_pk for known in registry] == [key(3)]


# Budgets


def test_one_host_does_not_use_up_the_budget_of_others() -> None:
    budget = SourceBudget(Rate(1.0, 5.0), Rate(20.0, 40.0))
    now = clock.monotonic()
    assert sum(budget.admits("6.6.6.6", now) for _ in range(1000)) == 5
    assert budget.admits("1.2.3.4", now)


def test_one_network_does_not_use_up_the_budget_of_others() -> None:
    budget = SourceBudget(Rate(1.0, 5.0), Rate(100.0, 200.0))
    now = clock.monotonic()
    assert sum(budget.admits(f"6.6.6.{number % 250}", now) for number in range(1000)) == 5 * NETWORK_SHARE
    assert sum(budget.admits(f"2001:db8::{number % 250:x}", now) for number in range(1000)) == 5
    assert budget.admits("1.2.3.4", now)


def test_all_together_are_limited_and_each_has_a_chance(manual_clock: ManualClock) -> None:
    budget = SourceBudget(Rate(1.0, 5.0), Rate(10.0, 20.0))
    honest = flood = 0
    for second in range(100):
        for number in range(50):
            manual_clock.advance(0.02)
            flood += budget.admits(f"{second + 1}.{number}.6.6", clock.monotonic())
        honest += budget.admits("200.1.1.1", clock.monotonic())
    assert 900 <= flood + honest <= 1100
    assert honest >= 5


def test_a_service_does_the_work_for_a_request_once(manual_clock: ManualClock) -> None:
    budget = ServiceBudget()
    assert budget.admits(1, "1.2.3.4", b"key", clock.monotonic())
    assert not budget.admits(1, "1.2.3.4", b"key", clock.monotonic())
    assert not budget.admits(2, "1.2.3.5", b"key", clock.monotonic())
    manual_clock.advance(KEY_SEEN_LIFETIME)
    assert budget.admits(1, "1.2.3.4", b"key", clock.monotonic())


def test_a_host_that_floods_a_service_does_not_shut_others_out() -> None:
    budget = ServiceBudget()
    now = clock.monotonic()
    admitted = sum(budget.admits(1, "6.6.6.6", b"%d" % number, now) for number in range(500))
    assert admitted == CONNECTIONS_AT_ONCE_PER_HOST
    assert budget.admits(1, "1.2.3.4", b"honest", now)


def test_a_lying_introduction_point_uses_its_own_budget_only() -> None:
    budget = ServiceBudget()
    now = clock.monotonic()
    assert sum(budget.admits(1, f"{number}.0.0.1", b"%d" % number, now) for number in range(250)
               ) <= CONNECTIONS_AT_ONCE_PER_CIRCUIT
    assert budget.admits(2, "1.2.3.4", b"honest", now)


# Rendezvous points


def test_a_circuit_waits_for_a_cookie() -> None:
    registry = RendezvousRegistry()
    one = end(1)
    assert registry.establish(b"cookie", one, 0.0)
    assert registry.waiting == {b"cookie": one}
    assert registry.find(b"cookie", COOKIE_LIFETIME - 1) is one
    assert registry.find(b"cookie", COOKIE_LIFETIME) is None
    assert registry.waiting == {}


def test_a_cookie_cannot_be_taken_from_a_circuit() -> None:
    registry = RendezvousRegistry()
    one = end(1)
    registry.establish(b"cookie", one, 0.0)
    assert not registry.establish(b"cookie", end(2), 1.0)
    assert registry.establish(b"cookie", one, 1.0)
    assert registry.find(b"cookie", 1.0) is one


def test_cookies_are_limited() -> None:
    registry = RendezvousRegistry()
    accepted = [registry.establish(b"%d" % number, end(1), 0.0) for number in range(MAX_COOKIES_PER_CIRCUIT + 1)]
    assert accepted == [True] * MAX_COOKIES_PER_CIRCUIT + [False]
    for number in range(1000, 1000 + MAX_COOKIES):
        registry.establish(b"%d" % number, end(number), 0.0)
    assert len(registry.waiting) == MAX_COOKIES
    assert registry.find(b"0", 0.0) is not None
    assert registry.establish(b"later", end(1), COOKIE_LIFETIME)
    assert len(registry.waiting) == 1


def test_a_circuit_that_goes_takes_its_cookies_with_it() -> None:
    registry = RendezvousRegistry()
    registry.establish(b"one", end(1), 0.0)
    registry.establish(b"two", end(2), 0.0)
    registry.remove_circuit(1)
    assert list(registry.waiting) == [b"two"]


# Answers


def test_answers_to_strangers_are_at_most_three_times_as_long() -> None:
    for size in range(REQUEST_SIZE, 2 * PADDED_REQUEST_SIZE):
        count = points_in_answer(size, False)
        assert MAX_POINTS_IN_SHORT_ANSWER <= count <= MAX_POINTS_IN_ANSWER
        assert count == MAX_POINTS_IN_SHORT_ANSWER or ANSWER_SIZE + count * POINT_SIZE <= 3 * size
    assert points_in_answer(REQUEST_SIZE, False) == MAX_POINTS_IN_SHORT_ANSWER
    assert points_in_answer(PADDED_REQUEST_SIZE - 1, False) < MAX_POINTS_IN_ANSWER
    assert points_in_answer(PADDED_REQUEST_SIZE, False) == MAX_POINTS_IN_ANSWER
    assert points_in_answer(REQUEST_SIZE, True) == MAX_POINTS_IN_ANSWER
