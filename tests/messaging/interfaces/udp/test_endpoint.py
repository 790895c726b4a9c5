from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import clock
from ipv8.messaging.address import DomainAddress, RelayedAddress, UDPv4Address, UDPv4LANAddress, UDPv6Address
from ipv8.messaging.interfaces.endpoint import DataTooBigException, EndpointClosedException
from ipv8.messaging.interfaces.gate import DELIVERIES_PER_LOOK
from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp import binding, endpoint as module
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.messaging.interfaces.udp.filter import SourceFilter
from ipv8.messaging.interfaces.udp.transport import RECEIVE_SIZE, SEND_QUEUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipv8.messaging.address import Address

PREFIX = b"\x00\x02" + b"A" * 20


@pytest.fixture
def raw() -> Iterator[socket.socket]:
    """A plain socket, to send what endpoints would not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop as on Windows, which lets nobody wait for a socket."""

    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.BaseEventLoop, "add_reader", refuse, raising=False)
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", refuse)


def test_the_module_offers_what_others_import_from_it() -> None:
    for name in ("Address", "DomainAddress", "Endpoint", "EndpointClosedException", "SocketOption", "UDPv4Address",
                 "UDPv4LANAddress", "UDPv6Address"):
        assert hasattr(module, name)
    assert len({UDPv4LANAddress("1.2.3.4", 5), UDPv4Address("1.2.3.4", 5), ("1.2.3.4", 5)}) == 1


@pytest.mark.parametrize("fallback", [False, True])
async def test_sending_and_receiving(make_endpoint: Any, collect: Any, request: pytest.FixtureRequest,
                                     fallback: bool) -> None:
    if fallback:
        request.getfixturevalue("no_readers")
    ours, theirs = await make_endpoint(), await make_endpoint()
    collector = collect(theirs)
    theirs.add_listener(collector)
    packets = [bytes(range(length)) for length in range(1, 51)]
    for packet in packets:
        ours.send(("127.0.0.1", theirs.get_address()[1]), packet)
    assert await collector.wait_for(50) == packets
    source = collector.packets[0][0]
    assert type(source) is UDPv4Address
    assert source == ours.get_address()
    assert ours.bytes_up == theirs.bytes_down == sum(range(51))
    ours.reset_byte_counters()
    assert (ours.bytes_up, ours.bytes_down) == (0, 0)


@pytest.mark.usefixtures("ipv6_loopback")
async def test_ipv6(make_endpoint: Any, collect: Any) -> None:
    ours, theirs = await make_endpoint(UDPv6Endpoint), await make_endpoint(UDPv6Endpoint)
    collector = collect(theirs)
    theirs.add_listener(collector)
    assert collector.is_ipv6_listener
    assert len(theirs.get_address()) == 4
    ours.send(theirs.get_address(), b"four elements")
    ours.send(UDPv6Address(*theirs.get_address()[:2]), b"two elements")
    ours.send(("127.0.0.1", 5), b"wrong version")
    assert await collector.wait_for(2) == [b"four elements", b"two elements"]
    assert type(collector.packets[0][0]) is UDPv6Address
    assert collector.packets[0][0] == ours.get_address()[:2]
    assert ours.drops == {DropCounter.SEND_UNRESOLVED: 1}


def test_ipv6_sources() -> None:
    parse = UDPv6Endpoint()._parse_source
    assert parse(("fd00::1", 5, 0, 0)) == ("fd00::1", 5)
    assert parse(("fe80::1%eth0", 5, 0, 2)) == parse(("fe80::1", 5, 0, 2)) == ("fe80::1", 5)
    assert parse(("2001:200::1", 5, 0, 0)) == ("2001:200::1", 5)
    for source in (("fd00::1", 0, 0, 0), ("::", 5, 0, 0), ("ff02::1", 5, 0, 0), ("FF02::1", 5, 0, 0), ("name", 5)):
        assert parse(source) is None
    for key in ("2001:20::1", "2001:21:c0:ffee::", "2001:2f::", "2001:002A::1"):
        assert parse((key, 1, 0, 0)) is None, "no packet comes from an address that is not routed"


