"""Measuring circuits."""

from __future__ import annotations

import asyncio
from statistics import mean, median
from typing import TYPE_CHECKING

from ... import clock
from .tunnel import CIRCUIT_STATE_CLOSING, Circuit as Circuit

if TYPE_CHECKING:
    from .community import TunnelCommunity

__all__ = ["run_speed_test"]

SILENCE = 10.0
"""Seconds without any answer after which a speed test ends."""


async def run_speed_test(tc: TunnelCommunity, circuit: Circuit, request_size: int, response_size: int,
                         num_requests: int, window: int = 50) -> dict[str, float]:
    """Send test requests through a circuit, and tell how fast they and their answers were.

    :param request_size: bytes of each request.
    :param response_size: bytes of each answer.
    :param num_requests: how many requests are sent.
    :param window: how many of them are sent before the first one is answered, at most.
    :returns: ``speed_up`` and ``speed_down`` in KiB/s; how many messages were sent and received, as ``messages_sent``
        and ``messages_received``; and ``rtt_mean`` and ``rtt_median`` in seconds, -1 without an answer.
    """
    pending: set[asyncio.Future[tuple[bytes, float] | None]] = set()
    times: list[float] = []
    sent = 0
    started = clock.monotonic()
    while (sent < num_requests or pending) and circuit.state != CIRCUIT_STATE_CLOSING:
        while sent < num_requests and len(pending) < window:
            pending.add(tc.send_test_request(circuit, request_size, response_size))
            sent += 1
        done, pending = await asyncio.wait(pending, timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
        for future in done:
            answer = None if future.cancelled() else future.result()
            if answer is not None:
                times.append(answer[1])
    duration = max(clock.monotonic() - started, 1e-9)
    return {
        "speed_up": sent * request_size / 1024 / duration,
        "speed_down": len(times) * response_size / 1024 / duration,
        "messages_sent": sent,
        "messages_received": len(times),
        "rtt_mean": mean(times) if times else -1,
        "rtt_median": median(times) if times else -1,
    }
