"""The state behind NAT traversal: expected punctures, how our address is translated, where others may be."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.contact.nat import (
    DETOUR_LIMIT,
    EXPECTED_LIFETIME,
    EXPECTED_LIMIT,
    OBSERVER_LIFETIME,
    OBSERVER_LIMIT,
    PREDICTED_PORTS,
    SOURCES_PER_INTRODUCTION,
    AddressMapping,
    Detours,
    ExpectedPunctures,
    MappingDetector,
    PeerPath,
    predicted_addresses,
)
from ipv8.messaging.address import UDPv4Address, UDPv6Address

LAN, WAN = UDPv4Address("192.168.1.5", 8090), UDPv4Address("8.8.8.8", 5000)
OTHER_PORT = UDPv4Address("8.8.8.8", 6000)


def test_another_port_of_an_introduced_host_is_revealed_once() -> None:
    expected = ExpectedPunctures()
    expected.note(7, [LAN, WAN])
    assert expected.reveals(7, OTHER_PORT)
    assert not expected.reveals(7, OTHER_PORT)


@pytest.mark.parametrize(("identifier", "source"), [
    (8, OTHER_PORT), (7, WAN), (7, UDPv4Address("9.9.9.9", 5000)),
])
def test_other_punctures_reveal_nothing(identifier: int, source: Any) -> None:
    expected = ExpectedPunctures()
    expected.note(7, [LAN, WAN])
    assert not expected.reveals(identifier, source)


def test_an_introduction_reveals_few_addresses() -> None:
    expected = ExpectedPunctures()
    expected.note(7, [WAN])
    revealed = [expected.reveals(7, UDPv4Address("8.8.8.8", 6000 + number)) for number in range(20)]
    assert sum(revealed) == SOURCES_PER_INTRODUCTION


def test_punctures_are_expected_for_a_while(manual_clock: Any) -> None:
    expected = ExpectedPunctures()
    expected.note(7, [WAN])
    manual_clock.advance(EXPECTED_LIFETIME + 1)
    assert not expected.reveals(7, OTHER_PORT)


def test_so_many_punctures_are_expected() -> None:
    expected = ExpectedPunctures()
    for identifier in range(EXPECTED_LIMIT + 1):
        expected.note(identifier, [WAN])
    assert not expected.reveals(0, OTHER_PORT)
    assert expected.reveals(1, OTHER_PORT)


def observed(*addresses: Any) -> MappingDetector:
    detector = MappingDetector()
    for number, address in enumerate(addresses):
        detector.observe(UDPv4Address(f"1.2.{number}.4", 5), address)
    return detector


@pytest.mark.parametrize(("ports", "expected"), [
    ((), AddressMapping.UNKNOWN),
    ((1, 2), AddressMapping.UNKNOWN),
    ((1, 1, 1), AddressMapping.ENDPOINT_INDEPENDENT),
    ((1, 2, 3), AddressMapping.ENDPOINT_DEPENDENT),
    ((1, 1, 2), AddressMapping.ENDPOINT_INDEPENDENT),
    ((1, 1, 2, 2), AddressMapping.ENDPOINT_INDEPENDENT),
    ((1, 2, 3, 4, 5, 5), AddressMapping.ENDPOINT_DEPENDENT),
])
def test_mappings_are_told_apart(ports: tuple[int, ...], expected: str) -> None:
    assert observed(*(UDPv4Address("8.8.8.8", port) for port in ports)).mapping(LAN) == expected


def test_no_translation_is_recognised() -> None:
    assert observed(WAN, WAN, WAN).mapping(WAN) == AddressMapping.NONE


def test_different_hosts_tell_nothing() -> None:
    addresses = [UDPv4Address(f"8.8.8.{number}", 5) for number in range(3)]
    assert observed(*addresses).mapping(LAN) == AddressMapping.UNKNOWN


def test_one_network_has_one_voice() -> None:
    detector = observed(WAN, WAN, WAN)
    for port in range(50):
        detector.observe(UDPv4Address("66.6.6.6", port), UDPv4Address("8.8.8.8", port))
    assert detector.mapping(LAN) == AddressMapping.ENDPOINT_INDEPENDENT


def test_observations_age_and_are_limited(manual_clock: Any) -> None:
    detector = observed(*(UDPv4Address("8.8.8.8", number) for number in range(20)))
    assert detector.mapping(LAN) == AddressMapping.ENDPOINT_DEPENDENT
    assert len(detector._seen) == OBSERVER_LIMIT
    manual_clock.advance(OBSERVER_LIFETIME + 1)
    assert detector.mapping(LAN) == AddressMapping.UNKNOWN


def test_the_next_ports_are_predicted() -> None:
    assert predicted_addresses(WAN) == [UDPv4Address("8.8.8.8", 5001 + number) for number in range(PREDICTED_PORTS)]
    assert predicted_addresses(UDPv4Address("8.8.8.8", 65534)) == [UDPv4Address("8.8.8.8", 65535)]
    assert predicted_addresses(UDPv6Address("2001:db8::1", 5)) == []


def test_paths_are_remembered() -> None:
    detours = Detours()
    detours.note(OTHER_PORT, PeerPath.OBSERVED)
    assert detours.path(OTHER_PORT, False) == PeerPath.OBSERVED
    assert detours.path(WAN, False) == PeerPath.DIRECT
    assert detours.path(LAN, True) == PeerPath.LAN
    for port in range(DETOUR_LIMIT):
        detours.note(UDPv4Address("9.9.9.9", port), PeerPath.PREDICTED)
    assert detours.path(OTHER_PORT, False) == PeerPath.DIRECT
