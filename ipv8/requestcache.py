"""The state of requests until they time out, found by the identifier of the answer (doc/request_cache.md)."""

from __future__ import annotations

import logging
from abc import ABCMeta
from contextlib import contextmanager
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, overload

from . import entropy
from .fill import Fill
from .limits import TokenBuckets
from .taskmanager import TaskManager
from .util import current_loop, succeed

if TYPE_CHECKING:
    from asyncio import Future, TimerHandle
    from collections.abc import Iterator

    from .taskmanager import Timer

__all__ = ["CacheWithName", "NumberCache", "NumberCacheWithName", "RandomNumberCache", "RandomNumberCacheWithName",
           "RequestCache"]

MAX_CACHES = 65536
"""Caches in a :class:`RequestCache`, each for at most its ``timeout_delay``; further ones are refused."""
DEFAULT_TIMEOUT = 10.0
"""Seconds until a cache times out, unless its class says otherwise."""
IDENTIFIER_BITS = 16
"""Width of random identifiers: they travel as two bytes."""
IDENTIFIER_TRIES = 1000
"""How many random identifiers are tried before giving up."""

CacheTypeVar = TypeVar("CacheTypeVar", bound="NumberCache")
ACT = TypeVar("ACT", bound="NumberCache")


class CacheWithName(Protocol):
    """What a cache class needs to be given in place of a prefix."""

    name: str


class NumberCache:
    """The state of one request, which is known by a prefix (the kind of request) and a number (its identifier).

    :raises RuntimeError: if ``request_cache`` has that prefix and number already.
    """

    timed_by_task: ClassVar[bool] = True
    """Whether the timeout is an asyncio task of the request cache, which has the cache as its name.

    A class that sets this to ``False`` has a timer instead (see :meth:`ipv8.taskmanager.TaskManager.start_timer`). Then
    there is no task to be listed or awaited, and a request takes a third of the time and a fifth of the memory.
    """

    def __init__(self, request_cache: RequestCache, prefix: str, number: int) -> None:
        if request_cache.has(prefix, number):
            raise RuntimeError(f"The number {number!r} is in use for {prefix!r} already")
        self._prefix = prefix
        self._number = number
        self._managed_futures: list[tuple[Future[Any], Any]] = []

    @cached_property
    def _logger(self) -> logging.Logger:
        """For subclasses: the logger with the name of the class."""
        return logging.getLogger(type(self).__name__)

    @property
    def prefix(self) -> str:
        """The kind of request."""
        return self._prefix

    @property
    def number(self) -> int:
        """The identifier of the request."""
        return self._number

    @property
    def managed_futures(self) -> list[tuple[Future[Any], Any]]:
        """The live list of ``(future, value on timeout)`` pairs."""
        return self._managed_futures

    @property
    def timeout_delay(self) -> float:
        """Seconds between being added and timing out; greater than zero. To be overridden."""
        return DEFAULT_TIMEOUT

    def register_future(self, future: Future[Any], on_timeout: Any = None) -> None:
        """Resolve ``future`` with ``on_timeout`` when this cache times out, and cancel it at a shutdown.

        An ``on_timeout`` that is an instance of ``Exception`` becomes the exception of the future, anything else its
        result. Nothing is done to a future that is done already, as after an answer.
        """
        self._managed_futures.append((future, on_timeout))

    def on_timeout(self) -> None:
        """Called when the cache was not popped in time, before its futures are resolved. To be overridden.

        It may add this cache to the request cache again, for another try. Then the futures are not resolved yet.
        """

    def _resolve_futures(self) -> None:
        for future, value in self._managed_futures:
            if future.done():
                continue
            if isinstance(value, Exception):
                future.set_exception(value)
            else:
                future.set_result(value)

    def _cancel_futures(self) -> None:
        for future, _ in self._managed_futures:
            future.cancel()

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._prefix}-{self._number}>"


class RandomNumberCache(NumberCache, metaclass=ABCMeta):
    """A cache with a random free number: who has not seen the request cannot know what to answer to.

    :raises RuntimeError: if no free number is found.
    """

    def __init__(self, request_cache: RequestCache, prefix: str) -> None:
        super().__init__(request_cache, prefix, self.find_unclaimed_identifier(request_cache, prefix))

    @classmethod
    def find_unclaimed_identifier(cls, request_cache: RequestCache, prefix: str) -> int:
        """A random number in 0..65535 that ``prefix`` does not use; ``RuntimeError`` if a thousand draws find none."""
        for _ in range(IDENTIFIER_TRIES):
            number = entropy.randbits(IDENTIFIER_BITS)
            if not request_cache.has(prefix, number):
                return number
        raise RuntimeError(f"No free number found for {prefix!r}: too many requests are in flight")


