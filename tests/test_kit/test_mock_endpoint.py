from __future__ import annotations

import asyncio
import random
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import entropy
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_lan_addresses
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.test.mocking.endpoint import (
    AddressTester,
    AutoMockEndpoint,
    MockEndpoint,
    MockEndpointListener,
    MockLink,
    MockNAT,
    crash_event_loop,
    internet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipv8.messaging.address import Address


@pytest.fixture(autouse=True)
def empty_internet() -> Iterator[None]:
    internet.clear()
    yield
    internet.clear()


def make(number: int) -> tuple[MockEndpoint, MockEndpointListener]:
    endpoint = MockEndpoint(UDPv4Address(f"10.0.0.{number}", number), UDPv4Address(f"{number}.2.3.4", 1000 + number))
    endpoint.open()
    return endpoint, MockEndpointListener(endpoint)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_both_addresses_are_registered() -> None:
    endpoint = MockEndpoint(("10.0.0.1", 1), ("1.2.3.4", 5))
    assert internet == {("10.0.0.1", 1): endpoint, ("1.2.3.4", 5): endpoint}
    assert (endpoint.lan_address, endpoint.wan_address, endpoint._port) == (("10.0.0.1", 1), ("1.2.3.4", 5), 1)
    assert endpoint.get_address() == ("1.2.3.4", 5)


def test_opening_is_synchronous() -> None:
    endpoint = MockEndpoint(("10.0.0.1", 1), ("1.2.3.4", 5))
    assert not endpoint.is_open()
    with pytest.raises(AssertionError):
        endpoint.assert_open()
    endpoint.open()
    assert endpoint.is_open()
    endpoint.assert_open()
    endpoint.close(1.0)
    assert not endpoint.is_open()
    assert len(internet) == 2


async def test_packets_come_later_and_from_the_wan_address() -> None:
    (ours, _), (theirs, listener) = make(1), make(2)
    ours.send(theirs.lan_address, b"to the LAN address")
    ours.send(theirs.wan_address, b"to the WAN address")
    assert listener.received_packets == []
    await settle()
    assert listener.received_packets == [(ours.wan_address, b"to the LAN address"),
                                         (ours.wan_address, b"to the WAN address")]
    assert not listener.use_main_thread
    assert ours.bytes_up == theirs.bytes_down == 36
    ours.reset_byte_counters()
    theirs.reset_byte_counters()
    assert ours.bytes_up == theirs.bytes_down == 0


async def test_closed_endpoints() -> None:
    (ours, _), (theirs, listener) = make(1), make(2)
    theirs.close()
    ours.send(theirs.wan_address, b"data")
    await settle()
    ours.close()
    ours.send(theirs.wan_address, b"data")
    ours.send(("6.6.6.6", 6), b"data")
    await settle()
    assert listener.received_packets == []
    assert theirs.bytes_down == 0
    assert ours.drops == {DropCounter.SEND_CLOSED: 2}


async def test_other_ports_of_a_host() -> None:
    ours, theirs = make(1), make(2)
    host, port = theirs[0].wan_address
    ours[0].send((host, port + 1), b"packet")
    assert ours[0].drops == {DropCounter.SEND_FAILED: 1}


@pytest.mark.parametrize("to_loop", [True, False])
async def test_unknown_destinations(to_loop: bool) -> None:
    ours, _ = make(1)
    ours.SEND_INET_EXCEPTION_TO_LOOP = to_loop
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    with pytest.raises(AssertionError, match=r"6\.6\.6\.6") as caught:
        ours.send(("6.6.6.6", 6), b"data")
    expected = [caught.value] if to_loop else []
    await settle()
    assert failures == expected


async def test_crash_event_loop() -> None:
    with pytest.raises(ZeroDivisionError):
        await crash_event_loop(ZeroDivisionError())


class Failing(MockEndpointListener):
    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        raise ValueError("the test should fail")


async def test_what_listeners_raise_goes_to_the_event_loop() -> None:
    ours, _ = make(1)
    theirs = MockEndpoint(("10.0.0.2", 2), ("2.2.2.2", 2))
    theirs.open()
    Failing(theirs)
    listener = MockEndpointListener(theirs)
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context["exception"])))
    ours.send(theirs.wan_address, b"data")
    await settle()
    assert failures == ["the test should fail"]
    assert len(listener.received_packets) == 1


def test_what_listeners_raise_without_an_event_loop_goes_to_the_caller() -> None:
    endpoint, _ = make(1)
    Failing(endpoint)
    with pytest.raises(ValueError, match="the test should fail"):
        endpoint.notify_listeners((("1.1.1.1", 1), b"data"))


def test_automatic_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoMockEndpoint, "IPV6_ADDRESSES", False)
    endpoints = [AutoMockEndpoint() for _ in range(50)]
    assert len(internet) == 100
    for endpoint in endpoints:
        assert type(endpoint.wan_address) is type(endpoint.lan_address) is UDPv4Address
        assert ip_address(endpoint.wan_address[0]).is_global
        assert 0 < endpoint.wan_address[1] < 65536
        assert endpoint._port == 0
        assert not endpoint.is_open()


