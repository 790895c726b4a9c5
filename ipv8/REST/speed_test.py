"""Speed tests of circuits, by the crypto endpoint if it can do them, else in Python. The results are streamed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from .. import clock
from ..messaging.anonymization.tunnel import CIRCUIT_STATE_READY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp.web import Request

    from ..messaging.anonymization.community import TunnelCommunity
    from ..messaging.anonymization.tunnel import Circuit

__all__ = ["CIRCUIT_TYPE_SPEED_TEST", "Parameters", "SpeedTest", "speed_tester"]

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

FIRST_WINDOW = 8
LARGEST_WINDOW = 256
"""Requests of a test in Python that wait for their answers at the same time, at the start and at most."""

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
        running = self._run_speedtest(self._circuit.circuit_id, test_time, request_size, response_size, TARGET_RTT,
                                      self.on_statistics, CALLBACK_INTERVAL)
        try:
            with suppress(ConnectionResetError, asyncio.TimeoutError):
                deadline = self._loop.time() + test_time / 1000 + PATIENCE
                while (line := await asyncio.wait_for(self._lines.get(), deadline - self._loop.time())) is not None:
                    await response.write(f"{name}: {json.dumps(line)}{ending}".encode())
                await response.write_eof()
        finally:
            if isinstance(running, asyncio.Future):
                running.cancel()
        return response


def _rate(entries: list[list[float]], time_at: int, bytes_at: int) -> float:
    """MiB each second over some requests."""
    times = [entry[time_at] for entry in entries if len(entry) > bytes_at and entry[time_at]]
    seconds = (max(times) - min(times)) / 1000 if times else 0.0
    return sum(entry[bytes_at] for entry in entries if len(entry) > bytes_at) / MIB / seconds if seconds > 0 else 0.0


def speed_tester(tunnels: TunnelCommunity) -> Callable[..., Any]:
    """What makes the speed tests of an overlay: ``run_speedtest`` of its crypto endpoint, or the same in Python."""
    found: Callable[..., Any] | None = getattr(tunnels.crypto_endpoint, "run_speedtest", None)
    return _PythonTester(tunnels).start if found is None else found


class _Answers:
    """The answers of one interval: how many bytes went and came, between which times in milliseconds."""

    def __init__(self) -> None:
        self._sent: list[float] = []
        self._received: list[float] = []
        self._bytes_up = self._bytes_down = 0

    def add(self, sent: float, bytes_up: int, received: float, bytes_down: int) -> None:
        """Note an answer."""
        self._sent = [min([*self._sent, sent]), max([*self._sent, sent])]
        self._received = [min([*self._received, received]), max([*self._received, received])]
        self._bytes_up += bytes_up
        self._bytes_down += bytes_down

    def rows(self) -> list[list[float]]:
        """What crypto endpoints tell of each answer, here of the first and the last one: all bytes are of the first."""
        if not self._sent:
            return []
        (first, last), (earliest, latest) = self._sent, self._received
        return [[first, self._bytes_up, earliest, self._bytes_down], [last, 0, latest, 0]]


class _PythonTester:
    """Makes one speed test with the test requests of the overlay.

    Each answer that takes less than the wanted time lets one more request wait at the same time. A slower one, or
    none, halves their number, at most once in a round trip.
    """

    def __init__(self, tunnels: TunnelCommunity) -> None:
        self._tunnels = tunnels
        self._window = FIRST_WINDOW
        self._answers = _Answers()
        self._stats: dict[int, list[float]] = {}
        self._narrowed = 0.0

    def start(self, circuit_id: int, test_time: int, request_size: int, response_size: int, target_rtt: int,
              callback: Callable[..., Any], callback_interval: int) -> asyncio.Future[Any]:
        """Begin; all times are milliseconds. To cancel the result ends the test."""
        return self._tunnels.register_anonymous_task(
            "speed test", self._run, circuit_id, test_time / 1000, (request_size, response_size), target_rtt / 1000,
            partial(self._report, callback), callback_interval / 1000)

    def _report(self, callback: Callable[..., Any], is_done: bool) -> None:
        """Tell what was measured; the answers are counted anew from now on."""
        for row in self._answers.rows():
            self._stats[len(self._stats)] = row
        self._answers = _Answers()
        callback(self._stats, is_done)

    async def _run(self, circuit_id: int, seconds: float, sizes: tuple[int, int], target: float,
                   report: Callable[[bool], Any], interval: float) -> None:
        start = reported = clock.monotonic()
        pending: set[asyncio.Future[tuple[bytes, float] | None]] = set()
        try:
            while (now := clock.monotonic()) < start + seconds:
                circuit = self._tunnels.circuits.get(circuit_id)
                if circuit is None or circuit.state != CIRCUIT_STATE_READY:
                    break
                while len(pending) < self._window:
                    pending.add(self._tunnels.send_test_request(circuit, *sizes))
                done, pending = await asyncio.wait(pending, timeout=min(interval, start + seconds - now),
                                                   return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    self._note(future, clock.monotonic(), sizes, target)
                now = clock.monotonic()
                if now - reported >= interval and start + seconds - now >= interval / 2:  # the last one is as long
                    reported = now
                    report(False)
        finally:
            report(True)

    def _note(self, future: asyncio.Future[tuple[bytes, float] | None], now: float, sizes: tuple[int, int],
              target: float) -> None:
        """Note an answer, or that there was none."""
        answer = None if future.cancelled() else future.result()
        if answer is not None:
            data, seconds = answer
            self._answers.add((now - seconds) * 1000, sizes[0], now * 1000, len(data))
        if answer is not None and answer[1] <= target:
            self._window = min(LARGEST_WINDOW, self._window + 1)
        elif now - self._narrowed > target:
            self._window, self._narrowed = max(1, self._window // 2), now
