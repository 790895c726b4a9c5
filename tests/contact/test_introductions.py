"""Introductions without sockets, clocks or communities: whom we asked, who is let in, who is introduced to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.contact.introductions import (
    CONFIRMATIONS_AT_ONCE,
    LEDGER_LIMIT,
    NOWHERE,
    PENDING_LIFETIME,
    PENDING_LIMIT,
    RESPONSES_AT_ONCE,
    RESPONSES_PER_SECOND,
    SAMPLE,
    UNPROVEN_GRACE,
    Admission,
    Decision,
    IntroductionLedger,
    Introductions,
    PendingIntroductions,
    addresses_to_try,
    is_sendable,
    is_somewhere,
    sample_peers,
    told_addresses,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import RelayedAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable

A = UDPv4Address("1.2.3.4", 5)
B = UDPv4Address("6.7.8.9", 10)
RELAYED, ALSO_RELAYED = RelayedAddress("2001:21::1", 1), RelayedAddress("2001:21::2", 1)
SERVICE = b"s" * 20


def make_peer(address: Any = A) -> Peer:
    return Peer(default_eccrypto.generate_key("curve25519").pub(), address)


def make_peers(count: int) -> list[Peer]:
    return [make_peer(UDPv4Address("1.2.3.4", number + 1)) for number in range(count)]


@pytest.fixture(scope="module")
def peer() -> Peer:
    return make_peer()


class Club:
    """All that introductions need of an overlay."""

    community_id = SERVICE

    def __init__(self, max_peers: int = 30) -> None:
        self.network = Network()
        self.max_peers = max_peers

    def get_peers(self) -> list[Peer]:
        return self.network.get_peers_for_service(SERVICE)

    def join(self, *peers: Peer) -> None:
        for peer in peers:
            self.network.add_verified_peer(peer)
            self.network.discover_services(peer, [SERVICE])


class TestPending:
    def test_a_response_answers_a_request_once(self, peer: Peer) -> None:
        pending = PendingIntroductions()
        identifier = pending.new(A, 0.0)
        assert pending.waits_for(A, 0.0)
        assert pending.settle(identifier, A, peer, 0.0) == A
        assert pending.settle(identifier, A, peer, 0.0) is None
        assert not pending.waits_for(A, 0.0)

    def test_a_response_must_come_from_where_the_request_went(self, peer: Peer) -> None:
        pending = PendingIntroductions()
        identifier = pending.new(B, 0.0)
        assert pending.settle(identifier, A, peer, 0.0) is None
        assert pending.settle((identifier + 1) % 65536, B, peer, 0.0) is None
        assert pending.settle(identifier, B, peer, 0.0) == B

    def test_a_peer_may_answer_from_another_of_its_addresses(self, peer: Peer) -> None:
        pending = PendingIntroductions()
        assert pending.settle(pending.new(A, 0.0), B, peer, 0.0) == A, "it is known at the address that was asked"

    def test_a_request_that_went_by_relay_is_answered_by_relay(self, peer: Peer) -> None:
        pending = PendingIntroductions()
        stranger = UDPv4Address("99.9.9.9", 9)
        identifier = pending.new(stranger, 0.0)
        pending.note_relayed(B, 0.0)  # which is not where the request goes
        assert pending.settle(identifier, ALSO_RELAYED, peer, 0.0) is None
        pending.note_relayed(stranger, 0.0)
        assert pending.settle(identifier, B, peer, 0.0) is None
        assert pending.settle(identifier, ALSO_RELAYED, peer, 0.0) == stranger

    def test_a_request_waits_until_it_is_answered_or_expires(self, peer: Peer) -> None:
        pending = PendingIntroductions()
        first, second = pending.new(A, 0.0), pending.new(A, 0.0)
        assert pending.settle(first, A, peer, 1.0) == A
        assert pending.waits_for(A, 1.0), "for the answer to the second one"
        assert pending.waits_for(A, PENDING_LIFETIME - 1)
        assert not pending.waits_for(A, PENDING_LIFETIME)
        assert pending.settle(second, A, peer, PENDING_LIFETIME) is None
        pending.new(A, PENDING_LIFETIME)
        assert pending.waits_for(A, 2 * PENDING_LIFETIME - 1)

    def test_the_oldest_request_makes_room(self, peer: Peer) -> None:
        pending = PendingIntroductions()
        oldest = pending.new(A, 0.0)
        others = [pending.new(B, 0.0) for _ in range(PENDING_LIMIT)]
        assert len({oldest, *others}) == PENDING_LIMIT + 1
        assert not pending.waits_for(A, 0.0)
        assert pending.settle(oldest, A, peer, 0.0) is None
        assert all(pending.settle(identifier, B, peer, 0.0) == B for identifier in others)
        assert not pending.waits_for(B, 0.0)

    def test_identifiers_of_pending_requests_differ(self, script_entropy: Callable[..., None]) -> None:
        script_entropy(7, 7, 7, 8)
        pending = PendingIntroductions()
        assert [pending.new(A, 0.0), pending.new(A, 0.0)] == [7, 8]


class NumberedPeer:
    """Only what the ledger looks at."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class TestLedger:
    def test_nobody_hears_of_the_same_peer_twice_before_all_had_their_turn(self) -> None:
        ledger, (requester, *others) = IntroductionLedger(), make_peers(6)
        assert {ledger.choose(others, requester) for _ in range(5)} == set(others)
        assert {ledger.choose(others, None) for _ in range(5)} == set(others)

    def test_introduced_peers_are_not_introduced_the_other_way_round(self) -> None:
        ledger, (first, second, third) = IntroductionLedger(), make_peers(3)
        assert ledger.choose([first], second) is first
        assert ledger.choose([second, third], first) is third

    def test_all_peers_are_introduced_equally_often(self) -> None:
        ledger, peers = IntroductionLedger(), make_peers(10)
        chosen = [ledger.choose([peer for peer in peers if peer != requester], requester) for requester in peers]
        assert all(chosen.count(peer) <= 2 for peer in peers)

    def test_it_is_limited(self) -> None:
        ledger, (requester, *_) = IntroductionLedger(), make_peers(1)
        others: list[Any] = [NumberedPeer(number) for number in range(LEDGER_LIMIT + 10)]
        for other in others:
            ledger.choose([other], requester)
        oldest, newest = others[0], others[-1]
        assert ledger.choose([oldest, newest], requester) is oldest, "it was introduced first, which is forgotten"
        assert len(ledger._pairs) == len(ledger._counts) == LEDGER_LIMIT