def test_automatic_ipv6_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoMockEndpoint, "IPV6_ADDRESSES", True)
    for _ in range(50):
        address = AutoMockEndpoint().wan_address
        assert type(address) is UDPv6Address
        assert str(IPv6Address(address[0])) == address[0]


def test_automatic_addresses_are_unique(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates: list[Address] = [("9.9.9.9", 9), ("9.9.9.9", 9), ("8.8.8.8", 8), ("7.7.7.7", 7)]
    own = {"8.8.8.8"}

    class Scripted(AutoMockEndpoint):
        def _generate_address(self) -> Address:
            return candidates.pop(0)

    class Provider:
        def get_addresses_buffered(self) -> set[str]:
            return own

    monkeypatch.setitem(get_lan_addresses.__globals__, "get_providers", lambda: [Provider()])
    internet["9.9.9.9", 9] = MockEndpoint(("1.1.1.1", 1), ("1.1.1.1", 2))
    candidates += [("6.6.6.6", 6)]
    endpoint = Scripted()
    assert (endpoint.lan_address, endpoint.wan_address) == (("7.7.7.7", 7), ("6.6.6.6", 6))


def test_address_tester(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddressTester, "singleton", None)
    endpoint, _ = make(1)
    tester = AddressTester.get_singleton(endpoint)
    assert AddressTester.get_singleton(make(2)[0]) is tester
    assert not tester.is_lan("1.2.3.4")
    tester.on_packet((("1.2.3.4", 5), b"data"))


# Networks that are less than perfect


async def test_lossy_links() -> None:
    (ours, _), (theirs, listener) = make(1), make(2)
    ours.link = MockLink(loss=0.5)
    with entropy.use(random.Random(1)):
        for number in range(100):
            ours.send(theirs.wan_address, bytes([number]))
    while len(listener.received_packets) < 40:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    await settle()
    assert 40 <= len(listener.received_packets) <= 60
    assert ours.link.trace == [(ours.wan_address, theirs.wan_address, bytes([number])) for number in range(100)]


async def test_packets_overtake_each_other() -> None:
    (ours, _), (theirs, listener) = make(1), make(2)
    ours.link = MockLink(latency=0.001, jitter=0.01)
    with entropy.use(random.Random(1)):
        for number in range(20):
            ours.send(theirs.wan_address, bytes([number]))
    while len(listener.received_packets) < 20:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    data = [packet for _, packet in listener.received_packets]
    assert sorted(data) == [bytes([number]) for number in range(20)]
    assert data != sorted(data)


@pytest.mark.parametrize(("nat", "same_ip_passes"),
                         [(MockNAT.ADDRESS_RESTRICTED, True), (MockNAT.PORT_RESTRICTED, False)])
async def test_restricted_translators(nat: MockNAT, same_ip_passes: bool) -> None:
    (hidden, listener), (server, server_listener) = make(1), make(2)
    stranger, _ = make(3)
    neighbour = MockEndpoint(("10.9.9.9", 9), UDPv4Address(server.wan_address[0], 4))
    neighbour.open()
    hidden.nat = nat
    server.send(hidden.wan_address, b"before")
    for _ in range(10):
        await settle()
    assert listener.received_packets == []
    hidden.send(server.wan_address, b"punch")
    await settle()
    assert server_listener.received_packets == [(hidden.wan_address, b"punch")]
    stranger.send(hidden.wan_address, b"stranger")
    neighbour.send(hidden.wan_address, b"same ip")
    server.send(hidden.wan_address, b"answer")
    while (server.wan_address, b"answer") not in listener.received_packets:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    assert ((neighbour.wan_address, b"same ip") in listener.received_packets) is same_ip_passes
    assert len(listener.received_packets) == 1 + same_ip_passes


async def test_symmetric_translators() -> None:
    (hidden, listener), (first, first_listener), (second, second_listener) = make(1), make(2), make(3)
    hidden.nat = MockNAT.SYMMETRIC
    hidden.send(first.wan_address, b"data")
    hidden.send(first.wan_address, b"data")
    hidden.send(second.wan_address, b"data")
    await settle()
    (seen_by_first, _), (again, _) = first_listener.received_packets
    ((seen_by_second, _),) = second_listener.received_packets
    assert seen_by_first == again
    assert seen_by_first[0] == seen_by_second[0] == hidden.wan_address[0]
    assert len({seen_by_first, seen_by_second, hidden.wan_address}) == 3
    first.send(seen_by_second, b"not for you")
    first.send(hidden.wan_address, b"not mapped")
    first.send(seen_by_first, b"answer")
    while not listener.received_packets:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    await settle()
    assert listener.received_packets == [(first.wan_address, b"answer")]
