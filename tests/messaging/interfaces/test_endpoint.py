from __future__ import annotations

import logging
from socket import AF_INET6
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.interfaces import endpoint as module
from ipv8.messaging.interfaces.endpoint import (
    DataTooBigException,
    Endpoint,
    EndpointClosedException,
    EndpointListener,
    IllegalDestination,
    IllegalEndpointListenerError,
)
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_lan_addresses
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.routes import Route
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipv8.messaging.address import Address

SOURCE = ("1.2.3.4", 5)
PREFIX = b"\x00\x02" + b"A" * 20
OTHER = b"\x00\x02" + b"B" * 20


class FakeEndpoint(Endpoint):
    def __init__(self, address: tuple[Any, ...] = ("0.0.0.0", 8090), prefixlen: int = 22) -> None:
        super().__init__(prefixlen)
        self.address = address
        self.running = True

    def assert_open(self) -> None:
        if not self.running:
            raise EndpointClosedException(self)

    def is_open(self) -> bool:
        return self.running

    def get_address(self) -> Address:
        return self.address

    def send(self, socket_address: Address, packet: bytes) -> None:
        pass

    async def open(self) -> bool:
        return True

    def close(self) -> None:
        self.running = False

    def reset_byte_counters(self) -> None:
        pass


class Recorder(EndpointListener):
    def __init__(self, endpoint: Endpoint, name: str = "", log: list[str] | None = None) -> None:
        super().__init__(endpoint)
        self.name = name
        self.log = [] if log is None else log
        self.hook: Callable[[], object] = lambda: None

    def on_packet(self, packet: tuple[Address, bytes]) -> None:
        self.log.append(self.name)
        self.hook()


def make(*names: str) -> tuple[FakeEndpoint, list[str], list[Recorder]]:
    endpoint = FakeEndpoint()
    log: list[str] = []
    return endpoint, log, [Recorder(endpoint, name, log) for name in names]


def test_only_listeners_can_be_registered() -> None:
    endpoint = FakeEndpoint()
    stranger: Any = object()
    with pytest.raises(IllegalEndpointListenerError, match=r"<class 'object'> is not an instance of EndpointListener"):
        endpoint.add_listener(stranger)
    with pytest.raises(IllegalEndpointListenerError):
        endpoint.add_prefix_listener(stranger, PREFIX)
    with pytest.raises(RuntimeError):
        endpoint.add_prefix_listener(Recorder(endpoint), PREFIX[:-1])
    assert endpoint._prefix_map == {}


def test_exceptions() -> None:
    assert isinstance(IllegalEndpointListenerError(1), RuntimeError)
    assert str(EndpointClosedException(3)) == "<class 'int'> is unexpectedly closed"
    assert str(DataTooBigException(10, 5)) == "Tried to send packet of size 10 > MAX_SIZE(5)"
    assert str(IllegalDestination()) == "Attempted to send a message to 0.0.0.0:0."


def test_prefix_listeners_come_before_general_ones_and_each_gets_a_packet_once() -> None:
    endpoint, log, (first, second, general, late) = make("first", "second", "general", "late")
    endpoint.add_listener(general)
    endpoint.add_prefix_listener(first, PREFIX)
    endpoint.add_prefix_listener(second, PREFIX)
    endpoint.add_listener(late)
    assert endpoint._prefix_map == {PREFIX: [first, second, general, late]}
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert log == ["first", "second", "general", "late"]
    log.clear()
    endpoint.notify_listeners((SOURCE, OTHER + b"\x01"))
    assert log == ["general", "late"]
    assert endpoint.drops == {}


def test_adding_twice_delivers_twice() -> None:
    endpoint, log, (general,) = make("general")
    endpoint.add_listener(general)
    endpoint.add_listener(general)
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert log == ["general", "general"]