class TestAdmission:
    def test_a_newcomer_is_let_in_while_there_is_room(self) -> None:
        club = Club(max_peers=1)
        introductions = Introductions(club)
        assert introductions.admit(make_peer(), 0.0) == (Decision.ADMIT, None)
        club.join(make_peer(), make_peer())
        assert introductions.admit(make_peer(), 0.0) == (Decision.REFUSE, None), "one more than wanted is let in"

    def test_a_negative_number_is_no_limit(self) -> None:
        club = Club(max_peers=-1)
        club.join(*make_peers(50))
        introductions = Introductions(club)
        assert introductions.admit(make_peer(), 0.0).decision is Decision.ADMIT
        assert not introductions.has_enough()
        assert not introductions.is_full()

    def test_enough_comes_before_full(self) -> None:
        club = Club(max_peers=2)
        introductions = Introductions(club)
        states = []
        for peer in make_peers(4):
            states.append((introductions.has_enough(), introductions.is_full()))
            club.join(peer)
        assert states == [(False, False), (False, False), (True, False), (True, True)]

    def test_members_are_answered_though_there_is_no_room(self) -> None:
        club, member = Club(max_peers=0), make_peer()
        club.join(member)
        assert Introductions(club).admit(member, 0.0) == (Decision.ADMIT, None)

    def test_a_peer_of_another_overlay_is_no_member(self) -> None:
        club, guest = Club(max_peers=0), make_peer()
        club.join(make_peer())
        club.network.add_verified_peer(guest)
        assert Introductions(club).admit(guest, 0.0).decision is Decision.REFUSE

    def test_unproven_members_make_room_for_those_who_prove_themselves(self, manual_clock: Any) -> None:
        club, newcomer, old = Club(max_peers=0), make_peer(B), make_peer()
        introductions = Introductions(club)
        club.join(old)
        assert introductions.admit(newcomer, 0.0).decision is Decision.REFUSE, "the member has had no time yet"
        manual_clock.advance(UNPROVEN_GRACE + 1)
        assert introductions.admit(newcomer, 0.0) == (Decision.CONFIRM, None)
        assert introductions.give_place(newcomer) == old
        newcomer.proven = True
        assert introductions.admit(newcomer, 0.0) == (Decision.ADMIT, old)
        club.network.mark_proven(old)
        assert introductions.admit(newcomer, 0.0) == (Decision.REFUSE, None)
        assert introductions.give_place(newcomer) is None

    def test_nobody_leaves_for_a_member(self, manual_clock: Any) -> None:
        club, member = Club(max_peers=0), make_peer()
        club.join(member, make_peer(B))
        manual_clock.advance(UNPROVEN_GRACE + 1)
        assert Introductions(club).give_place(member) is None

    def test_nobody_leaves_while_there_is_room(self, manual_clock: Any) -> None:
        club = Club(max_peers=5)
        club.join(make_peer())
        manual_clock.advance(UNPROVEN_GRACE + 1)
        assert Introductions(club).give_place(make_peer(B)) is None

    def test_nobody_takes_its_own_place(self, manual_clock: Any) -> None:
        club, known = Club(max_peers=0), make_peer()
        club.join(known)
        manual_clock.advance(UNPROVEN_GRACE + 1)
        club.community_id = b"t" * 20
        club.get_peers = lambda: [known]  # type: ignore[method-assign]
        club.network.unproven_peer_to_drop = lambda *_: known  # type: ignore[method-assign]
        assert Introductions(club).admit(known, 0.0) == (Decision.REFUSE, None)

    @pytest.mark.parametrize("host", ["66.6.6.6", "2001:db8::{}"])
    def test_unproven_peers_of_one_host_share_a_budget(self, host: str) -> None:
        introductions = Introductions(Club(-1))
        make: Any = UDPv6Address if ":" in host else UDPv4Address
        peers = [make_peer(make(host.format(number), number + 1)) for number in range(int(RESPONSES_AT_ONCE) + 20)]
        decisions = [introductions.admit(peer, 7.0).decision for peer in peers]
        assert decisions.count(Decision.ADMIT) == RESPONSES_AT_ONCE
        assert decisions.count(Decision.OVER_BUDGET) == 20
        assert introductions.admit(make_peer(make(host.format(1).replace("6:", "7:").replace("2001:", "2002:")
                                                  .replace("66.6", "67.6"), 1)), 7.0).decision is Decision.ADMIT
        decisions = [introductions.admit(peer, 8.0).decision for peer in peers]
        assert decisions.count(Decision.ADMIT) == RESPONSES_PER_SECOND

    def test_proven_peers_are_answered_without_a_budget(self) -> None:
        club, member = Club(), make_peer()
        introductions = Introductions(club)
        club.join(member)
        club.network.mark_proven(member)
        assert {introductions.admit(member, 0.0) for _ in range(500)} == {Admission(Decision.ADMIT)}

    def test_a_proven_peer_at_an_unproven_address_has_a_budget(self) -> None:
        club, member = Club(), make_peer()
        introductions = Introductions(club)
        club.join(member)
        club.network.mark_proven(member)
        elsewhere = Peer(member.public_key, B)
        decisions = [introductions.admit(elsewhere, 0.0).decision for _ in range(500)]
        assert decisions.count(Decision.ADMIT) == RESPONSES_AT_ONCE, "its packets may be recorded ones"


