"""The gate by itself and as the part of an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import UDPv4Address
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.gate import DELIVERIES_PER_LOOK, FIRST_BASE_MESSAGE, Burst, Entry, Gate, Route
from ipv8.messaging.interfaces.meter import TrafficMeter
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.messaging.interfaces.udp.filter import SourceFilter
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from ipv8.messaging.interfaces.endpoint import Endpoint, EndpointListener
    from tests.messaging.interfaces.conftest import Collector

SOURCE = UDPv4Address("1.2.3.4", 5)
PREFIX = b"\x00\x02" + b"A" * 20
OTHER = b"\x00\x02" + b"B" * 20
PACKET = (SOURCE, PREFIX + b"\x01data")
BASE_PACKET = (SOURCE, PREFIX + bytes((FIRST_BASE_MESSAGE,)) + b"data")
ALL = [Route.SOCKET, Route.RELAY, Route.CIRCUIT, Route.SESSION]


@pytest.fixture
def endpoint() -> Endpoint:
    made = AutoMockEndpoint()
    made.open()
    return made


def arrivals(endpoint: Endpoint, listener: Collector, packet: Any = PACKET) -> list[Route]:
    """By which routes a packet reaches a listener."""
    arrived = []
    for route in ALL:
        before = len(listener.packets)
        endpoint.gate.receive(packet, route)
        if len(listener.packets) > before:
            arrived.append(route)
    return arrived


def test_by_default_a_prefix_accepts_sockets_and_relays(endpoint: Endpoint, collect: type[Collector]) -> None:
    own = collect(endpoint)
    endpoint.add_prefix_listener(own, PREFIX)
    for packet in (PACKET, BASE_PACKET):
        endpoint.drops.clear()
        assert arrivals(endpoint, own, packet) == [Route.SOCKET, Route.RELAY]
        assert endpoint.drops == {DropCounter.WRONG_ROUTE: 2}


def test_an_anonymous_overlay_accepts_circuits_only(endpoint: Endpoint, collect: type[Collector]) -> None:
    own, other = collect(endpoint), collect(endpoint)
    endpoint.accept_routes(PREFIX, Route.CIRCUIT)
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.add_prefix_listener(other, OTHER)
    assert arrivals(endpoint, own) == arrivals(endpoint, own, BASE_PACKET) == [Route.CIRCUIT]
    assert endpoint.drops == {DropCounter.WRONG_ROUTE: 6}
    assert arrivals(endpoint, other, (SOURCE, OTHER + b"\x01")) == [Route.SOCKET, Route.RELAY]


def test_a_cautious_overlay_accepts_sessions_and_introductions_in_clear(endpoint: Endpoint,
                                                                       collect: type[Collector]) -> None:
    own = collect(endpoint)
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.accept_routes(PREFIX, Route.SESSION, base_routes=Route.SOCKET | Route.RELAY)
    assert arrivals(endpoint, own) == [Route.SESSION]
    assert arrivals(endpoint, own, BASE_PACKET) == [Route.SOCKET, Route.RELAY]
    endpoint.accept_routes(PREFIX, Route.SOCKET | Route.SESSION, base_routes=Route.SOCKET)
    assert arrivals(endpoint, own) == [Route.SOCKET, Route.SESSION]
    assert arrivals(endpoint, own, BASE_PACKET) == [Route.SOCKET]


def test_what_a_prefix_refuses_reaches_nobody(endpoint: Endpoint, collect: type[Collector]) -> None:
    own, general, observer = collect(endpoint), collect(endpoint), collect(endpoint)
    observer.observes_only = True
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.add_listener(general)
    endpoint.add_listener(observer)
    endpoint.accept_routes(PREFIX, Route.CIRCUIT)
    endpoint.notify_listeners(PACKET)
    for listener in (own, general, observer):
        endpoint._deliver_later(listener, PACKET)
    assert not (own.packets)
    assert not (general.packets)
    assert not (observer.packets)
    assert endpoint.drops == {DropCounter.WRONG_ROUTE: 4}


def test_general_listeners_hear_sockets_and_observers_hear_all_that_is_accepted(endpoint: Endpoint,
                                                                                collect: type[Collector]) -> None:
    own, general, observer = collect(endpoint), collect(endpoint), collect(endpoint)
    observer.observes_only = True
    endpoint.add_listener(general)
    endpoint.add_listener(observer)
    endpoint.add_prefix_listener(own, PREFIX)
    assert arrivals(endpoint, general) == [Route.SOCKET]
    assert arrivals(endpoint, observer) == [Route.SOCKET, Route.RELAY]
    endpoint.drops.clear()
    assert arrivals(endpoint, general, (SOURCE, OTHER + b"\x01")) == [Route.SOCKET]
    assert endpoint.drops == {DropCounter.UNKNOWN_PREFIX: 3}


def test_a_rule_ends_with_the_last_listener_of_its_prefix(endpoint: Endpoint, collect: type[Collector]) -> None:
    first, second, third = collect(endpoint), collect(endpoint), collect(endpoint)
    endpoint.add_prefix_listener(first, PREFIX)
    endpoint.add_prefix_listener(second, PREFIX)
    endpoint.accept_routes(PREFIX, Route.SESSION)
    endpoint.remove_listener(first)
    assert arrivals(endpoint, second) == [Route.SESSION]
    endpoint.remove_listener(second)
    endpoint.add_prefix_listener(third, PREFIX)
    assert arrivals(endpoint, third) == [Route.SOCKET, Route.RELAY]


def test_a_rule_needs_a_whole_prefix(endpoint: Endpoint) -> None:
    with pytest.raises(RuntimeError, match="has 22 bytes, not 21"):
        endpoint.accept_routes(PREFIX[:-1], Route.SESSION)


def test_a_listener_may_refuse_other_routes_than_sockets(endpoint: Endpoint, collect: type[Collector]) -> None:
    class Choosy(collect):  # type: ignore[misc]  # a class that the fixture gives
        def accepts_route(self, route: Route) -> bool:
            return route is Route.SESSION

    choosy, own = Choosy(endpoint), collect(endpoint)
    endpoint.add_prefix_listener(choosy, PREFIX)
    endpoint.accept_routes(PREFIX, Route.SOCKET | Route.RELAY | Route.SESSION)
    assert arrivals(endpoint, choosy) == [Route.SOCKET, Route.SESSION]
    assert endpoint.drops == {DropCounter.WRONG_ROUTE: 2}
    endpoint.add_prefix_listener(own, PREFIX)
    assert arrivals(endpoint, choosy) == [Route.SOCKET, Route.SESSION]
    assert arrivals(endpoint, own) == [Route.SOCKET, Route.RELAY, Route.SESSION]


def test_other_prefix_lengths_have_rules_too(collect: type[Collector]) -> None:
    endpoint = AutoMockEndpoint()
    endpoint.open()
    endpoint.prefixlen = 1
    own = collect(endpoint)
    endpoint.add_prefix_listener(own, b"a")
    for data in (b"a", b"ab", b"a" * 100):
        assert arrivals(endpoint, own, (SOURCE, data)) == [Route.SOCKET, Route.RELAY]
    endpoint.accept_routes(b"a", Route.SESSION, base_routes=Route.CIRCUIT)
    for data in (b"a", b"ab", b"a" * 100):
        assert arrivals(endpoint, own, (SOURCE, data)) == [Route.SESSION]
    assert arrivals(endpoint, own, (SOURCE, b"a\xff")) == [Route.CIRCUIT]


def test_the_route_is_told_while_a_packet_is_handled(endpoint: Endpoint, collect: type[Collector]) -> None:
    own, seen = collect(endpoint), []

    def note(packet: Any) -> None:
        seen.append((packet[1][-1], endpoint.gate.route))
        if packet[1].endswith(b"\x02"):
            endpoint.gate.receive((SOURCE, PREFIX + b"\x03"), Route.SOCKET)
        elif packet[1].endswith(b"\x01"):
            endpoint.gate.receive((SOURCE, PREFIX + b"\x02"), Route.RELAY)
        seen.append((packet[1][-1], endpoint.gate.route))

    own.hook = note
    endpoint.add_prefix_listener(own, PREFIX)
    assert endpoint.gate.route is Route.SOCKET
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert seen == [(1, Route.SOCKET), (2, Route.RELAY), (3, Route.SOCKET), (3, Route.SOCKET), (2, Route.RELAY),
                    (1, Route.SOCKET)]
    assert endpoint.gate.route is Route.SOCKET


def test_the_route_is_right_again_when_a_handler_fails(endpoint: Endpoint, collect: type[Collector]) -> None:
    class Strict(AutoMockEndpoint):
        def _on_listener_error(self, listener: object, error: Exception) -> None:
            raise error

    endpoint = Strict()
    endpoint.open()
    own = collect(endpoint)
    own.hook = lambda _: 1 / 0  # type: ignore[assignment]  # it fails
    endpoint.add_prefix_listener(own, PREFIX)
    with pytest.raises(ZeroDivisionError):
        endpoint.gate.receive(PACKET, Route.RELAY)
    assert endpoint.gate.route is Route.SOCKET


def test_listeners_are_dropped_and_added_in_the_middle_of_a_delivery(endpoint: Endpoint,
                                                                      collect: type[Collector]) -> None:
    first, second = collect(endpoint), collect(endpoint)
    endpoint.add_listener(first)
    endpoint.add_listener(second)
    first.hook = lambda _: endpoint.remove_listener(second)
    endpoint.gate.receive(PACKET, Route.SOCKET)
    assert (len(first.packets), len(second.packets)) == (1, 0)


def test_an_entry_is_the_list_of_its_listeners(endpoint: Endpoint, collect: type[Collector]) -> None:
    own, general = collect(endpoint), collect(endpoint)
    endpoint.add_listener(general)
    endpoint.add_prefix_listener(own, PREFIX)
    entry = endpoint.gate.entries[PREFIX]
    assert isinstance(entry, Entry)
    assert entry == [own, general]
    assert entry.own == 1
    assert list(endpoint._prefix_map) == [PREFIX]
    assert endpoint.gate.knows(own)
    assert not endpoint.gate.knows(collect(endpoint))


class TestFilter:
    """What hangs at the gate and looks at sources."""

    def test_it_looks_at_what_sockets_bring(self, endpoint: Endpoint, collect: type[Collector]) -> None:
        own = collect(endpoint)
        endpoint.add_prefix_listener(own, PREFIX)
        endpoint.source_filter = source_filter = SourceFilter(rate=1, burst=2)
        assert endpoint.source_filter is source_filter
        for _ in range(3):
            endpoint.notify_listeners(PACKET)
        assert len(own.packets) == 2
        assert endpoint.drops == {DropCounter.RATE_LIMITED: 1}
        endpoint.gate.receive(PACKET, Route.RELAY)
        assert len(own.packets) == 3, "the packet that contained it was counted already"
        source_filter.ban(SOURCE.ip, 100)
        endpoint.notify_listeners(PACKET)
        assert endpoint.drops == {DropCounter.RATE_LIMITED: 1, DropCounter.BANNED: 1}
        endpoint.source_filter = None
        endpoint.notify_listeners(PACKET)
        assert len(own.packets) == 4

    def test_it_costs_nothing_when_it_is_gone(self, endpoint: Endpoint) -> None:
        endpoint.source_filter = SourceFilter(rate=1, burst=2)
        assert "receive" in vars(endpoint.gate)
        endpoint.source_filter = None
        assert "receive" not in vars(endpoint.gate)

    def test_nobody_prepares_for_packets_that_will_be_dropped(self, endpoint: Endpoint) -> None:
        elsewhere = UDPv4Address("4.3.2.1", 5)
        packets = [PACKET, PACKET, PACKET, (elsewhere, PREFIX + b"\x01")]
        endpoint.gate.announce(packets)
        assert endpoint.gate.burst.take() == packets
        assert endpoint.gate.burst.take() == ()
        endpoint.source_filter = SourceFilter(rate=1, burst=2)
        endpoint.source_filter.ban(elsewhere.ip, 100)
        endpoint.gate.announce(packets)
        assert endpoint.gate.burst.take() == packets[:2]


class TestQueues:
    """Listeners that keep packets for later."""

    OWN, FOREIGN = (SOURCE, PREFIX + b"\x01own"), (SOURCE, OTHER + b"\x01foreign")

    @pytest.fixture
    def own(self, endpoint: Endpoint, collect: type[Collector]) -> Collector:
        made = collect(endpoint)
        made._queue_packets = lambda packets: [packet for packet in packets if packet != self.OWN]
        endpoint.add_prefix_listener(made, PREFIX)
        return made

    def test_others_are_left(self, endpoint: Endpoint, own: Collector) -> None:
        assert endpoint.gate.receive_queued([self.OWN, self.FOREIGN, self.OWN, PACKET]) == [self.FOREIGN, PACKET]
        assert own.packets == []

    def test_one_that_fails(self, collect: type[Collector]) -> None:
        def fail(_: Any) -> Any:
            raise RuntimeError("a bug")

        endpoint = UDPEndpoint()
        own = collect(endpoint)
        own._queue_packets = fail
        endpoint.add_prefix_listener(own, PREFIX)
        assert endpoint.gate.receive_queued([self.OWN]) == ()
        assert endpoint.drops == {DropCounter.LISTENER_ERROR: 1}

    def test_not_if_others_want_the_same_packets(self, endpoint: Endpoint, own: Collector,
                                                 collect: type[Collector]) -> None:
        endpoint.add_listener(collect(endpoint))
        assert endpoint.gate.receive_queued([self.OWN]) == [self.OWN]

    def test_not_what_came_by_the_wrong_route(self, endpoint: Endpoint, own: Collector) -> None:
        endpoint.accept_routes(PREFIX, Route.CIRCUIT)
        assert endpoint.gate.receive_queued([self.OWN]) == [self.OWN]

    def test_not_while_each_packet_is_looked_at(self, endpoint: Endpoint, own: Collector) -> None:
        endpoint.source_filter = SourceFilter(rate=1, burst=2)
        assert endpoint.gate.receive_queued([self.OWN]) == [self.OWN]
        endpoint.source_filter = None
        endpoint.trace = lambda _: None
        assert endpoint.gate.receive_queued([self.OWN]) == [self.OWN]
        endpoint.trace = None
        endpoint.gate.meter = TrafficMeter()  # which the listener tells what it keeps
        assert endpoint.gate.receive_queued([self.OWN]) == []

    def test_not_after_it_was_removed(self, endpoint: Endpoint, own: Collector) -> None:
        endpoint.remove_listener(own)
        assert endpoint.gate.receive_queued([self.OWN]) == [self.OWN]


class TestSome:
    """Packets that a socket had are delivered some at a time."""

    FOREIGN = (SOURCE, OTHER + b"\x01foreign")

    @staticmethod
    def packets(count: int) -> list[Any]:
        return [(SOURCE, PREFIX + b"\x01%d" % number) for number in range(count)]

    def test_in_order(self, endpoint: Endpoint, collect: type[Collector]) -> None:
        own, general = collect(endpoint), collect(endpoint)
        endpoint.add_prefix_listener(own, PREFIX)
        packets = [*self.packets(5), self.FOREIGN, (SOURCE, b"short"), *self.packets(DELIVERIES_PER_LOOK)]
        position = 0
        for expected in (DELIVERIES_PER_LOOK, 2 * DELIVERIES_PER_LOOK - 1, 15, 15):
            position = endpoint.gate.receive_some(packets, position)
            assert position == min(expected, len(packets))
        assert own.packets == [packet for packet in packets if packet[1].startswith(PREFIX)]
        assert endpoint.drops == {DropCounter.UNKNOWN_PREFIX: 1, DropCounter.SHORT: 1}
        endpoint.add_listener(general)
        assert endpoint.gate.receive_some([PACKET, self.FOREIGN], 0) == 2
        assert general.packets == [PACKET, self.FOREIGN]
        assert own.packets[-1] == PACKET

    def test_a_listener_that_fails_gets_the_next_one(self, collect: type[Collector]) -> None:
        endpoint = UDPEndpoint()
        own = collect(endpoint)
        endpoint.add_prefix_listener(own, PREFIX)

        def fail(_: Any) -> None:
            raise RuntimeError("a bug")

        own.hook = fail
        assert endpoint.gate.receive_some(self.packets(3), 0) == 3
        assert own.packets == self.packets(3)
        assert endpoint.drops == {DropCounter.LISTENER_ERROR: 3}

    def test_some_that_are_taken_together(self, endpoint: Endpoint, collect: type[Collector]) -> None:
        own = collect(endpoint)
        calls = []

        def take(packets: Any, position: int) -> int:
            calls.append(position)
            return 20

        endpoint.add_prefix_listener(own, PREFIX)
        own._take_packets = take
        packets = [self.FOREIGN, *self.packets(30)]
        assert endpoint.gate.receive_some(packets, 0) == 21
        assert calls == [1]
        own._take_packets = None
        assert endpoint.gate.receive_some(packets, 21) == 21 + DELIVERIES_PER_LOOK
        assert own.packets == packets[21:21 + DELIVERIES_PER_LOOK]

    def test_a_failure_to_take_some(self, collect: type[Collector]) -> None:
        endpoint = UDPEndpoint()
        own = collect(endpoint)

        def fail(*_: Any) -> int:
            raise RuntimeError("a bug")

        endpoint.add_prefix_listener(own, PREFIX)
        own._take_packets = fail
        assert endpoint.gate.receive_some(self.packets(3), 0) == 3
        assert endpoint.drops == {DropCounter.LISTENER_ERROR: 3}

    @pytest.mark.parametrize("others", [0, 1])
    def test_nothing_after_the_end(self, endpoint: Endpoint, collect: type[Collector], others: int) -> None:
        own = collect(endpoint)
        endpoint.add_prefix_listener(own, PREFIX)
        for _ in range(others):
            endpoint.add_listener(collect(endpoint))

        def close(_: Any) -> None:
            endpoint.close()

        own.hook = close
        packets = self.packets(5)
        assert endpoint.gate.receive_some(packets, 1) == len(packets)
        assert own.packets == packets[1:2]

    def test_a_listener_that_leaves(self, endpoint: Endpoint, collect: type[Collector]) -> None:
        own = collect(endpoint)
        endpoint.add_prefix_listener(own, PREFIX)
        own.hook = lambda _: endpoint.remove_listener(own)
        endpoint.gate.receive_some(self.packets(5), 0)
        assert own.packets == self.packets(1)
        assert endpoint.drops == {DropCounter.UNKNOWN_PREFIX: 4}

    def test_what_a_prefix_refuses(self, endpoint: Endpoint, collect: type[Collector]) -> None:
        own = collect(endpoint)
        endpoint.add_prefix_listener(own, PREFIX)
        endpoint.accept_routes(PREFIX, Route.SESSION, Route.SOCKET)
        endpoint.gate.receive_some([PACKET, BASE_PACKET], 0)
        assert own.packets == [BASE_PACKET]
        assert endpoint.drops == {DropCounter.WRONG_ROUTE: 1}

    def test_whether_each_packet_is_looked_at(self, endpoint: Endpoint) -> None:
        assert not endpoint.gate.is_observed
        endpoint.trace = lambda _: None
        assert endpoint.gate.is_observed
        endpoint.trace = None
        assert not endpoint.gate.is_observed


class Kept:
    """What a higher floor keeps for an endpoint."""

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


def test_one_object_of_a_class_belongs_to_an_endpoint(endpoint: Endpoint) -> None:
    kept = endpoint.gate.shared(Kept)
    assert endpoint.gate.shared(Kept) is kept
    assert StatisticsEndpoint(endpoint).gate.shared(Kept) is kept
    assert AutoMockEndpoint().gate.shared(Kept) is not kept
    endpoint.gate.announce([PACKET])
    endpoint.gate.release()
    assert not endpoint.gate.burst.packets
    assert kept.released == 0, "the endpoint is still open"
    endpoint.close()
    assert kept.released == 1


async def test_shared_objects_are_released_when_the_last_interface_closes() -> None:
    dispatcher = DispatcherEndpoint(["UDPIPv4"], UDPIPv4={"ip": "127.0.0.1"})
    second = UDPEndpoint(0, "127.0.0.1")
    dispatcher.add_interface("second", second)
    assert await dispatcher.open()
    kept = dispatcher.gate.shared(Kept)
    second.close()
    assert kept.released == 0
    await dispatcher.close()
    assert kept.released == 1


def test_gates_may_have_all_but_listeners_in_common(collect: type[Collector]) -> None:
    first, second = AutoMockEndpoint(), AutoMockEndpoint()
    second.gate.join(first.gate)
    assert second.gate.is_joined_to(first.gate)
    assert second.gate.burst is first.gate.burst
    own, routes = collect(second), []
    own.hook = lambda _: routes.append(first.gate.route)
    second.open()
    second.add_prefix_listener(own, PREFIX)
    assert not first._prefix_map
    second.gate.receive(PACKET, Route.RELAY)
    assert routes == [Route.RELAY]
    first.source_filter = SourceFilter(rate=1, burst=1)
    first.source_filter.ban(SOURCE.ip, 100)
    second.notify_listeners(PACKET)
    assert second.drops == {DropCounter.BANNED: 1}


def test_a_burst_is_taken_once() -> None:
    burst = Burst()
    assert burst.take() == ()
    burst.packets = [PACKET]
    assert burst.take() == [PACKET]
    assert burst.take() == ()


def test_a_gate_needs_nothing_but_an_owner(collect: type[Collector]) -> None:
    """Any object with these two methods can own a gate."""

    class Owner:
        errors: list[Exception] = []

        def is_open(self) -> bool:
            return True

        def _on_listener_error(self, listener: EndpointListener, error: Exception) -> None:
            self.errors.append(error)

    owner: Any = Owner()
    gate = Gate(owner, 22, DropCounter())
    first, second = collect(AutoMockEndpoint()), collect(AutoMockEndpoint())
    gate.add_prefix_listener(first, PREFIX)
    gate.add_prefix_listener(second, PREFIX)
    first.hook = lambda _: 1 / 0  # type: ignore[assignment]  # it fails
    gate.receive(PACKET, Route.SOCKET)
    assert second.packets == [PACKET]
    assert [type(error) for error in owner.errors] == [ZeroDivisionError]
