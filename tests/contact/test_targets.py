"""Addresses that others name: which are refused, and how much is sent to the rest."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipv8.contact.targets import (
    AMPLIFICATION,
    CREDIT_LIFETIME,
    CREDIT_LIMIT,
    KEPT_FOR_WALKS,
    PACKETS_AT_ONCE_PER_HOST,
    PACKETS_PER_SECOND_PER_HOST,
    SMALLEST_RESPONSE,
    HostKind,
    Targets,
    is_on_link,
    is_target,
    kind_of_host,
    same_address,
)
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.lan_addresses.addressprovider import AddressProvider, broadcasts_of
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint

A, B = UDPv4Address("1.2.3.4", 5), UDPv4Address("6.7.8.9", 10)
LOCAL, LINK = UDPv4Address("127.0.0.1", 6), UDPv4Address("169.254.3.4", 6)
LOCAL6, LINK6 = UDPv6Address("::1", 6), UDPv6Address("fe80::7", 6)
REQUEST = 195

REFUSED_IPV4 = ["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.118.56", "240.1.1.1", "255.255.255.255", "169.254.169.254",
                "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"]
REFUSED_IPV6 = ["::", "ff02::1", "ff0e::1", "2001:20::1", "2001:21::1", "2001:2f:ffff::1", "fd00:ec2::254",
                "fd20:ce::254"]
GOOD = ["8.8.8.8", "10.0.0.7", "192.168.1.255", "100.64.0.1", "130.161.1.1", "2001:db8::1", "2a00::1", "fd00::1",
        "2001:30::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


def forms_of(host: str) -> list[str]:
    """The IPv6 addresses that contain an IPv4 address."""
    number = int(IPv4Address(host))
    return [f"::ffff:{host}", str(IPv6Address(number)) if number > 1 else "::",
            str(IPv6Address((0x64ff9b << 96) | number)),
            str(IPv6Address((0x64ff9b0001 << 80) | number)), str(IPv6Address((0x2002 << 112) | number << 80 | 1)),
            str(IPv6Address((0x20010000 << 96) | number ^ 0xffffffff))]


@pytest.mark.parametrize("host", REFUSED_IPV4 + REFUSED_IPV6 + ["a.name", "", "1.2.3", "1" * 300])
@pytest.mark.parametrize("source", [A, LOCAL, LINK, LINK6])
def test_nobody_may_name_these(host: str, source: Any) -> None:
    assert kind_of_host(host) is HostKind.REFUSED
    assert not is_target((host, 5), source)


@pytest.mark.parametrize("host", [*REFUSED_IPV4, "127.0.0.1", "127.1.2.3", "169.254.3.4"])
def test_nobody_may_hide_them_in_an_ipv6_address(host: str) -> None:
    for form in forms_of(host):
        assert not is_target((form, 5), A), form
        assert form == "::" or not is_target((form, 5), LOCAL6), form


@given(st.one_of(st.ip_addresses(v=4, network="127.0.0.0/8"), st.ip_addresses(v=4, network="224.0.0.0/3"),
                 st.ip_addresses(v=4, network="0.0.0.0/8"), st.ip_addresses(v=4, network="169.254.0.0/16")))
def test_whole_networks_are_refused_in_every_form(host: IPv4Address) -> None:
    for form in (str(host), *forms_of(str(host))):
        assert not is_target((form, 5), A)


@pytest.mark.parametrize("host", GOOD)
def test_everybody_may_name_these(host: str) -> None:
    assert is_target((host, 5), A)


class Anything:
    """A provider of a program, which tells no more than it must."""


class Wired(AddressProvider):
    """Knows one interface."""

    def get_addresses(self) -> set[str]:
        self.broadcasts = broadcasts_of("192.168.1.130", 25)
        return {"192.168.1.130"}


@pytest.mark.parametrize(("host", "allowed"), [
    ("192.168.1.255", False), ("192.168.1.128", False), ("::ffff:192.168.1.255", False), ("192.168.1.127", True),
    ("192.168.1.129", True), ("10.0.0.7", True), ("10.255.255.255", True)])
def test_nobody_may_name_all_hosts_of_a_link_of_this_machine(host: str, allowed: bool) -> None:
    provider = Wired()
    provider.discover_addresses()
    get_providers().extend([provider, Anything()])  # type: ignore[list-item]  # programs do so
    for source in (A, UDPv4Address("192.168.1.131", 5)):
        assert is_target((host, 5), source) is allowed
    get_providers().clear()
    assert is_target((host, 5), A)


@pytest.mark.parametrize(("target", "source", "allowed"), [
    (LOCAL, LOCAL, True), (LOCAL, LOCAL6, True), (LOCAL6, LOCAL, True), (LOCAL, A, False), (LOCAL6, LINK6, False),
    (LINK, LINK, True), (LINK6, LINK6, True), (LINK6, A, False), (LINK, LOCAL, False), (LOCAL, ("a.name", 6), False),
    (UDPv6Address("fe80::1%eth0", 5), LINK6, True),
])
def test_what_is_near_is_for_those_who_are_near(target: Any, source: Any, allowed: bool) -> None:
    assert is_target(target, source) is allowed


@pytest.mark.parametrize("port", [0, -1, 65536, "5", None, True])
def test_there_must_be_a_port(port: Any) -> None:
    assert not is_target(("8.8.8.8", port), A)


@pytest.mark.parametrize(("mine", "named"), [
    (A, UDPv4Address("1.2.3.4", 5)), (A, UDPv6Address("::ffff:1.2.3.4", 5)), (A, ("2002:102:304::1", 5)),
    (UDPv6Address("2001:db8::1", 7), UDPv6Address("2001:0db8:0:0::1", 7)), (("a", 1), ("a", 1)),
])
def test_a_node_does_not_send_to_itself(mine: Any, named: Any) -> None:
    assert same_address(mine, named)
    assert not is_target(named, B, [B, mine])
    assert not same_address(mine, (named[0], named[1] + 1))
    assert is_target((mine[0], mine[1] + 1), B, [B, mine]) is (mine[0] != "a"), "others may share its host"


@pytest.mark.parametrize(("host", "own", "near"), [
    ("127.0.0.1", [], True), ("169.254.3.4", ["8.8.8.8"], True), ("fe80::1%eth0", [], True), ("224.0.0.1", [], False),
    ("192.168.5.7", ["10.0.0.1"], True), ("192.168.5.7", ["8.8.8.8"], False), ("192.168.5.7", ["127.0.0.1"], True),
    ("8.8.8.8", ["192.168.1.1"], False), ("8.8.8.8", ["8.8.8.1", "10.0.0.1"], True), ("8.8.8.8", ["8.8.9.1"], False),
    ("2001:db8:1::1", ["2001:db8:1::2"], True), ("2a00:1::1", ["2a00:2::1"], False), ("2a00:1::1", ["2a00:1::2"], True),
    ("8.8.8.8", [], False), ("fd00::1", ["fd00::2"], True),
])
def test_who_is_on_the_link(host: str, own: list[str], near: bool) -> None:
    assert is_on_link(host, own) is near


class TestBudgets:
    def test_what_this_program_chose_is_not_limited(self) -> None:
        targets = Targets()
        assert all(targets.may_walk(A, REQUEST, False, 0.0) for _ in range(1000))

    @given(st.integers(150, 3000), st.lists(st.tuples(st.integers(0, 2), st.integers(50, 500)), max_size=60))
    def test_an_introduction_pays_for_three_times_its_bytes(self, size: int, walks: list[tuple[int, int]]) -> None:
        targets, addresses = Targets(), [UDPv4Address("8.8.8.8", 1), UDPv4Address("10.0.0.7", 2), B]
        targets.introduce(addresses, size, 0.0)
        sent = sum(bytes_ for which, bytes_ in walks if targets.may_walk(addresses[which], bytes_, True, 0.0))
        assert sent <= AMPLIFICATION * size

    def test_three_requests_fit_into_the_smallest_one(self) -> None:
        targets = Targets()
        targets.introduce([A, B], SMALLEST_RESPONSE, 0.0)
        walks = [targets.may_walk(address, REQUEST, True, 0.0) for address in (A, B, A, B, A)]
        assert walks == [True, True, True, False, False]
        assert targets.is_spent(A, REQUEST, 0.0)
        assert not targets.may_walk(A, REQUEST, False, 1.0), "whoever walks there now"
        assert targets.may_walk(B, REQUEST, True, CREDIT_LIFETIME), "later it counts anew"

    def test_another_port_shares_what_is_left(self) -> None:
        targets, other = Targets(), UDPv4Address("1.2.3.4", 6)
        targets.share(A, [other], 0.0)
        targets.introduce([A], SMALLEST_RESPONSE, 0.0)
        targets.share(A, [other], 0.0)
        assert targets.may_walk(A, REQUEST, True, 0.0)
        assert [targets.may_walk(other, REQUEST, False, 0.0) for _ in range(3)] == [True, True, False]

    @pytest.mark.parametrize("host", ["66.6.6.6", "2001:db8::{:x}"])
    def test_a_host_gets_little_whoever_names_it(self, host: str) -> None:
        targets = Targets()

        def walks(now: float) -> int:
            named = [(host.format(number + 1), number + 1) for number in range(500)]
            targets.introduce(named, 1_000_000, now)
            return sum(targets.may_walk(address, REQUEST, True, now) for address in named)

        assert walks(0.0) == PACKETS_AT_ONCE_PER_HOST
        assert walks(10.0) == 10 * PACKETS_PER_SECOND_PER_HOST

    def test_forged_packets_leave_something_for_walks(self) -> None:
        targets = Targets()
        assert sum(targets.may_answer(A, 0.0) for _ in range(500)) == PACKETS_AT_ONCE_PER_HOST - KEPT_FOR_WALKS
        targets.introduce([A], SMALLEST_RESPONSE, 0.0)
        assert targets.may_walk(A, REQUEST, True, 0.0)

    def test_nodes_of_one_machine_are_not_limited_together(self) -> None:
        targets = Targets()
        for port in range(1, 500):
            targets.introduce([("127.0.0.1", port)], SMALLEST_RESPONSE, 0.0)
            assert targets.may_walk(("127.0.0.1", port), REQUEST, True, 0.0)

    def test_credits_are_few(self) -> None:
        targets = Targets()
        targets.introduce([UDPv4Address("8.8.8.8", port) for port in range(1, CREDIT_LIMIT + 100)], 1, 0.0)
        assert len(targets._credits._entries) == CREDIT_LIMIT
        targets.release()
        assert not targets._credits._entries

    def test_all_overlays_of_an_endpoint_share_them(self) -> None:
        endpoint, other = UDPEndpoint(), UDPEndpoint()
        assert Targets.of(endpoint) is Targets.of(endpoint)
        assert Targets.of(endpoint) is not Targets.of(other)
        nothing: Any = object()
        assert Targets.of(nothing) is not Targets.of(nothing)
