from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.endpoint import Endpoint
from ipv8.messaging.interfaces.gate import Route
from ipv8.messaging.interfaces.network_stats import DropCounter, NetworkStat
from ipv8.messaging.interfaces.statistics_endpoint import (
    IDS_DEPRECATED,
    IDS_INTRODUCTION,
    IDS_PUNCTURE,
    StatisticsEndpoint,
)
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ipv8.messaging.address import Address
    from tests.messaging.interfaces.conftest import Collector

PREFIX = b"\x00\x02" + b"A" * 20
OTHER = b"\x00\x02" + b"B" * 20
SOURCE = ("1.2.3.4", 5)


class Inner(Endpoint):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[Any, ...]] = []
        self.running = False
        self.bytes_up = 7

    def assert_open(self) -> None:
        assert self.running

    def is_open(self) -> bool:
        return self.running

    def get_address(self) -> Address:
        return ("9.9.9.9", 9)

    def send(self, socket_address: Address, packet: bytes, *more: Any) -> None:
        self.sent.append((socket_address, packet, *more))

    async def open(self) -> bool:
        self.running = True
        return True

    def close(self) -> Awaitable[None] | None:
        self.running = False
        return None

    def reset_byte_counters(self) -> None:
        self.bytes_up = 0


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def stats(inner: Inner) -> StatisticsEndpoint:
    inner.running = True
    return StatisticsEndpoint(inner)


def test_message_id_groups() -> None:
    assert IDS_INTRODUCTION == [245, 246]
    assert IDS_PUNCTURE == [249, 250]
    assert IDS_DEPRECATED == [235, 236, 237, 238, 239, 240, 241, 242, 243, 244, 247, 248, 251, 252, 253, 254, 255]


async def test_the_other_endpoint_does_the_work(inner: Inner) -> None:
    stats = StatisticsEndpoint(inner)
    assert stats.endpoint is inner
    assert inner._listeners == [stats]
    with pytest.raises(AssertionError):
        stats.assert_open()
    assert await stats.open() is True
    stats.assert_open()
    assert stats.is_open()
    assert stats.get_address() == ("9.9.9.9", 9)
    assert stats.bytes_up == 7
    stats.reset_byte_counters()
    assert inner.bytes_up == 0
    assert stats.prefixlen == 22
    assert stats.drops is inner.drops
    stats.close()
    assert not inner.running
    with pytest.raises(AttributeError):
        _ = stats.wan_address


async def test_other_kinds_of_endpoints() -> None:
    mock = StatisticsEndpoint(AutoMockEndpoint())
    assert await mock.open()
    assert mock.get_address() == mock.wan_address
    mock.close()
    dispatcher = StatisticsEndpoint(DispatcherEndpoint(["UDPIPv4"], UDPIPv4={"ip": "127.0.0.1"}))
    assert await dispatcher.open()
    assert list(dispatcher.interfaces) == ["UDPIPv4"]
    assert dispatcher.get_address("UDPIPv4") == dispatcher.get_address(interface="UDPIPv4")
    dispatcher.send(("127.0.0.1", 5), b"data", "UDPIPv4")
    assert dispatcher.bytes_up == 4
    closing = dispatcher.close()
    assert closing is not None
    await closing


def test_optional_abilities_are_those_of_the_other_endpoint() -> None:
    class Anonymous(Inner):
        SOCKET_FAMILY = 7
        asked: tuple[bytes, bool] | None = None

        def set_anonymity(self, prefix: bytes, enable: bool) -> None:
            self.asked = prefix, enable

    inner = Anonymous()
    inner.interfaces = {"one": inner}
    inner.bytes_down = 3
    stats = StatisticsEndpoint(inner)
    assert (stats.SOCKET_FAMILY, stats.interfaces, stats.bytes_up, stats.bytes_down) == (7, {"one": inner}, 7, 3)
    assert stats.gate is inner.gate
    assert stats.routes is inner.routes
    stats.mapped_address = ("9.8.7.6", 5)
    assert inner.mapped_address == stats.mapped_address == ("9.8.7.6", 5)
    assert stats.set_anonymity(PREFIX, True) is None
    assert inner.asked == (PREFIX, True)
    assert StatisticsEndpoint(Inner()).set_anonymity(PREFIX, True) is False
    stats.accept_routes(PREFIX, Route.SESSION)
    inner.add_prefix_listener(stats, PREFIX)
    assert inner.gate.entries[PREFIX].usual is None
    stats.prefixlen = 5
    assert inner.prefixlen == 5


