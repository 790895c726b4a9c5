from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.messaging.interfaces.dispatcher import endpoint as module
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint, guess_interface
from ipv8.messaging.interfaces.endpoint import Endpoint, EndpointClosedException, EndpointListener
from ipv8.messaging.interfaces.gate import Route
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.messaging.interfaces.udp.filter import SourceFilter
from ipv8.verification import SignatureGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ipv8.messaging.address import Address
    from ipv8.messaging.interfaces.trace import PacketEvent
    from tests.messaging.interfaces.conftest import Collector

PREFIX = b"\x00\x02" + b"A" * 20


class Interface(Endpoint):
    """Keeps what it is told to do."""

    def __init__(self, address: Address = ("9.9.9.9", 9), opens: bool = True, later: bool = False) -> None:
        super().__init__()
        self.address = address
        self.opens = opens
        self.later = later
        self.running = False
        self.sent: list[tuple[Address, bytes]] = []
        self.bytes_up = 0
        self.bytes_down = 0

    def assert_open(self) -> None:
        raise NotImplementedError

    def is_open(self) -> bool:
        return self.running

    def get_address(self) -> Address:
        if not self.running:
            raise EndpointClosedException(self)
        return self.address

    def send(self, socket_address: Address, packet: bytes) -> None:
        self.sent.append((socket_address, packet))
        self.bytes_up += len(packet)

    def open(self) -> Any:
        self.running = self.opens
        if not self.later:
            return self.opens
        future = asyncio.get_running_loop().create_future()
        future.set_result(self.opens)
        return future

    def close(self) -> Awaitable[None] | None:
        self.running = False
        return asyncio.sleep(0) if self.later else None

    def reset_byte_counters(self) -> None:
        self.bytes_up = self.bytes_down = 0


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> tuple[DispatcherEndpoint, Interface, Interface]:
    monkeypatch.setitem(module.INTERFACES, "UDPIPv4", Interface)
    monkeypatch.setitem(module.INTERFACES, "UDPIPv6", Interface)
    dispatcher = DispatcherEndpoint(["UDPIPv6", "UDPIPv4"], UDPIPv4={"address": ("4.4.4.4", 4)},
                                    UDPIPv6={"address": ("6::", 6), "later": True})
    ipv4, ipv6 = dispatcher.interfaces["UDPIPv4"], dispatcher.interfaces["UDPIPv6"]
    assert isinstance(ipv4, Interface)
    assert isinstance(ipv6, Interface)
    return dispatcher, ipv4, ipv6


@pytest.mark.parametrize(("address", "interface"), [
    (("1.2.3.4", 5), "UDPIPv4"), (UDPv4LANAddress("1.2.3.4", 5), "UDPIPv4"), (("::1", 5), "UDPIPv6"),
    (("::ffff:192.0.2.128", 5), "UDPIPv6"), (DomainAddress("1.2.3.4", 5), "UDPIPv4"), (("1.2.3.256", 5), None),
    (DomainAddress("localhost", 5), None), (("1.2.3.4", "5"), None), ((b"1.2.3.4", 5), None), (("1.2.3.4",), None),
    (["1.2.3.4", 5], None), (("::1", 5, 0, 0), None), (None, None), (5, None), (("", 5), None),
    (("1.2.3\0.4", 5), None),
    (("\ud800", 5), None), (([], 5), None)])
def test_guessing_the_interface(address: Any, interface: str | None) -> None:
    assert guess_interface(address) == interface
    assert guess_interface(address) == interface


def test_the_registry() -> None:
    interfaces, order, by_class = module.INTERFACES, module.PREFERENCE_ORDER, module.FAST_ADDR_TO_INTERFACE
    assert interfaces == {"UDPIPv4": UDPEndpoint, "UDPIPv6": UDPv6Endpoint}
    assert order == ["UDPIPv4", "UDPIPv6"]
    assert by_class == {UDPv4Address: "UDPIPv4", UDPv6Address: "UDPIPv6"}


