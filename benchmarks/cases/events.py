"""1,000 events a second to 20 clients of the HTTP interface, by Server-Sent Events and WebSocket.

The clients are in another process. What is measured is how late the event loop of the node calls a timer, the processor
time of the node for each event that a client gets, and the cost of publishing. The other library has no events.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.util import find_spec
from statistics import quantiles
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from benchmarks.library import Library
from benchmarks.measure import Figure, microseconds
from ipv8.configuration import ConfigBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CLIENTS = 20
EVENTS_PER_SECOND = 1_000
SECONDS = 5.0
PUBLISH_INTERVAL = 0.005
TIMER_INTERVAL = 0.001
TOPIC = "measured"
DATA = {"mid": "00" * 20, "address": {"ip": "127.0.0.1", "port": 8090}, "services": ["11" * 20, "22" * 20]}


def measure() -> Iterator[Figure]:
    """Yield the lateness of the event loop, the cost of an event for each client, and that of publishing."""
    if find_spec("ipv8.events") is None:
        return
    yield from _measure_publishing()
    yield from asyncio.run(_measure_streams())


def _measure_publishing() -> Iterator[Figure]:
    from ipv8.events import EventBus

    bus = EventBus()
    yield Figure("publish to nobody", microseconds(bus.publish, TOPIC, dict))
    subscriptions = [bus.subscribe([TOPIC]) for _ in range(CLIENTS)]

    def publish() -> None:
        bus.publish(TOPIC, DATA)
        for subscription in subscriptions:
            subscription.take_nowait()

    yield Figure(f"publish to {CLIENTS}, who take it", microseconds(publish))
    yield Figure(f"publish what none of {CLIENTS} wants", microseconds(bus.publish, "other", dict))


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[Any, int]]:
    """The bus of a node, and the port of its interface."""
    from ipv8.events import EventBus
    from ipv8.REST.rest_manager import RESTManager
    from ipv8.service import IPv8

    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("me")
    builder.set_address("127.0.0.1").set_port(0)
    builder.add_overlay("DiscoveryCommunity", "me", [], [], {}, [])
    async with IPv8(builder.finalize()) as node:
        manager = RESTManager(node)
        await manager.start(port=0)
        root: Any = manager.root_endpoint
        bus = root.endpoints["/events"].bus = EventBus()
        assert manager.port is not None
        try:
            yield bus, manager.port
        finally:
            await manager.stop()


async def _measure_streams() -> list[Figure]:
    figures = []
    async with _serving() as (bus, port):
        alone, _ = await _publish(bus)
        listeners = await asyncio.create_subprocess_exec(
            *Library.running().command("benchmarks.listeners", str(port), str(CLIENTS), TOPIC),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        assert listeners.stdin is not None
        assert listeners.stdout is not None
        try:
            assert await listeners.stdout.readline() == b"connected\n"
            while len(bus.subscriptions) < CLIENTS:  # noqa: ASYNC110 - the last requests are on their way
                await asyncio.sleep(0.01)
            late, processor = await _publish(bus)
            await asyncio.sleep(0.2)
        finally:
            listeners.stdin.close()
        received = int(await listeners.stdout.readline())
        await listeners.wait()
        published = round(EVENTS_PER_SECOND * SECONDS)
        assert received == published * CLIENTS, f"{received} of {published * CLIENTS} events arrived"
        for name, lateness in (("without clients", alone), (f"with {CLIENTS} clients", late)):
            cuts = quantiles(lateness, n=100)
            figures += [Figure(f"lateness of a timer {name}, {part}", cuts[index] * 1e3, "ms")
                        for part, index in (("p50", 49), ("p99", 98))]
        figures.append(Figure("processor time of an event for a client", processor / received * 1e6))
    return figures


async def _publish(bus: Any) -> tuple[list[float], float]:
    """How late timers were called while events were published, and the processor time of that."""
    lateness: list[float] = []
    ending = asyncio.ensure_future(_watch(lateness))
    began, start = process_time(), perf_counter()
    published = 0
    while published < EVENTS_PER_SECOND * SECONDS:
        while published < min((perf_counter() - start) * EVENTS_PER_SECOND, EVENTS_PER_SECOND * SECONDS):
            bus.publish(TOPIC, DATA)
            published += 1
        await asyncio.sleep(PUBLISH_INTERVAL)
    ending.cancel()
    return lateness, process_time() - began


async def _watch(lateness: list[float]) -> None:
    while True:
        due = perf_counter() + TIMER_INTERVAL
        await asyncio.sleep(TIMER_INTERVAL)
        lateness.append(perf_counter() - due)