class TestAsking:
    def test_an_answer_is_matched(self, peer: Peer) -> None:
        introductions = Introductions(Club())
        identifier = introductions.ask(A, 0.0)
        assert introductions.waits_for(A, 0.0)
        assert introductions.settle(identifier, A, peer, 1.0) == A
        assert not introductions.waits_for(A, 1.0)

    def test_one_host_is_not_asked_to_confirm_too_often(self) -> None:
        introductions = Introductions(Club())
        asked = [introductions.may_confirm(UDPv4Address("1.2.3.4", port), 0.0) for port in range(1, 100)]
        assert asked.count(True) == CONFIRMATIONS_AT_ONCE
        assert introductions.may_confirm(UDPv4Address("1.2.3.5", 1), 0.0)
        assert introductions.may_confirm(A, 1.0)

    def test_hosts_of_one_ipv6_subnet_are_one(self) -> None:
        introductions = Introductions(Club())
        asked = [introductions.may_confirm(UDPv6Address(f"2001:db8::{number:x}", 1), 0.0) for number in range(100)]
        assert asked.count(True) == CONFIRMATIONS_AT_ONCE

    def test_an_address_with_a_request_on_its_way_is_not_asked_again(self) -> None:
        introductions = Introductions(Club())
        introductions.ask(A, 0.0)
        assert not introductions.may_confirm(A, 1.0)
        assert introductions.may_confirm(A, PENDING_LIFETIME)

    def test_unproven_peers_are_asked_often_unless_they_are_already(self, script_entropy: Callable[..., None]) -> None:
        script_entropy()
        introductions, proven, unproven = Introductions(Club()), make_peers(1)[0], make_peer(B)
        proven.proven = True
        chosen = [introductions.choose_to_ask([proven, unproven], 0.0) for _ in range(400)]
        assert 240 < chosen.count(unproven) < 360, "every second time, and as any other peer in between"
        introductions.ask(B, 0.0)
        chosen = [introductions.choose_to_ask([proven, unproven], 0.0) for _ in range(400)]
        assert 140 < chosen.count(unproven) < 260, "as any other peer, while it may still answer"


