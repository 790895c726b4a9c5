"""Streams in encrypted sessions: what overlays do with them (doc/streams.md)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import Community, Peer, Stream, clock, message, session_streams, stream
from ipv8.messaging.session import quic
from ipv8.messaging.session.quic import QuicConnection
from ipv8.messaging.session.wire import MAX_QUIC_DATAGRAM, SERVICE_PREFIX, Flag, Frame
from ipv8.sessions import SessionRefused, SessionService, SessionSettings, SessionTimeout
from ipv8.stream_limits import FIRST_WINDOW
from ipv8.streams import (
    CODE_CANCELLED,
    CODE_INTERNAL,
    CODE_TOO_MANY,
    CODE_UNKNOWN,
    REPORT_BYTES,
    StreamLost,
    StreamReset,
)
from ipv8.test.mocking.endpoint import MockLink
from ipv8.test.mocking.ipv8 import MockIPv8
from tests.stream_link import in_virtual_time

if TYPE_CHECKING:
    from typing_extensions import Self


class Files(Community):
    community_id = b"streams of the tests"
    encryption: str | None = "prefer"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.seen: list[Any] = []
        self.accepted: asyncio.Queue[Stream] = asyncio.Queue()
        self.may_return = asyncio.Event()

    @stream("echo")
    async def echo(self, peer: Peer, stream: Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)

    @stream("keep")
    async def keep(self, peer: Peer, stream: Stream) -> None:
        self.accepted.put_nowait(stream)
        try:
            await self.may_return.wait()
        except BaseException as e:
            self.seen.append(type(e).__name__)
            raise

    @stream("fail")
    async def fail(self, peer: Peer, stream: Stream) -> None:
        raise RuntimeError("this handler fails")

    @message(1)
    def note(self, peer: Peer, text: str) -> None:
        self.seen.append(text)


class Pair:
    """Two nodes on virtual links."""

    def __init__(self, *classes: type[Files], **link: float) -> None:
        self.link = MockLink(link.get("loss", 0.0), link.get("latency", 0.02))
        self.classes = classes or (Files, Files)

    async def __aenter__(self) -> Self:
        self.nodes = []
        for overlay_class in self.classes:
            node = MockIPv8("curve25519", overlay_class)
            node.endpoint.link = self.link
            self.nodes.append(node)
        self.first, self.second = (node.overlay for node in self.nodes)
        self.there, self.back = (Peer(node.my_peer.public_key, node.endpoint.wan_address)
                                 for node in reversed(self.nodes))
        self.first.network.add_verified_peer(self.there)
        self.second.network.add_verified_peer(self.back)
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.overlay.unload()
            node.endpoint.close()
        services = {id(service): service for node in self.nodes
                    if (service := SessionService.find(node.endpoint)) is not None}
        for service in services.values():
            await service.unload()
        await asyncio.sleep(1)

    @property
    def wire(self) -> list[bytes]:
        return [packet for _, _, packet in self.link.trace]

    def connections(self) -> list[Any]:
        return [connection for node in self.nodes
                for connection in node.overlay._session_service.streams.connections]


@pytest.fixture
def virtually(run_virtually: Any) -> Any:
    return lambda main: in_virtual_time(run_virtually, main)


@pytest.fixture(params=["qh3", "aioquic"])
def library(request: Any, monkeypatch: Any) -> str:
    """The QUIC library of both sides."""
    pytest.importorskip(request.param)
    monkeypatch.setattr(quic, "available_library", lambda: request.param)
    name: str = request.param
    return name


def test_bytes_both_ways_and_half_close(virtually: Any, library: str) -> None:
    async def main() -> None:
        async with Pair(loss=0.02) as pair:
            async with pair.first.open_stream(pair.there, "echo") as talking:
                await talking.write(b"question" * 5000)
                talking.end()
                assert b"".join([chunk async for chunk in talking]) == b"question" * 5000
                with pytest.raises(RuntimeError, match="nothing can be written"):
                    await talking.write(b"more")
            assert talking.peer == pair.second.my_peer
            assert talking.session is pair.first.session_for(pair.there)
            assert talking.name == "echo"
            await asyncio.sleep(2)
            assert [connection.streams for connection in pair.connections()] == [{}, {}]
            assert talking.session._channel.streams == 0

    virtually(main)


def test_statistics(virtually: Any, library: str) -> None:
    async def main() -> None:
        async with Pair() as pair:
            async with pair.first.open_stream(pair.there, "echo") as talking:
                await talking.write(bytes(100_000))
                assert await talking.read_exactly(100_000) == bytes(100_000)
                await asyncio.sleep(1)
                here, there = (node.overlay._session_service.streams.statistics() for node in pair.nodes)
                assert here[:5] == (1, 1, 1, 0, 0)
                assert there[:5] == (1, 1, 0, 1, 0)
                assert (here.bytes_up, here.bytes_down) == (100_000 + len("echo") + 9, 100_000)
                assert (there.bytes_down, there.bytes_up) == (here.bytes_up, here.bytes_down)
                assert (here.packets_up, here.packets_down) == (there.packets_down, there.packets_up)
                assert here.packets_up > 200_000 / MAX_QUIC_DATAGRAM / 2
                assert (here.stalls, here.waiting_here) == (0, 0)
                assert 0 < here.waiting_there < REPORT_BYTES
            with suppress(StreamReset):
                async with pair.first.open_stream(pair.there, "nobody serves this") as refused:
                    await refused.read(1)
            await asyncio.sleep(1)
            here, there = (node.overlay._session_service.streams.statistics() for node in pair.nodes)
            assert (here.streams, there.streams, there.refused) == (0, 0, 1)
            assert (here.waiting_there, there.waiting_there) == (0, 0)

    virtually(main)


def test_nothing_is_readable_on_the_wire(virtually: Any) -> None:
    secret = b"nobody else may read this"

    async def main() -> None:
        async with Pair() as pair:
            async with pair.first.open_stream(pair.there, "echo") as talking:
                await talking.write(secret)
                assert await talking.read_exactly(len(secret)) == secret
            assert pair.wire
            for packet in pair.wire:
                assert packet.startswith(SERVICE_PREFIX)
                assert secret not in packet
                assert b"echo" not in packet
                assert b"ipv8-streams" not in packet
                assert len(packet) <= MAX_QUIC_DATAGRAM
            assert max(map(len, pair.wire)) == MAX_QUIC_DATAGRAM

    virtually(main)


@pytest.mark.parametrize("padding", [16, 64, 1000])
def test_padding_makes_no_datagram_too_large(virtually: Any, padding: int) -> None:
    async def main() -> None:
        async with Pair() as pair:
            for node in pair.nodes:
                service = node.overlay._session_service
                service.machine.settings = service.machine.settings._replace(padding=padding)
            async with pair.first.open_stream(pair.there, "echo") as talking:
                await talking.write(bytes(5000))
                await talking.read_exactly(5000)
            assert max(map(len, pair.wire)) == MAX_QUIC_DATAGRAM

    virtually(main)


def test_what_was_awaited_is_the_users_to_end(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            talking = await pair.first.open_stream(pair.there, "echo")
            await talking.write(b"1")
            assert await talking.read() == b"1"
            assert talking.session._channel.streams == 1
            await talking.finish()
            assert await talking.read() == b""
            await asyncio.sleep(1)
            assert talking.session._channel.streams == 0

    virtually(main)


def test_an_exception_resets_and_so_does_cancelling(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            async def fail() -> None:
                async with pair.first.open_stream(pair.there, "keep"):
                    await asyncio.sleep(1)
                    raise KeyError

            with pytest.raises(KeyError):
                await fail()
            kept = await pair.second.accepted.get()
            with pytest.raises(StreamReset) as caught:
                await kept.read()
            assert caught.value.code == CODE_INTERNAL

            async def read_forever() -> None:
                async with pair.first.open_stream(pair.there, "keep") as waiting:
                    await waiting.read()

            reading = asyncio.ensure_future(read_forever())
            kept = await pair.second.accepted.get()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            with pytest.raises(StreamReset) as caught:
                await kept.read()
            assert caught.value.code == CODE_CANCELLED

    virtually(main)


def test_what_is_reset_at_once_leaves_nothing_behind(virtually: Any) -> None:
    """Also where the other side sees no byte of it, but its end."""
    async def main() -> None:
        async with Pair() as pair:
            pair.second.may_return.set()
            for _ in range(200):
                (await pair.first.open_stream(pair.there, "keep")).reset()
                await asyncio.sleep(0.1)
            async with pair.first.open_stream(pair.there, "echo") as talking:
                await talking.write(b"1")
                assert await talking.read() == b"1"
            await asyncio.sleep(60)
            assert not any(connection.streams for connection in pair.connections())
            assert pair.second._session_service.streams.accepted == 0

    virtually(main)


def test_cancelled_awaits_lose_nothing(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            opening = asyncio.ensure_future(pair.first._open_stream(pair.there, "echo", 10.0))
            await asyncio.sleep(0.05)
            opening.cancel()
            async with pair.first.open_stream(pair.there, "echo") as talking:
                reading = asyncio.ensure_future(talking.read())
                await asyncio.sleep(1)
                reading.cancel()
                await talking.write(b"still here")
                assert await talking.read_exactly(10) == b"still here"
                writing = asyncio.ensure_future(talking.write(bytes(4 * FIRST_WINDOW)))
                await asyncio.sleep(5)
                assert not writing.done()
                written = talking._sent - len(b"12345678" + b"4echo") - 10
                writing.cancel()
                assert await talking.read_exactly(written) == bytes(written)

    virtually(main)


def test_a_writer_waits_for_a_slow_reader(virtually: Any, library: str) -> None:
    async def main() -> None:
        async with Pair() as pair:
            sending = await pair.first.open_stream(pair.there, "keep")
            writing = asyncio.ensure_future(sending.write(bytes(4 * FIRST_WINDOW)))
            kept = await pair.second.accepted.get()
            await asyncio.sleep(30)
            assert not writing.done()
            assert kept.waiting <= FIRST_WINDOW
            total = 0
            while total < 4 * FIRST_WINDOW:
                total += len(await kept.read(20_000))
                await asyncio.sleep(0.01)
            await writing
            pair.second.may_return.set()

    virtually(main)


@pytest.mark.parametrize("wanted", [0, 5, 20_000])
def test_a_handler_need_not_read_all(virtually: Any, wanted: int) -> None:
    """Both sides finish although one of them reads a part."""
    class Picky(Files):
        @stream("some")
        async def some(self, peer: Peer, stream: Stream) -> None:
            await stream.read_exactly(wanted)
            await stream.write(b"enough")

    async def main() -> None:
        async with Pair(Files, Picky) as pair:
            async with pair.first.open_stream(pair.there, "some") as talking:
                await talking.write(bytes(20_000))
                assert await talking.read_exactly(6) == b"enough"
            async with pair.first.open_stream(pair.there, "some") as talking:
                await talking.write(bytes(20_000))
            await asyncio.sleep(1)
            assert not any(connection.streams for connection in pair.connections())

    virtually(main)


def test_much_that_nobody_reads_is_refused(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.second.may_return.set()
            with pytest.raises(StreamReset) as caught:
                async with pair.first.open_stream(pair.there, "keep") as sending:
                    await sending.write(bytes(FIRST_WINDOW // 2))
            assert caught.value.code == CODE_CANCELLED
            await asyncio.sleep(1)
            assert not any(connection.streams for connection in pair.connections())
            assert all(connection.received == connection.sent == 0 for connection in pair.connections())

    virtually(main)


def test_what_has_no_handler_is_refused(virtually: Any) -> None:
    class Other(Community):
        community_id = b"another overlay....."
        encryption = "prefer"

    async def main() -> None:
        async with Pair() as pair:
            with pytest.raises(StreamReset, match="no handler") as caught:
                async with pair.first.open_stream(pair.there, "nothing") as talking:
                    await talking.read()
            assert caught.value.code == CODE_UNKNOWN
            node = pair.nodes[0]
            other = Other(Other.settings_class(my_peer=node.my_peer, endpoint=node.endpoint, network=node.network))
            talking = await other.open_stream(pair.there, "echo")
            with pytest.raises(StreamReset, match="no such overlay"):
                await talking.read()
            assert pair.second._session_service.streams.counts["refused"] == 2
            await other.unload()

    virtually(main)


def test_a_handler_that_fails_resets(virtually: Any, caplog: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            talking = await pair.first.open_stream(pair.there, "fail")
            with pytest.raises(StreamReset) as caught:
                await talking.read()
            assert caught.value.code == CODE_INTERNAL
            assert "this handler fails" in caplog.text

    virtually(main)


def test_unloading_resets_the_streams(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            talking = await pair.first.open_stream(pair.there, "keep")
            kept = await pair.second.accepted.get()
            reading = asyncio.ensure_future(talking.read())
            streams = pair.second._session_service.streams
            await pair.second.unload()
            assert pair.second.seen == ["CancelledError"]
            with pytest.raises(ConnectionResetError):
                await reading
            with pytest.raises(ConnectionResetError):
                await kept.read()
            await asyncio.sleep(1)
            assert not pair.first._session_service.streams.connections
            assert not streams.connections
            assert streams.accepted == 0

    virtually(main)


def test_the_end_of_the_session_is_the_end_of_its_streams(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            talking = await pair.first.open_stream(pair.there, "keep")
            kept = await pair.second.accepted.get()
            talking.session.close()
            for lost in (talking, kept):
                with pytest.raises(StreamLost, match="session"):
                    await lost.read()
                await asyncio.sleep(1)
            async with pair.first.open_stream(pair.there, "echo") as again:
                await again.write(b"1")
                assert await again.read() == b"1"
                assert again.session is not talking.session

    virtually(main)


def test_an_open_stream_keeps_the_session(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            talking = await pair.first.open_stream(pair.there, "echo")
            await asyncio.sleep(3600)
            assert talking.session.is_open
            await talking.write(b"1")
            assert await talking.read() == b"1"
            await talking.finish()
            assert await talking.read() == b""
            await asyncio.sleep(800)
            assert not talking.session.is_open

    virtually(main)


def test_both_sides_begin_at_once(virtually: Any, library: str) -> None:
    """That of the session's initiator stays, and both have all their streams on it."""
    async def main() -> None:
        async with Pair() as pair:
            await pair.second.secure(pair.back)
            await asyncio.sleep(1)

            async def talk(overlay: Files, peer: Peer) -> Stream:
                talking = await overlay.open_stream(peer, "echo")
                await talking.write(b"1")
                assert await talking.read() == b"1"
                return talking

            streams = await asyncio.gather(talk(pair.first, pair.there), talk(pair.second, pair.back))
            assert [talking.id % 4 for talking in streams] == [1, 0]  # of the server, of the client
            assert [connection.is_client for connection in pair.connections()] == [False, True]

    virtually(main)