@pytest.mark.usefixtures("ipv6_loopback")
async def test_addresses_of_keys_are_not_sent_to(make_endpoint: Any) -> None:
    endpoint = await make_endpoint(UDPv6Endpoint)
    forms: list[Any] = [("2001:21::1", 1), UDPv6Address("2001:21::1", 1), ("2001:0021:0:0::1", 1), ("2001:2F::1", 9),
                        ("2001:21::1", 1, 0, 0), DomainAddress("2001:21::1", 1), RelayedAddress("2001:21::1", 1)]
    for form in forms * 2:
        endpoint.send(form, b"data")
    assert endpoint.drops == {DropCounter.SEND_NO_ROUTE: 2 * len(forms)}
    assert endpoint.bytes_up == 0
    assert not endpoint._destinations


@pytest.mark.parametrize("ip", ["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"])
async def test_sources_that_cannot_be_answered_are_dropped(make_endpoint: Any, collect: Any, ip: str) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    endpoint.datagram_received(b"data", (ip, 5))
    endpoint.datagram_received(b"data", ("1.2.3.4", 0))
    endpoint.datagram_received(b"data", ("1.2.3.4", 5))
    assert collector.packets == [(("1.2.3.4", 5), b"data")]
    assert endpoint.drops == {DropCounter.BAD_SOURCE: 2}