def test_an_unfinished_copy_asks_nobody() -> None:
    unfinished = StatisticsEndpoint.__new__(StatisticsEndpoint)
    with pytest.raises(AttributeError):
        _ = unfinished.anything
    assert copy.copy(unfinished) is not unfinished


def test_listeners_are_those_of_the_other_endpoint(stats: StatisticsEndpoint, inner: Inner,
                                                   collect: type[Collector]) -> None:
    own, general, copied = collect(stats), collect(stats), collect(stats)
    stats.add_prefix_listener(own, PREFIX)
    stats.add_listener(general)
    assert inner._prefix_map == stats._prefix_map == {PREFIX: [own, stats, general]}
    assert stats.prefix_listeners(PREFIX) == [own]
    packet = (SOURCE, PREFIX + b"\x01")
    stats.notify_listeners(packet)
    stats._deliver_later(general, packet)
    assert own.packets == [packet]
    assert general.packets == [packet] * 2
    stats.remove_listener(own)
    stats.remove_listener(general)
    assert inner._prefix_map == stats._prefix_map == {}
    assert inner._listeners == stats._listeners == [stats]
    stats.notify_listeners(packet)
    assert own.packets == [packet]
    another = Inner()
    another.add_listener(copied)
    stats.copy_listeners(another)
    assert inner._listeners == [stats, copied]


def test_traffic_is_counted(stats: StatisticsEndpoint, inner: Inner, manual_clock: Any) -> None:
    stats.enable_community_statistics(PREFIX, True)
    stats.send(SOURCE, PREFIX + b"\x05data")
    manual_clock.advance(1)
    stats.send(SOURCE, PREFIX + b"\x05")
    stats.send(SOURCE, OTHER + b"\x05data")
    stats.send(SOURCE, PREFIX)
    manual_clock.advance(1)
    inner.notify_listeners((SOURCE, PREFIX + b"\x06data"))
    inner.notify_listeners((SOURCE, OTHER + b"\x06data"))
    inner.notify_listeners((SOURCE, PREFIX))
    now = clock.time()
    assert len(inner.sent) == 4
    assert {key: stat.to_dict() for key, stat in stats.get_statistics(PREFIX).items()} == {
        5: {"identifier": 5, "num_up": 2, "num_down": 0, "bytes_up": 50, "bytes_down": 0,
            "first_measured_up": now - 2, "first_measured_down": 0, "last_measured_up": now - 1,
            "last_measured_down": 0},
        6: {"identifier": 6, "num_up": 0, "num_down": 1, "bytes_up": 0, "bytes_down": 27,
            "first_measured_up": 0, "first_measured_down": now, "last_measured_up": 0, "last_measured_down": now}}
    assert stats.get_aggregate_statistics(PREFIX) == {"num_up": 2, "num_down": 1, "bytes_up": 50, "bytes_down": 27,
                                                      "diff_time": 2}
    assert OTHER not in stats.statistics


def test_enabling_keeps_and_disabling_forgets(stats: StatisticsEndpoint) -> None:
    stats.enable_community_statistics(PREFIX, True)
    stats.send(SOURCE, PREFIX + b"\x05data")
    stats.enable_community_statistics(PREFIX, True)
    assert stats.get_message_sent(PREFIX) == 1
    stats.enable_community_statistics(PREFIX, False)
    stats.enable_community_statistics(PREFIX, False)
    assert stats.get_statistics(PREFIX) == {}
    assert stats.get_message_sent(PREFIX) == 0