def test_the_registry_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Special(tuple[Any, ...]):
        __slots__ = ()

    monkeypatch.setitem(module.INTERFACES, "mine", Interface)
    monkeypatch.setattr(module, "FAST_ADDR_TO_INTERFACE", {Special: "mine"})
    monkeypatch.setattr(module, "PREFERENCE_ORDER", ["mine"])
    dispatcher = DispatcherEndpoint(["UDPIPv4", "mine"], mine={"address": ("m", 1)})
    assert dispatcher.interface_order == ["mine"]
    assert dispatcher.preferred_interface is dispatcher._preferred_interface is dispatcher.interfaces["mine"]
    dispatcher.send(Special(), b"data")
    assert dispatcher.interfaces["mine"].sent == [((), b"data")]  # type: ignore[attr-defined]  # an Interface


def test_unknown_interfaces() -> None:
    with pytest.raises(KeyError):
        DispatcherEndpoint(["carrier pigeon"])


def test_order_and_preference(two: tuple[DispatcherEndpoint, Interface, Interface]) -> None:
    dispatcher, ipv4, _ = two
    assert list(dispatcher.interfaces) == ["UDPIPv6", "UDPIPv4"]
    assert dispatcher.interface_order == ["UDPIPv4", "UDPIPv6"]
    assert dispatcher._preferred_interface is ipv4


def test_sending(two: tuple[DispatcherEndpoint, Interface, Interface]) -> None:
    dispatcher, ipv4, ipv6 = two
    dispatcher.send(UDPv4Address("1.2.3.4", 5), b"a")
    dispatcher.send(("1.2.3.4", 5), b"b")
    dispatcher.send(UDPv6Address("::1", 5), b"c")
    dispatcher.send(("::1", 5), b"d")
    dispatcher.send(("1.2.3.4", 5), b"e", interface="UDPIPv6")
    assert [data for _, data in ipv4.sent] == [b"a", b"b"]
    assert [data for _, data in ipv6.sent] == [b"c", b"d", b"e"]
    with pytest.raises(KeyError):
        dispatcher.send(("1.2.3.4", 5), b"f", interface="carrier pigeon")
    assert (dispatcher.bytes_up, dispatcher.bytes_down) == (5, 0)
    dispatcher.reset_byte_counters()
    assert dispatcher.bytes_up == 0


def test_what_fits_no_interface_is_dropped(two: tuple[DispatcherEndpoint, Interface, Interface]) -> None:
    dispatcher, _, ipv6 = two
    wrong: Any = None
    dispatcher.send(wrong, b"data")
    dispatcher.send(DomainAddress("localhost", 5), b"data")
    ipv6.drops.count("short")
    assert dispatcher.drops == dispatcher.get_drops() == {DropCounter.SEND_NO_INTERFACE: 2, "short": 1}


async def test_without_interfaces() -> None:
    dispatcher = DispatcherEndpoint([])
    assert dispatcher.get_address() == ("0.0.0.0", 0)
    assert dispatcher._preferred_interface is None
    dispatcher.send(("1.2.3.4", 5), b"data")
    assert not await dispatcher.open()
    assert not dispatcher.is_open()
    with pytest.raises(AssertionError):
        dispatcher.assert_open()
    await dispatcher.close()


async def test_opening_and_closing(two: tuple[DispatcherEndpoint, Interface, Interface]) -> None:
    dispatcher, ipv4, ipv6 = two
    with pytest.raises(EndpointClosedException):
        dispatcher.get_address()
    assert await dispatcher.open()
    dispatcher.assert_open()
    assert dispatcher.get_address() == dispatcher.get_address("UDPIPv4") == ("4.4.4.4", 4)
    assert dispatcher.get_address("UDPIPv6") == ("6::", 6)
    assert dispatcher.get_address("carrier pigeon") == ("4.4.4.4", 4)
    await dispatcher.close()
    assert not ipv4.running
    assert not ipv6.running
    ipv4.opens = False
    assert await dispatcher.open()
    assert dispatcher.get_address() == ("6::", 6)
    with pytest.raises(EndpointClosedException):
        dispatcher.get_address("UDPIPv4")
    ipv6.opens = False
    assert not await dispatcher.open()