class NumberCacheWithName(NumberCache, CacheWithName):
    """A cache whose class attribute ``name`` is its prefix, for look-ups by class."""

    name: str


class RandomNumberCacheWithName(RandomNumberCache, CacheWithName):
    """A cache with a random number whose class attribute ``name`` is its prefix, for look-ups by class."""

    name: str


def _prefix_of(prefix: str | type[Any]) -> str:
    if isinstance(prefix, str):
        return prefix
    name: str = prefix.name
    return name


class RequestCache(TaskManager):
    """The requests of an overlay that wait for an answer. It is used on the thread of the event loop.

    A cache class with a ``name`` may be given wherever a prefix is asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self._identifiers: dict[str, NumberCache] = {}
        self._timeouts: dict[str, Timer] = {}  # of the caches that are not timed by a task
        self._waiters: dict[tuple[str, int], list[Future[Any]]] = {}
        # Not used here: programs hold it around calls of their own.
        self.lock = Lock()
        self._timeout_override: float | None = None
        self._timeout_filters: tuple[type, ...] = ()
        self._refusal_log = TokenBuckets(rate=0.1, burst=1, capacity=1)

    def add(self, cache: ACT) -> ACT | None:
        """Keep ``cache`` until it is popped or its ``timeout_delay`` has passed; resolve the futures that wait for it.

        The timeout is a task with ``cache`` as its name, or a timer if the class of ``cache`` says so
        (:attr:`NumberCache.timed_by_task`).

        :returns: ``cache``, or ``None`` if it was not added: there is one with that prefix and number, there are
            :data:`MAX_CACHES` others, or the shutdown has begun. In the last two cases its futures are cancelled.
        :raises AssertionError: if it is not a cache or its ``timeout_delay`` is not a positive number.
        """
        assert isinstance(cache, NumberCache), f"{cache!r} is not a NumberCache"
        prefix, number, delay = cache.prefix, cache.number, cache.timeout_delay
        assert isinstance(prefix, str), f"the prefix of {cache!r} is not a string"
        assert isinstance(number, int), f"the number of {cache!r} is not an integer"
        assert isinstance(delay, (int, float)), f"the timeout of {cache!r} is not a number of seconds"
        assert delay > 0, f"the timeout of {cache!r} is not greater than zero"

        if self._shutdown:
            self._logger.warning("Not adding %s: the shutdown has begun", cache)
            cache._cancel_futures()
            return None
        identifier = f"{prefix}:{number}"
        if identifier in self._identifiers:
            self._logger.error("Not adding %s: its prefix and number are in use", cache)
            return None
        if len(self._identifiers) >= MAX_CACHES:
            if self._refusal_log.take():
                self._logger.error("Not adding %s: %d requests are in flight", cache, MAX_CACHES)
            cache._cancel_futures()
            return None

        if self._timeout_override is not None and isinstance(cache, self._timeout_filters or NumberCache):
            delay = self._timeout_override
        self._identifiers[identifier] = cache  # before the task is made: where tasks start eagerly, it may end at once
        if cache.timed_by_task:
            self.register_task(cache, self._on_timeout, cache, delay=delay)
        else:
            self._timeouts[identifier] = self.start_timer(delay, self._on_timeout, cache)
        for waiter in self._waiters.pop((prefix, number), ()):
            if not waiter.done():
                waiter.set_result(cache)
        return cache

    def _on_timeout(self, cache: NumberCache) -> None:
        self._logger.debug("%s timed out", cache)
        identifier = f"{cache.prefix}:{cache.number}"
        if self._identifiers.get(identifier) is cache:
            del self._identifiers[identifier]
            self._timeouts.pop(identifier, None)
        self._pending_tasks.pop(cache, None)  # the task runs this method; its name is free if the cache is added again
        try:
            cache.on_timeout()
        finally:
            if self._identifiers.get(identifier) is not cache:
                cache._resolve_futures()

    def has(self, prefix: str | type[CacheWithName], number: int) -> bool:
        """Whether a cache with this prefix and number is in flight."""
        return f"{_prefix_of(prefix)}:{number}" in self._identifiers

    @overload
    def get(self, prefix: type[CacheTypeVar], number: int) -> CacheTypeVar | None: ...

    @overload
    def get(self, prefix: str, number: int) -> NumberCache | None: ...

    def get(self, prefix: str | type[CacheTypeVar], number: int) -> NumberCache | None:
        """The cache with this prefix and number, which goes on waiting; ``None`` if there is none."""
        return self._identifiers.get(f"{_prefix_of(prefix)}:{number}")

    @overload
    def pop(self, prefix: type[CacheTypeVar], number: int) -> CacheTypeVar: ...

    @overload
    def pop(self, prefix: str, number: int) -> NumberCache: ...

    def pop(self, prefix: str | type[CacheTypeVar], number: int) -> NumberCache:
        """Remove the cache with this prefix and number, so that it does not time out; ``KeyError`` if there is none."""
        identifier = f"{_prefix_of(prefix)}:{number}"
        cache = self._identifiers.pop(identifier)
        timer = self._timeouts.pop(identifier, None)
        if timer is None:
            self.cancel_pending_task(cache)
        else:
            timer.cancel()
        return cache

    @overload
    def wait_for(self, prefix: type[CacheTypeVar], number: int,
                 timeout: float | None = None) -> Future[CacheTypeVar]: ...

    @overload
    def wait_for(self, prefix: str, number: int, timeout: float | None = None) -> Future[NumberCache]: ...

    def wait_for(self, prefix: str | type[CacheTypeVar], number: int, timeout: float | None = None) -> Future[Any]:
        """A future of the cache with this prefix and number: done if there is one, otherwise resolved when it is added.

        It is cancelled after ``timeout`` seconds (zero: at the next iteration of the loop), by :meth:`clear` and by a
        shutdown. After a shutdown nothing can be added any more, and its result is ``None``.
        """
        key = (_prefix_of(prefix), number)
        cache = self.get(*key)
        if cache is not None or self._shutdown:
            return succeed(cache)
        loop = current_loop()
        waiter: Future[Any] = loop.create_future()
        timer: TimerHandle | None = None
        if timeout is not None:
            if timeout > 0:
                timer = loop.call_later(timeout, waiter.cancel)
            else:
                loop.call_soon(waiter.cancel)
        waiter.add_done_callback(partial(self._on_waiter_done, key, timer))
        self._waiters.setdefault(key, []).append(waiter)
        return waiter

    def _on_waiter_done(self, key: tuple[str, int], timer: TimerHandle | None, waiter: Future[Any]) -> None:
        if timer is not None:
            timer.cancel()
        waiters = self._waiters.get(key, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[key]

    @contextmanager
    def passthrough(self, cls_filter: type[NumberCache] | None = None, *filters: type[NumberCache],
                    timeout: float = 0.0) -> Iterator[None]:
        """Use ``timeout`` in place of the ``timeout_delay`` of the caches that are added inside the block; for tests.

        :param cls_filter: with classes given, only their instances and those of their subclasses are treated so.
        :param timeout: in seconds; zero is the next iteration of the loop.
        """
        before = self._timeout_override, self._timeout_filters
        self._timeout_override = timeout
        self._timeout_filters = () if cls_filter is None else (cls_filter, *filters)
        try:
            yield
        finally:
            self._timeout_override, self._timeout_filters = before

    def clear(self) -> list[Future[Any]]:
        """Forget all caches without changing their futures; cancel all tasks and waiting futures, and return these."""
        self._identifiers.clear()
        self._timeouts.clear()
        return self.cancel_all_pending_tasks() + self._cancel_waiters()

    def _cancel_waiters(self) -> list[Future[Any]]:
        waiters = [waiter for waiters in self._waiters.values() for waiter in waiters]
        self._waiters.clear()
        for waiter in waiters:
            waiter.cancel()
        return waiters

    async def shutdown_task_manager(self) -> None:
        """Forget all caches, cancel their futures and the waiting ones, then shut down as every task manager does."""
        self._shutdown = True
        for cache in self._identifiers.values():
            cache._cancel_futures()
        self._identifiers.clear()
        self._timeouts.clear()
        self._cancel_waiters()
        await super().shutdown_task_manager()

    async def shutdown(self) -> None:
        """The same as :meth:`shutdown_task_manager`."""
        await self.shutdown_task_manager()

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("requests", len(self._identifiers), MAX_CACHES, rule="a further one is not asked")
