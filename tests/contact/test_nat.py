"""NATs without sockets and clocks: our own address, expected punctures, budgets, and where others may be."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.contact.nat import (
    DETOUR_LIMIT,
    EXPECTED_LIFETIME,
    EXPECTED_LIMIT,
    OPEN_FOR,
    PREDICTED_PORTS,
    PUNCTURE_SIZE,
    PUNCTURES_AT_ONCE,
    SOURCES_PER_INTRODUCTION,
    TRACKER_LIFETIME,
    TRACKER_LIMIT,
    WITNESS_LIFETIME,
    WITNESS_LIMIT,
    AddressMapping,
    Nat,
    OwnAddressVote,
    PeerPath,
    PunctureBudget,
    Trackers,
    is_open,
    predicted_addresses,
    puncture_target,
    witness_address,
)
from ipv8.contact.targets import KEPT_FOR_WALKS, PACKETS_AT_ONCE_PER_HOST
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import RelayedAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.messaging.inet import HOST_BITS, overlay_host
from ipv8.peer import Peer

LAN, WAN = UDPv4Address("192.168.1.5", 8090), UDPv4Address("8.8.8.8", 5000)
OTHER_PORT = UDPv4Address("8.8.8.8", 6000)
IPV6 = UDPv6Address("2001:db8::5", 5)
A, B = UDPv4Address("1.2.3.4", 5), UDPv4Address("6.7.8.9", 10)


def witness(number: int) -> UDPv4Address:
    """A node in a network of its own."""
    return UDPv4Address(f"1.{number}.1.1", 1)


def peer_at(*addresses: Any) -> Peer:
    """A peer with these addresses."""
    peer = Peer(default_eccrypto.generate_key("curve25519").pub(), addresses[0])
    for address in addresses[1:]:
        peer.add_address(address)
    return peer


def observed(*addresses: Any) -> Nat:
    """What is known after nodes of different networks have told these addresses."""
    nat = Nat()
    for number, address in enumerate(addresses):
        nat.learn_own_address(peer_at(witness(number)), address, False, 0.0)
    return nat


class TestVote:
    def test_nobody_knows_at_first(self) -> None:
        assert OwnAddressVote().tally() is None

    def test_one_liar_does_not_move_us(self) -> None:
        vote = OwnAddressVote()
        for number in range(3):
            vote.hear(witness(number), A, 0.0)
        for number in range(50):
            vote.hear(UDPv4Address(f"99.99.{number}.1", 1), B, 0.0)
        assert vote.tally() == (A, 3, 3), "one network has one vote"
        assert len(vote) == 4

    @pytest.mark.parametrize(("liars", "count"), [
        ([f"2001:db8:1:{number:x}::1" for number in range(50)], 1),
        ([f"2001:db8:1:1::{number:x}" for number in range(50)], 1),
        ([f"::ffff:99.99.1.{number}" for number in range(50)], 1),
        ([f"2001:db8:{number:x}::1" for number in range(50)], WITNESS_LIMIT),
    ])
    def test_one_ipv6_site_has_one_vote(self, liars: list[str], count: int) -> None:
        vote = OwnAddressVote()
        for liar in liars:
            vote.hear(UDPv6Address(liar, 1), B, 0.0)
        assert vote.tally() == (B, count, count)

    def test_the_size_of_a_network_can_be_chosen(self) -> None:
        vote = OwnAddressVote(5, HOST_BITS)
        for number in range(9):
            vote.hear(UDPv4Address(f"1.2.3.{number}", 1), A, 0.0)
        assert vote.tally() == (A, 5, 5)

    def test_the_latest_of_equals_is_believed(self) -> None:
        vote = OwnAddressVote()
        vote.hear(witness(1), A, 0.0)
        vote.hear(witness(2), B, 0.0)
        assert vote.tally() == (B, 1, 1)

    def test_we_are_seen_to_move_when_most_say_so(self) -> None:
        vote = OwnAddressVote()
        for number in range(WITNESS_LIMIT):
            vote.hear(witness(number), A, 0.0)
        results = []
        for number in range(WITNESS_LIMIT):
            vote.hear(witness(100 + number), B, 0.0)
            result = vote.tally()
            assert result is not None
            results.append(result.address)
        assert results == [A] * 4 + [B] * 5

    def test_a_witness_that_changes_its_mind_has_one_vote(self) -> None:
        vote = OwnAddressVote()
        vote.hear(witness(1), A, 0.0)
        vote.hear(witness(1), B, 0.0)
        assert vote.tally() == (B, 1, 1)

    def test_the_host_that_most_witnesses_see_comes_first(self) -> None:
        vote = OwnAddressVote()
        for number, port in enumerate((1000, 1000, 1001)):
            vote.hear(witness(number), UDPv4Address("1.2.3.4", port), 0.0)
        for number in range(2):
            vote.hear(witness(100 + number), B, 0.0)
        assert vote.tally() == (("1.2.3.4", 1000), 2, 3)

    def test_old_votes_can_be_left_out(self) -> None:
        vote = OwnAddressVote()
        vote.hear(witness(1), A, 1.0)
        vote.hear(witness(2), A, 2.0)
        vote.hear(witness(3), B, 3.0)
        assert vote.tally(2.5) == (B, 1, 1)
        assert vote.tally(4.0) is None
        assert vote.tally() == (A, 2, 2)


class TestOwnAddress:
    def test_each_family_has_a_vote(self) -> None:
        nat = Nat()
        assert [nat.learn_own_address(peer_at(witness(number)), WAN, False, 0.0) for number in range(3)] == [WAN] * 3
        dual = peer_at(UDPv6Address("2001:db8:7::1", 1), A)
        assert nat.learn_own_address(dual, IPV6, False, 0.0) == IPV6
        assert nat.learn_own_address(dual, OTHER_PORT, False, 0.0) == WAN

    def test_a_liar_about_our_ipv6_address_is_outvoted(self) -> None:
        nat = Nat()
        for number in range(3):
            nat.learn_own_address(peer_at(UDPv6Address(f"2001:db8:{number:x}::1", 1)), IPV6, False, 0.0)
        liar = peer_at(UDPv6Address("2001:db8:66::1", 1))
        assert nat.learn_own_address(liar, UDPv6Address("2001:db8::66", 6), False, 0.0) == IPV6

    def test_there_is_no_vote_on_private_addresses(self) -> None:
        nat = observed(WAN, WAN, WAN)
        assert nat.learn_own_address(peer_at(B), LAN, True, 0.0) == LAN
        assert nat.learn_own_address(peer_at(B), WAN, False, 0.0) == WAN

    @pytest.mark.parametrize("own", [
        UDPv4Address("0.0.0.0", 0), UDPv4Address("255.255.255.255", 5), UDPv4Address("7.7.7.7", 0),
        UDPv6Address("::", 5), UDPv6Address(overlay_host(bytes(20)), 1),
    ])
    def test_nobody_tells_us_that_we_are_nowhere(self, own: Any) -> None:
        nat = Nat()
        assert nat.learn_own_address(peer_at(A, IPV6), own, False, 0.0) is None
        assert nat.learn_own_address(peer_at(A), WAN, False, 0.0) == WAN

    @pytest.mark.parametrize(("addresses", "seen", "expected"), [
        ([A], WAN, A),
        ([A, IPV6], WAN, A),
        ([A, IPV6], UDPv6Address("::5", 5), IPV6),
        ([IPV6], WAN, None),
        ([A], UDPv6Address("::5", 5), None),
        ([("1.2.3.4", 5)], WAN, A),
        ([IPV6, UDPv4LANAddress(*LAN)], WAN, None),
        ([UDPv4LANAddress(*LAN)], WAN, None),
        ([RelayedAddress("2001:21::1", 1)], IPV6, None),
        ([RelayedAddress("2001:21::1", 1), A], WAN, A),
    ])
    def test_a_witness_must_have_an_address_of_that_family(self, addresses: Any, seen: Any, expected: Any) -> None:
        assert witness_address(peer_at(*addresses), seen) == expected
        assert Nat().learn_own_address(peer_at(*addresses), seen, False, 0.0) == (seen if expected else None)


class TestMapping:
    @pytest.mark.parametrize(("ports", "expected", "told"), [
        ((), AddressMapping.UNKNOWN, "unknown"),
        ((1, 2), AddressMapping.UNKNOWN, "unknown"),
        ((1, 1, 1), AddressMapping.ENDPOINT_INDEPENDENT, "unknown"),
        ((1, 2, 3), AddressMapping.ENDPOINT_DEPENDENT, "symmetric-NAT"),
        ((1, 1, 2), AddressMapping.ENDPOINT_INDEPENDENT, "unknown"),
        ((1, 1, 2, 2), AddressMapping.ENDPOINT_INDEPENDENT, "unknown"),
        ((1, 2, 3, 4, 5, 5), AddressMapping.ENDPOINT_DEPENDENT, "symmetric-NAT"),
    ])
    def test_mappings_are_told_apart(self, ports: tuple[int, ...], expected: str, told: str) -> None:
        nat = observed(*(UDPv4Address("8.8.8.8", port) for port in ports))
        assert nat.mapping(LAN, 0.0) == expected
        assert nat.connection_type(LAN, 0.0) == told

    def test_no_translation_is_recognised(self) -> None:
        nat = observed(WAN, WAN, WAN)
        assert nat.mapping(WAN, 0.0) == AddressMapping.NONE
        assert nat.connection_type(WAN, 0.0) == "public"

    def test_different_hosts_tell_nothing(self) -> None:
        addresses = [UDPv4Address(f"8.8.8.{number}", 5) for number in range(3)]
        assert observed(*addresses).mapping(LAN, 0.0) == AddressMapping.UNKNOWN

    def test_one_network_does_not_decide(self) -> None:
        nat = observed(WAN, WAN, WAN)
        for port in range(1, 50):
            address = UDPv4Address(f"66.66.{port}.6", 1)
            nat.learn_own_address(peer_at(address), UDPv4Address("8.8.8.8", port), False, 0.0)
        assert nat.mapping(LAN, 0.0) == AddressMapping.ENDPOINT_INDEPENDENT

    def test_our_ipv6_address_tells_nothing_about_our_nat(self) -> None:
        nat = Nat()
        for number in range(5):
            nat.learn_own_address(peer_at(UDPv6Address(f"2001:db8:{number}::1", 1)),
                                  UDPv6Address("2001:db8::5", number + 1), False, 0.0)
        assert nat.mapping(LAN, 0.0) == AddressMapping.UNKNOWN

    def test_observations_age(self) -> None:
        nat = observed(*(UDPv4Address("8.8.8.8", number) for number in range(1, 20)))
        assert nat.mapping(LAN, WITNESS_LIFETIME) == AddressMapping.ENDPOINT_DEPENDENT
        assert nat.mapping(LAN, WITNESS_LIFETIME + 1) == AddressMapping.UNKNOWN


class TestPunctures:
    def test_another_port_of_an_introduced_host_is_revealed_once(self) -> None:
        nat = Nat()
        nat.expect_puncture(7, [LAN, WAN], 0.0)
        assert nat.learn_from_puncture(7, OTHER_PORT, 0.0)
        assert not nat.learn_from_puncture(7, OTHER_PORT, 0.0)

    @pytest.mark.parametrize(("identifier", "source"), [
        (8, OTHER_PORT), (7, WAN), (7, UDPv4Address("9.9.9.9", 5000)),
    ])
    def test_other_punctures_reveal_nothing(self, identifier: int, source: Any) -> None:
        nat = Nat()
        nat.expect_puncture(7, [LAN, WAN], 0.0)
        assert not nat.learn_from_puncture(identifier, source, 0.0)

    def test_an_introduction_reveals_few_addresses(self) -> None:
        nat = Nat()
        nat.expect_puncture(7, [WAN], 0.0)
        revealed = [nat.learn_from_puncture(7, UDPv4Address("8.8.8.8", 6000 + number), 0.0) for number in range(20)]
        assert sum(told is not None for told in revealed) == SOURCES_PER_INTRODUCTION

    def test_punctures_are_expected_for_a_while(self) -> None:
        nat = Nat()
        nat.expect_puncture(7, [WAN], 0.0)
        assert not nat.learn_from_puncture(7, OTHER_PORT, EXPECTED_LIFETIME)
        nat.expect_puncture(7, [WAN], 100.0)
        assert nat.learn_from_puncture(7, OTHER_PORT, 100.0 + EXPECTED_LIFETIME - 1)

    def test_so_many_punctures_are_expected(self) -> None:
        nat = Nat()
        for identifier in range(EXPECTED_LIMIT + 1):
            nat.expect_puncture(identifier, [WAN], 0.0)
        assert not nat.learn_from_puncture(0, OTHER_PORT, 0.0)
        assert nat.learn_from_puncture(1, OTHER_PORT, 0.0)

    def test_strangers_pay(self) -> None:
        budget = PunctureBudget()
        received = served = 0
        for number in range(100):
            received += 45
            served += budget.allow(B, UDPv4Address(f"1.1.1.{number}", 1), False, 45, 0.0)
        assert served
        assert served * PUNCTURE_SIZE <= received

    def test_acquaintances_are_served_up_to_their_budget(self) -> None:
        budget = PunctureBudget()
        served = sum(budget.allow(B, UDPv4Address(f"1.1.{n}.1", 1), True, 45, 0.0) for n in range(200))
        assert served == PUNCTURES_AT_ONCE
        assert budget.allow(B, A, True, 45, 1.0)

    def test_the_hosts_of_an_ipv6_subnet_are_one_acquaintance(self) -> None:
        budget = PunctureBudget()
        served = sum(budget.allow(UDPv6Address(f"2001:db8::{n:x}", 1), UDPv4Address(f"1.1.{n}.1", 1), True, 45, 0.0)
                     for n in range(200))
        assert served == PUNCTURES_AT_ONCE

    @pytest.mark.parametrize("targets", [[A] * 200, [UDPv6Address(f"2001:db8::{n:x}", 1) for n in range(200)]])
    def test_one_target_is_not_flooded_for_many_acquaintances(self, targets: list[Any]) -> None:
        budget = PunctureBudget()
        served = sum(budget.allow(UDPv4Address(f"9.9.9.{n}", 1), target, True, 45, 0.0)
                     for n, target in enumerate(targets))
        assert served == PACKETS_AT_ONCE_PER_HOST - KEPT_FOR_WALKS

    def test_they_go_to_the_lan_address_behind_our_own_nat(self) -> None:
        assert puncture_target(LAN, WAN, OTHER_PORT) == LAN
        assert puncture_target(LAN, WAN, A) == WAN

    def test_an_open_way_needs_none(self) -> None:
        peer = Peer(default_eccrypto.generate_key("curve25519").pub(), A)
        assert not is_open(None, 0.0)
        assert not is_open(peer, 0.0)
        peer.last_heard = 100.0
        assert not is_open(peer, 100.0), "the sender of the packet may not have been there"
        peer.proven = True
        assert is_open(peer, 100.0 + OPEN_FOR - 1)
        assert not is_open(peer, 100.0 + OPEN_FOR)


class TestTrackers:
    """Whose puncture requests count: the addresses of bootstrap servers are public, so anybody can forge them."""

    def test_one_that_answered_is_in_contact_for_a_while(self) -> None:
        trackers = Trackers()
        assert not trackers.is_in_contact(A, 0.0)
        trackers.note_answer(A, b"key", 0.0)
        assert trackers.is_in_contact(A, TRACKER_LIFETIME - 1)
        assert not trackers.is_in_contact(B, 0.0)
        assert not trackers.is_in_contact(A, TRACKER_LIFETIME)

    def test_its_own_requests_keep_it_in_contact(self) -> None:
        trackers = Trackers()
        trackers.note_answer(A, b"key", 0.0)
        trackers.note_request(A, b"key", WAN, UDPv4Address(WAN[0], 7), 200.0)
        assert trackers.is_in_contact(A, 200.0 + TRACKER_LIFETIME - 1)

    @pytest.mark.parametrize(("key", "sent_to"), [(b"other", WAN), (b"key", A)])
    def test_requests_of_others_or_for_others_do_not(self, key: bytes, sent_to: Any) -> None:
        trackers = Trackers()
        trackers.note_request(A, b"key", WAN, WAN, 0.0)
        assert not trackers.is_in_contact(A, 0.0), "it never answered"
        trackers.note_answer(A, b"key", 0.0)
        trackers.note_request(A, key, sent_to, WAN, 200.0)
        assert not trackers.is_in_contact(A, TRACKER_LIFETIME)

    def test_few_are_remembered(self) -> None:
        trackers = Trackers()
        for port in range(TRACKER_LIMIT + 1):
            trackers.note_answer(UDPv4Address("1.2.3.4", port), b"key", 0.0)
        assert not trackers.is_in_contact(UDPv4Address("1.2.3.4", 0), 0.0)
        assert trackers.is_in_contact(UDPv4Address("1.2.3.4", 1), 0.0)


class TestPaths:
    def test_the_next_ports_are_predicted(self) -> None:
        assert predicted_addresses(WAN) == [UDPv4Address("8.8.8.8", 5001 + number) for number in range(PREDICTED_PORTS)]
        assert predicted_addresses(UDPv4Address("8.8.8.8", 65534)) == [UDPv4Address("8.8.8.8", 65535)]
        assert predicted_addresses(IPV6) == []

    def test_a_second_try_goes_to_the_next_ports_as_well(self) -> None:
        nat = Nat()
        assert nat.second_tries(OTHER_PORT, LAN, WAN, False, 0.0) == [OTHER_PORT], "no puncture is expected"
        nat.expect_puncture(7, [OTHER_PORT], 0.0)
        tries = nat.second_tries(OTHER_PORT, LAN, WAN, False, 0.0)
        assert tries == [OTHER_PORT, *predicted_addresses(OTHER_PORT)]
        assert nat.second_tries(OTHER_PORT, LAN, WAN, False, EXPECTED_LIFETIME) == [OTHER_PORT], "it is late"

    @pytest.mark.parametrize("source", [OTHER_PORT, UDPv4Address("8.8.8.8", 7777)])
    def test_a_puncture_that_came_needs_no_prediction(self, source: Any) -> None:
        nat = Nat()
        nat.expect_puncture(7, [OTHER_PORT], 0.0)
        nat.learn_from_puncture(7, source, 0.0)
        assert nat.second_tries(OTHER_PORT, LAN, WAN, False, 0.0) == [OTHER_PORT]

    def test_a_second_try_without_prediction(self) -> None:
        nat = Nat()
        assert nat.second_tries(OTHER_PORT, WAN, WAN, False, 0.0) == [], "there is no NAT on our side"
        assert nat.second_tries(OTHER_PORT, LAN, WAN, True, 0.0) == [OTHER_PORT]
        strict = observed(*(UDPv4Address("8.8.8.8", port) for port in range(1, 4)))
        strict.expect_puncture(7, [OTHER_PORT], 0.0)
        assert strict.second_tries(OTHER_PORT, LAN, WAN, False, 0.0) == [OTHER_PORT]

    def test_paths_are_remembered(self) -> None:
        nat = Nat()
        nat.note_path(OTHER_PORT, PeerPath.OBSERVED)
        assert nat.path_to(OTHER_PORT, False) == PeerPath.OBSERVED
        assert nat.path_to(WAN, False) == PeerPath.DIRECT
        assert nat.path_to(LAN, True) == PeerPath.LAN
        for port in range(DETOUR_LIMIT):
            nat.note_path(UDPv4Address("9.9.9.9", port), PeerPath.PREDICTED)
        assert nat.path_to(OTHER_PORT, False) == PeerPath.DIRECT
