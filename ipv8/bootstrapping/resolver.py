"""Addresses of bootstrap servers by name, looked up once for all overlays of an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import socket
import threading
from collections import deque
from concurrent.futures import Executor
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from ..limits import ExpiringDict
from ..messaging.address import UDPv4Address, UDPv6Address

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable

__all__ = ["LookUpThreads", "NameResolver", "look_up", "shared_resolver"]

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds for which the addresses of a name are remembered: a server that moves is found within a minute.
ANSWER_LIFETIME = 45.0
#: Seconds for which it is remembered that a name could not be resolved.
FAILURE_LIFETIME = 10.0
#: Look-ups at the same time, each in a thread of its own.
MAX_LOOK_UPS = 8
#: Names of which addresses are remembered, and likewise failures; the oldest is evicted first.
MAX_NAMES = 256


def look_up(host: str) -> list[str]:
    """The IPv4 and IPv6 addresses of ``host``, in the order of preference of the system; blocks.

    :raises OSError: if there are none, or no name server answers.
    """
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return [str(answer[4][0]) for answer in answers if answer[0] in (socket.AF_INET, socket.AF_INET6)]


class LookUpThreads(Executor):
    """At most MAX_LOOK_UPS threads, which end when there is no more to do.

    Unlike those of ``ThreadPoolExecutor``, a program that ends does not wait for them: a look-up may take minutes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._work: deque[Callable[[], None]] = deque()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Call ``function`` in a thread, now or when one of the others has ended.

        :raises RuntimeError: if no thread can be started.
        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as e:  # noqa: BLE001 - given to those who wait
                    future.set_exception(e)

        with self._lock:
            if self._running < MAX_LOOK_UPS:
                threading.Thread(target=self._run, args=(work,), name="look up names", daemon=True).start()
                self._running += 1
            else:
                self._work.append(work)
        return future

    def _run(self, work: Callable[[], None] | None) -> None:
        while work is not None:
            work()
            with self._lock:
                work = self._work.popleft() if self._work else None
                if work is None:
                    self._running -= 1


class NameResolver:
    """Looks names up in threads and remembers the results for a while. A name is looked up only once at a time.

    A program that ends does not wait for these threads.

    :param look_up: a blocking function that returns the IP addresses of a host. An exception means that there are none.
    """

    def __init__(self, look_up: Callable[[str], list[str]] = look_up) -> None:
        self._look_up = look_up
        self._pending: dict[str, Future[list[str]]] = {}
        self._threads = LookUpThreads()
        self._answers: ExpiringDict[str, list[str]] = ExpiringDict(MAX_NAMES, ANSWER_LIFETIME)
        self._failures: ExpiringDict[str, None] = ExpiringDict(MAX_NAMES, FAILURE_LIFETIME)

    async def resolve(self, host: str, port: int) -> list[UDPv4Address | UDPv6Address]:
        """The addresses of a server, without duplicates; none if the name cannot be resolved now."""
        answer = [] if host in self._failures else self._answers.get(host)
        if answer is None:
            answer = await self._ask(host)
        return [UDPv6Address(ip, port) if ":" in ip else UDPv4Address(ip, port) for ip in dict.fromkeys(answer)]

    async def _ask(self, host: str) -> list[str]:
        pending = self._pending.get(host)
        if pending is None:
            try:
                pending = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host)
            except RuntimeError as error:  # there are too many threads
                logger.info("cannot resolve the bootstrap server %s: %s", host, error)
                return []
            self._pending[host] = pending
            pending.add_done_callback(lambda finished: self._note(host, finished))
        try:
            # Other callers may wait for the same answer: it is not cancelled with this one.
            return await asyncio.shield(pending)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one name, the others are of use
            logger.info("cannot resolve the bootstrap server %s: %s", host, error)
            return []

    def _note(self, host: str, finished: Future[list[str]]) -> None:
        del self._pending[host]
        if finished.cancelled():
            return
        if finished.exception() is None:
            self._answers[host] = finished.result()
        else:
            self._failures[host] = None


_resolvers: WeakKeyDictionary[AbstractEventLoop, NameResolver] = WeakKeyDictionary()


def shared_resolver() -> NameResolver:
    """The resolver of all bootstrappers that run on the current event loop."""
    return _resolvers.setdefault(asyncio.get_running_loop(), NameResolver())
