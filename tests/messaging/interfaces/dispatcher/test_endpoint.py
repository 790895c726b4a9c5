from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.address import DomainAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.messaging.interfaces.dispatcher import endpoint as module
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint, guess_interface
from ipv8.messaging.interfaces.endpoint import Endpoint, EndpointClosedException
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ipv8.messaging.address import Address
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


async def test_listeners_live_in_the_interfaces(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                collect: type[Collector]) -> None:
    dispatcher, ipv4, ipv6 = two
    await dispatcher.open()
    own, general = collect(dispatcher), collect(dispatcher)
    dispatcher.add_listener(general)
    dispatcher.add_prefix_listener(own, PREFIX)
    own.drops = DropCounter(bad_signature=1)  # type: ignore[attr-defined]  # as overlays have it
    assert dispatcher._listeners == []
    assert ipv4._prefix_map == ipv6._prefix_map == {PREFIX: [own, general]}
    assert dispatcher.prefix_listeners(PREFIX) == [own]
    assert dispatcher.get_drops(PREFIX) == {"bad_signature": 1}
    packet = (("1.2.3.4", 5), PREFIX + b"\x01")
    ipv6.notify_listeners(packet)
    assert own.packets == [packet]
    dispatcher.notify_listeners(packet)
    assert own.packets == [packet] * 3
    dispatcher.remove_listener(own)
    dispatcher.remove_listener(general)
    dispatcher.notify_listeners(packet)
    assert own.packets == general.packets == [packet] * 3


def test_the_prefix_length_is_that_of_the_interface(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                    collect: type[Collector]) -> None:
    dispatcher, ipv4, ipv6 = two
    ipv4.prefixlen = ipv6.prefixlen = 1
    ipv4.running = ipv6.running = True
    own = collect(dispatcher)
    dispatcher.add_prefix_listener(own, b"a")
    dispatcher.notify_listeners((("1.2.3.4", 5), b"a"))
    assert len(own.packets) == 2


def test_interfaces_added_later_get_the_listeners(two: tuple[DispatcherEndpoint, Interface, Interface],
                                                  collect: type[Collector]) -> None:
    dispatcher, ipv4, _ = two
    own, general = collect(dispatcher), collect(dispatcher)
    dispatcher.add_prefix_listener(own, PREFIX)
    dispatcher.add_listener(general)
    third = Interface()
    dispatcher.add_interface("third", third)
    assert third._prefix_map == {PREFIX: [own, general]}
    assert dispatcher.interface_order == ["UDPIPv4", "UDPIPv6", "third"]
    assert dispatcher.preferred_interface is ipv4
    dispatcher.send(("1.2.3.4", 5), b"data", interface="third")
    assert third.sent == [(("1.2.3.4", 5), b"data")]


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