class TestIntroducing:
    def test_proven_peers_come_first(self) -> None:
        club, peers = Club(), make_peers(4)
        introductions = Introductions(club)
        assert introductions.choose_introduction(None, True) is None
        club.join(*peers)
        assert {introductions.choose_introduction(peers[0], False) for _ in range(3)} == set(peers[1:])
        club.network.mark_proven(peers[2])
        assert introductions.choose_introduction(peers[0], False) == peers[2]
        assert introductions.choose_introduction(peers[2], False) != peers[2]

    def test_old_style_requesters_hear_of_ipv4_peers_only(self) -> None:
        club, peer = Club(), make_peer(UDPv6Address("2001:db8::1", 1))
        club.join(peer)
        assert Introductions(club).choose_introduction(None, False) is None
        assert Introductions(club).choose_introduction(None, True) == peer

    def test_relayed_peers_are_not_introduced(self) -> None:
        club = Club()
        club.join(make_peer(RELAYED))
        assert Introductions(club).choose_introduction(None, True) is None

    def test_few_are_looked_at_of_many(self) -> None:
        key = default_eccrypto.generate_key("curve25519").pub()
        crowd = [Peer(key, UDPv4Address("1.2.3.4", number)) for number in range(2000)]
        assert sample_peers(crowd[:20]) == crowd[:20]
        assert len(sample_peers(crowd)) == SAMPLE


OWN_LAN, OWN_WAN = UDPv4Address("192.168.1.5", 8090), UDPv4Address("9.9.9.9", 9)
LAN, SAME_NAT = UDPv4Address("192.168.1.7", 7), UDPv4Address("9.9.9.9", 7)
IPV6 = UDPv6Address("2001:db8::7", 7)


