"""Several datagrams by one system call."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp import segments as module
from ipv8.messaging.interfaces.udp.batch import batch_reader
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address, UDPv6Address, UDPv6Endpoint
from ipv8.messaging.interfaces.udp.segments import MAX_SEGMENTS, SegmentWriter, ask_for_coalescing, segment_size
from ipv8.messaging.interfaces.udp.transport import DrainingTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def supported() -> bool:
    if sys.platform != "linux":
        return False
    with bound() as sock:
        return ask_for_coalescing(sock) and module._can_segment(sock)


needs_system = pytest.mark.skipif(not supported(), reason="the system neither segments nor coalesces datagrams")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    receiver, sender = bound(), bound()
    yield receiver, sender
    receiver.close()
    sender.close()


class Refusing:
    """A socket that refuses several datagrams at once, with one error."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.calls = 0

    def getsockopt(self, *_: Any) -> int:
        return 0

    def sendmsg(self, *_: Any) -> int:
        self.calls += 1
        raise OSError(self.error, "refused")


def test_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(Refusing(0))  # type: ignore[arg-type]  # quacks
    if sys.platform != "linux":
        writer._largest = module.MAX_BYTES
    packets = [b"a" * 10] * 3 + [b"b" * 9] + [b"", b""] + [b"c" * 40000] * 2 + [b"d"] * (MAX_SEGMENTS + 1)
    runs = [*writer.runs(packets)]
    assert [packet for run in runs for packet in run] == packets
    assert [len(run) for run in runs] == [3, 1, 1, 1, 1, 1, MAX_SEGMENTS, 1]
    monkeypatch.setattr(sys, "platform", "elsewhere")
    alone = SegmentWriter(Refusing(0))  # type: ignore[arg-type]  # quacks
    assert [len(run) for run in alone.runs(packets[:4])] == [1, 1, 1, 1]
    assert not ask_for_coalescing(Refusing(0))  # type: ignore[arg-type]  # quacks


@pytest.mark.parametrize(("error", "largest"), [(errno.EINVAL, 99), (errno.EMSGSIZE, 99), (errno.EIO, 0),
                                                (errno.ENOPROTOOPT, 0)])
def test_what_the_path_does_not_carry_is_not_tried_again(error: int, largest: int) -> None:
    sock = Refusing(error)
    writer = SegmentWriter(sock)  # type: ignore[arg-type]  # quacks
    writer._largest = module.MAX_BYTES
    assert writer.send([bytes(100)] * 2, ("127.0.0.1", 1)) == 0
    assert [len(run) for run in writer.runs([bytes(100)] * 2)] == [1, 1]
    assert [len(run) for run in writer.runs([bytes(50)] * 2)] == ([2] if largest else [1, 1])


def test_other_errors_are_reported() -> None:
    writer = SegmentWriter(Refusing(errno.EPERM))  # type: ignore[arg-type]  # quacks
    with pytest.raises(PermissionError):
        writer.send([b"a", b"b"], ("127.0.0.1", 1))


def test_what_the_system_says_of_a_buffer() -> None:
    said = (1000).to_bytes(4, sys.byteorder)
    assert segment_size([]) == 0
    assert segment_size([(socket.IPPROTO_IP, 8, said), (socket.IPPROTO_UDP, module.UDP_GRO, said)]) == 1000
    assert segment_size([(socket.IPPROTO_UDP, module.UDP_GRO, b"\1")]) == 0
    assert segment_size([(socket.IPPROTO_UDP, module.UDP_SEGMENT, said)]) == 0


@needs_system
def test_what_was_coalesced_is_read_as_it_was_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    assert ask_for_coalescing(receiver)
    read = batch_reader(receiver, 8, tuple)
    assert read is not None
    writer = SegmentWriter(sender)
    packets = [bytes([number]) * 100 for number in range(5)]
    for _ in range(2):
        sender.sendto(b"alone", receiver.getsockname())
        assert writer.send(packets, receiver.getsockname()) == 500
        sender.sendto(b"behind", receiver.getsockname())
        source = sender.getsockname()
        expected = [(source, packet) for packet in (b"alone", *packets, b"behind")]
        assert read() == (expected, 7, 511)
    assert read() == ([], 0, 0)


@needs_system
def test_a_source_that_is_left_out(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    ask_for_coalescing(receiver)
    read = batch_reader(receiver, 8, lambda _: None)
    assert read is not None
    SegmentWriter(sender).send([b"ab", b"cd", b"e"][:2], receiver.getsockname())
    assert read() == ([], 2, 4)


@needs_system
@pytest.mark.parametrize("batches", [True, False])
async def test_a_transport_divides_what_was_coalesced(monkeypatch: pytest.MonkeyPatch, batches: bool) -> None:
    if not batches:
        monkeypatch.setattr("ipv8.messaging.interfaces.udp.batch._system_call", lambda: None)
    received: list[bytes] = []
    drops = DropCounter()

    def make(sock: socket.socket, on_packets: Callable[[Any], None]) -> DrainingTransport:
        return DrainingTransport(asyncio.get_running_loop(), sock, tuple, on_packets, lambda _: None, lambda _: None,
                                 drops)

    receiver = make(bound(), lambda packets: received.extend(data for _, data in packets))
    sender = make(bound(), lambda _: None)
    packets = [bytes([number]) * 50 for number in range(20)] + [b"last"]
    assert sender.transmit_many(packets, receiver.get_extra_info("sockname")) == 1004
    while len(received) < len(packets):  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    assert received == packets
    receiver.close()
    sender.close()



@pytest.mark.parametrize("kind", [UDPEndpoint, UDPv6Endpoint])
async def test_an_endpoint_sends_many_packets(kind: type[UDPEndpoint]) -> None:
    host = "127.0.0.1" if kind is UDPEndpoint else "::1"
    sender, receiver = kind(0, host), kind(0, host)
    if not await receiver.open() or not await sender.open():
        pytest.skip(f"the host has no {host}")
    received: list[bytes] = []
    receiver.notify_listeners = lambda packet: received.append(packet[1])  # type: ignore[method-assign]
    address = (UDPv4Address if kind is UDPEndpoint else UDPv6Address)(host, receiver.get_address()[1])
    packets = [bytes([number]) * size for number in range(4) for size in (30, 30, 30, 7)]
    sender.send_many(address, packets)
    sender.send_many(address, [])
    sender.send_many(address, [b"one"])
    while len(received) < len(packets) + 1:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    assert received == [*packets, b"one"]
    assert sender.bytes_up == sum(map(len, packets)) + 3
    sender.close()
    receiver.close()


async def test_many_packets_that_cannot_be_sent() -> None:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    endpoint.send_many(UDPv6Address("::1", 1), [b"a", b"b"])
    endpoint.send_many(("127.0.0.1", 0), [b"a", b"b"])
    endpoint.send_many(("127.0.0.1", 9), ["text", "more"])  # type: ignore[list-item]  # a program's mistake
    assert endpoint.drops == {DropCounter.SEND_UNRESOLVED: 2, DropCounter.SEND_MALFORMED: 4}
    endpoint.close()
    endpoint.send_many(("127.0.0.1", 9), [b"a", b"b"])
    assert endpoint.drops[DropCounter.SEND_CLOSED] == 2


async def test_a_send_that_a_program_replaces_gets_each_packet() -> None:
    endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    sent: list[bytes] = []
    endpoint.send = lambda _, packet: sent.append(packet)  # type: ignore[method-assign,assignment]
    endpoint.send_many(("127.0.0.1", 9), [b"a", b"b"])
    assert sent == [b"a", b"b"]
    endpoint.close()
