from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.messaging.interfaces.network_stats import DropCounter
from ipv8.messaging.interfaces.udp import batch, transport as module
from ipv8.messaging.interfaces.udp.transport import DrainingTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FullSocket:
    """A socket whose send buffer is full until ``room`` packets fit."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.room = 0
        self.error: Exception | None = None

    def sendto(self, data: bytes, address: Any) -> int:
        if not self.room:
            raise BlockingIOError
        self.room -= 1
        if self.error is not None:
            raise self.error
        return self.sock.sendto(data, address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


class Scene:
    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.full = FullSocket(self.sock)
        self.drops = DropCounter()
        self.sent: list[int] = []
        self.arrived: list[int] = []
        self.received: list[bytes] = []
        self.transport = DrainingTransport(asyncio.get_running_loop(), self.full,  # type: ignore[arg-type]  # quacks
                                           lambda source: source if source[0] != "127.0.0.9" else None,
                                           lambda packets: self.received.extend(data for _, data in packets),
                                           self.arrived.append, self.sent.append, self.drops, max_datagrams=3)

    async def wait_for(self, count: int) -> list[bytes]:
        while len(self.received) < count:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)
        return self.received


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.transport.close()


@pytest.fixture
def me(scene: Scene) -> Any:
    return scene.sock.getsockname()


async def test_packets_wait_while_the_buffer_is_full_and_keep_their_order(scene: Scene, me: tuple[str, int]) -> None:
    assert [scene.transport.transmit(bytes([number]), me) for number in range(10)] == [0] * 10
    scene.full.room = 1  # even if the next one would fit, the others are first
    assert scene.transport.transmit(b"last", me) == 0
    assert scene.transport.get_write_buffer_size() == 14
    scene.full.room = 100
    assert await scene.wait_for(11) == [bytes([number]) for number in range(10)] + [b"last"]
    assert scene.sent == [1] * 10 + [4]
    assert scene.transport.get_write_buffer_size() == 0
    assert scene.transport.transmit(b"at once", me) == 7
    assert not scene.drops


async def test_the_oldest_packets_are_displaced(scene: Scene, me: tuple[str, int],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_QUEUE_PACKETS", 4)
    monkeypatch.setattr(module, "SEND_QUEUE_BYTES", 100)
    for number in range(6):
        scene.transport.transmit(bytes([number]), me)
    assert scene.drops == {DropCounter.SEND_QUEUE_FULL: 2}
    scene.transport.transmit(b"x" * 98, me)
    assert scene.drops == {DropCounter.SEND_QUEUE_FULL: 4}
    assert scene.transport.get_write_buffer_size() == 100
    scene.full.room = 100
    assert await scene.wait_for(3) == [b"\x04", b"\x05", b"x" * 98]


async def test_a_packet_that_waits_is_copied(scene: Scene, me: tuple[str, int]) -> None:
    data = bytearray(b"data")
    scene.transport.transmit(data, me)  # type: ignore[arg-type]  # callers pass any buffer
    data[:] = b"late"
    scene.full.room = 1
    assert await scene.wait_for(1) == [b"data"]
    scene.full.room = 0
    for wrong in (5, "text", None):
        with pytest.raises(TypeError):
            scene.transport.transmit(wrong, me)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("error", [OSError("unreachable"), TypeError(), ValueError(), OverflowError()])
async def test_a_waiting_packet_that_is_refused_does_not_block_the_others(scene: Scene, me: tuple[str, int],
                                                                          error: Exception) -> None:
    scene.transport.transmit(b"bad", me)
    scene.transport.transmit(b"good", me)
    scene.full.room, scene.full.error = 1, error
    while not scene.drops:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    scene.full.room, scene.full.error = 1, None
    assert await scene.wait_for(1) == [b"good"]
    assert scene.drops == {DropCounter.SEND_FAILED: 1}


async def test_closing_drops_what_waits(scene: Scene, me: tuple[str, int]) -> None:
    scene.transport.transmit(b"data", me)
    scene.transport.transmit(b"data", me)
    scene.transport.close()
    scene.transport.close()
    assert scene.drops == {DropCounter.SEND_CLOSED: 2}
    assert scene.transport.is_closing()
    scene.transport.sendto(b"data", me)
    scene.transport.pause_reading()
    scene.transport.resume_reading()
    assert scene.transport.get_extra_info("sockname") is None


async def test_it_is_used_like_any_datagram_transport(scene: Scene, me: tuple[str, int]) -> None:
    assert not scene.transport.is_closing()
    assert scene.transport.get_extra_info("socket") is scene.full
    assert scene.transport.get_extra_info("sockname") == me
    assert scene.transport.get_extra_info("peername", "default") == "default"
    scene.full.room = 1
    scene.transport.sendto(b"data", me)
    assert scene.sent == [4]
    assert await scene.wait_for(1) == [b"data"]
    scene.transport.abort()
    assert scene.transport.is_closing()


async def test_reading_can_pause(scene: Scene, me: tuple[str, int]) -> None:
    scene.full.room = 10
    scene.transport.pause_reading()
    scene.transport.transmit(b"data", me)
    for _ in range(10):
        await asyncio.sleep(0)
    assert scene.received == []
    scene.transport.resume_reading()
    assert await scene.wait_for(1) == [b"data"]


@pytest.fixture(params=["batches", "one by one"])
async def reading_scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    if request.param == "one by one":
        monkeypatch.setattr(batch, "batch_reader", lambda *_: None)
    scene = Scene()
    yield scene
    scene.transport.close()


async def test_what_waits_is_read_in_order(reading_scene: Scene) -> None:
    scene = reading_scene
    scene.full.room = 10
    for number in range(7):
        scene.transport.transmit(bytes(number), scene.sock.getsockname())
    assert await scene.wait_for(7) == [bytes(number) for number in range(7)]
    assert [size for size in scene.arrived if size] == [0 + 1 + 2, 3 + 4 + 5, 6]
    assert not scene.drops


async def test_packets_of_impossible_sources_are_counted(reading_scene: Scene) -> None:
    scene = reading_scene
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as impossible:
        try:
            impossible.bind(("127.0.0.9", 0))
        except OSError:
            pytest.skip("the host has but one loopback address")
        impossible.sendto(b"dropped", scene.sock.getsockname())
        impossible.sendto(b"dropped", scene.sock.getsockname())
    scene.full.room = 1
    scene.transport.transmit(b"data", scene.sock.getsockname())
    assert await scene.wait_for(1) == [b"data"]
    assert scene.drops == {DropCounter.BAD_SOURCE: 2}
    assert sum(scene.arrived) == 18


async def test_an_error_leaves_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "batch_reader", lambda *_: None)
    scene = Scene()
    answers = iter([(b"data", ("127.0.0.1", 5)), OSError("unreachable")])

    class Failing:
        def recvfrom(self, _: int) -> Any:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    scene.transport._sock = Failing()  # type: ignore[assignment]  # all that reading needs
    scene.transport._on_readable()
    scene.transport._sock = scene.sock
    assert scene.received == [b"data"]
    assert scene.drops == {DropCounter.RECEIVE_FAILED: 1}
    scene.transport.close()


async def test_packets_that_wait_for_others_do_not_end_the_reading(reading_scene: Scene,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    scene = reading_scene
    monkeypatch.setattr(scene.transport, "_most", 4 * 3)
    log: list[Any] = []
    are_handled_after = 0

    def received(packets: list[tuple[Any, bytes]]) -> bool:
        log.append([len(data) for _, data in packets])
        return sum(map(len, log)) != are_handled_after

    def read(count: int) -> list[Any]:
        log.clear()
        for number in range(count):
            scene.transport.transmit(bytes(number), scene.sock.getsockname())
        scene.transport._on_readable()
        return log

    scene.transport._received = received
    scene.transport._drained = lambda: log.append("drained")
    scene.full.room = 100
    assert read(7) == [[0, 1, 2], [3, 4, 5], [6], "drained"]
    assert read(6) == [[0, 1, 2], [3, 4, 5], "drained"]
    assert read(14) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], "drained"], "enough at once"
    assert read(0) == [[12, 13], "drained"]
    are_handled_after = 6
    assert read(7) == [[0, 1, 2], [3, 4, 5]], "the last ones are handled, and those before with them"
    assert read(0) == [[6], "drained"]
    are_handled_after = 3
    assert read(3) == [[0, 1, 2]]
    assert not scene.drops


async def test_closing_while_packets_wait_for_others(scene: Scene, me: tuple[str, int]) -> None:
    log: list[str] = []

    def received(_: Any) -> bool:
        scene.transport.close()
        return True

    scene.transport._received = received
    scene.transport._drained = lambda: log.append("drained")
    scene.full.room = 3
    for number in range(3):
        scene.transport.transmit(bytes(number), me)
    scene.transport._on_readable()
    assert log == ["drained"]
    assert not scene.drops
