"""Where the calculations of attestations are done, so that the event loop is never blocked for long.

Small ones are done at once. Larger ones are done in slices, between which the event loop does other things. Those that
take longer still are done in other processes: a thread would not help, as the interpreter does one thing at a time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from .bonehexact.algorithm import BonehExactAlgorithm
from .pengbaorange.algorithm import PengBaoRangeAlgorithm
from .primitives.steps import finish
from .worker import DONE, REFUSED, read_parts, write_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...taskmanager import Timer
    from ..identity_formats import IdentityAlgorithm
    from .primitives.steps import Steps

    StartTimer = Callable[[float, Callable[[], object]], Timer]

__all__ = ["ProcessPool", "Workshop"]

T = TypeVar("T")

SLICE_MICROSECONDS = 4000.0
"""About how long the event loop waits for a slice."""

COSTLY_MICROSECONDS = 1000.0
"""From this length on, an answer or a question is calculated on its own, and not with others in a row."""

PROCESS_MICROSECONDS = 150_000.0
"""From this length on, a calculation is done in another process, which takes a moment to start."""

IDLE_SECONDS = 60.0
"""For how long a process without work is kept."""

BUILT_IN = (BonehExactAlgorithm, PengBaoRangeAlgorithm)
"""The algorithms that another process has."""

logger = logging.getLogger(__name__)


class ProcessPoolError(Exception):
    """A process could not be started, or has ended."""


class ProcessPool:
    """Processes that run :mod:`ipv8.attestation.wallet.worker`, which are started when they are needed.

    They are not started by :mod:`multiprocessing`, which runs the main module of the program again in each of them.

    :param size: how many there are at most.
    :param start_timer: calls a function after some seconds, as :meth:`ipv8.taskmanager.TaskManager.start_timer` does.
    """

    def __init__(self, size: int, start_timer: StartTimer) -> None:
        self.size = size
        self._start_timer = start_timer
        self.closed = False
        self._threads: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        self._all: set[subprocess.Popen[bytes]] = set()
        self._dismissal: Timer | None = None

    async def call(self, *job: bytes) -> list[bytes]:
        """The result of a job; ``ValueError`` if it cannot be done, :class:`ProcessPoolError` if no process does it."""
        if self.closed:
            raise ProcessPoolError("the pool is closed")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.size, "ipv8-attestation")
        if self._dismissal is not None:
            self._dismissal.cancel()
        try:
            status, *result = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, job)
        finally:
            if not self.closed:
                self._dismissal = self._start_timer(IDLE_SECONDS, self._dismiss)
        if status == REFUSED:
            raise ValueError(result[0].decode())
        if status != DONE:
            raise ProcessPoolError(result[0].decode())
        return result

    def _run(self, job: tuple[bytes, ...]) -> list[bytes]:
        """Let a process do a job; in a thread, which waits for it."""
        with self._lock:
            if self.closed:
                raise ProcessPoolError("the pool is closed")
            process = self._idle.pop() if self._idle else self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            write_parts(process.stdin, job)  # type: ignore[arg-type]  # pipes are binary streams
            result = read_parts(process.stdout)  # type: ignore[arg-type]  # likewise
        except (OSError, EOFError, ValueError) as e:
            self._end(process)
            raise ProcessPoolError(f"the process has ended: {e}") from e
        with self._lock:
            self._idle.append(process)
        return result

    def _start(self) -> subprocess.Popen[bytes]:
        if not sys.executable or getattr(sys, "frozen", False):
            raise ProcessPoolError("no process can be started")
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__package__}.worker import main; main()"
        try:
            process = subprocess.Popen([sys.executable, "-c", program],  # noqa: S603 - our own program
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
        except OSError as e:
            raise ProcessPoolError(f"no process can be started: {e}") from e
        self._all.add(process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        with self._lock:
            self._all.discard(process)

    def _dismiss(self) -> None:
        """End the processes without work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            self._end(process)

    def close(self) -> None:
        """End all processes; whoever waits for one gets an error."""
        self.closed = True
        if self._dismissal is not None:
            self._dismissal.cancel()
        with self._lock:
            working = self._all - set(self._idle)
        for process in working:
            process.kill()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._dismiss()


class Workshop:
    """Does the calculations of an overlay.

    :param processes: how many other processes may be used; with 0, long calculations are done in slices as well.
    :param start_timer: as in :class:`ProcessPool`.
    """

    def __init__(self, processes: int, start_timer: StartTimer) -> None:
        self.pool = ProcessPool(processes, start_timer) if processes > 0 else None

    def close(self) -> None:
        """End all processes."""
        if self.pool is not None:
            self.pool.close()

    async def generate(self, algorithm: IdentityAlgorithm[Any], parameters: Mapping[str, Any]) -> Any:
        """A new private key."""
        result = await self._elsewhere("generate", algorithm, parameters)
        return algorithm.generate_secret_key() if result is None else algorithm.load_secret_key(result[0])

    async def attest(self, algorithm: IdentityAlgorithm[Any], parameters: Mapping[str, Any], key: Any,
                     value: bytes) -> bytes:
        """An attestation in the form for the subject; ``ValueError`` if the value cannot be attested."""
        result = await self._elsewhere("attest", algorithm, parameters, key, value)
        if result is not None:
            return result[0]
        return await self._here(algorithm.attest_steps(key, value), algorithm.estimate("attest"))

    async def challenges(self, algorithm: IdentityAlgorithm[Any], parameters: Mapping[str, Any],
                         attestation: Any) -> list[bytes]:
        """The challenges for an attestation, of which more can be made quickly afterwards."""
        result = await self._elsewhere("challenges", algorithm, parameters, attestation)
        if result is not None:
            await in_slices(algorithm.prepare_steps(attestation.PK))
            return result
        return await self._here(algorithm.challenge_steps(attestation.PK, attestation),
                                algorithm.estimate("challenges"))

    async def open(self, algorithm: IdentityAlgorithm[Any], key: Any, blob: bytes) -> Any:
        """The attestation in a blob in the form for the subject."""
        return await self._here(algorithm.open_steps(key, blob), algorithm.estimate("open"))

    async def _here(self, steps: Steps[T], estimate: float) -> T:
        return finish(steps) if estimate < SLICE_MICROSECONDS else await in_slices(steps)

    async def _elsewhere(self, operation: str, algorithm: IdentityAlgorithm[Any], parameters: Mapping[str, Any],
                         *arguments: Any) -> list[bytes] | None:
        """The result of another process; ``None`` if it is to be done in this one."""
        if self.pool is None or type(algorithm) not in BUILT_IN or (
                algorithm.estimate(operation) < PROCESS_MICROSECONDS):
            return None
        job = [argument if isinstance(argument, bytes) else argument.serialize() for argument in arguments]
        try:
            return await self.pool.call(operation.encode(), algorithm.id_format.encode(),
                                        json.dumps(dict(parameters)).encode(), *job)
        except ProcessPoolError as e:
            if self.pool.closed:
                raise
            logger.info("A calculation is done in this process, as no other one does it: %s", e)
            return None


async def in_slices(steps: Steps[T]) -> T:
    """Do all steps, and let the event loop do other things after each slice of them."""
    spent = 0.0
    while True:
        try:
            spent += next(steps)
        except StopIteration as e:
            result: T = e.value
            return result
        if spent >= SLICE_MICROSECONDS:
            spent = 0.0
            await asyncio.sleep(0)