async def test_known_sources_are_bounded(make_endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CACHED_ADDRESSES", 10)
    endpoint = await make_endpoint()
    for port in range(1, 100):
        endpoint.datagram_received(b"data", ("1.2.3.4", port))
        endpoint.send(("127.0.0.1", port), b"")
        assert len(endpoint._sources) <= 10
        assert len(endpoint._destinations) <= 10


# Hostile and unlucky sends


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("address", [
    None, (), ("1.2.3.4",), ("1.2.3.4", "5"), ("1.2.3.4", None), ("1.2.3.4", 99999), ("1.2.3.4", -1), ("1.2.3.4", 0),
    ("0.0.0.0", 0), ("1.2.3.4", 5.0), (None, 5), (5, 5), (b"1.2.3.4", 5), ("1.2.3.4", 5, 6), ("1.2.3\0.4", 5),
    ("\ud800", 5), ["1.2.3.4", 5], [[]], 5, "1.2.3.4:5", ("1.2.3.4", 1 << 70)])
async def test_malformed_addresses_are_dropped_and_the_socket_lives(
        make_endpoint: Any, collect: Any, request: pytest.FixtureRequest, address: Any, fallback: bool) -> None:
    if fallback:
        request.getfixturevalue("no_readers")
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    endpoint.send(address, b"data")
    assert endpoint.drops == {DropCounter.SEND_MALFORMED: 1}
    assert endpoint.bytes_up == 0
    endpoint.send(endpoint.get_address(), b"alive")
    assert await collector.wait_for(1) == [b"alive"]


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("packet", [None, 5, "text", ["list"], object()])
async def test_malformed_packets_are_dropped_and_the_socket_lives(
        make_endpoint: Any, collect: Any, request: pytest.FixtureRequest, packet: Any, fallback: bool) -> None:
    if fallback:
        request.getfixturevalue("no_readers")
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    endpoint.send(endpoint.get_address(), packet)
    assert endpoint.drops == {DropCounter.SEND_MALFORMED: 1}
    endpoint.send(endpoint.get_address(), bytearray(b"alive"))
    endpoint.send(endpoint.get_address(), memoryview(b"and well"))
    assert await collector.wait_for(2) == [b"alive", b"and well"]


async def test_malformed_sends_do_not_flood_the_log(make_endpoint: Any, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = await make_endpoint()
    for _ in range(1000):
        endpoint.send(("1.2.3.4", "5"), b"data")
    assert 1 <= len(caplog.records) <= 10
    assert "Dropping packet due to message formatting error" in caplog.text
    assert endpoint.drops == {DropCounter.SEND_MALFORMED: 1000}


@pytest.mark.parametrize("host", ["localhost", "example.invalid", "", "<broadcast>", "1.2.3", "::1"])
async def test_names_are_never_resolved(make_endpoint: Any, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    endpoint = await make_endpoint()

    def resolve(*_: object) -> None:
        raise AssertionError("this would wait for DNS")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    endpoint.send(DomainAddress(host, 80), b"data")
    endpoint.send((host, 80), b"data")
    assert endpoint.drops == {DropCounter.SEND_UNRESOLVED: 2}


async def test_packets_that_the_system_refuses_are_counted(make_endpoint: Any, collect: Any) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    endpoint.send(endpoint.get_address(), b"x" * 70000)
    endpoint.send(("255.255.255.255", 5), b"not permitted")
    endpoint.send(endpoint.get_address(), b"after")
    assert await collector.wait_for(1) == [b"after"]
    assert endpoint.drops == {DropCounter.SEND_TOO_BIG: 1, DropCounter.SEND_FAILED: 1}
    assert endpoint.bytes_up == 5


@pytest.mark.parametrize("cls", [UDPEndpoint, UDPv6Endpoint])
async def test_the_largest_packet(make_endpoint: Any, collect: Any, request: pytest.FixtureRequest, any_loop: bool,
                                  cls: type[UDPEndpoint], caplog: pytest.LogCaptureFixture) -> None:
    if cls is UDPv6Endpoint:
        request.getfixturevalue("ipv6_loopback")
    endpoint = await make_endpoint(cls)
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    own, largest = endpoint.get_address()[:2], endpoint.max_packet_size
    endpoint.send(own, bytes(largest))
    for _ in range(100):
        endpoint.send(own, bytes(largest + 1))
    endpoint.send(own, b"after")
    assert [len(data) for data in await collector.wait_for(2)] == [largest, 5]
    assert endpoint.drops == {DropCounter.SEND_TOO_BIG: 100}
    assert endpoint.bytes_up == largest + 5
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    text = f"Dropping a packet that is too big: {largest + 1} bytes, and a datagram has at most {largest}"
    assert warnings == [text] * 5, "not one for each"


async def test_what_the_system_says_is_too_big(make_endpoint: Any) -> None:
    endpoint = await make_endpoint(max_payload=1 << 20)
    endpoint.send(endpoint.get_address(), bytes(70_000))
    assert endpoint.drops == {DropCounter.SEND_TOO_BIG: 1}


async def test_a_strict_endpoint_refuses_packets_that_would_be_fragmented(make_endpoint: Any, collect: Any) -> None:
    lax, strict = await make_endpoint(), await make_endpoint(strict=True, max_payload=1000)
    collector = collect(lax)
    lax.add_listener(collector)
    lax.send(lax.get_address(), b"x" * 1473)
    strict.send(lax.get_address(), b"x" * 1000)
    with pytest.raises(DataTooBigException, match="1001"):
        strict.send(lax.get_address(), b"x" * 1001)
    await collector.wait_for(2)
    assert strict.bytes_up == 1000


# Opening and closing


async def test_before_open() -> None:
    endpoint = UDPEndpoint()
    assert not endpoint.is_open()
    endpoint.close()
    for call in (endpoint.assert_open, endpoint.get_address, lambda: endpoint.send(("127.0.0.1", 5), b"data"),
                 lambda: endpoint.send(("127.0.0.1", 5), b"data")):
        with pytest.raises(EndpointClosedException):
            call()
    assert endpoint.drops == {}


@pytest.mark.parametrize("fallback", [False, True])
async def test_after_close(make_endpoint: Any, request: pytest.FixtureRequest, fallback: bool) -> None:
    if fallback:
        request.getfixturevalue("no_readers")
    endpoint = await make_endpoint()
    address = endpoint.get_address()
    endpoint.assert_open()
    endpoint.send(("127.0.0.1", 5), b"data")
    endpoint.close()
    endpoint.close()
    assert not endpoint.is_open()
    endpoint.send(("127.0.0.1", 5), b"known destination")
    endpoint.send(("127.0.0.1", 6), b"unknown destination")
    endpoint.datagram_received(b"data", ("1.2.3.4", 5))
    assert endpoint.drops == {DropCounter.SEND_CLOSED: 2}
    assert (endpoint.bytes_up, endpoint.bytes_down) == (4, 0)
    with pytest.raises(EndpointClosedException):
        endpoint.assert_open()
    with pytest.raises(EndpointClosedException):
        endpoint.get_address()
    await asyncio.sleep(0)
    assert await endpoint.open()
    assert await endpoint.open()
    assert endpoint.get_address() == address


async def test_a_taken_port_makes_way_for_the_next(make_endpoint: Any, caplog: pytest.LogCaptureFixture) -> None:
    first = await make_endpoint()
    port = first.get_address()[1]
    with caplog.at_level(logging.INFO):
        second = await make_endpoint(port=port)
    assert second.get_address()[1] > port or port == 65535
    assert second._port == second.get_address()[1]
    assert f"Port {port} is not available" in caplog.text


async def test_after_the_last_port_any_is_taken(make_endpoint: Any, raw: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.bind(("127.0.0.1", 65535))
        endpoint = await make_endpoint(port=65535)
        assert 0 < endpoint.get_address()[1] < 65535


@pytest.mark.parametrize("ip", ["192.0.2.1", "::1", "1.2.3.4\0"])
async def test_an_unusable_address_is_reported(ip: str, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = UDPEndpoint(8090, ip)
    assert not await endpoint.open()
    assert not endpoint.is_open()
    assert "Cannot open a socket" in caplog.text
    endpoint.send(("127.0.0.1", 5), b"silently dropped: opening was tried")
    assert endpoint.drops == {DropCounter.SEND_CLOSED: 1}


async def test_no_sockets_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(binding, "socket", exhausted)
    assert not await UDPEndpoint().open()


async def test_a_refused_socket_option_is_reported() -> None:
    assert not await UDPEndpoint(0, "127.0.0.1", [(socket.SOL_SOCKET, 9999, 1)]).open()


@pytest.mark.parametrize("settings", [{"port": -1}, {"port": 65536}, {"max_datagrams_per_wakeup": 0}])
def test_impossible_settings(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"is 0 to 65535|at least 1"):
        UDPEndpoint(**settings)  # type: ignore[arg-type]  # settings of the test


async def test_buffer_sizes(make_endpoint: Any) -> None:
    assert UDPEndpoint()._sockopts == [(socket.SOL_SOCKET, socket.SO_RCVBUF, 870400)]
    assert UDPv6Endpoint()._sockopts == [(socket.SOL_SOCKET, socket.SO_RCVBUF, 870400),
                                         (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)]
    small = await make_endpoint(receive_buffer=20000, send_buffer=10000)
    large = await make_endpoint(receive_buffer=100000, send_buffer=100000)
    assert 0 < small.granted_receive_buffer < large.granted_receive_buffer
    assert 0 < small.granted_send_buffer < large.granted_send_buffer


async def test_a_refused_buffer_size_does_not_matter(make_endpoint: Any, monkeypatch: pytest.MonkeyPatch,
                                                     caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(socket.socket):
        def setsockopt(self, level: int, name: int, *value: Any) -> None:
            if name == socket.SO_RCVBUF:
                raise OSError("no")
            super().setsockopt(level, name, *value)

    monkeypatch.setattr(binding, "socket", Stubborn)
    with caplog.at_level(logging.INFO):
        endpoint = await make_endpoint(sockopts=[(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)])
    assert endpoint.granted_receive_buffer > 0
    assert "Keeping the default size" in caplog.text


async def test_log_error(make_endpoint: Any, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = await make_endpoint()
    endpoint.log_error("something")
    endpoint.log_error("something worse", logging.ERROR)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert caplog.records[0].name == "UDPEndpoint"


def test_sending_while_the_event_loop_does_not_run() -> None:
    loop = asyncio.new_event_loop()
    endpoint = UDPEndpoint(0, "127.0.0.1")
    assert loop.run_until_complete(endpoint.open())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        endpoint.send(receiver.getsockname(), b"data")
        assert receiver.recv(100) == b"data"
    loop.close()
    endpoint.close()
    assert not endpoint.is_open()


# Bursts


async def test_a_burst_is_read_in_few_rounds_of_the_loop(make_endpoint: Any, collect: Any, raw: socket.socket) -> None:
    endpoint = await make_endpoint(max_datagrams_per_wakeup=50)
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    for number in range(200):
        raw.sendto(bytes([number]), endpoint.get_address())
    sizes: list[int] = []
    while len(collector.packets) < 200:
        await asyncio.sleep(0)
        if len(collector.packets) != sum(sizes):
            sizes.append(len(collector.packets) - sum(sizes))
    assert collector.data == [bytes([number]) for number in range(200)]
    assert max(sizes) <= 50


async def test_a_listener_may_look_ahead_in_a_burst(make_endpoint: Any, collect: Any, raw: socket.socket) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    seen: list[list[bytes]] = []
    collector.hook = lambda packet: seen.append([data for _, data in endpoint.gate.burst.take()])
    endpoint.add_prefix_listener(collector, PREFIX)
    for number in range(3):
        raw.sendto(PREFIX + bytes([number]), endpoint.get_address())
    await collector.wait_for(3)
    raw.sendto(PREFIX + b"\x03", endpoint.get_address())
    await collector.wait_for(4)
    assert seen == [[PREFIX + b"\x00", PREFIX + b"\x01", PREFIX + b"\x02"], [], [], [PREFIX + b"\x03"]]


SENDER = """
import socket, sys
target, count, window = ("127.0.0.1", int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(20)
for number in range(count):
    sock.sendto(number.to_bytes(4, "big") + bytes(219), target)
    if number % window == window - 1:
        sock.recv(1)
"""


async def test_a_flood_from_another_process_is_received_completely(make_endpoint: Any, collect: Any) -> None:
    # The sender waits for an acknowledgement after each window, since how much a socket may buffer is not ours to set.
    count, window = 20000, 200
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    done = asyncio.Event()

    def acknowledge(packet: tuple[Address, bytes]) -> None:
        if len(collector.packets) % window == 0:
            endpoint.send(packet[0], b"+")
        if len(collector.packets) == count:
            done.set()

    collector.hook = acknowledge
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, str(endpoint.get_address()[1]),
                                                   str(count), str(window))
    await done.wait()
    assert await process.wait() == 0
    assert [int.from_bytes(data[:4], "big") for data in collector.data] == list(range(count))
    assert endpoint.bytes_down == 223 * count


async def test_timers_run_during_an_endless_flood(make_endpoint: Any, collect: Any) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    collector.hook = lambda packet: endpoint.send(endpoint.get_address(), packet[1])
    endpoint.add_listener(collector)
    for _ in range(100):  # each packet is answered by another one, so the socket never runs dry
        endpoint.send(endpoint.get_address(), b"again")
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, fired.set)
    await fired.wait()
    assert collector.packets


class Hourglass:
    """A clock that each packet advances."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


async def test_slow_listeners_let_others_run(make_endpoint: Any, collect: Any, raw: socket.socket) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    hourglass = Hourglass()

    def consume(_: object) -> None:
        hourglass.now += module.DELIVERY_BUDGET / 2

    collector.hook = consume
    endpoint.add_listener(collector)
    seen: list[int] = []
    with clock.use(hourglass):
        for number in range(20):
            raw.sendto(bytes([number]), endpoint.get_address())
        while len(collector.packets) < 20:
            seen.append(len(collector.packets))
            await asyncio.sleep(0)
    seen.append(20)
    assert max(seen[index + 1] - seen[index] for index in range(len(seen) - 1)) == DELIVERIES_PER_LOOK
    assert collector.data == [bytes([number]) for number in range(20)]
    raw.sendto(b"reading goes on", endpoint.get_address())
    assert (await collector.wait_for(21))[20] == b"reading goes on"


@pytest.mark.parametrize("reopen", [False, True])
@pytest.mark.parametrize("slow", [False, True])
async def test_closing_during_delivery(make_endpoint: Any, collect: Any, raw: socket.socket, slow: bool,
                                       reopen: bool) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    hourglass = Hourglass()
    tasks: list[asyncio.Task[bool]] = []

    def close_at_third(_: object) -> None:
        hourglass.now += 1.0 if slow else 0.0
        if len(collector.packets) == 3:
            endpoint.close()
            if reopen:
                tasks.append(asyncio.ensure_future(endpoint.open()))

    collector.hook = close_at_third
    endpoint.add_listener(collector)
    with clock.use(hourglass):
        for number in range(10):
            raw.sendto(bytes([number]), endpoint.get_address())
        await collector.wait_for(3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert collector.data == [b"\x00", b"\x01", b"\x02"]
        if reopen:
            assert await tasks[0]
            raw.sendto(b"new", endpoint.get_address())
            assert (await collector.wait_for(4))[3] == b"new"


async def test_an_error_instead_of_a_packet_is_counted(make_endpoint: Any, collect: Any, raw: socket.socket) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    transport = endpoint._transport
    genuine = transport._sock

    class Failing:
        def recvfrom(self, _: int) -> None:
            raise ConnectionResetError

    transport._sock = Failing()
    transport._on_readable()
    transport._sock = genuine
    assert endpoint.drops == {DropCounter.RECEIVE_FAILED: 1}
    raw.sendto(b"data", endpoint.get_address())
    assert await collector.wait_for(1) == [b"data"]


# Subclasses


class Intercepting(UDPEndpoint):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.intercepted: list[bytes] = []

    def datagram_received(self, datagram: bytes, addr: Any) -> None:
        self.intercepted.append(datagram)
        if datagram == b"bad":
            raise ValueError("a bug in the subclass")
        super().datagram_received(datagram, addr)


async def test_a_subclass_may_intercept_datagrams(make_endpoint: Any, collect: Any, raw: socket.socket,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    endpoint = await make_endpoint(Intercepting)
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    for data in (b"one", b"bad", b"two"):
        raw.sendto(data, endpoint.get_address())
    assert await collector.wait_for(2) == [b"one", b"two"]
    assert endpoint.intercepted == [b"one", b"bad", b"two"]
    assert endpoint.bytes_down == 6
    assert "a bug in the subclass" in caplog.text


async def test_a_test_may_replace_methods_of_the_instance(make_endpoint: Any, collect: Any,
                                                          raw: socket.socket) -> None:
    endpoint = await make_endpoint()
    got = asyncio.get_running_loop().create_future()
    endpoint.datagram_received = lambda data, address: got.set_result((data, address))
    raw.sendto(b"data", endpoint.get_address())
    assert await got == (b"data", raw.getsockname())
    del endpoint.datagram_received
    got = asyncio.get_running_loop().create_future()
    endpoint.notify_listeners = got.set_result
    raw.sendto(b"data", endpoint.get_address())
    assert await got == (raw.getsockname(), b"data")


# Filters


async def test_banned_and_busy_sources(make_endpoint: Any, collect: Any) -> None:
    endpoint = await make_endpoint()
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    endpoint.source_filter = SourceFilter(rate=1, burst=2)
    endpoint.source_filter.ban("6.6.6.6", 100)
    for number in range(4):
        endpoint.datagram_received(bytes([number]), ("1.2.3.4", 5 + number))
        endpoint.datagram_received(b"banned", ("6.6.6.6", 5))
    assert collector.data == [b"\x00", b"\x01"]
    assert endpoint.drops == {DropCounter.RATE_LIMITED: 2, DropCounter.BANNED: 4}


# Event loops without readers


async def test_the_fallback_bounds_what_waits(make_endpoint: Any, no_readers: None,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = await make_endpoint()
    assert endpoint._transport.max_size == RECEIVE_SIZE
    monkeypatch.setattr(endpoint._transport, "get_write_buffer_size", lambda: SEND_QUEUE_BYTES + 1)
    endpoint.send(endpoint.get_address(), b"data")
    assert endpoint.drops == {DropCounter.SEND_QUEUE_FULL: 1}
    assert endpoint.bytes_up == 0


async def test_the_fallback_counts_errors(make_endpoint: Any, no_readers: None) -> None:
    endpoint = await make_endpoint()
    endpoint.send(endpoint.get_address(), b"x" * 70000)
    assert endpoint.drops == {DropCounter.SEND_TOO_BIG: 1}
    endpoint.error_received(OSError(errno.EMSGSIZE, "too long"))
    endpoint.error_received(ConnectionResetError("somebody else does not listen"))
    assert endpoint.drops == {DropCounter.SEND_TOO_BIG: 2, DropCounter.SEND_FAILED: 1}
    assert endpoint.is_open()
    endpoint.connection_lost(OSError("the network card is gone"))
    assert not endpoint.is_open()


@pytest.fixture(params=[False, True], ids=["readers", "no readers"])
def any_loop(request: pytest.FixtureRequest) -> bool:
    if request.param:
        request.getfixturevalue("no_readers")
    return bool(request.param)


async def test_opening_twice_at_once(any_loop: bool) -> None:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    assert all(await asyncio.gather(endpoint.open(), endpoint.open(), endpoint.open()))
    endpoint.assert_open()
    assert endpoint._port == endpoint.get_address()[1], "there was one socket only"
    endpoint.close()
    await asyncio.sleep(0)


async def test_closing_while_opening(any_loop: bool, make_endpoint: Any) -> None:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    opening = asyncio.ensure_future(endpoint.open())
    await asyncio.sleep(0)
    endpoint.close()
    await opening
    await asyncio.sleep(0)
    assert not endpoint.is_open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", endpoint._port))  # is free


async def test_closing_and_opening_while_opening(any_loop: bool) -> None:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    first = asyncio.ensure_future(endpoint.open())
    await asyncio.sleep(0)
    endpoint.close()
    second = asyncio.ensure_future(endpoint.open())
    await asyncio.gather(first, second)
    assert second.result()
    assert endpoint.is_open()
    endpoint.close()
    await asyncio.sleep(0)


async def test_an_opening_that_is_cancelled(any_loop: bool, collect: Any) -> None:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    first, second = asyncio.ensure_future(endpoint.open()), asyncio.ensure_future(endpoint.open())
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    collector = collect(endpoint)
    endpoint.add_listener(collector)
    endpoint.send(endpoint.get_address(), b"data")
    assert await collector.wait_for(1) == [b"data"]
    endpoint.close()
    await asyncio.sleep(0)


async def test_reading_goes_on_after_an_error_on_windows(make_endpoint: Any, no_readers: None) -> None:
    class Stopped:
        """asyncio's transport for Windows, before Python 3.12.3, after an error."""

        def __init__(self) -> None:
            self._loop = asyncio.get_running_loop()
            self._read_fut = None
            self.reading = asyncio.Event()

        def _loop_reading(self) -> None:
            self.reading.set()

        def close(self) -> None:
            pass

    endpoint = await make_endpoint()
    endpoint._transport.close()
    endpoint._transport = stopped = Stopped()
    endpoint.error_received(ConnectionResetError(10054, "reset"))
    await stopped.reading.wait()


async def test_a_loop_that_refuses_the_socket(no_readers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_datagram_endpoint", refuse)
    endpoint = UDPEndpoint(0, "127.0.0.1")
    assert not await endpoint.open()
    assert not endpoint.is_open()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs a list of open files")
async def test_sockets_of_failed_attempts_are_closed(make_endpoint: Any) -> None:
    taken = [await make_endpoint()]
    before = len(os.listdir("/proc/self/fd"))
    second = await make_endpoint(port=taken[0].get_address()[1])
    second.close()
    assert len(os.listdir("/proc/self/fd")) == before
