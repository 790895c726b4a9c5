from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.stream_limits import FIRST_WINDOW, StreamLimits, StreamMemory
from ipv8.streams import (
    CODE_CANCELLED,
    CODE_REFUSED,
    CODE_TOO_MANY,
    REPORT_BYTES,
    TURN_BYTES,
    Stream,
    StreamLost,
    StreamReset,
)
from tests.stream_link import Link, in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = [("qh3", "qh3"), ("qh3", "aioquic"), ("aioquic", "qh3"), ("aioquic", "aioquic")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: Any) -> tuple[str, str]:
    """The libraries of both sides."""
    for name in request.param:
        pytest.importorskip(name)
    client, server = request.param
    return client, server


@pytest.fixture
def virtually(run_virtually: Any) -> Callable[[Any], Any]:
    """Run a coroutine function in virtual time."""
    return lambda main: in_virtual_time(run_virtually, main)


def test_bytes_both_ways(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.05, pair=pair) as link:
            stream = link.client.open()
            await stream.write(b"question")
            stream.end()
            other = await link.accepted.get()
            assert other.id == stream.id
            assert await other.read_exactly(8) == b"question"
            assert await other.read() == b""
            await other.write(b"answer")
            answered = asyncio.ensure_future(other.finish())
            assert [chunk async for chunk in stream] == [b"answer"]
            await answered
            await asyncio.sleep(1)
            assert not link.client.streams
            assert not link.server.streams

    virtually(main)


@pytest.mark.parametrize("loss", [0.0, 0.03])
def test_much_data_arrives_in_order(virtually: Any, pair: tuple[str, str], loss: float) -> None:
    data = bytes(range(256)) * 4096

    async def main() -> None:
        async with Link(delay=0.02, loss=loss, pair=pair) as link:
            stream = link.client.open()

            async def write() -> None:
                await stream.write(data)
                await stream.finish()

            writing = asyncio.ensure_future(write())
            other = await link.accepted.get()
            assert b"".join([chunk async for chunk in other]) == data
            await writing
            assert link.client.sent == link.server.received == 0
            other.end()
            assert await stream.read() == b""
            assert not link.client.streams

    virtually(main)


def test_a_writer_waits_for_the_reader(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.01, pair=pair) as link:
            stream = link.client.open()
            writing = asyncio.ensure_future(stream.write(bytes(3 * FIRST_WINDOW)))
            other = await link.accepted.get()
            await asyncio.sleep(20)
            assert not writing.done()
            assert stream.unread == other.waiting == FIRST_WINDOW
            await other.read_exactly(REPORT_BYTES)
            await asyncio.sleep(1)
            assert stream.unread > FIRST_WINDOW - REPORT_BYTES  # it went on
            await other.read_exactly(3 * FIRST_WINDOW - REPORT_BYTES)
            await writing

    virtually(main)


