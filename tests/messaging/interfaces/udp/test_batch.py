from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.interfaces.udp import batch as module
from ipv8.messaging.interfaces.udp.batch import MAX_BATCH, batch_reader
from ipv8.messaging.interfaces.udp.transport import RECEIVE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has recvmmsg")


def bound(family: int, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.bind((host, 0))
    except OSError:
        sock.close()
        pytest.skip(f"the host has no {host}")
    sock.setblocking(False)
    return sock


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    receiver, sender = bound(*request.param), bound(*request.param)
    sender.connect(receiver.getsockname())
    yield receiver, sender
    receiver.close()
    sender.close()


def reader(sock: socket.socket, limit: int = 8, address_of: Callable[[Any], Any] = tuple) -> Callable[[], Any]:
    read = batch_reader(sock, limit, address_of)
    assert read is not None
    return read


def test_reads_what_recvfrom_would(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    sender.send(b"as usual")
    _, source = receiver.recvfrom(RECEIVE_SIZE)
    read = reader(receiver)
    for data in (b"one", b"", b"three"):
        sender.send(data)
    assert read() == ([(source, b"one"), (source, b""), (source, b"three")], 3, 8)
    assert read() == ([], 0, 0)


def test_no_more_than_asked_for_and_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    read = reader(receiver, limit=3)
    for number in range(7):
        sender.send(bytes([number]))
    batches = [[data for _, data in read()[0]] for _ in range(4)]
    assert batches == [[b"\0", b"\1", b"\2"], [b"\3", b"\4", b"\5"], [b"\6"], []]


def test_places_are_used_again_without_traces_of_longer_datagrams(pair: tuple[socket.socket, socket.socket]) -> None:
    receiver, sender = pair
    read = reader(receiver, limit=2)
    sender.send(b"x" * 60000)
    sender.send(b"y" * 5)
    assert [data for _, data in read()[0]] == [b"x" * 60000, b"y" * 5]
    sender.send(b"short")
    assert [data for _, data in read()[0]] == [b"short"]


def test_sockets_and_threads_do_not_mix_up_what_they_read() -> None:
    family, host = socket.AF_INET, "127.0.0.1"
    sender, *receivers = [bound(family, host) for _ in range(3)]
    reads = [reader(receiver, limit=MAX_BATCH) for receiver in receivers]
    seen: list[list[bytes]] = [[], []]

    def receive(number: int) -> None:
        while len(seen[number]) < 2000:
            seen[number] += [data for _, data in reads[number]()[0]]

    threads = [threading.Thread(target=receive, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for count in range(2000):
        for number, receiver in enumerate(receivers):
            sender.sendto(bytes([number]) * 100, receiver.getsockname())
        while min(map(len, seen)) < count - 50:  # so many fit into any receive buffer
            pass
    for thread in threads:
        thread.join()
    assert seen == [[bytes([number]) * 100] * 2000 for number in range(2)]
    for sock in (sender, *receivers):
        sock.close()


def test_sources_are_told_apart_and_may_be_left_out() -> None:
    receiver, *senders = [bound(socket.AF_INET, "127.0.0.1") for _ in range(4)]
    ports = [sender.getsockname()[1] for sender in senders]
    asked: list[int] = []

    def address_of(source: tuple[str, int]) -> int | None:
        asked.append(source[1])
        return None if source[1] == ports[1] else source[1]

    read = reader(receiver, address_of=address_of)
    for _ in range(2):
        for sender, port in zip(senders, ports, strict=True):
            sender.sendto(str(port).encode(), receiver.getsockname())
        packets, count, _ = read()
        assert packets == [(port, str(port).encode()) for port in (ports[0], ports[2])]
        assert count == 3
    assert asked == ports, "each source is parsed once"
    for sock in (receiver, *senders):
        sock.close()


def test_remembered_sources_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CACHED_SOURCES", 1)
    receiver, *senders = [bound(socket.AF_INET, "127.0.0.1") for _ in range(3)]
    asked: list[int] = []

    def address_of(source: tuple[str, int]) -> tuple[str, int]:
        asked.append(source[1])
        return source

    read = reader(receiver, address_of=address_of)
    for sender in senders * 2:
        sender.sendto(b"data", receiver.getsockname())
    read()
    assert asked == [sender.getsockname()[1] for sender in senders] * 2
    for sock in (receiver, *senders):
        sock.close()


def test_long_bursts_take_several_calls() -> None:
    receiver, sender = bound(socket.AF_INET, "127.0.0.1"), bound(socket.AF_INET, "127.0.0.1")
    read = reader(receiver, limit=10 * MAX_BATCH)
    for _ in range(MAX_BATCH + 1):
        sender.sendto(b"data", receiver.getsockname())
    assert [read()[1], read()[1]] == [MAX_BATCH, 1]
    receiver.close()
    sender.close()


def test_an_error_reads_nothing() -> None:
    receiver = bound(socket.AF_INET, "127.0.0.1")
    read = reader(receiver)
    receiver.close()
    assert read() == ([], 0, 0)


def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = bound(socket.AF_INET, "127.0.0.1")
    monkeypatch.setattr(sys, "platform", "win32")
    assert batch_reader(receiver, 8, tuple) is None
    receiver.close()
