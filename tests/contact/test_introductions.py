"""The state behind introductions: solicited responses, our own address, punctures for third parties."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipv8.contact.introductions import (
    LEDGER_LIMIT,
    PENDING_LIFETIME,
    PENDING_LIMIT,
    PUNCTURE_SIZE,
    PUNCTURES_AT_ONCE,
    PUNCTURES_AT_ONCE_PER_TARGET,
    SAMPLE,
    WITNESS_LIMIT,
    IntroductionLedger,
    OwnAddressVotes,
    PendingIntroductions,
    PunctureBudget,
    is_sendable,
    is_somewhere,
    sample_peers,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

A = UDPv4Address("1.2.3.4", 5)
B = UDPv4Address("6.7.8.9", 10)


@pytest.fixture(scope="module")
def peer() -> Peer:
    return Peer(default_eccrypto.generate_key("curve25519").pub(), A)


def test_a_response_answers_a_request_once(peer: Peer) -> None:
    pending = PendingIntroductions()
    identifier = pending.new(A)
    assert pending.waits_for(A)
    assert pending.take(identifier, A, peer)
    assert not pending.take(identifier, A, peer)
    assert not pending.waits_for(A)


def test_a_response_must_come_from_where_the_request_went(peer: Peer) -> None:
    pending = PendingIntroductions()
    identifier = pending.new(B)
    assert not pending.take(identifier, A, peer)
    assert not pending.take((identifier + 1) % 65536, B, peer)
    assert pending.take(identifier, B, peer)


def test_a_peer_may_answer_from_another_of_its_addresses(peer: Peer) -> None:
    pending = PendingIntroductions()
    assert pending.take(pending.new(A), B, peer), "the request went to an address of the peer that answers"


def test_requests_are_forgotten_after_their_lifetime(peer: Peer, manual_clock: Any) -> None:
    pending = PendingIntroductions()
    identifier = pending.new(A)
    manual_clock.advance(PENDING_LIFETIME + 1)
    assert not pending.waits_for(A)
    assert not pending.take(identifier, A, peer)
    pending.new(B)
    assert len(pending) == 1


def test_the_oldest_request_makes_room(peer: Peer) -> None:
    pending = PendingIntroductions()
    identifiers = [pending.new(A) for _ in range(PENDING_LIMIT + 1)]
    assert len(set(identifiers)) == len(identifiers)
    assert len(pending) == PENDING_LIMIT
    assert not pending.take(identifiers[0], A, peer)
    assert pending.take(identifiers[-1], A, peer)


def test_identifiers_of_pending_requests_differ(script_entropy: Callable[..., None]) -> None:
    script_entropy(7, 7, 7, 8)
    pending = PendingIntroductions()
    assert [pending.new(A), pending.new(A)] == [7, 8]


def test_one_liar_does_not_move_us() -> None:
    votes = OwnAddressVotes()
    for number in range(5):
        assert votes.vote(UDPv4Address(f"{number + 1}.1.1.1", 1), A) == A
    for number in range(20):
        assert votes.vote(UDPv4Address(f"99.99.{number}.1", 1), B) == A, "one network has one voice"


def test_the_first_and_the_latest_of_equals_are_believed() -> None:
    votes = OwnAddressVotes()
    assert votes.vote(UDPv4Address("1.1.1.1", 1), A) == A
    assert votes.vote(UDPv4Address("2.1.1.1", 1), B) == B


def test_we_are_seen_to_move_when_most_say_so() -> None:
    votes = OwnAddressVotes()
    for number in range(WITNESS_LIMIT):
        votes.vote(UDPv4Address(f"{number + 1}.1.1.1", 1), A)
    seen = [votes.vote(UDPv4Address(f"{number + 101}.1.1.1", 1), B) for number in range(WITNESS_LIMIT)]
    assert seen[0] == A
    assert seen[-1] == B


def test_the_port_that_most_witnesses_see_is_taken() -> None:
    votes = OwnAddressVotes()
    votes.vote(UDPv4Address("1.1.1.1", 1), UDPv4Address("1.2.3.4", 1000))
    votes.vote(UDPv4Address("2.1.1.1", 1), UDPv4Address("1.2.3.4", 1000))
    assert votes.vote(UDPv6Address("2001:db8::1", 1), UDPv4Address("1.2.3.4", 1001)) == ("1.2.3.4", 1000)


def test_strangers_pay_for_punctures() -> None:
    budget = PunctureBudget()
    received = served = 0
    for number in range(100):
        received += 45
        served += budget.allow("9.9.9.9", UDPv4Address(f"1.1.1.{number}", 1), False, 45)
    assert served
    assert served * PUNCTURE_SIZE <= received


def test_acquaintances_are_served_up_to_their_budget(manual_clock: Any) -> None:
    budget = PunctureBudget()
    served = sum(budget.allow("9.9.9.9", UDPv4Address(f"1.1.{n}.1", 1), True, 45) for n in range(200))
    assert served == PUNCTURES_AT_ONCE
    manual_clock.advance(1)
    assert budget.allow("9.9.9.9", A, True, 45)


def test_one_target_is_not_flooded_for_many_acquaintances(manual_clock: Any) -> None:
    budget = PunctureBudget()
    served = sum(budget.allow(f"9.9.9.{n}", A, True, 45) for n in range(200))
    assert served == PUNCTURES_AT_ONCE_PER_TARGET


@pytest.mark.parametrize(("target", "source", "allowed"), [
    (A, B, True),
    (UDPv4Address("192.168.1.1", 1), B, True),
    (UDPv4Address("1.2.3.4", 0), B, False),
    (UDPv4Address("0.0.0.0", 5), B, False),
    (UDPv4Address("224.0.0.1", 5), B, False),
    (UDPv4Address("255.255.255.255", 5), B, False),
    (UDPv4Address("127.0.0.1", 5), B, False),
    (UDPv4Address("127.0.0.1", 5), UDPv4Address("127.0.0.1", 6), True),
    (UDPv4Address("10.0.0.1", 8090), B, False),
    (UDPv6Address("2001:db8::1", 5), B, True),
    (UDPv6Address("ff02::1", 5), B, False),
    (UDPv6Address("::1", 5), B, False),
    (UDPv4Address("abc", 5), B, False),
])
def test_only_unicast_addresses_of_others_are_sent_to(target: Any, source: Any, allowed: bool) -> None:
    assert is_sendable(target, UDPv4Address("10.0.0.1", 8090), source) is allowed


def make_peers(count: int) -> list[Peer]:
    return [Peer(default_eccrypto.generate_key("curve25519").pub(), UDPv4Address("1.2.3.4", number + 1))
            for number in range(count)]


def test_nobody_hears_of_the_same_peer_twice_before_all_had_their_turn() -> None:
    ledger, (requester, *others) = IntroductionLedger(), make_peers(6)
    assert {ledger.choose(others, requester) for _ in range(5)} == set(others)
    assert {ledger.choose(others, None) for _ in range(5)} == set(others)


def test_introduced_peers_are_not_introduced_the_other_way_round() -> None:
    ledger, (first, second, third) = IntroductionLedger(), make_peers(3)
    assert ledger.choose([first], second) is first
    assert ledger.choose([second, third], first) is third


def test_all_peers_are_introduced_equally_often() -> None:
    ledger, peers = IntroductionLedger(), make_peers(10)
    chosen = [ledger.choose([peer for peer in peers if peer != requester], requester) for requester in peers]
    assert all(chosen.count(peer) <= 2 for peer in peers)


def test_the_ledger_is_limited() -> None:
    ledger = IntroductionLedger()
    requesters = make_peers(1)
    others: Any = [NumberedPeer(number) for number in range(LEDGER_LIMIT + 10)]
    for other in others:
        ledger.choose([other], requesters[0])
    assert len(ledger._pairs) == len(ledger._counts) == LEDGER_LIMIT


class NumberedPeer:
    """Only what the ledger looks at."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number


