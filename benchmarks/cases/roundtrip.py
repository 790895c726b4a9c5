"""A signed request and its signed answer between two nodes in two processes."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.library import Library
from benchmarks.measure import Figure
from benchmarks.messages import BODY, Message, make_overlay
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

WARM_UP = 50
SEQUENTIAL = 1_000
PIPELINED = 4_000
IN_FLIGHT = 16
ANSWER_SECONDS = 5.0


def measure() -> Iterator[Figure]:
    """Yield the time of one round trip, and how many fit into a second with several in flight."""
    yield from asyncio.run(_measure())


async def _measure() -> list[Figure]:
    overlay = make_overlay()
    await overlay.endpoint.open()
    responder = await asyncio.create_subprocess_exec(*Library.running().command("benchmarks.responder"),
                                                     stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    assert responder.stdin is not None
    assert responder.stdout is not None
    try:
        port, key = (await responder.stdout.readline()).split()
        peer = Peer(bytes.fromhex(key.decode()), UDPv4Address("127.0.0.1", int(port)))
        overlay.network.add_verified_peer(peer)
        answers: asyncio.Queue[int] = asyncio.Queue()
        overlay.on_answer = answers.put_nowait

        times = []
        for number in range(WARM_UP + SEQUENTIAL):
            start = perf_counter()
            overlay.ez_send(peer, Message(number, BODY))
            assert await asyncio.wait_for(answers.get(), ANSWER_SECONDS) == number
            times.append(perf_counter() - start)

        start = perf_counter()
        for number in range(PIPELINED + IN_FLIGHT):
            if number >= IN_FLIGHT:
                await asyncio.wait_for(answers.get(), ANSWER_SECONDS)
            if number < PIPELINED:
                overlay.ez_send(peer, Message(number, BODY))
        elapsed = perf_counter() - start
    finally:
        responder.stdin.close()
        await responder.wait()
        overlay.endpoint.close()
        await overlay.unload()
    return [Figure("one at a time", median(times[WARM_UP:]) * 1e6),
            Figure(f"{IN_FLIGHT} in flight", PIPELINED / elapsed, "1/s", more_is_better=True)]
