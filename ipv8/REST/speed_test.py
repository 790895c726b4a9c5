"""Speed tests of circuits, by crypto endpoints that can do them. The results are streamed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp.web import Request

    from ..messaging.anonymization.tunnel import Circuit

__all__ = ["CIRCUIT_TYPE_SPEED_TEST", "Parameters", "SpeedTest"]

CIRCUIT_TYPE_SPEED_TEST = "SPEED_TEST"
LARGEST_TEST_SIZE = 2000
LONGEST_TEST = 60_000
TARGET_RTT = 100
"""Milliseconds of the round trip that a test aims at."""

CALLBACK_INTERVAL = 500
"""Milliseconds between two lines."""

PATIENCE = 10.0
"""Seconds after the time of a test in which it must have said that it is done."""

MAX_LINES = 512
"""Lines that wait until the other side takes them; the oldest is dropped first."""

MIB = 1024 * 1024
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Connection": "keep-alive"}


def _whole(value: Any, low: int, high: int) -> int | None:
    """A whole number, which may be given by its digits; ``None`` for anything else and outside of these limits."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= 10 else None
    return value if type(value) is int and low <= value <= high else None


class Parameters(NamedTuple):
    """What a test does: bytes of requests and responses, milliseconds."""

    request_size: int
    response_size: int
    test_time_ms: int

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Parameters | str:
        """The parameters that a query has, or what is wrong with them."""
        request_size = _whole(values.get("request_size", 50), 0, LARGEST_TEST_SIZE)
        response_size = _whole(values.get("response_size", 1024), 0, LARGEST_TEST_SIZE)
        if request_size is None or response_size is None:
            return "invalid request or response size specified"
        test_time = _whole(values.get("test_time_ms", 5000), 1, LONGEST_TEST)
        return "invalid test time specified" if test_time is None else cls(request_size, response_size, test_time)


class SpeedTest:
    """A test of one circuit.

    :param run_speedtest: the method of the crypto endpoint.
    """

    def __init__(self, run_speedtest: Callable[..., Any], circuit: Circuit, parameters: Parameters) -> None:
        self._run_speedtest = run_speedtest
        self._circuit = circuit
        self._parameters = parameters
        self._seen: set[Any] = set()
        self._lines: asyncio.Queue[dict[str, float] | None] = asyncio.Queue(MAX_LINES)
        self._loop = asyncio.get_running_loop()

    def on_statistics(self, stats: Mapping[Any, Sequence[float]], is_done: bool) -> None:
        """What was measured since the start. A crypto endpoint may call this in a thread of its own."""
        new = [list(entry) for number, entry in tuple(stats.items()) if number not in self._seen]
        self._seen.update(stats)
        line = {"up": _rate(new, 0, 1), "down": _rate(new, 2, 3)}
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._put, line, is_done)

    def _put(self, line: dict[str, float], is_done: bool) -> None:
        for entry in (line, None) if is_done else (line,):
            if self._lines.full():
                self._lines.get_nowait()
            self._lines.put_nowait(entry)

    async def run(self, request: Request) -> web.StreamResponse:
        """Make the test, and write a line for each interval of it."""
        response = web.StreamResponse(headers=HEADERS)
        ending = "\n\n" if request.query.get("format") == "sse" else "\n"
        name = "data" if request.query.get("format") == "sse" else "speed"
        await response.prepare(request)
        request_size, response_size, test_time = self._parameters
        self._run_speedtest(self._circuit.circuit_id, test_time, request_size, response_size, TARGET_RTT,
                            self.on_statistics, CALLBACK_INTERVAL)
        with suppress(ConnectionResetError, asyncio.TimeoutError):
            deadline = self._loop.time() + test_time / 1000 + PATIENCE
            while (line := await asyncio.wait_for(self._lines.get(), deadline - self._loop.time())) is not None:
                await response.write(f"{name}: {json.dumps(line)}{ending}".encode())
            await response.write_eof()
        return response


def _rate(entries: list[list[float]], time_at: int, bytes_at: int) -> float:
    """MiB each second over some requests."""
    times = [entry[time_at] for entry in entries if len(entry) > bytes_at and entry[time_at]]
    seconds = (max(times) - min(times)) / 1000 if times else 0.0
    return sum(entry[bytes_at] for entry in entries if len(entry) > bytes_at) / MIB / seconds if seconds > 0 else 0.0