def test_a_request_is_waited_for_until_it_is_answered_or_forgotten(peer: Peer, manual_clock: Any) -> None:
    pending = PendingIntroductions()
    first, second = pending.new(A), pending.new(A)
    assert pending.waits_for(A)
    assert pending.take(first, A, peer)
    assert pending.waits_for(A), "for the answer to the second one"
    assert pending.take(second, A, peer)
    assert not pending.waits_for(A)
    pending.new(A)
    manual_clock.advance(PENDING_LIFETIME - 1)
    pending.new(A)
    manual_clock.advance(2)
    assert pending.waits_for(A)
    assert len(pending) == 1
    manual_clock.advance(PENDING_LIFETIME)
    assert not pending.waits_for(A)
    assert len(pending) == 0


def test_waiting_ends_when_newer_requests_take_the_place() -> None:
    pending = PendingIntroductions()
    pending.new(A)
    for number in range(PENDING_LIMIT):
        pending.new(UDPv4Address("5.6.7.8", number))
    assert not pending.waits_for(A)
    assert len(pending) == PENDING_LIMIT


@pytest.mark.parametrize(("address", "expected"), [
    (UDPv4Address("0.0.0.0", 5), False), (UDPv4Address("1.2.3.4", 0), False), (UDPv6Address("::", 5), False),
    (UDPv4Address("255.255.255.255", 5), False), (UDPv4Address("1.2.3.4", 5), True), (UDPv6Address("1::2", 5), True),
])
def test_nobody_is_nowhere(address: Any, expected: bool) -> None:
    assert is_somewhere(address) is expected


def test_few_are_looked_at_of_many() -> None:
    key = default_eccrypto.generate_key("curve25519").pub()
    crowd = [Peer(key, UDPv4Address("1.2.3.4", number)) for number in range(2000)]
    assert sample_peers(crowd[:20]) == crowd[:20]
    assert len(sample_peers(crowd)) == SAMPLE