def test_removing_a_listener() -> None:
    endpoint, log, (own, other, general) = make("own", "other", "general")
    endpoint.add_listener(general)
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.add_prefix_listener(own, OTHER)
    endpoint.add_prefix_listener(other, OTHER)
    endpoint.add_listener(own)
    endpoint.remove_listener(own)
    assert endpoint._prefix_map == {OTHER: [other, general]}
    assert endpoint._listeners == [general]
    endpoint.remove_listener(own)
    endpoint.remove_listener(general)
    endpoint.notify_listeners((SOURCE, OTHER + b"\x01"))
    assert log == ["other"]


def test_who_was_removed_gets_nothing_more_and_newcomers_wait_for_the_next_packet() -> None:
    endpoint, log, (first, second, third) = make("first", "second", "third")
    endpoint.add_listener(first)
    endpoint.add_listener(second)

    def change() -> None:
        endpoint.remove_listener(second)
        if "third" not in log:
            endpoint.remove_listener(third)
            endpoint.add_listener(third)

    first.hook = change
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert log == ["first"]
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert log == ["first", "first", "third"]


def test_nothing_is_delivered_after_close() -> None:
    endpoint, log, (first, second) = make("first", "second")
    endpoint.add_prefix_listener(first, PREFIX)
    endpoint.add_listener(second)
    first.hook = endpoint.close
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    endpoint._deliver_later(second, (SOURCE, PREFIX + b"\x01"))
    assert log == ["first"]


@pytest.mark.parametrize("length", [0, 1, 21, 22])
def test_short_packets_go_to_general_listeners_only(length: int) -> None:
    endpoint, log, (own, general) = make("own", "general")
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.notify_listeners((SOURCE, PREFIX[:length]))
    assert endpoint.drops == {DropCounter.SHORT: 1}
    endpoint.add_listener(general)
    endpoint.notify_listeners((SOURCE, PREFIX[:length]))
    assert log == ["general"]
    assert endpoint.drops == {DropCounter.SHORT: 1}


def test_packets_for_nobody_are_counted_even_if_somebody_watches() -> None:
    endpoint, _, (own, observer) = make("own", "observer")
    observer.observes_only = True
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.notify_listeners((SOURCE, OTHER + b"\x01"))
    endpoint.add_listener(observer)
    endpoint.notify_listeners((SOURCE, OTHER + b"\x01"))
    assert endpoint.drops == {DropCounter.UNKNOWN_PREFIX: 2}


def test_other_prefix_lengths() -> None:
    endpoint = FakeEndpoint(prefixlen=1)
    own = Recorder(endpoint, "own")
    endpoint.add_prefix_listener(own, b"a")
    endpoint.notify_listeners((SOURCE, b"a"))
    endpoint.notify_listeners((SOURCE, b"ab"))
    endpoint.notify_listeners((SOURCE, b"a" * 100))
    endpoint.notify_listeners((SOURCE, b"b"))
    assert own.log == ["own"] * 3


def test_a_failing_listener_does_not_starve_the_others(caplog: pytest.LogCaptureFixture) -> None:
    endpoint, log, (bad, good) = make("bad", "good")
    endpoint.add_prefix_listener(bad, PREFIX)
    endpoint.add_listener(good)

    def fail() -> None:
        raise ValueError("my own mistake")

    bad.hook = fail
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert log == ["bad", "good"] * 100
    assert endpoint.drops == {DropCounter.LISTENER_ERROR: 100}
    assert len(caplog.records) == module.LOG_BURST
    assert "my own mistake" in caplog.text
    assert "Traceback" in caplog.text
    endpoint._deliver_later(bad, (SOURCE, PREFIX + b"\x01"))
    assert endpoint.drops == {DropCounter.LISTENER_ERROR: 101}


def test_on_packet_is_looked_up_for_each_delivery() -> None:
    endpoint, log, (own,) = make("own")
    endpoint.add_prefix_listener(own, PREFIX)
    got: list[Any] = []
    own.on_packet = got.append  # type: ignore[assignment]  # as test kits do it
    endpoint.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert got == [(SOURCE, PREFIX + b"\x01")]
    assert log == []


def test_deliver_later_asks_whether_the_listener_may_get_the_packet() -> None:
    endpoint, log, (general, stranger) = make("general", "stranger")
    endpoint.add_listener(general)
    endpoint._deliver_later(general, (SOURCE, PREFIX + b"\x01"))
    endpoint._deliver_later(stranger, (SOURCE, PREFIX + b"\x01"))
    assert log == ["general"]