async def test_packets_of_all_interfaces_enter_by_one_gate(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                           collect: type[Collector]) -> None:
    dispatcher, ipv4, ipv6 = two
    await dispatcher.open()
    own, general = collect(dispatcher), collect(dispatcher)
    dispatcher.add_listener(general)
    dispatcher.add_prefix_listener(own, PREFIX)
    own.drops = DropCounter(bad_signature=1)  # as overlays have it
    assert ipv4.gate is ipv6.gate is dispatcher.gate
    assert dispatcher._listeners == ipv4._listeners == [general]
    assert dispatcher._prefix_map == ipv4._prefix_map == ipv6._prefix_map == {PREFIX: [own, general]}
    assert dispatcher.prefix_listeners(PREFIX) == [own]
    assert dispatcher.get_drops(PREFIX) == {"bad_signature": 1}
    packet = (("1.2.3.4", 5), PREFIX + b"\x01")
    ipv6.notify_listeners(packet)
    assert own.packets == [packet]
    dispatcher.notify_listeners(packet)
    assert own.packets == [packet] * 3
    ipv4.notify_listeners((("1.2.3.4", 5), b"short"))
    dispatcher.remove_listener(own)
    dispatcher.remove_listener(general)
    dispatcher.notify_listeners(packet)
    assert own.packets == [packet] * 3
    assert general.packets == [*[packet] * 3, (("1.2.3.4", 5), b"short")]
    assert dispatcher.drops == {DropCounter.UNKNOWN_PREFIX: 2}
    assert ipv4.drops == ipv6.drops == {}


