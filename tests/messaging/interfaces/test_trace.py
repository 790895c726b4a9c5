"""Events about packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.community import Community
from ipv8.lazy_community import lazy_wrapper
from ipv8.messaging.address import RelayedAddress, UDPv4Address
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.messaging.interfaces.gate import Route
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.trace import DELIVERED, SENT, PacketEvent
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.messaging.interfaces.udp.filter import SourceFilter
from ipv8.messaging.lazy_payload import VariablePayload
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from tests.messaging.interfaces.conftest import Collector

SOURCE = UDPv4Address("1.2.3.4", 5)
PREFIX = b"\x00\x02" + b"A" * 20
OTHER = b"\x00\x02" + b"B" * 20


class Word(VariablePayload):
    msg_id = 1
    format_list = ["varlenHutf8"]
    names = ["word"]


class Talk(Community):
    community_id = b"talk about the trace"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.add_message_handler(Word, self.on_word)

    @lazy_wrapper(Word)
    def on_word(self, peer: Any, payload: Word) -> None:
        """What it says does not matter."""


@pytest.fixture
def endpoint() -> AutoMockEndpoint:
    made = AutoMockEndpoint()
    made.open()
    return made


def verdicts(events: list[PacketEvent]) -> list[tuple[bool, int, str]]:
    return [(event.outgoing, event.message_id, event.verdict) for event in events]


async def test_an_event_tells_what_a_packet_was_and_what_became_of_it(
    endpoint: AutoMockEndpoint, collect: type[Collector], manual_clock: Any,
) -> None:
    own = collect(endpoint)
    events: list[PacketEvent] = []
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.trace = events.append
    endpoint.gate.receive((SOURCE, PREFIX + b"\x07data"), Route.RELAY)
    manual_clock.advance(1)
    endpoint.send(endpoint.wan_address, PREFIX + b"\x08")
    assert events == [
        PacketEvent(manual_clock.now - 1, False, Route.RELAY, SOURCE, PREFIX, 7, 27, DELIVERED),
        PacketEvent(manual_clock.now, True, Route.SOCKET, endpoint.wan_address, PREFIX, 8, 23, SENT)]


@pytest.mark.parametrize(("data", "message_id", "verdict"), [
    (PREFIX + b"\x07", 7, DELIVERED), (OTHER + b"\x07", 7, DropCounter.UNKNOWN_PREFIX),
    (PREFIX, -1, DropCounter.SHORT), (b"", -1, DropCounter.SHORT)])
def test_verdicts_of_the_gate(endpoint: AutoMockEndpoint, collect: type[Collector], data: bytes, message_id: int,
                              verdict: str) -> None:
    events: list[PacketEvent] = []
    endpoint.add_prefix_listener(collect(endpoint), PREFIX)
    endpoint.trace = events.append
    endpoint.notify_listeners((SOURCE, data))
    assert verdicts(events) == [(False, message_id, verdict)]
    assert events[0].prefix == data[:22]
    assert events[0].size == len(data)


def test_verdicts_of_rules_and_filters(endpoint: AutoMockEndpoint, collect: type[Collector]) -> None:
    events: list[PacketEvent] = []
    endpoint.add_prefix_listener(collect(endpoint), PREFIX)
    endpoint.trace = events.append
    endpoint.accept_routes(PREFIX, Route.CIRCUIT)
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x07"))
    endpoint.source_filter = SourceFilter(1, 1)
    endpoint.source_filter.ban(SOURCE.ip, 100)
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x07"))
    assert [event.verdict for event in events] == [DropCounter.WRONG_ROUTE, DropCounter.BANNED]


async def test_verdicts_of_an_overlay(make_overlay: Any) -> None:
    talk, other = make_overlay(Talk), make_overlay(Talk)
    events: list[PacketEvent] = []
    talk.endpoint.trace = events.append
    packet = other.ezr_pack(Word.msg_id, Word("hello"))
    for data in (packet, packet[:-1] + bytes((packet[-1] ^ 1,)), packet[:30], packet[:22] + b"\x63"):
        talk.endpoint.notify_listeners((SOURCE, data))
    assert [event.verdict for event in events] == [
        DELIVERED, DropCounter.BAD_SIGNATURE, DropCounter.UNDECODABLE, DropCounter.UNKNOWN_ID]


def test_a_packet_in_a_packet_has_a_verdict_of_its_own(endpoint: AutoMockEndpoint, collect: type[Collector]) -> None:
    own = collect(endpoint)
    events: list[PacketEvent] = []

    def unpack(packet: Any) -> None:
        if packet[1].endswith(b"\x01"):
            endpoint.gate.receive((SOURCE, OTHER + b"\x02"), Route.RELAY)
            endpoint.gate.receive((SOURCE, PREFIX + b"\x03"), Route.SESSION)

    own.hook = unpack
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.trace = events.append
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert verdicts(events) == [(False, 2, DropCounter.UNKNOWN_PREFIX), (False, 3, DropCounter.WRONG_ROUTE),
                                (False, 1, DELIVERED)]


async def test_verdicts_on_what_is_sent() -> None:
    endpoint = UDPEndpoint(0, "127.0.0.1", max_payload=100, strict=True)
    events: list[PacketEvent] = []
    assert await endpoint.open()
    endpoint.trace = events.append
    own = endpoint.get_address()
    nothing: Any = None
    endpoint.send(own, PREFIX + b"\x01")
    endpoint.send(("name", 5), PREFIX + b"\x02")
    endpoint.send(RelayedAddress("2001:21::1", 1), PREFIX + b"\x03")
    endpoint.send(nothing, PREFIX + b"\x04")
    endpoint.send(own, nothing)
    with pytest.raises(Exception, match="Tried to send packet of size 123"):
        endpoint.send(own, PREFIX + b"\x05" + bytes(100))
    endpoint.close()
    endpoint.send(own, PREFIX + b"\x06")
    assert verdicts(events) == [
        (True, 1, SENT), (True, 2, DropCounter.SEND_UNRESOLVED), (True, 3, DropCounter.SEND_NO_ROUTE),
        (True, 4, DropCounter.SEND_MALFORMED), (True, -1, DropCounter.SEND_MALFORMED), (True, 5, "DataTooBigException"),
        (True, 6, DropCounter.SEND_CLOSED)]
    assert events[2].route is Route.RELAY


def test_what_a_handler_fails_to_send_is_no_verdict_on_what_it_received(endpoint: AutoMockEndpoint,
                                                                        collect: type[Collector]) -> None:
    own = collect(endpoint)
    events: list[PacketEvent] = []
    own.hook = lambda _: endpoint.send(RelayedAddress("2001:21::1", 1), PREFIX + b"\x02")
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.trace = events.append
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert verdicts(events) == [(True, 2, DropCounter.SEND_NO_ROUTE), (False, 1, DELIVERED)]


def test_it_costs_nothing_when_it_is_not_used(endpoint: AutoMockEndpoint) -> None:
    before = dict(vars(endpoint)), dict(vars(endpoint.gate))
    endpoint.trace = lambda _: None
    assert "send" in vars(endpoint)
    endpoint.trace = lambda _: None
    endpoint.trace = None
    assert endpoint.trace is None
    assert (dict(vars(endpoint)), dict(vars(endpoint.gate))) == before


def test_a_replaced_send_is_kept(endpoint: AutoMockEndpoint) -> None:
    sent: list[Any] = []
    events: list[PacketEvent] = []

    def send(*packet: Any) -> None:
        sent.append(packet)

    endpoint.send = send  # type: ignore[assignment, method-assign]  # as tests do it
    endpoint.trace = events.append
    endpoint.send(SOURCE, b"data")
    assert sent == [(SOURCE, b"data")]
    assert len(events) == 1
    endpoint.trace = None
    assert endpoint.send is send
    endpoint.trace = events.append
    endpoint.send = send  # type: ignore[method-assign]  # while there is a trace
    endpoint.trace = None
    assert endpoint.send is send


def test_a_trace_that_fails_stops_no_packet(collect: type[Collector], caplog: pytest.LogCaptureFixture) -> None:
    endpoint = UDPEndpoint()
    endpoint._running = True
    own = collect(AutoMockEndpoint())
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.trace = lambda _: 1 / 0
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert len(own.packets) == 1
    assert endpoint.drops == {DropCounter.LISTENER_ERROR: 1}
    assert "ZeroDivisionError" in caplog.text


async def test_wrappers_and_interfaces_have_the_same_trace(collect: type[Collector]) -> None:
    dispatcher = DispatcherEndpoint(["UDPIPv4"], UDPIPv4={"ip": "127.0.0.1"})
    wrapper = StatisticsEndpoint(dispatcher)
    events: list[PacketEvent] = []
    wrapper.trace = trace = events.append
    assert dispatcher.trace == trace
    assert await wrapper.open()
    own = collect(wrapper)
    wrapper.add_prefix_listener(own, PREFIX)
    wrapper.send(wrapper.get_address(), PREFIX + b"\x01", "UDPIPv4")
    await own.wait_for(1)
    assert verdicts(events) == [(True, 1, SENT), (False, 1, DELIVERED)]
    closing = wrapper.close()
    assert closing is not None
    await closing
