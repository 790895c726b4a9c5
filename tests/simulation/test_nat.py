"""Translators and firewalls against the definitions of RFC 4787."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.test.simulation import NAT, Dependence, Firewall, PortAllocation, Translator
from ipv8.test.simulation.nat import FIRST_PORT, LAST_PORT, MAX_PERMISSIONS, Permissions

EIM, ADM, APDM = Dependence
INSIDE = UDPv4Address("192.168.1.2", 8090)
OTHER_INSIDE = UDPv4Address("192.168.1.3", 8090)
REMOTE = UDPv4Address("21.0.0.1", 1000)
SAME_HOST = UDPv4Address("21.0.0.1", 2000)
OTHER_HOST = UDPv4Address("22.0.0.1", 1000)
EXTERNAL_IP = "20.0.0.1"
SHARED_PORTS = [rule for rule in PortAllocation if rule is not PortAllocation.PER_CONNECTION]


def make(**behaviour: Any) -> Translator:
    return Translator(replace(NAT(), **behaviour), EXTERNAL_IP, random.Random(1))


@pytest.mark.parametrize(("mapping", "same_for_port", "same_for_host"), [
    (EIM, True, True),
    (ADM, True, False),
    (APDM, False, False),
])
@pytest.mark.parametrize("ports", SHARED_PORTS)
def test_mapping(mapping: Dependence, ports: PortAllocation, same_for_port: bool, same_for_host: bool) -> None:
    nat = make(mapping=mapping, ports=ports)
    external = nat.outbound(INSIDE, REMOTE, 0)
    assert external is not None
    assert external.ip == EXTERNAL_IP
    assert nat.outbound(INSIDE, REMOTE, 1) == external
    assert (nat.outbound(INSIDE, SAME_HOST, 1) == external) is same_for_port
    assert (nat.outbound(INSIDE, OTHER_HOST, 1) == external) is same_for_host
    assert nat.outbound(OTHER_INSIDE, REMOTE, 1) != external


@pytest.mark.parametrize(("filtering", "other_port", "other_host"), [
    (EIM, True, True),
    (ADM, True, False),
    (APDM, False, False),
])
@pytest.mark.parametrize("mapping", Dependence)
def test_filtering(mapping: Dependence, filtering: Dependence, other_port: bool, other_host: bool) -> None:
    nat = make(mapping=mapping, filtering=filtering)
    external = nat.outbound(INSIDE, REMOTE, 0)
    assert external is not None
    assert nat.inbound(REMOTE, external, 1) == INSIDE
    assert (nat.inbound(SAME_HOST, external, 1) == INSIDE) is other_port
    assert (nat.inbound(OTHER_HOST, external, 1) == INSIDE) is other_host


@pytest.mark.parametrize("behaviour", [NAT.FULL_CONE, NAT.ADDRESS_RESTRICTED, NAT.PORT_RESTRICTED, NAT.SYMMETRIC])
def test_nothing_comes_in_before_something_went_out(behaviour: NAT) -> None:
    nat = Translator(behaviour, EXTERNAL_IP)
    assert nat.inbound(REMOTE, UDPv4Address(EXTERNAL_IP, 8090), 0) is None


def test_ports_are_preserved_unless_taken() -> None:
    nat = make(ports=PortAllocation.PRESERVING)
    assert nat.outbound(INSIDE, REMOTE, 0) == (EXTERNAL_IP, 8090)
    assert nat.outbound(OTHER_INSIDE, REMOTE, 0) == (EXTERNAL_IP, 8091)


def test_sequential_ports_follow_each_other_and_wrap() -> None:
    nat = make(mapping=APDM, ports=PortAllocation.SEQUENTIAL)
    nat._last_port = LAST_PORT - 1
    destinations = [UDPv4Address("21.0.0.1", port) for port in (1, 2, 3)]
    ports = [external.port for to in destinations if (external := nat.outbound(INSIDE, to, 0)) is not None]
    assert ports == [LAST_PORT, FIRST_PORT, FIRST_PORT + 1]


def test_random_ports_are_spread_and_unique() -> None:
    nat = make(mapping=APDM, ports=PortAllocation.RANDOM)
    ports = {external.port for n in range(1, 501) if (external := nat.outbound(INSIDE, (REMOTE.ip, n), 0)) is not None}
    assert len(ports) == 500
    assert min(ports) < 10_000
    assert max(ports) > 55_000
    assert sum(port + 1 in ports for port in ports) < 50


def test_ports_run_out_and_come_back_when_mappings_expire() -> None:
    nat = make(mapping=APDM, ports=PortAllocation.SEQUENTIAL, timeout=60)
    for number in range(LAST_PORT - FIRST_PORT + 1):
        assert nat.outbound(INSIDE, UDPv4Address(f"21.0.{number // 60000}.1", number % 60000 + 1), 0) is not None
    assert nat.outbound(INSIDE, OTHER_HOST, 30) is None
    assert nat.outbound(INSIDE, OTHER_HOST, 61) is not None


def test_mapping_times_out() -> None:
    nat = make(filtering=EIM, timeout=120, ports=PortAllocation.RANDOM)
    external = nat.outbound(INSIDE, REMOTE, 0)
    assert external is not None
    assert nat.inbound(REMOTE, external, 120) == INSIDE
    assert nat.inbound(REMOTE, external, 121) is None
    assert nat.outbound(INSIDE, REMOTE, 121) != external


@pytest.mark.parametrize("refreshed", [True, False])
@pytest.mark.parametrize("filtering", Dependence)
def test_inbound_packets_refresh_only_if_told_so(refreshed: bool, filtering: Dependence) -> None:
    nat = make(timeout=120, refreshed_by_inbound=refreshed, filtering=filtering)
    external = nat.outbound(INSIDE, REMOTE, 0)
    assert external is not None
    assert nat.inbound(REMOTE, external, 100) == INSIDE
    assert (nat.inbound(REMOTE, external, 200) == INSIDE) is refreshed


def test_outbound_packets_refresh() -> None:
    nat = make(timeout=120)
    external = nat.outbound(INSIDE, REMOTE, 0)
    assert external is not None
    assert nat.outbound(INSIDE, REMOTE, 100) == external
    assert nat.inbound(REMOTE, external, 200) == INSIDE


def test_permission_of_one_remote_expires_while_the_mapping_lives() -> None:
    nat = make(timeout=120)
    external = nat.outbound(INSIDE, REMOTE, 0)
    assert external is not None
    nat.outbound(INSIDE, OTHER_HOST, 100)
    assert nat.inbound(REMOTE, external, 150) is None
    assert nat.inbound(OTHER_HOST, external, 150) == INSIDE


def test_one_to_one_translator_changes_only_the_address() -> None:
    nat = Translator(NAT.ONE_TO_ONE, EXTERNAL_IP)
    nat.expose(INSIDE.ip)
    nat.expose(OTHER_INSIDE.ip)  # comes too late
    assert nat.inbound(REMOTE, UDPv4Address(EXTERNAL_IP, 4000), 0) == (INSIDE.ip, 4000)
    assert nat.outbound(INSIDE, REMOTE, 0) == (EXTERNAL_IP, INSIDE.port)


def test_other_hosts_do_not_get_the_ports_of_the_exposed_one() -> None:
    nat = Translator(NAT.ONE_TO_ONE, EXTERNAL_IP)
    nat.expose(INSIDE.ip)
    assert nat.outbound(INSIDE, REMOTE, 0) == (EXTERNAL_IP, INSIDE.port)
    other = nat.outbound(OTHER_INSIDE, REMOTE, 0)
    assert other is not None
    assert other != (EXTERNAL_IP, INSIDE.port)
    assert nat.inbound(REMOTE, UDPv4Address(EXTERNAL_IP, INSIDE.port), 0) == INSIDE
    assert nat.inbound(REMOTE, other, 0) == OTHER_INSIDE


@pytest.mark.parametrize("behaviour", [NAT.LINUX_MASQUERADE, NAT.LINUX_UNPROTECTED])
def test_linux_shares_a_port_between_hosts_whose_destinations_differ(behaviour: NAT) -> None:
    nat = Translator(behaviour, EXTERNAL_IP)
    assert nat.outbound(INSIDE, REMOTE, 0) == (EXTERNAL_IP, 8090)
    assert nat.outbound(OTHER_INSIDE, OTHER_HOST, 0) == (EXTERNAL_IP, 8090)
    assert nat.outbound(OTHER_INSIDE, REMOTE, 0) != (EXTERNAL_IP, 8090)
    assert nat.inbound(REMOTE, UDPv4Address(EXTERNAL_IP, 8090), 0) == INSIDE
    assert nat.inbound(OTHER_HOST, UDPv4Address(EXTERNAL_IP, 8090), 0) == OTHER_INSIDE
    assert nat.inbound(SAME_HOST, UDPv4Address(EXTERNAL_IP, 8090), 0) is None


def test_an_early_packet_takes_the_port_from_an_unprotected_linux() -> None:
    nat = Translator(NAT.LINUX_UNPROTECTED, EXTERNAL_IP)
    external = UDPv4Address(EXTERNAL_IP, INSIDE.port)
    assert nat.outbound(INSIDE, OTHER_HOST, 0) == external
    assert nat.inbound(REMOTE, external, 1) is None
    detour = nat.outbound(INSIDE, REMOTE, 2)
    assert detour is not None
    assert detour != external
    assert nat.inbound(REMOTE, detour, 2) == INSIDE
    assert nat.inbound(REMOTE, external, 2) is None
    assert nat.outbound(INSIDE, SAME_HOST, 2) == detour, "the latest port is preferred for new destinations"
    assert nat.outbound(INSIDE, OTHER_HOST, 2) == external


def test_a_stranger_is_forgotten_after_silence() -> None:
    nat = Translator(NAT.LINUX_UNPROTECTED, EXTERNAL_IP)
    assert nat.inbound(REMOTE, UDPv4Address(EXTERNAL_IP, INSIDE.port), 0) is None
    assert nat.outbound(INSIDE, REMOTE, 31) == (EXTERNAL_IP, INSIDE.port)


def test_strangers_are_capped() -> None:
    nat = Translator(NAT.LINUX_UNPROTECTED, EXTERNAL_IP)
    for number in range(1, MAX_PERMISSIONS + 2):
        nat.inbound(UDPv4Address("21.0.0.1", number), UDPv4Address(EXTERNAL_IP, INSIDE.port), 0)
    assert nat.outbound(INSIDE, UDPv4Address("21.0.0.1", 1), 0) == (EXTERNAL_IP, INSIDE.port)


def test_a_protected_linux_is_not_impressed_by_an_early_packet() -> None:
    nat = Translator(NAT.LINUX_MASQUERADE, EXTERNAL_IP)
    assert nat.inbound(REMOTE, UDPv4Address(EXTERNAL_IP, INSIDE.port), 0) is None
    assert nat.outbound(INSIDE, REMOTE, 0) == (EXTERNAL_IP, INSIDE.port)


@pytest.mark.parametrize("behaviour", [
    {"ports": PortAllocation.PER_CONNECTION}, {"tracks_strangers": True},
    {"ports": PortAllocation.PER_CONNECTION, "mapping": APDM, "filtering": EIM},
])
def test_what_makes_no_sense_is_refused(behaviour: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ports per connection"):
        NAT(**behaviour)


@pytest.mark.parametrize("behaviour", [*(NAT(mapping=mapping) for mapping in Dependence), NAT.LINUX_MASQUERADE])
def test_forwarded_port_is_open_to_everybody_for_good(behaviour: NAT) -> None:
    nat = Translator(behaviour, EXTERNAL_IP)
    assert nat.forward(INSIDE, 4000, 0)
    assert not nat.forward(OTHER_INSIDE, 4000, 0)
    assert nat.inbound(OTHER_HOST, UDPv4Address(EXTERNAL_IP, 4000), 1e6) == INSIDE
    assert nat.outbound(INSIDE, REMOTE, 1e6) == (EXTERNAL_IP, 4000)


def test_restart_forgets_everything() -> None:
    nat = make()
    external = nat.outbound(INSIDE, REMOTE, 0)
    assert external is not None
    nat.reset("20.0.0.2")
    assert len(nat) == 0
    assert nat.inbound(REMOTE, external, 0) is None
    assert nat.outbound(INSIDE, REMOTE, 0) == ("20.0.0.2", 8090)


def test_permissions_are_capped() -> None:
    permissions = Permissions(APDM, 120)
    for number in range(MAX_PERMISSIONS + 1):
        permissions.grant(UDPv4Address("21.0.0.1", number), 0)
    assert not permissions.admit(UDPv4Address("21.0.0.1", 0), 0, refresh=False)
    assert permissions.admit(UDPv4Address("21.0.0.1", 1), 0, refresh=False)


@pytest.mark.parametrize(("filtering", "remote"), [*product(Dependence, [REMOTE, SAME_HOST, OTHER_HOST])])
def test_firewall(filtering: Dependence, remote: UDPv4Address) -> None:
    firewall = Firewall(filtering, timeout=60)
    assert not firewall.inbound(remote, INSIDE, 0)
    firewall.outbound(INSIDE, REMOTE, 0)
    assert firewall.inbound(remote, INSIDE, 30) is (filtering.key(remote) == filtering.key(REMOTE))
    assert not firewall.inbound(remote, OTHER_INSIDE, 30)
    assert not firewall.inbound(REMOTE, INSIDE, 91)


def test_firewall_for_ipv6() -> None:
    inside, remote = UDPv6Address("2a00::1", 1), UDPv6Address("2a01::1", 2)
    firewall = Firewall()
    firewall.outbound(inside, remote, 0)
    assert firewall.inbound(remote, inside, 1)


addresses = st.builds(UDPv4Address, st.sampled_from(["21.0.0.1", "22.0.0.1"]), st.integers(1, 4))
insiders = st.builds(UDPv4Address, st.sampled_from(["10.0.0.2", "10.0.0.3"]), st.integers(2000, 2002))
behaviours = st.builds(NAT, st.sampled_from(Dependence), st.sampled_from(Dependence), st.sampled_from(SHARED_PORTS),
                       timeout=st.just(10), refreshed_by_inbound=st.booleans())


@settings(deadline=None, max_examples=100)
@given(behaviours, st.lists(st.tuples(insiders, addresses, st.integers(0, 15)), max_size=30))
def test_every_answer_reaches_who_asked_and_nobody_else(behaviour: NAT, packets: list[Any]) -> None:
    nat = Translator(behaviour, EXTERNAL_IP, random.Random(1))
    now = 0
    owners: dict[UDPv4Address, tuple[UDPv4Address, int]] = {}
    for inside, remote, pause in packets:
        now += pause
        external = nat.outbound(inside, remote, now)
        assert external is not None
        assert FIRST_PORT <= external.port <= LAST_PORT
        owner, used = owners.get(external, (inside, now))
        assert owner == inside or now - used > behaviour.timeout, "two hosts share a port"
        owners[external] = inside, now
        assert nat.inbound(remote, external, now) == inside
        assert nat.inbound(remote, external, now + behaviour.timeout) == inside
        stranger = UDPv4Address("99.0.0.1", 1)
        assert (nat.inbound(stranger, external, now) is None) is (behaviour.filtering is not EIM)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([NAT.LINUX_MASQUERADE, NAT.LINUX_UNPROTECTED]),
       st.lists(st.tuples(insiders, addresses, st.booleans(), st.integers(0, 45)), max_size=30))
def test_linux_delivers_every_answer_to_who_asked(behaviour: NAT, packets: list[Any]) -> None:
    nat = Translator(behaviour, EXTERNAL_IP, random.Random(1))
    now = 0
    for inside, remote, has_early_packet, pause in packets:
        now += pause
        if has_early_packet:
            nat.inbound(remote, UDPv4Address(EXTERNAL_IP, inside.port), now)
        external = nat.outbound(inside, remote, now)
        assert external is not None
        assert nat.outbound(inside, remote, now) == external
        assert nat.inbound(remote, external, now + behaviour.timeout) == inside
        assert nat.inbound(UDPv4Address("99.0.0.1", 1), external, now) is None