def test_a_writer_that_need_not_wait_lets_others_run(virtually: Any) -> None:
    async def main() -> None:
        async with Link(delay=0.01) as link:
            stream = link.client.open()
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.ensure_future(count())
            for _ in range(FIRST_WINDOW // 1024):
                await stream.write(bytes(1024))
            assert turns == FIRST_WINDOW // TURN_BYTES
            assert link.client.counters.bytes_up == FIRST_WINDOW
            assert not link.client.counters.stalls
            counting.cancel()

    virtually(main)


def test_the_window_grows_for_a_fast_reader_only(virtually: Any) -> None:
    async def main() -> None:
        async with Link(delay=0.1) as link:
            stream = link.client.open()
            writing = asyncio.ensure_future(stream.write(bytes(16 * FIRST_WINDOW)))
            other = await link.accepted.get()
            largest = 0
            for _ in range(16 * FIRST_WINDOW // REPORT_BYTES):
                await other.read_exactly(REPORT_BYTES)
                largest = max(largest, stream.unread)
            await writing
            assert largest >= 2 * FIRST_WINDOW

    virtually(main)


def test_a_reset_ends_both_ends(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.01, pair=pair) as link:
            stream = link.client.open()
            await stream.write(b"begin")
            other = await link.accepted.get()
            assert await other.read() == b"begin"
            reading = asyncio.ensure_future(other.read())
            stream.reset(300)
            with pytest.raises(StreamReset) as caught:
                await reading
            assert caught.value.code == 300
            for end in (stream, other):
                with pytest.raises(StreamReset):
                    await end.write(b"more")
                with pytest.raises(StreamReset):
                    await end.read()
            assert not link.client.streams
            assert not link.server.streams
            assert link.client.sent == link.server.sent == 0

    virtually(main)


def test_an_aborted_write_wakes_up(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.01, pair=pair) as link:
            stream = link.client.open()
            writing = asyncio.ensure_future(stream.write(bytes(2 * FIRST_WINDOW)))
            other = await link.accepted.get()
            await asyncio.sleep(3)
            other.reset(CODE_CANCELLED)
            with pytest.raises(StreamReset):
                await writing
            await asyncio.sleep(3)
            assert link.client.sent == link.server.received == link.server.memory.received == 0

    virtually(main)


def test_the_end_of_the_connection_ends_streams(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.01, pair=pair) as link:
            stream = link.client.open()
            await stream.write(b"x")
            other = await link.accepted.get()
            assert await other.read() == b"x"
            link.client.close()
            with pytest.raises(StreamLost):
                await stream.read()
            with pytest.raises(StreamLost):
                await other.read()
            with pytest.raises(StreamLost):
                link.client.open()
            assert link.closed == ["client", "server"]

    virtually(main)


def test_silence_ends_the_connection(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.01, pair=pair) as link:
            stream = link.client.open()
            await stream.write(b"x")
            other = await link.accepted.get()
            await asyncio.sleep(300)  # the connection is kept alive while there are streams
            await stream.write(b"y")
            assert await other.read_exactly(2) == b"xy"
            link.loss = 1.0
            began = asyncio.get_running_loop().time()
            with pytest.raises(StreamLost):
                await stream.read()
            assert asyncio.get_running_loop().time() - began < 130

    virtually(main)


def test_a_connection_without_streams_ends_by_itself(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.01, pair=pair) as link:
            await link.client.wait_connected()
            await asyncio.sleep(100)
            assert link.client.is_closed
            assert link.server.is_closed

    virtually(main)


def test_streams_beyond_the_limit_are_refused(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        limits = StreamLimits(streams=2, idle_timeout=60.0)
        async with Link(delay=0.01, server_limits=limits, pair=pair) as link:
            streams = [link.client.open() for _ in range(3)]
            for stream in streams:
                await stream.write(b"x")
            for _ in range(2):
                await link.accepted.get()
            with pytest.raises(StreamReset) as caught:
                await streams[2].read()
            assert caught.value.code == CODE_TOO_MANY
            assert len(link.server.streams) == 2

    virtually(main)


def test_own_streams_are_limited_too(virtually: Any) -> None:
    async def main() -> None:
        async with Link(limits=StreamLimits(streams=1)) as link:
            link.client.open()
            with pytest.raises(RuntimeError, match="wait until one has ended"):
                link.client.open()

    virtually(main)


def test_a_server_without_handler_refuses(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.01, pair=pair) as link:
            await link.client.wait_connected()
            link.server._on_stream = None
            stream = link.client.open()
            await stream.write(b"x")
            with pytest.raises(StreamReset) as caught:
                await stream.read()
            assert caught.value.code == CODE_REFUSED
            with pytest.raises(RuntimeError, match="by the client"):
                link.server.open()

    virtually(main)


def test_many_streams_one_after_another(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.001, pair=pair) as link:
            for _ in range(300):
                stream = link.client.open()
                await stream.write(b"ping")
                stream.end()
                other = await link.accepted.get()
                assert await other.read_exactly(4) == b"ping"
                assert await other.read() == b""
                other.end()
                assert await stream.read() == b""
            await asyncio.sleep(1)
            assert not link.client.streams
            assert not link.server.streams
            assert not link.server._skipped

    virtually(main)


def test_many_streams_at_a_time_with_loss(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.02, loss=0.05, pair=pair) as link:
            async def ask(number: int) -> None:
                stream = link.client.open()
                await stream.write(bytes([number]) * 20_000)
                stream.end()
                assert b"".join([chunk async for chunk in stream]) == bytes([number]) * 20_000

            async def serve() -> None:
                for _ in range(64):
                    stream = await link.accepted.get()
                    link.tasks.register_anonymous_task("echo", echo, stream)

            async def echo(stream: Any) -> None:
                async for chunk in stream:
                    await stream.write(chunk)
                stream.end()

            await asyncio.gather(serve(), *[ask(number) for number in range(64)])

    virtually(main)


def test_shared_memory_drops_the_largest(virtually: Any) -> None:
    async def main() -> None:
        memory = StreamMemory(200_000)
        async with Link(memory=memory) as one, Link(memory=memory) as two:
            large, small = one.client.open(), two.client.open()
            await large.write(bytes(150_000))
            await small.write(bytes(40_000))
            held, kept = await one.accepted.get(), await two.accepted.get()
            await asyncio.sleep(1)
            await small.write(bytes(40_000))
            await asyncio.sleep(1)
            with pytest.raises(StreamReset) as caught:
                await held.read()
            assert caught.value.code == CODE_TOO_MANY
            assert kept.waiting == memory.received == 80_000

    virtually(main)


def test_a_sender_that_ignores_its_window_loses_the_stream(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        limits = StreamLimits(max_window=300_000, idle_timeout=60.0)
        async with Link(server_limits=limits, pair=pair) as link:
            stream = link.client.open()
            link.client._quic.send(stream.id, bytes(400_000))
            link.client._packets.flush()
            other = await link.accepted.get()
            await asyncio.sleep(5)
            with pytest.raises(StreamReset):
                await other.read()
            assert link.server.received == 0

    virtually(main)


def test_false_reports_end_the_connection(virtually: Any) -> None:
    async def main() -> None:
        async with Link() as link:
            stream = link.client.open()
            await stream.write(b"x")
            await link.accepted.get()
            link.server.report(stream.id, 2)
            await asyncio.sleep(1)
            assert link.client.malformed == 1
            assert link.client.is_closed

    virtually(main)


def test_writes_share_what_is_free(virtually: Any) -> None:
    async def main() -> None:
        async with Link() as link:
            link.client.memory.capacity = 400_000
            stream = link.client.open()
            writing = asyncio.ensure_future(stream.write(bytes(200_000)))
            other = await link.accepted.get()
            await asyncio.sleep(1)
            assert 50_000 < stream.unread <= 100_000
            await other.read_exactly(200_000)
            await writing

    virtually(main)


def test_misuse(virtually: Any) -> None:
    async def main() -> None:
        async with Link() as link:
            stream = link.client.open()
            await stream.write(b"")
            stream.end()
            with pytest.raises(RuntimeError, match="ended here"):
                await stream.write(b"x")
            other = await link.accepted.get()
            with pytest.raises(asyncio.IncompleteReadError):
                await other.read_exactly(1)

    virtually(main)


def test_a_read_that_is_cancelled_loses_nothing(virtually: Any) -> None:
    async def main() -> None:
        async with Link(delay=0.01) as link:
            stream = link.client.open()
            await stream.write(bytes(range(200)))
            other = await link.accepted.get()
            await asyncio.sleep(1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(other.read_exactly(1000), 5)
            assert other.waiting == link.server.received == 200
            assert await other.read_exactly(100) == bytes(range(100))
            await stream.write(b"more")
            stream.end()
            assert await other.read_exactly(104) == bytes(range(100, 200)) + b"more"
            assert await other.read() == b""
            await stream.finish()
            assert other.waiting == link.server.received == link.client.sent == 0

    virtually(main)


@pytest.mark.parametrize("size", [0, -1])
def test_reads_of_no_bytes(virtually: Any, size: int) -> None:
    async def main() -> None:
        async with Link(delay=0.01) as link:
            stream = link.client.open()
            await stream.write(b"data")
            other = await link.accepted.get()
            with pytest.raises(ValueError, match=str(size)):
                await other.read(size)
            if size:
                with pytest.raises(ValueError, match=str(size)):
                    await other.read_exactly(size)
            else:
                assert await other.read_exactly(size) == b""
            assert await other.read() == b"data"

    virtually(main)


# The end of single streams, at any time


async def nothing_left(link: Link) -> None:
    """Check that both ends forget their streams."""
    await asyncio.sleep(1)
    assert not link.client.streams
    assert not link.server.streams


@pytest.mark.parametrize("how", ["stop", "reset"])
def test_a_writer_does_not_wait_for_a_reader_that_is_done(virtually: Any, pair: tuple[str, str], how: str) -> None:
    """All has arrived in both directions, so for QUIC the stream is over."""
    async def main() -> None:
        async with Link(delay=0.05, pair=pair) as link:
            stream = link.client.open()
            await stream.write(bytes(200_000))
            stream.end()
            other = await link.accepted.get()
            other.end()
            await asyncio.sleep(2)
            other.stop() if how == "stop" else other.reset()
            await asyncio.wait_for(stream.finish(), 10)
            assert await stream.read() == b""
            await nothing_left(link)

    virtually(main)


def test_a_writer_does_not_wait_if_what_tells_it_to_stop_is_lost(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.05, pair=pair) as link:
            stream = link.client.open()
            await stream.write(bytes(200_000))
            stream.end()
            other = await link.accepted.get()
            await asyncio.sleep(2)
            link.loss = 1.0
            other.stop()
            await asyncio.sleep(0.01)
            link.loss = 0.0
            other.end()
            with suppress(StreamReset):
                await asyncio.wait_for(stream.finish(), 10)
            assert await stream.read() == b""
            await nothing_left(link)

    virtually(main)


def test_whoever_stops_reading_can_still_write(virtually: Any, pair: tuple[str, str]) -> None:
    async def main() -> None:
        async with Link(delay=0.05, pair=pair) as link:
            stream = link.client.open()
            await stream.write(bytes(200_000))
            other = await link.accepted.get()
            other.stop()
            await other.write(b"enough")
            await asyncio.sleep(1)
            await other.write(b", thank you")
            other.end()
            assert b"".join([chunk async for chunk in stream]) == b"enough, thank you"
            with pytest.raises(StreamReset):
                await stream.write(b"more")
            await other.finish()
            await nothing_left(link)

    virtually(main)


def test_the_reset_of_a_stream_ends_no_other_one(virtually: Any, pair: tuple[str, str]) -> None:
    """Much of it waits to be sent, and packets with the beginning are lost."""
    async def main() -> None:
        async with Link(delay=0.05, loss=0.05, pair=pair) as link:
            kept = link.client.open()
            await kept.write(b"kept")
            other = await link.accepted.get()
            for _ in range(10):
                stream = link.client.open()
                await stream.write(bytes(200_000))
                await asyncio.sleep(0.08)
                stream.reset()
            await asyncio.sleep(5)
            await kept.write(b", and used")
            assert await other.read_exactly(14) == b"kept, and used"
            assert set(link.client.streams) == set(link.server.streams) | {kept.id} == {kept.id}
            assert not link.closed

    virtually(main)


class RandomUser:
    """Uses streams at both ends of a link in a random way."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.tasks: list[asyncio.Future[None]] = []

    def use(self, stream: Stream) -> None:
        self.tasks.append(asyncio.ensure_future(self._use(stream)))

    async def _use(self, stream: Stream) -> None:
        await asyncio.gather(self._write(stream), self._read(stream))
        try:
            if self.random.random() < 0.4:
                stream.stop()
            stream.end()
            while await asyncio.wait_for(stream.read(), 100):
                pass
            await asyncio.wait_for(stream.finish(), 100)
        except StreamReset:
            stream.reset()

    async def _write(self, stream: Stream) -> None:
        chance = self.random
        for _ in range(chance.randrange(6)):
            limit = chance.choice([0.01, 0.5, 20.0])
            with suppress(StreamReset, RuntimeError, asyncio.TimeoutError):
                match chance.randrange(10):
                    case 0 | 1:
                        await asyncio.sleep(chance.random())
                    case 2:
                        stream.end()
                    case 3:
                        await asyncio.wait_for(stream.finish(), limit)
                    case 4:
                        stream.reset(chance.choice([0, 5, 256])) if chance.random() < 0.5 else stream.stop()
                    case _:
                        await asyncio.wait_for(stream.write(bytes(chance.randrange(90_000))), limit)

    async def _read(self, stream: Stream) -> None:
        chance = self.random
        for _ in range(chance.randrange(12)):
            limit = chance.choice([0.01, 0.5, 20.0])
            with suppress(StreamReset, EOFError, asyncio.TimeoutError):
                match chance.randrange(10):
                    case 0:
                        await asyncio.sleep(chance.random())
                    case 1:
                        stream.reset(3) if chance.random() < 0.5 else stream.stop()
                    case 2 | 3:
                        await asyncio.wait_for(stream.read_exactly(chance.randrange(100_000)), limit)
                    case _:
                        await asyncio.wait_for(stream.read(chance.randrange(1, 100_000)), limit)


@pytest.mark.parametrize("seed", range(3))
def test_streams_that_end_in_any_way_leave_nothing(virtually: Any, pair: tuple[str, str], seed: int) -> None:
    async def main() -> None:
        user = RandomUser(seed)
        limits = StreamLimits(streams=8)
        async with Link(delay=0.03, loss=0.05, seed=seed, pair=pair, limits=limits, server_limits=limits,
                        on_stream=user.use) as link:
            for _ in range(60):
                if not link.client.is_full:
                    user.use(link.client.open())
                await asyncio.sleep(0.3 * user.random.random())
            while not all(task.done() for task in user.tasks):
                await asyncio.gather(*user.tasks)
            await asyncio.sleep(10)
            for side in (link.client, link.server):
                assert not side.streams
                assert side.sent == side.received == side.malformed == 0
            assert not link.closed

    virtually(main)
