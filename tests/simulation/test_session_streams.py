"""Streams in encrypted sessions over virtual links, NATs, relays, and through changes of address."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from ipv8 import Community, Peer, Stream, clock, stream
from ipv8.contact.nat import PeerPath
from ipv8.messaging.address import RelayedAddress
from ipv8.messaging.interfaces.endpoint import EndpointListener
from ipv8.messaging.session.quic import Certificate, QuicConnection, QuicSettings, StreamData
from ipv8.test.simulation import NAT, Link, Node, Simulation


class Files(Community):
    community_id = b"streams of the tests"
    encryption = "require"

    @stream("echo")
    async def echo(self, peer: Peer, stream: Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)

    @stream("zeros")
    async def zeros(self, peer: Peer, stream: Stream) -> None:
        await stream.write(bytes(int.from_bytes(await stream.read_exactly(4), "big")))

    @stream("digest")
    async def digest(self, peer: Peer, stream: Stream) -> None:
        digest = sha256()
        async for chunk in stream:
            digest.update(chunk)
        await stream.write(digest.digest())


def peer_of(node: Node, other: Node) -> Peer:
    peer: Peer = node.run(lambda: next(peer for peer in node.get_peers() if peer == other.my_peer))
    return peer


def meet(sim: Simulation, *kinds: NAT | None, link: Link | None = None) -> tuple[Node, Node, Peer]:
    """Two nodes that know each other, and the second one as the first one knows it."""
    sim.add_tracker()
    sim.add_node(Files)
    first, second = (sim.add_node(Files, nat=kind) for kind in kinds or (None, None))
    sim.run_until(lambda: first.knows(second) and second.knows(first), 60.0)
    sim.run(5.0)
    for node in (first, second):
        if link is not None:
            node.set_link(link)
    return first, second, peer_of(first, second)


async def send(node: Node, peer: Peer, data: bytes, timeout: float = 60.0) -> bool:
    """Whether data arrives as it was sent."""
    async with node.overlay.open_stream(peer, "digest", timeout=timeout) as sending:
        await sending.write(data)
        sending.end()
        answer: bytes = await sending.read_exactly(32)
        return answer == sha256(data).digest()


LINKS = {
    "fast": (Link(latency=0.0025, bandwidth=12_500_000.0), 3_000_000),
    "far": (Link(latency=0.15), 1_000_000),
    "slow": (Link(latency=0.02, bandwidth=12_500.0), 60_000),
    "loses": (Link(latency=0.01, loss=0.025), 300_000),
    "reorders": (Link(latency=0.01, reordering=0.2, reordering_delay=0.03), 300_000),
    "repeats": (Link(latency=0.01, duplication=0.2), 300_000),
    "all at once": (Link(latency=0.02, jitter=0.02, loss=0.01, duplication=0.05, bandwidth=1_250_000.0), 200_000),
}


@pytest.mark.parametrize("kind", LINKS)
def test_transfers_of_random_sizes(kind: str) -> None:
    link, largest = LINKS[kind]
    random = Random(kind)
    with Simulation(kind) as sim:
        first, _, peer = meet(sim, link=link)
        for size in (0, 1, random.randrange(1, 2000), random.randrange(largest // 2, largest)):
            assert sim.wait_for(first.run(lambda size=size: send(first, peer, random.randbytes(size))))


@pytest.mark.parametrize("has_session", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_64_streams_at_once_in_both_directions(has_session: bool, seed: int) -> None:
    with Simulation(seed) as sim:
        first, second, there = meet(sim, link=Link(latency=0.01, loss=0.01))
        back = peer_of(second, first)
        random = Random(1)
        if has_session:  # one that carries both connections that begin; else there may be two sessions
            sim.wait_for(first.run(lambda: first.overlay.secure(there)))
            sim.run(1.0)

        async def talk(node: Node, peer: Peer, data: bytes) -> None:
            async with node.overlay.open_stream(peer, "echo") as talking:
                got = asyncio.ensure_future(talking.read_exactly(len(data)))
                await talking.write(data)
                assert await got == data

        async def all_of_them() -> None:
            await asyncio.gather(*[talk(node, peer, random.randbytes(random.randrange(1, 30_000)))
                                   for node, peer in ((first, there), (second, back)) for _ in range(64)])

        sim.wait_for(all_of_them())
        sim.run(1.0)
        for node in (first, second):
            connections = node.overlay._session_service.streams.connections
            assert 1 <= len(connections) <= (1 if has_session else 2)
            assert not any(connection.streams for connection in connections)


async def fetch(node: Node, peer: Peer, size: int) -> bool:
    """Whether as many bytes come as were asked for."""
    async with node.overlay.open_stream(peer, "zeros") as asking:
        await asking.write(size.to_bytes(4, "big"))
        return sum([len(chunk) async for chunk in asking]) == size


@pytest.mark.parametrize("transfer", ["sending", "fetching"])
@pytest.mark.parametrize("pause", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_transfer_survives_a_change_of_address(transfer: str, pause: float, seed: int) -> None:
    """Also if all that was on the way is lost, so that whoever has moved has nothing to acknowledge."""
    with Simulation(seed) as sim:
        first, second, peer = meet(sim, NAT.PORT_RESTRICTED, None, link=Link(latency=0.02, bandwidth=250_000.0))
        work = send(first, peer, bytes(2_000_000)) if transfer == "sending" else fetch(first, peer, 2_000_000)
        sending = sim.loop.create_task(work)
        sim.run(3.0)
        assert not sending.done()
        session = second.run(lambda: second.overlay.session_for(peer_of(second, first)))
        before = session.address
        sim.sever(first, second)
        sim.run(pause)
        sim.move(first)
        sim.mend(first, second)
        assert sim.wait_for(sending)
        assert session.is_open
        assert session.address != before
        assert session.stats.moves == 1


def test_a_transfer_crosses_a_relay() -> None:
    with Simulation(2) as sim:
        first, _, peer = meet(sim, NAT.SYMMETRIC, NAT.SYMMETRIC)
        assert peer.path == PeerPath.RELAYED
        assert sim.wait_for(first.run(lambda: send(first, peer, Random(1).randbytes(150_000))))
        session = first.run(lambda: first.overlay.session_for(peer))
        assert isinstance(session.address, RelayedAddress)


def test_the_loss_of_the_path_ends_a_stream() -> None:
    with Simulation(4) as sim:
        first, second, peer = meet(sim)
        failed: list[Any] = []

        async def read() -> None:
            async with first.overlay.open_stream(peer, "echo") as waiting:
                await waiting.write(b"x")
                assert await waiting.read() == b"x"
                try:
                    while True:
                        await waiting.write(b"x")
                        await waiting.read()
                        await asyncio.sleep(0.5)
                except ConnectionResetError as e:
                    failed.append(e)
                    raise

        reading = sim.loop.create_task(read())
        sim.run(1.0)
        sim.sever(first, second)
        sim.run(20.0)
        assert reading.done()
        assert type(reading.exception()).__name__ == "StreamLost"
        assert failed == [reading.exception()]


class BareEnd(EndpointListener):
    """One end of a connection of the QUIC library, on an endpoint, without a session."""

    prefix = b"a prefix of 22 bytes.."

    def __init__(self, node: Node, other: Node, quic: QuicConnection | None = None) -> None:
        super().__init__(node.overlay.endpoint.endpoint)
        self.endpoint.add_prefix_listener(self, self.prefix)
        self.other, self.quic, self.got = other.address, quic, 0
        self.timer: asyncio.TimerHandle | None = None

    def on_packet(self, packet: tuple[Any, bytes]) -> None:
        data = packet[1][len(self.prefix):]
        if self.quic is None:
            self.quic = QuicConnection.accept(data, QuicSettings("bare/1"), Certificate.make())
        if self.quic is not None:
            self.quic.receive(data, clock.monotonic())
            self.pump()

    def pump(self) -> None:
        assert self.quic is not None
        now = clock.monotonic()
        deadline = self.quic.deadline()
        if deadline is not None and deadline <= now:
            self.quic.tick(now)
        self.got += sum(len(event.data) for event in self.quic.events() if isinstance(event, StreamData))
        for data in self.quic.datagrams(now):
            self.endpoint.send(self.other, self.prefix + data)
        deadline = self.quic.deadline()
        if self.timer is not None:
            self.timer.cancel()
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(max(0.001, deadline - now), self.pump)


@pytest.mark.parametrize("bandwidth", [125_000.0, 1_250_000.0])
def test_a_session_costs_no_goodput(bandwidth: float) -> None:
    """A stream in a session has at least nine tenths of the goodput of the bare library on the same link."""
    size, link = int(3 * bandwidth), Link(latency=0.0125, bandwidth=bandwidth)
    with Simulation(5) as sim:
        first, second, peer = meet(sim, link=link)
        begin = sim.time
        assert sim.wait_for(first.run(lambda: send(first, peer, bytes(size))))
        seconds = sim.time - begin
    with Simulation(5) as sim:
        first, second, _ = meet(sim, link=link)

        async def start() -> tuple[BareEnd, BareEnd]:
            receiver = BareEnd(second, first)
            quic = QuicConnection.connect(QuicSettings("bare/1"), clock.monotonic())
            sender = BareEnd(first, second, quic)
            number = quic.open_stream()
            quic.send(number, bytes(size), True)
            sender.pump()
            return sender, receiver

        begin = sim.time
        ends = sim.wait_for(start())
        sim.run_until(lambda: ends[1].got == size, 600.0)
        bare = sim.time - begin
        for end in ends:
            if end.timer is not None:
                end.timer.cancel()
    assert bare / seconds >= 0.9
