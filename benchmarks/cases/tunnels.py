"""Circuits of one to three hops, with each node in a process of its own, on loopback.

The origin sends packets to a socket through a circuit, with a fixed number of them on their way. The process with that
socket tells it whenever some have arrived, so no time is spent waiting for a timer. Where ``ipv8_rust_tunnels`` is
installed, the same is measured with its endpoint in all nodes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from contextlib import asynccontextmanager
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.library import Library
from benchmarks.measure import Figure, resident_memory
from benchmarks.tunnel_node import Node, open_endpoint
from ipv8.messaging.anonymization.tunnel import BACKWARD, FORWARD, Hop, RelayRoute
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator

PACKETS = 32_000
WARM_UP = 1_600
SIZE = 1_024
WINDOW = 96
BULK = 480
BULK_ROUNDS = 15
IDLE = 1_000
RELAY, EXIT = [1], [1, 2]
RELAY_AND_EXIT, BLOCKS = [1, 2], 512
HOPS = 3
LATENCY = 0.05
BUILD_ROUNDS = 5


def measure() -> Iterator[Figure]:
    """Yield throughput and processor time, the delay of a small cell behind many, and what idle circuits cost."""
    kinds = ["python", *(["native"] if find_spec("ipv8_rust_tunnels") else [])]
    for kind in kinds:
        for hops in (1, 2, 3):
            yield from asyncio.run(_throughput(kind, hops))
        yield from asyncio.run(_small_behind_bulk(kind))
    yield from asyncio.run(_idle())
    for label, flags in (("nodes of any kind", RELAY_AND_EXIT), ("nodes that know blocks", [*RELAY_AND_EXIT, BLOCKS])):
        yield asyncio.run(_building(label, flags))


class Child:
    """A process that answers each line of JSON with one."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Child:
        """Start a program of this tree with the library that is measured."""
        return cls(await asyncio.create_subprocess_exec(
            *Library.running().command(module, *arguments), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE))

    async def ask(self, *command: Any) -> Any:
        """Send a command and return its result."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        return await self.line()

    async def line(self) -> Any:
        """The next line of the process."""
        assert self.process.stdout is not None
        answer = await self.process.stdout.readline()
        assert answer, "a node has failed"
        return json.loads(answer)

    async def stop(self) -> None:
        """End the process."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


class Chain:
    """An origin, the nodes of a path, and a sink."""

    def __init__(self, nodes: list[Child], sink: Child, port: int, counter_file: str) -> None:
        self.nodes = nodes
        self.origin = nodes[0]
        self.sink = sink
        self.port = port
        self.counter_file = counter_file

    async def processor(self) -> list[float]:
        """The processor time of each node in seconds."""
        return [await node.ask("processor") for node in self.nodes]


@asynccontextmanager
async def _chain(kind: str, hops: int) -> AsyncIterator[Chain]:
    """Nodes for a path of so many hops, which know one another."""
    flags = [RELAY, *([RELAY] * (hops - 1)), EXIT]
    children: list[Child] = []
    with tempfile.NamedTemporaryFile() as counter_file:
        try:
            for offered in flags:
                children.append(await Child.start("benchmarks.tunnel_node", kind, *map(str, offered)))  # noqa: PERF401 - all that were started are stopped
            sink = await Child.start("benchmarks.tunnel_sink", counter_file.name, str(await children[0].ask("listen")))
            children.append(sink)
            nodes = children[:-1]
            known = [{**await node.ask("key"), "flags": offered} for node, offered in zip(nodes, flags, strict=True)]
            for number, node in enumerate(nodes):
                await node.ask("know", [other for position, other in enumerate(known) if position not in {0, number}])
            yield Chain(nodes, sink, await sink.line(), counter_file.name)
        finally:
            for child in children:
                await child.stop()