def test_counting_by_hand(stats: StatisticsEndpoint, manual_clock: Any) -> None:
    stats.add_sent_stat(PREFIX, 1, 10)
    stats.add_sent_stat(PREFIX, 1, 10, 5.0)
    stats.add_received_stat(PREFIX, 2, 20)
    stats.add_received_stat(PREFIX, 2, 20, 6.0)
    first, second = stats.statistics[PREFIX][1], stats.statistics[PREFIX][2]
    assert (first.num_up, first.bytes_up, first.first_measured_up, first.last_measured_up) == (
        2, 20, manual_clock.now, 5.0)
    assert (second.num_down, second.bytes_down, second.first_measured_down, second.last_measured_down) == (
        2, 40, manual_clock.now, 6.0)


@pytest.mark.parametrize(("measured", "expected"), [
    ([(0, 0, 1, 5)], 4), ([(2, 6, 1, 5)], 5), ([(3, 7, 2, 6), (1, 0, 2, 5)], 6), ([], 0), ([(0, 0, 0, 0)], 0)])
def test_time_between_first_and_last_packet(stats: StatisticsEndpoint, measured: list[tuple[float, ...]],
                                            expected: float) -> None:
    stats.enable_community_statistics(PREFIX, True)
    for identifier, values in enumerate(measured):
        stat = stats.statistics[PREFIX][identifier] = NetworkStat(identifier)
        (stat.first_measured_up, stat.last_measured_up, stat.first_measured_down, stat.last_measured_down) = values
    assert stats.get_aggregate_statistics(PREFIX)["diff_time"] == expected
    assert stats.get_aggregate_statistics(OTHER) == {"num_up": 0, "num_down": 0, "bytes_up": 0, "bytes_down": 0,
                                                     "diff_time": 0}


def test_groups_are_left_out_unless_asked_for(stats: StatisticsEndpoint) -> None:
    for identifier, times in ((1, 1), (231, 2), (246, 4), (250, 8), (255, 16)):
        for _ in range(times):
            stats.add_sent_stat(PREFIX, identifier, 100)
            stats.add_received_stat(PREFIX, identifier, 1000)
    for sums, unit in ((stats.get_message_sent, 1), (stats.get_message_received, 1), (stats.get_bytes_sent, 100),
                       (stats.get_bytes_received, 1000)):
        assert sums(PREFIX) == 3 * unit
        assert sums(PREFIX, include_introduction=True) == 7 * unit
        assert sums(PREFIX, include_puncture=True) == 11 * unit
        assert sums(PREFIX, include_deprecated=True) == 19 * unit
        assert sums(PREFIX, True, True, True) == 31 * unit
        assert sums(OTHER, True, True, True) == 0
    assert stats.is_excluded(245, False, True, True)
    assert not stats.is_excluded(245, True, False, False)
    assert not stats.is_excluded(231, False, False, False)


def test_watching_is_not_handling(stats: StatisticsEndpoint, inner: Inner, collect: type[Collector]) -> None:
    own = collect(stats)
    own.drops = DropCounter(undecodable=1)  # as overlays have it
    stats.add_prefix_listener(own, PREFIX)
    inner.notify_listeners((SOURCE, OTHER + b"\x01"))
    assert stats.get_drops() == {DropCounter.UNKNOWN_PREFIX: 1}
    assert stats.get_drops(PREFIX) == {DropCounter.UNKNOWN_PREFIX: 1, DropCounter.UNDECODABLE: 1}


def test_the_ip_version_is_that_of_the_other_endpoint() -> None:
    assert not StatisticsEndpoint(UDPEndpoint()).is_ipv6_listener