def test_a_side_that_has_lost_its_connection_gets_another_one(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            before = await pair.first.open_stream(pair.there, "keep")
            await asyncio.sleep(20)
            (line,) = pair.second._session_service.streams._lines.values()
            line.connection._send_packet = lambda _: None
            line.connection.close()
            async with pair.second.open_stream(pair.back, "echo") as talking:
                await talking.write(b"1")
                assert await talking.read() == b"1"
            with pytest.raises(StreamLost):
                await before.read()

    virtually(main)


def test_the_65th_stream_waits_for_a_place(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            held = [await pair.first.open_stream(pair.there, "keep") for _ in range(64)]
            with pytest.raises(SessionTimeout):
                await pair.first.open_stream(pair.there, "echo", timeout=5.0)
            other = await pair.second.open_stream(pair.back, "echo")  # the limit is each side's own
            other.reset()
            waiting = asyncio.ensure_future(pair.first._open_stream(pair.there, "echo", 10.0))
            await asyncio.sleep(1)
            held[5].reset()
            talking, _ = await waiting
            await talking.write(b"1")
            assert await talking.read() == b"1"

    virtually(main)


def test_others_cannot_have_too_many_streams(virtually: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(session_streams, "MAX_ACCEPTED_STREAMS", 3)

    async def main() -> None:
        async with Pair() as pair:
            for _ in range(3):
                await pair.first.open_stream(pair.there, "keep")
            await asyncio.sleep(1)
            talking = await pair.first.open_stream(pair.there, "keep")
            with pytest.raises(StreamReset) as caught:
                await talking.read()
            assert caught.value.code == CODE_TOO_MANY
            pair.second.may_return.set()
            await asyncio.sleep(60)
            assert pair.second._session_service.streams.accepted == 0

    virtually(main)


@pytest.mark.parametrize("start", [b"\0" * 8 + b"\x05half", b"\0" * 8 + b"\x02\xff\xff", b"\0" * 8])
def test_a_stream_that_begins_with_something_else(virtually: Any, start: bytes) -> None:
    async def main() -> None:
        async with Pair() as pair:
            await pair.first.secure(pair.there)
            channel = pair.first.session_for(pair.there)._channel
            connection = await pair.first._session_service.streams._with_room(channel)
            talking = connection.open()
            await talking.write(start)
            with pytest.raises(StreamReset) as caught:
                await talking.read()
            assert caught.value.code == CODE_INTERNAL
            assert pair.second._session_service.streams.counts == {"refused": 1}

    virtually(main)


def test_the_number_of_handshakes_is_limited(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            session = await pair.first.secure(pair.there)
            await asyncio.sleep(1)
            for _ in range(20):
                connection = QuicConnection.connect(session_streams._SETTINGS, clock.monotonic())
                (packet,) = connection.datagrams(clock.monotonic())
                pair.first.endpoint.send(session.address, session.seal(bytes((Frame.QUIC,)) + packet))
                await asyncio.sleep(0)
            await asyncio.sleep(1)
            service = pair.second._session_service
            assert service.drops["stream"] == 20 - session_streams.PEER_CONNECTIONS_AT_ONCE
            assert len(service.streams.connections) == 1

    virtually(main)


@pytest.mark.parametrize("packet", [b"", b"\x40" + bytes(30), b"\xc0\0\0\0\x01" + bytes(1195), bytes(1200),
                                    b"\xff" * 1200])
def test_packets_of_no_connection_are_dropped(virtually: Any, packet: bytes) -> None:
    async def main() -> None:
        async with Pair() as pair:
            async with pair.first.open_stream(pair.there, "echo") as talking:
                frame = bytes((Frame.QUIC,)) + packet[:1199]
                pair.first.endpoint.send(talking.session.address, talking.session.seal(frame))
                await talking.write(b"1")
                assert await talking.read() == b"1"
            await talking.session.ping()
            talking.session.close()
            session = await pair.first.secure(pair.there)
            await asyncio.sleep(1)
            pair.first.endpoint.send(session.address, session.seal(bytes((Frame.QUIC,)) + packet))
            await asyncio.sleep(200)
            assert not pair.second._session_service.streams.connections

    virtually(main)


def test_messages_go_before_streams(virtually: Any) -> None:
    async def main() -> None:
        async with Pair(latency=0.0) as pair:
            await pair.first.secure(pair.there)
            sending = await pair.first.open_stream(pair.there, "keep")
            await sending.write(bytes(FIRST_WINDOW // 2))
            packets = len(pair.wire)
            pair.first.note.send(pair.there, "now")
            assert len(pair.wire) == packets + 1
            await asyncio.sleep(0.5)
            assert pair.second.seen == ["now"]

    virtually(main)


# What cannot be


def test_without_a_library(virtually: Any, monkeypatch: Any) -> None:
    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("ipv8.sessions.available_library", lambda: None)
            node = MockIPv8("curve25519", Files)
            assert not node.overlay._session_service._flags & Flag.STREAMS
        async with Pair() as pair:
            peer = Peer(node.my_peer.public_key, node.endpoint.wan_address)
            with pytest.raises(SessionRefused, match=r"pip install.* there"):
                await pair.first.open_stream(peer, "echo")
            with pytest.raises(SessionRefused, match="qh3 or aioquic at both ends: run pip install"):
                await node.overlay.open_stream(pair.back, "echo")
        service = SessionService.find(node.endpoint)
        await node.stop()
        assert service is not None
        await service.unload()

    virtually(main)


def test_without_sessions(virtually: Any) -> None:
    class Off(Files):
        encryption = "off"

    async def main() -> None:
        async with Pair(Off, Files) as pair:
            with pytest.raises(SessionRefused, match="set its encryption"):
                await pair.first.open_stream(pair.there, "echo")
            with pytest.raises(SessionTimeout):
                await pair.second.open_stream(pair.back, "echo", timeout=3.0)
            with pytest.raises(ValueError, match="itself"):
                await pair.second.open_stream(pair.there, "echo")

    virtually(main)


async def test_names_and_handlers() -> None:
    node = MockIPv8("curve25519", Files)
    overlay = node.overlay
    for name in ("", "é" * 128):
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            overlay.open_stream(node.my_peer, name)
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            overlay.add_stream_handler(name, overlay.echo)
    with pytest.raises(RuntimeError, match="has a handler"):
        overlay.add_stream_handler("echo", overlay.echo)
    overlay.add_stream_handler("é" * 127, overlay.echo)
    assert not Community._stream_handlers
    await node.stop()


def test_declarations() -> None:
    with pytest.raises(TypeError, match="by its name"):
        stream(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="async def"):
        stream("name")(lambda overlay, peer, stream: None)  # type: ignore[arg-type,return-value]
    assert isinstance(Files.echo, type(Files.keep))
    assert Files.echo.name == "echo"


async def test_a_subclass_declares_again() -> None:
    class Wrong(Files):
        async def echo(self, peer: Peer, stream: Stream) -> None:
            pass

    with pytest.raises(TypeError, match="replaces a declared"):
        MockIPv8("curve25519", Wrong)


async def test_codes_of_resets() -> None:
    assert str(StreamReset(300)) == "the stream was reset, code 300"
    for code in (-1, 1 << 62):
        with pytest.raises(ValueError, match="code"):
            Stream.reset(object.__new__(Stream), code)
    assert "cancelled" in str(StreamReset(5))


def test_the_first_bytes_of_a_stream(virtually: Any, load_vectors: Any) -> None:
    vector = load_vectors("streams")["beginnings"]["log"]

    class Logs(Files):
        community_id = bytes.fromhex(vector["prefix"])[2:]

    async def main() -> None:
        async with Pair(Logs, Logs) as pair:
            await pair.first.secure(pair.there)
            await asyncio.sleep(1)
            channel = pair.first.session_for(pair.there)._channel
            connection = await pair.first._session_service.streams._with_room(channel)
            sent: list[bytes] = []
            connection._quic.send = lambda _, data, end=False: sent.append(data)
            (await pair.first.open_stream(pair.there, vector["name"])).reset()
            assert sent == [bytes.fromhex(vector["data"])]

    virtually(main)


def test_nothing_goes_before_the_session_is_hybrid(virtually: Any) -> None:
    from ipv8.keyvault import ml_kem

    if not ml_kem.is_available():
        pytest.skip("this needs ML-KEM")

    class Quiet(Files):
        encryption = None

    async def main() -> None:
        async with Pair(Quiet, Quiet) as pair:
            for node in pair.nodes:
                SessionService.of(node.endpoint, SessionSettings(hybrid="require"))
            async with pair.first.open_stream(pair.there, "echo") as talking:
                await talking.write(b"1")
                assert await talking.read() == b"1"
            assert talking.session.hybrid

    virtually(main)


@pytest.mark.parametrize(("data", "ends"), [((4).to_bytes(8, "big") + (1 << 40).to_bytes(8, "big"), False),
                                            (b"", True)])
def test_who_breaks_the_rules_of_the_control_stream_loses_the_session(virtually: Any, data: bytes, ends: bool) -> None:
    async def main() -> None:
        async with Pair() as pair:
            talking = await pair.first.open_stream(pair.there, "keep")
            kept = await pair.second.accepted.get()
            connection = talking._connection
            connection._quic.send(0, data or b"x", ends)
            connection._packets.soon()
            with pytest.raises(StreamLost):
                await talking.read()
            await asyncio.sleep(1)
            assert not talking.session.is_open
            assert not kept.session.is_open

    virtually(main)


def test_the_end_of_the_service_is_told_to_who_waits(virtually: Any) -> None:
    async def main() -> None:
        async with Pair() as pair:
            await pair.first.secure(pair.there)
            await asyncio.sleep(1)
            opening = asyncio.ensure_future(pair.first._open_stream(pair.there, "echo", 10.0))
            await asyncio.sleep(0.01)
            service = pair.first._session_service
            assert service.streams.connections
            await service.unload()
            with pytest.raises(StreamLost):
                await opening
            assert not service.streams.connections

    virtually(main)
