"""Counts of packets, bytes and times of handlers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import RelayedAddress, UDPv4Address
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.gate import Route
from ipv8.messaging.interfaces.meter import BOUNDS, MAX_COUNTS, OTHER, MessageCount, TrafficMeter
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.messaging.interfaces.udp.filter import SourceFilter
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.messaging.interfaces.conftest import Collector

SOURCE = UDPv4Address("1.2.3.4", 5)
PREFIX = b"\x00\x02" + b"A" * 20
OTHER_PREFIX = b"\x00\x02" + b"B" * 20


@pytest.fixture
def endpoint() -> AutoMockEndpoint:
    made = AutoMockEndpoint()
    made.open()
    return made


@pytest.fixture
def target() -> UDPv4Address:
    """Where somebody else is."""
    other = AutoMockEndpoint()
    other.open()
    return UDPv4Address(*other.wan_address)


@pytest.fixture
def meter(endpoint: AutoMockEndpoint) -> TrafficMeter:
    meter = endpoint.gate.meter = TrafficMeter()
    return meter


def counted(meter: TrafficMeter, key: bytes) -> tuple[int, int, int, int]:
    count = meter.counts[key]
    return count.packets_up, count.packets_down, count.bytes_up, count.bytes_down


async def test_it_counts_by_prefix_and_message(endpoint: AutoMockEndpoint, meter: TrafficMeter, target: UDPv4Address,
                                               collect: type[Collector]) -> None:
    own = collect(endpoint)
    endpoint.add_prefix_listener(own, PREFIX)
    for packet in (b"\x01", b"\x01data", b"\x02"):
        endpoint.notify_listeners((SOURCE, PREFIX + packet))
    endpoint.send(target, PREFIX + b"\x01more")
    assert counted(meter, PREFIX + b"\x01") == (1, 2, 27, 50)
    assert counted(meter, PREFIX + b"\x02") == (0, 1, 0, 23)
    total = meter.totals()
    assert (total.packets_up, total.packets_down, total.bytes_up, total.bytes_down) == (1, 3, 27, 73)
    assert len(own.packets) == 3


def test_what_comes_inside_is_no_traffic_of_sockets(endpoint: AutoMockEndpoint, meter: TrafficMeter,
                                                    collect: type[Collector]) -> None:
    endpoint.add_prefix_listener(collect(endpoint), PREFIX)
    endpoint.accept_routes(PREFIX, Route.SOCKET | Route.SESSION)
    endpoint.gate.receive((SOURCE, PREFIX + b"\x01"), Route.SESSION)
    endpoint.send(RelayedAddress("2001:21::1", 1), PREFIX + b"\x01")
    meter.count_inside(PREFIX + b"\x01", 10)
    done: list[int] = []
    meter.measure(PREFIX + b"\x01", 5, done.append, 1)
    assert done == [1]
    assert counted(meter, PREFIX + b"\x01") == (2, 2, 33, 28)
    total = meter.totals()
    assert total.packets_up == total.packets_down == total.bytes_up == total.bytes_down == 0
    assert sum(meter.counts[PREFIX + b"\x01"].buckets) == 2


async def test_packets_of_nobody_are_counted_together(
    endpoint: AutoMockEndpoint, meter: TrafficMeter, target: UDPv4Address, collect: type[Collector],
) -> None:
    endpoint.add_prefix_listener(collect(endpoint), PREFIX)
    for number in range(300):
        endpoint.notify_listeners((SOURCE, OTHER_PREFIX[:-1] + number.to_bytes(2, "big")))
    endpoint.notify_listeners((SOURCE, PREFIX))
    endpoint.notify_listeners((SOURCE, b""))
    endpoint.send(target, b"short")
    assert set(meter.counts) == {OTHER}
    assert counted(meter, OTHER)[:2] == (1, 302)


def test_there_are_not_more_counts_than_the_limit(endpoint: AutoMockEndpoint, meter: TrafficMeter,
                                                  collect: type[Collector]) -> None:
    for number in range(MAX_COUNTS):
        meter.counts[number.to_bytes(4, "big")] = MessageCount()
    endpoint.add_prefix_listener(collect(endpoint), PREFIX)
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert PREFIX + b"\x01" not in meter.counts
    assert counted(meter, OTHER)[1] == 1


def advance(clock: Any, seconds: float, _: Any) -> None:
    clock.advance(seconds)


def test_the_time_of_handlers(endpoint: AutoMockEndpoint, meter: TrafficMeter, collect: type[Collector],
                              manual_clock: Any) -> None:
    own = collect(endpoint)
    endpoint.add_prefix_listener(own, PREFIX)
    for seconds in (*[0.0002] * 98, 0.02, 0.3):
        own.hook = partial(advance, manual_clock, seconds)
        endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    count = meter.counts[PREFIX + b"\x01"]
    assert sum(count.buckets) == count.packets_down == 100
    assert count.seconds == pytest.approx(98 * 0.0002 + 0.02 + 0.3, abs=1e-3)
    assert count.longest == pytest.approx(0.3, abs=1e-3)
    assert count.quantile(0.5) == 0.00025
    assert count.quantile(0.99) == 0.025
    assert count.quantile(1.0) == pytest.approx(0.3, abs=1e-3)
    assert MessageCount().quantile(0.5) is None
    assert meter.slow_count == 1
    ((when, seconds, key),) = meter.slow
    assert when == pytest.approx(manual_clock.time())
    assert key == PREFIX + b"\x01"
    assert seconds == pytest.approx(0.3, abs=1e-3)


def test_a_handler_that_raises_is_counted(endpoint: AutoMockEndpoint, meter: TrafficMeter,
                                          collect: type[Collector]) -> None:
    own = collect(endpoint)
    own.hook = partial(advance, None, 1.0)
    endpoint.add_prefix_listener(own, PREFIX)
    with pytest.raises(AttributeError):  # this endpoint does not catch it
        endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert counted(meter, PREFIX + b"\x01")[1] == 1
    with pytest.raises(ZeroDivisionError):
        meter.measure(PREFIX + b"\x01", 5, lambda: 1 / 0)
    assert counted(meter, PREFIX + b"\x01")[1] == 2
    assert sum(meter.counts[PREFIX + b"\x01"].buckets) == 2


def test_counts_can_be_added() -> None:
    one, other = MessageCount(), MessageCount()
    one.packets_up, one.bytes_up, one.seconds, one.longest = 1, 10, 0.5, 0.5
    other.packets_up, other.bytes_up, other.packets_down, other.seconds, other.longest = 2, 20, 3, 0.25, 0.25
    one.buckets[3], other.buckets[3], other.buckets[len(BOUNDS)] = 1, 2, 3
    one.merge(other)
    assert (one.packets_up, one.packets_down, one.bytes_up, one.seconds, one.longest) == (3, 3, 30, 0.75, 0.5)
    assert (one.buckets[3], one.buckets[-1]) == (3, 3)


def test_what_is_no_packet(endpoint: AutoMockEndpoint, meter: TrafficMeter) -> None:
    sent: list[Any] = []
    endpoint.gate.meter = None
    endpoint.send = lambda *packet: sent.append(packet)  # type: ignore[method-assign]  # as tests do it
    endpoint.gate.meter = meter
    for packet in (None, 5, bytearray(b"1234")):
        endpoint.send(SOURCE, packet)  # type: ignore[arg-type]
    assert len(sent) == 3
    assert set(meter.counts) == {OTHER}


def test_it_costs_nothing_when_it_is_not_used(endpoint: AutoMockEndpoint) -> None:
    before = dict(vars(endpoint)), {name: value for name, value in vars(endpoint.gate).items() if name != "_replaced"}
    endpoint.gate.meter = TrafficMeter()
    assert {"send", "send_many"} <= vars(endpoint).keys()
    endpoint.trace = lambda _: None
    endpoint.gate.meter = None
    endpoint.trace = None
    assert endpoint.gate.meter is None
    after = dict(vars(endpoint)), {name: value for name, value in vars(endpoint.gate).items() if name != "_replaced"}
    assert after == before


def test_a_replaced_send_is_kept(endpoint: AutoMockEndpoint) -> None:
    sent: list[Any] = []

    def send(*packet: Any) -> None:
        sent.append(packet)

    endpoint.send = send  # type: ignore[assignment, method-assign]  # as tests do it
    endpoint.gate.meter = meter = TrafficMeter()
    endpoint.send(SOURCE, PREFIX + b"\x01")
    assert len(sent) == meter.totals().packets_up == 1
    assert endpoint._sends_singly()
    endpoint.gate.meter = None
    assert endpoint.send is send


async def test_with_a_filter_and_a_trace(endpoint: AutoMockEndpoint, meter: TrafficMeter, target: UDPv4Address,
                                         collect: type[Collector]) -> None:
    endpoint.add_prefix_listener(collect(endpoint), PREFIX)
    endpoint.source_filter = SourceFilter(10.0, 10.0)
    events: list[Any] = []
    endpoint.trace = events.append
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    endpoint.source_filter.ban(SOURCE[0], 60)
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    endpoint.send(target, PREFIX + b"\x01")
    assert counted(meter, PREFIX + b"\x01")[:2] == (1, 1)
    assert [event.verdict for event in events] == ["delivered", "banned", "sent"]


def test_interfaces_share_it() -> None:
    interface = UDPEndpoint()
    interface.gate.meter = own = TrafficMeter()
    endpoint = DispatcherEndpoint(["UDPIPv4"])
    assert endpoint.gate.meter is None
    endpoint.add_interface("another", interface)
    assert endpoint.gate.meter is own
    assert StatisticsEndpoint(endpoint).gate.meter is own
    endpoint.gate.meter = None
    assert interface.gate.meter is None


@pytest.fixture
async def sockets() -> AsyncIterator[tuple[DispatcherEndpoint, UDPEndpoint]]:
    sender = DispatcherEndpoint(["UDPIPv4"], UDPIPv4={"ip": "127.0.0.1"})
    receiver = UDPEndpoint(ip="127.0.0.1")
    await sender.open()
    await receiver.open()
    yield sender, receiver
    await sender.close()
    receiver.close()


async def test_many_packets_still_go_by_one_call(sockets: tuple[DispatcherEndpoint, UDPEndpoint],
                                                 collect: type[Collector]) -> None:
    sender, receiver = sockets
    sender.add_prefix_listener(collect(AutoMockEndpoint()), PREFIX)
    calls: list[int] = []
    interface = sender.interfaces["UDPIPv4"]
    assert isinstance(interface, UDPEndpoint)
    transport: Any = interface._transport
    transmit = transport.transmit_many

    def count(packets: Any, address: Any) -> int:
        calls.append(len(packets))
        return int(transmit(packets, address))

    transport.transmit_many = count
    target = UDPv4Address(*receiver.get_address())
    packets = [PREFIX + b"\x01"] * 5
    sender.send(target, packets[0])  # so that the address is known
    sender.gate.meter = meter = TrafficMeter()
    sender.send_many(target, packets)
    assert calls == [5]
    assert counted(meter, PREFIX + b"\x01") == (5, 0, 115, 0)
    assert meter.totals().packets_up == 5
    sender.trace = lambda _: None
    sender.send_many(target, packets)
    assert calls == [5]
    assert meter.totals().packets_up == 10
    assert sender._has_sent_to(target)
    assert not sender._has_sent_to(SOURCE)


def test_endpoints_that_do_not_remember_destinations(endpoint: AutoMockEndpoint) -> None:
    assert endpoint._has_sent_to(SOURCE)
    assert StatisticsEndpoint(endpoint)._has_sent_to(SOURCE)