async def _throughput(kind: str, hops: int) -> list[Figure]:
    async with _chain(kind, hops) as chain:
        await chain.origin.ask("build", hops, hops - 1)
        send = "send", 0
        await chain.origin.ask(*send, WARM_UP, SIZE, chain.port, chain.counter_file, WINDOW)
        before, start = await chain.processor(), time.perf_counter()
        count = await chain.origin.ask(*send, PACKETS, SIZE, chain.port, chain.counter_file, WINDOW)
        elapsed, after = time.perf_counter() - start, await chain.processor()
        used = [(end - begin) / count * 1e6 for begin, end in zip(before, after, strict=True)]
        label = f"{kind}, {hops} hop{'s' * (hops > 1)}"
        figures = [Figure(f"{label}: throughput", count * SIZE / elapsed / 1e6, "MB/s", more_is_better=True),
                   Figure(f"{label}: processor time of all nodes", sum(used))]
        if hops == 2:
            figures.append(Figure(f"{kind}: processor time of a relay", used[1]))
        return figures


async def _small_behind_bulk(kind: str) -> list[Figure]:
    """The relay is stopped while the cells arrive, so that all of them wait when it goes on."""
    async with _chain(kind, 2) as chain:
        for _ in range(2):
            await chain.origin.ask("build", 2, 1)
        relay = chain.nodes[1].process
        delays = []
        for _ in range(BULK_ROUNDS):
            relay.send_signal(signal.SIGSTOP)
            await chain.origin.ask("burst", 0, BULK, SIZE, chain.port)
            await chain.origin.ask("burst", 1, 1, 50, chain.port)
            start = time.monotonic()
            relay.send_signal(signal.SIGCONT)
            delays.append(await asyncio.wait_for(chain.sink.line(), 10) - start)
            await asyncio.sleep(0.2)
        return [Figure(f"{kind}: a small cell behind {BULK} others", median(delays) * 1e3, "ms")]


async def _building(label: str, flags: list[int]) -> Figure:
    """All nodes are in this process, and each packet is sent later than it was."""
    nodes = [Node(await open_endpoint("python"), RELAY_AND_EXIT) for _ in range(HOPS + 1)]
    for node in nodes:
        _delay(node.overlay.endpoint)
    known = [{**node.key(), "flags": flags} for node in nodes]
    for number, node in enumerate(nodes):
        node.know([other for position, other in enumerate(known) if position not in {0, number}])
    times = [await nodes[0].build(HOPS, HOPS - 1) for _ in range(BUILD_ROUNDS)]
    for node in nodes:
        await node.stop()
    return Figure(f"{HOPS} hops, {label}, {LATENCY * 1e3:.0f} ms one way: building", median(times), "ms")


def _delay(endpoint: Any) -> None:
    loop, send = asyncio.get_running_loop(), endpoint.send
    endpoint.send = lambda *packet: loop.call_later(LATENCY, send, *packet)


async def _idle() -> list[Figure]:
    node = Node(await open_endpoint("python"), RELAY)
    overlay = node.overlay
    tasks = len(overlay.get_tasks())
    before = resident_memory()
    now = time.perf_counter()
    for number in range(IDLE):
        keys = overlay.crypto.generate_session_keys(os.urandom(64))
        peers = [Peer(b"LibNaCLPK:" + os.urandom(64), UDPv4Address("127.0.0.1", port)) for port in (1, 2)]
        overlay.relay_from_to[2 * number] = RelayRoute(2 * number + 1, Hop(peers[1], keys), FORWARD)
        overlay.relay_from_to[2 * number + 1] = RelayRoute(2 * number, Hop(peers[0], keys), BACKWARD)
        keys.encrypt_str(b"ping", BACKWARD)
    assert time.perf_counter() - now < 10
    added = (resident_memory() - before) / IDLE
    more_tasks = len(overlay.get_tasks()) - tasks
    times = []
    for _ in range(5):
        start = time.perf_counter()
        overlay.do_remove()
        times.append(time.perf_counter() - start)
    assert len(overlay.relay_from_to) == 2 * IDLE
    overlay.relay_from_to.clear()
    await node.stop()
    return [Figure("idle relayed circuit: memory", added, "KiB"),
            Figure(f"{IDLE} idle circuits: tasks", more_tasks, "tasks"),
            Figure(f"{IDLE} idle circuits: one look at all of them, each 5 s", median(times) * 1e3, "ms")]