def test_drops_of_a_prefix_include_those_of_its_overlays() -> None:
    endpoint, _, (own, other, general) = make("own", "other", "general")
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.add_prefix_listener(other, PREFIX)
    endpoint.add_listener(general)
    assert endpoint.prefix_listeners(PREFIX) == [own, other]
    assert endpoint.prefix_listeners(OTHER) == []
    own.drops = DropCounter(bad_signature=2)  # as overlays have it
    endpoint.drops.count("short")
    assert endpoint.get_drops() == {"short": 1}
    assert endpoint.get_drops(PREFIX) == {"short": 1, "bad_signature": 2}


def test_an_endpoint_has_no_optional_abilities_unless_it_says_so() -> None:
    endpoint = FakeEndpoint()
    assert dict(endpoint.interfaces) == {}
    abilities: list[object] = [endpoint.SOCKET_FAMILY, endpoint.mapped_address, endpoint.source_filter, endpoint.trace]
    assert abilities == [None] * 4
    assert endpoint.bytes_up == endpoint.bytes_down == 0
    assert endpoint.set_anonymity(PREFIX, True) is False
    assert Recorder(endpoint).drops == {}


def test_listeners_can_be_copied() -> None:
    endpoint, log, (own, general) = make("own", "general")
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.add_listener(general)
    endpoint.accept_routes(PREFIX, Route.SESSION)
    other = FakeEndpoint()
    other.copy_listeners(endpoint)
    assert other._prefix_map == {PREFIX: [own, general]}
    assert other._listeners == [general]
    other.notify_listeners((SOURCE, PREFIX + b"\x01"))
    assert log == []
    other.gate.receive((SOURCE, PREFIX + b"\x01"), Route.SESSION)
    assert log == ["own"]