async def test_a_listener_that_fails_is_counted(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                collect: type[Collector], caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, ipv4, ipv6 = two
    await dispatcher.open()
    bad, good = collect(dispatcher), collect(dispatcher)
    bad.hook = lambda _: 1 / 0  # type: ignore[assignment]  # it fails
    dispatcher.add_prefix_listener(bad, PREFIX)
    dispatcher.add_prefix_listener(good, PREFIX)
    for interface in (ipv4, ipv6):
        interface.notify_listeners((("1.2.3.4", 5), PREFIX + b"\x01"))
    assert len(good.packets) == 2
    assert dispatcher.drops == {DropCounter.LISTENER_ERROR: 2}
    assert "ZeroDivisionError" in caplog.text


async def test_a_closed_interface_delivers_nothing(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                   collect: type[Collector]) -> None:
    dispatcher, ipv4, ipv6 = two
    await dispatcher.open()
    own = collect(dispatcher)
    dispatcher.add_prefix_listener(own, PREFIX)
    ipv4.running = False
    ipv4.notify_listeners((("1.2.3.4", 5), PREFIX + b"\x01"))
    assert not own.packets
    ipv6.notify_listeners((("1.2.3.4", 5), PREFIX + b"\x01"))
    assert len(own.packets) == 1


def test_the_prefix_length_is_that_of_the_interface(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                    collect: type[Collector]) -> None:
    dispatcher, ipv4, ipv6 = two
    ipv4.prefixlen = ipv6.prefixlen = 1
    ipv4.running = ipv6.running = True
    own = collect(dispatcher)
    dispatcher.add_prefix_listener(own, b"a")
    dispatcher.notify_listeners((("1.2.3.4", 5), b"a"))
    assert len(own.packets) == 2
    assert ipv4._prefix_map == ipv6._prefix_map == {b"a": [own]}
    assert dispatcher.prefixlen == 22
    dispatcher.remove_listener(own)
    assert ipv4._prefix_map == ipv6._prefix_map == {}


def test_a_prefix_that_fits_no_interface_is_refused(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                    collect: type[Collector]) -> None:
    dispatcher, ipv4, _ = two
    own = collect(dispatcher)
    with pytest.raises(RuntimeError, match="has 22 bytes, not 1"):
        dispatcher.add_prefix_listener(own, b"a")
    ipv4.prefixlen = 1
    with pytest.raises(RuntimeError, match="has 22 bytes, not 1"):
        dispatcher.add_prefix_listener(own, b"a")
    with pytest.raises(RuntimeError, match="has 1 bytes, not 22"):
        dispatcher.add_prefix_listener(own, PREFIX)


class Short(Interface):
    """Looks at one byte, as the constructor of its base says."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        Endpoint.__init__(self, 1)


def test_an_interface_may_be_made_with_its_own_prefix_length(monkeypatch: pytest.MonkeyPatch,
                                                             collect: type[Collector]) -> None:
    monkeypatch.setitem(module.INTERFACES, "UDPIPv4", Short)
    dispatcher = DispatcherEndpoint(["UDPIPv4"])
    short = dispatcher.interfaces["UDPIPv4"]
    short.running = True  # type: ignore[attr-defined]  # an Interface
    own = collect(dispatcher)
    dispatcher.add_prefix_listener(own, b"a")
    short.notify_listeners((("1.2.3.4", 5), b"ab"))
    short.notify_listeners((("1.2.3.4", 5), b"ba"))
    assert own.data == [b"ab"]


async def test_a_listener_of_one_interface_hears_no_other(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                          collect: type[Collector]) -> None:
    dispatcher, ipv4, ipv6 = two
    await dispatcher.open()
    everywhere, only_ipv4, later = collect(dispatcher), collect(ipv4), collect(dispatcher)
    dispatcher.add_prefix_listener(everywhere, PREFIX)
    ipv4.add_prefix_listener(only_ipv4, PREFIX)
    dispatcher.add_listener(later)
    packet = (("1.2.3.4", 5), PREFIX + b"\x01")
    ipv6.notify_listeners(packet)
    assert (len(everywhere.packets), len(only_ipv4.packets), len(later.packets)) == (1, 0, 1)
    ipv4.notify_listeners(packet)
    assert (len(everywhere.packets), len(only_ipv4.packets), len(later.packets)) == (2, 1, 2)
    assert dispatcher.prefix_listeners(PREFIX) == [everywhere, only_ipv4]
    ipv4.remove_listener(everywhere)
    ipv4.notify_listeners(packet)
    ipv6.notify_listeners(packet)
    assert (len(everywhere.packets), len(only_ipv4.packets), len(later.packets)) == (3, 2, 4)
    dispatcher.accept_routes(PREFIX, Route.SESSION)
    ipv4.notify_listeners(packet)
    ipv6.notify_listeners(packet)
    assert (len(everywhere.packets), len(only_ipv4.packets), len(later.packets)) == (3, 2, 4)
    assert dispatcher.drops == {DropCounter.WRONG_ROUTE: 2}
    assert ipv4.drops == {DropCounter.WRONG_ROUTE: 1}


def test_removing_a_stranger_changes_nothing(two: tuple[DispatcherEndpoint, Interface, Interface],
                                             collect: type[Collector]) -> None:
    dispatcher, ipv4, _ = two
    ipv4.remove_listener(collect(ipv4))
    assert ipv4.gate is dispatcher.gate


class Native(Interface):
    """Keeps a filter of its own up to date, as endpoints do whose packets are received by another language."""

    def __init__(self) -> None:
        super().__init__()
        self.running = True
        self.prefixes: list[bytes] = []

    def add_prefix_listener(self, listener: EndpointListener, prefix: bytes) -> None:
        super().add_prefix_listener(listener, prefix)
        self.prefixes = list(self._prefix_map.keys())

    def remove_listener(self, listener: EndpointListener) -> None:
        super().remove_listener(listener)
        self.prefixes = list(self._prefix_map.keys())

    def receive(self, packet: tuple[Address, bytes]) -> None:
        if packet[1][:22] in self.prefixes:
            self.notify_listeners(packet)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_native_endpoint_keeps_its_filter(by_hand: bool, collect: type[Collector]) -> None:
    dispatcher, native = DispatcherEndpoint([]), Native()
    if by_hand:
        dispatcher.interfaces["UDPIPv4"] = native
        dispatcher.interface_order.append("UDPIPv4")
        dispatcher.update_preferred_interface()
    else:
        dispatcher.add_interface("UDPIPv4", native)
    own, observer = collect(dispatcher), collect(dispatcher)
    routes: list[Route] = []
    own.hook = lambda _: routes.append(dispatcher.gate.route)
    events: list[PacketEvent] = []
    dispatcher.trace = events.append
    dispatcher.add_prefix_listener(own, PREFIX)
    dispatcher.add_listener(observer)
    assert native.prefixes == [PREFIX]
    packet = (UDPv4Address("1.2.3.4", 5), PREFIX + b"\x01")
    native.receive(packet)
    assert own.packets == observer.packets == [packet]
    dispatcher.gate.receive(packet, Route.RELAY)
    assert own.packets == [packet] * 2
    assert routes == [Route.SOCKET, Route.RELAY]
    dispatcher.send(UDPv4Address("1.2.3.4", 5), PREFIX + b"\x02")
    assert [(event.outgoing, event.message_id, event.route) for event in events] == [
        (False, 1, Route.SOCKET), (False, 1, Route.RELAY), (True, 2, Route.SOCKET)]
    dispatcher.source_filter = SourceFilter(1, 1)
    dispatcher.source_filter.ban("1.2.3.4", 100)
    native.receive(packet)
    assert len(own.packets) == 2
    assert dispatcher.drops == {DropCounter.BANNED: 1}
    dispatcher.remove_listener(own)
    assert native.prefixes == []
    assert SignatureGuard.of(native) is SignatureGuard.of(dispatcher)


def test_interfaces_have_everything_but_listeners_in_common(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                            collect: type[Collector]) -> None:
    dispatcher, ipv4, ipv6 = two
    ipv6.add_listener(collect(ipv6))
    assert ipv6.gate is not dispatcher.gate
    ipv4.source_filter = source_filter = SourceFilter(1, 1)
    assert dispatcher.source_filter is ipv6.source_filter is source_filter
    assert SignatureGuard.of(ipv4) is SignatureGuard.of(ipv6) is SignatureGuard.of(dispatcher)


def test_a_filter_and_a_trace_stay_when_an_endpoint_becomes_an_interface() -> None:
    endpoint = Interface()
    events: list[PacketEvent] = []
    endpoint.running = True
    endpoint.source_filter = source_filter = SourceFilter(1, 1)
    endpoint.trace = trace = events.append
    dispatcher = DispatcherEndpoint([])
    dispatcher.add_interface("UDPIPv4", endpoint)
    assert dispatcher.source_filter is source_filter
    assert dispatcher.trace == trace
    dispatcher.send(UDPv4Address("1.2.3.4", 5), b"data")
    assert len(events) == 1, "told of once"


def test_interfaces_added_later_get_the_listeners(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                  collect: type[Collector]) -> None:
    dispatcher, ipv4, _ = two
    own, general = collect(dispatcher), collect(dispatcher)
    dispatcher.add_prefix_listener(own, PREFIX)
    dispatcher.add_listener(general)
    third, native = Interface(), Native()
    dispatcher.add_interface("third", third)
    assert third._prefix_map == {PREFIX: [own, general]}
    assert dispatcher.interface_order == ["UDPIPv4", "UDPIPv6", "third"]
    assert dispatcher.preferred_interface is ipv4
    dispatcher.send(("1.2.3.4", 5), b"data", interface="third")
    assert third.sent == [(("1.2.3.4", 5), b"data")]
    dispatcher.add_interface("native", native)
    assert native._prefix_map == {PREFIX: [own, general]}


def test_an_interface_with_listeners_keeps_them(collect: type[Collector]) -> None:
    endpoint, dispatcher = Interface(), DispatcherEndpoint([])
    early, late = collect(endpoint), collect(dispatcher)
    endpoint.add_listener(early)
    dispatcher.add_interface("UDPIPv4", endpoint)
    dispatcher.add_listener(late)
    assert endpoint._listeners == [early, late]
    assert dispatcher._listeners == [late]


def test_interfaces_can_be_filled_in_by_hand() -> None:
    dispatcher = DispatcherEndpoint([])
    dispatcher.interfaces["UDPIPv4"] = only = Interface()
    dispatcher.interface_order.append("UDPIPv4")
    dispatcher.update_preferred_interface()
    assert dispatcher._preferred_interface is only
    other = DispatcherEndpoint([])
    other.add_interface("UDPIPv6", only)
    assert other._preferred_interface is only


async def test_real_sockets(collect: type[Collector]) -> None:
    dispatcher = DispatcherEndpoint(["UDPIPv4"], UDPIPv4={"ip": "127.0.0.1", "port": 0})
    assert await dispatcher.open()
    listener = collect(dispatcher)
    dispatcher.add_listener(listener)
    dispatcher.send(UDPv4Address(*dispatcher.get_address()), b"data")
    await listener.wait_for(1)
    assert listener.packets == [(dispatcher.get_address(), b"data")]
    assert (dispatcher.bytes_up, dispatcher.bytes_down) == (4, 4)
    await dispatcher.close()
    assert not dispatcher.is_open()


class SlowEndpoint(UDPEndpoint):
    """An endpoint of a program, whose opening takes a while."""

    def __init__(self) -> None:
        super().__init__(0, "127.0.0.1")
        self.proceed = asyncio.Event()

    async def open(self) -> bool:
        await self.proceed.wait()
        return await super().open()


@pytest.mark.parametrize("position", [0, 1])
async def test_closing_while_opening(position: int) -> None:
    dispatcher = DispatcherEndpoint([])
    parts = [UDPEndpoint(0, "127.0.0.1"), UDPEndpoint(0, "127.0.0.1")]
    slow = SlowEndpoint()
    parts[position] = slow
    for number, part in enumerate(parts):
        dispatcher.add_interface(f"part {number}", part)
    opening = asyncio.ensure_future(dispatcher.open())
    await asyncio.sleep(0)
    await dispatcher.close()
    slow.proceed.set()
    assert not await opening
    assert not any(part.is_open() for part in parts)
    assert await dispatcher.open()
    assert all(part.is_open() for part in parts)
    await dispatcher.close()


@pytest.mark.parametrize("later", [False, True])
async def test_an_address_that_the_machine_gets_later(monkeypatch: pytest.MonkeyPatch, later: bool) -> None:
    here = ["10.0.0.1"]
    monkeypatch.setattr(module, "get_lan_addresses", lambda: here)
    dispatcher = DispatcherEndpoint(["UDPIPv4", "UDPIPv6"], UDPIPv4={"ip": "10.0.0.1"}, UDPIPv6={"ip": "2001:DB8::0:1"})
    ipv4, ipv6 = Interface(), Interface(opens=False, later=later)
    dispatcher.interfaces.update({"UDPIPv4": ipv4, "UDPIPv6": ipv6})
    await dispatcher.open_late()
    assert not dispatcher.is_open(), "nobody wants it open yet"
    assert await dispatcher.open()
    ipv6.opens = True
    await dispatcher.open_late()
    assert not ipv6.running
    here.append("2001:db8::1")
    await dispatcher.open_late()
    assert ipv6.running
    await dispatcher.close()
    await dispatcher.open_late()
    assert not dispatcher.is_open()


async def test_closing_while_opening_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "get_lan_addresses", lambda: ["127.0.0.1"])
    dispatcher = DispatcherEndpoint(["UDPIPv4"], UDPIPv4={"ip": "127.0.0.1"})
    slow = SlowEndpoint()
    dispatcher.interfaces["UDPIPv4"] = slow
    dispatcher._wanted = True
    opening = asyncio.ensure_future(dispatcher.open_late())
    await asyncio.sleep(0)
    await dispatcher.close()
    slow.proceed.set()
    await opening
    assert not slow.is_open()


def test_the_largest_packet() -> None:
    assert DispatcherEndpoint(["UDPIPv4"]).max_packet_size == 65507
    assert DispatcherEndpoint(["UDPIPv4", "UDPIPv6"]).max_packet_size == 65527
    assert DispatcherEndpoint([]).max_packet_size == 65527
    assert StatisticsEndpoint(UDPEndpoint()).max_packet_size == 65507