@pytest.mark.parametrize(("lan", "wan", "own_lan", "own_wan", "expected"), [
    (LAN, NOWHERE, OWN_LAN, OWN_WAN, []),
    (NOWHERE, A, OWN_LAN, OWN_WAN, [A]),
    (LAN, A, OWN_LAN, OWN_WAN, [LAN, A]),
    (LAN, SAME_NAT, OWN_LAN, OWN_WAN, [LAN]),
    (NOWHERE, SAME_NAT, OWN_LAN, OWN_WAN, [SAME_NAT, UDPv4Address("192.168.1.5", 7)]),
    (NOWHERE, SAME_NAT, UDPv6Address("fd00::1", 1), OWN_WAN, [SAME_NAT]),
    (NOWHERE, IPV6, OWN_LAN, OWN_WAN, [IPV6]),
    (LAN, IPV6, OWN_LAN, UDPv6Address(*IPV6), [LAN, IPV6]),
])
def test_where_an_introduced_peer_is_tried(lan: Any, wan: Any, own_lan: Any, own_wan: Any, expected: Any) -> None:
    assert addresses_to_try(lan, wan, own_lan, own_wan) == expected


def test_what_others_are_told_of_a_peer() -> None:
    peer = make_peer(A)
    assert told_addresses(peer, OWN_WAN, lambda _: False) == (NOWHERE, A)
    peer.addresses[UDPv4LANAddress] = UDPv4LANAddress(*LAN)
    assert told_addresses(peer, OWN_WAN, lambda _: False) == (LAN, A)
    assert told_addresses(peer, OWN_WAN, lambda host: host == "1.2.3.4") == (A, ("9.9.9.9", 5)), "it is our neighbour"
    assert told_addresses(peer, IPV6, lambda _: True) == (LAN, A), "others cannot reach it by our IPv6 address"
    assert told_addresses(make_peer(IPV6), OWN_WAN, lambda _: True) == (NOWHERE, IPV6)


@pytest.mark.parametrize(("target", "source", "allowed"), [
    (A, B, True),
    (UDPv4Address("192.168.1.1", 1), B, True),
    (UDPv4Address("1.2.3.4", 0), B, False),
    (UDPv4Address("1.2.3.4", 65536), B, False),
    (UDPv4Address("0.0.0.0", 5), B, False),
    (UDPv4Address("224.0.0.1", 5), B, False),
    (UDPv4Address("255.255.255.255", 5), B, False),
    (UDPv4Address("127.0.0.1", 5), B, False),
    (UDPv4Address("127.0.0.1", 5), UDPv4Address("127.0.0.1", 6), True),
    (UDPv4Address("127.0.0.1", 5), ("a.name", 6), False),
    (UDPv4Address("10.0.0.1", 8090), B, False),
    (UDPv6Address("2001:db8::1", 5), B, True),
    (UDPv6Address("ff02::1", 5), B, False),
    (UDPv6Address("::1", 5), B, False),
    (UDPv6Address("::ffff:127.0.0.1", 5), B, False),
    (UDPv4Address("abc", 5), B, False),
])
def test_only_unicast_addresses_of_others_are_sent_to(target: Any, source: Any, allowed: bool) -> None:
    assert is_sendable(target, UDPv4Address("10.0.0.1", 8090), source) is allowed


@pytest.mark.parametrize(("address", "expected"), [
    (UDPv4Address("0.0.0.0", 5), False), (UDPv4Address("1.2.3.4", 0), False), (UDPv6Address("::", 5), False),
    (UDPv4Address("255.255.255.255", 5), False), (UDPv4Address("1.2.3.4", 5), True), (UDPv6Address("1::2", 5), True),
])
def test_nobody_is_nowhere(address: Any, expected: bool) -> None:
    assert is_somewhere(address) is expected