class RecordingLock:
    """Notes what the endpoint has when the lock is taken and when it is released."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.seen: list[tuple[int, int]] = []

    def note(self) -> None:
        self.seen.append((len(self.endpoint._listeners), len(self.endpoint._prefix_map)))

    def __enter__(self) -> None:
        self.note()

    def __exit__(self, *_: object) -> None:
        self.note()


def test_listeners_change_under_a_lock() -> None:
    endpoint, _, (own,) = make("own")
    lock: Any = RecordingLock(endpoint)
    endpoint.gate.lock = lock
    held: Any = endpoint.listener_update_lock
    assert held is lock
    endpoint.add_listener(own)
    endpoint.add_prefix_listener(own, PREFIX)
    endpoint.remove_listener(own)
    assert lock.seen == [(0, 0), (1, 0), (1, 0), (1, 1), (1, 1), (0, 0)]


# Listeners


@pytest.fixture
def own_addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    addresses = ["192.168.1.5", "5.6.7.8.9", "fd00::1"]

    class Provider:
        def get_addresses_buffered(self) -> set[str]:
            return set(addresses)

    monkeypatch.setitem(get_lan_addresses.__globals__, "get_providers", lambda: [Provider()])
    return addresses


def test_estimated_lan_of_a_closed_endpoint_is_zero_and_not_kept(own_addresses: list[str]) -> None:
    endpoint = FakeEndpoint()
    endpoint.running = False
    listener = Recorder(endpoint)
    assert listener.my_estimated_lan == listener.my_estimated_wan == ("0.0.0.0", 0)
    endpoint.running = True
    assert listener.my_estimated_lan == ("192.168.1.5", 8090)
    own_addresses.clear()
    assert listener.my_estimated_lan == ("192.168.1.5", 8090)
    assert listener.my_estimated_wan == ("0.0.0.0", 0)
    listener.my_estimated_lan = ("10.0.0.1", 1)
    assert listener.my_estimated_lan == ("10.0.0.1", 1)


def test_ipv6_listener(own_addresses: list[str]) -> None:
    endpoint = FakeEndpoint(("::", 8090, 0, 0))
    listener = Recorder(endpoint)
    assert listener.is_ipv6_listener
    assert listener.my_estimated_lan == ("fd00::1", 8090)
    assert listener.get_ipv6_address() == endpoint.address
    endpoint.running = False
    assert not listener.is_ipv6_listener
    endpoint.SOCKET_FAMILY = AF_INET6
    assert listener.is_ipv6_listener
    assert listener.my_estimated_lan == ("::1", 0)
    assert own_addresses


def test_guessed_lan_address() -> None:
    listener = Recorder(FakeEndpoint())
    assert listener._guess_lan_address([]) == "127.0.0.1"
    assert listener._guess_lan_address(["fe80::1", "10.0.0.1", "10.0.0.2"]) == "10.0.0.1"
    assert listener._get_lan_address() == ("127.0.0.1", 8090)
    assert listener._get_lan_address(bootstrap=True) == ("127.0.0.1", 0)
    assert listener.use_main_thread


@pytest.mark.parametrize(("bound", "expected"), [
    ("0.0.0.0", "10.9.9.9"), ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("192.168.1.5", "192.168.1.5"),
    ("192.168.1.6", "10.9.9.9"), ("::", "fd00::1"), ("::1", "::1")])
def test_a_socket_that_is_bound_to_an_own_address_is_only_there(own_addresses: list[str], bound: str,
                                                                expected: str) -> None:
    own_addresses.append("10.9.9.9")
    listener = Recorder(FakeEndpoint((bound, 8090)))
    assert listener.my_estimated_lan == (expected, 8090)
    assert listener._get_lan_address(bootstrap=True) == (expected, 0)


def test_own_addresses(own_addresses: list[str]) -> None:
    listener = Recorder(FakeEndpoint())
    assert listener.address_is_lan("192.168.1.5")
    assert listener.address_is_lan("5.6.7.8.9")
    assert not listener.address_is_lan("192.168.1.6")
    own_addresses.append("192.168.1.6")
    assert listener.address_is_lan("192.168.1.6")


@pytest.mark.parametrize(("text", "expected"), [("::1", True), ("fe80::1%eth0", True), ("::ffff:1.2.3.4", True),
                                                ("1.2.3.4", False), ("a:b", False), ("", False), ("host", False)])
def test_is_ipv6_address(text: str, expected: bool) -> None:
    assert Recorder(FakeEndpoint())._is_ipv6_address(text) is expected


@pytest.mark.parametrize(("text", "expected"), [
    ("192.168.0.0", True), ("192.168.255.255", True), ("192.169.0.0", False), ("172.15.255.255", False),
    ("172.16.0.0", True), ("172.31.255.255", True), ("172.32.0.0", False), ("10.255.255.255", True),
    ("11.0.0.0", False), ("::1", False), ("host", False), ("1.2.3.4\0", False)])
def test_private_addresses(text: str, expected: bool) -> None:
    assert Recorder(FakeEndpoint()).address_in_lan_subnets(text) is expected


def test_address_in_subnet() -> None:
    listener = Recorder(FakeEndpoint())
    assert listener._address_in_subnet("1.2.3.4", ("1.2.3.5", 31)) is True
    assert listener._address_in_subnet("1.2.3.4", ("1.2.3.5", 32)) is False
    assert listener._address_in_subnet("255.2.3.4", ("0.0.0.0", 0)) is True
    with pytest.raises(OSError, match="illegal IP"):
        listener._address_in_subnet("::1", ("10.0.0.0", 8))


@pytest.mark.parametrize(("cls", "zero"), [(UDPEndpoint, ("0.0.0.0", 0)), (UDPv6Endpoint, ("::", 0))])
async def test_listeners_have_no_address_while_the_endpoint_is_closed(cls: Any, zero: Any) -> None:
    class Idle(EndpointListener):
        def on_packet(self, packet: Any) -> None:
            pass

    listener = Idle(cls())
    assert listener.get_ipv6_address() == zero
    assert listener._get_lan_address() == ("127.0.0.1", 0)
    assert listener.my_estimated_lan[1] == 0
