from __future__ import annotations

import asyncio
import logging
import random
from asyncio import Future, all_tasks, sleep
from typing import TYPE_CHECKING, Any

import pytest

from ipv8 import entropy, requestcache
from ipv8.requestcache import (
    ACT,
    CacheTypeVar,
    CacheWithName,
    NumberCache,
    NumberCacheWithName,
    RandomNumberCache,
    RandomNumberCacheWithName,
    RequestCache,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


class Named(NumberCacheWithName):
    name = "named"

    def __init__(self, request_cache: RequestCache, number: int) -> None:
        super().__init__(request_cache, self.name, number)
        self.timeouts = 0

    def on_timeout(self) -> None:
        self.timeouts += 1


class Light(Named):
    name = "light"
    timed_by_task = False


class SubNamed(Named):
    pass


class Other(NumberCacheWithName):
    name = "other"


class RandomNamed(RandomNumberCacheWithName):
    name = "random-named"


async def cached(main: Callable[[RequestCache], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` with a request cache."""
    async with RequestCache() as request_cache:
        await main(request_cache)


def new_future() -> Future[Any]:
    return asyncio.get_running_loop().create_future()


@pytest.fixture
async def request_cache() -> AsyncIterator[RequestCache]:
    async with RequestCache() as request_cache:
        yield request_cache


# Caches


async def test_number_cache(request_cache: RequestCache) -> None:
    cache = NumberCache(request_cache, "prefix", 1)
    assert (cache.prefix, cache.number, cache.timeout_delay) == ("prefix", 1, 10.0)
    assert (cache._prefix, cache._number) == ("prefix", 1)
    assert cache.managed_futures == []
    assert cache.managed_futures is cache._managed_futures
    assert str(cache) == "<NumberCache prefix-1>"
    cache.on_timeout()  # does nothing


async def test_number_in_use(request_cache: RequestCache) -> None:
    request_cache.add(NumberCache(request_cache, "prefix", 1))
    with pytest.raises(RuntimeError, match="in use"):
        NumberCache(request_cache, "prefix", 1)
    NumberCache(request_cache, "prefix", 2)
    NumberCache(request_cache, "other", 1)


async def test_type_names_exist() -> None:
    assert (CacheTypeVar.__name__, ACT.__name__) == ("CacheTypeVar", "ACT")
    assert CacheWithName.__annotations__ == {"name": "str"}


async def test_random_numbers(request_cache: RequestCache) -> None:
    with entropy.use(random.Random(1)):
        numbers = [RandomNumberCache(request_cache, "prefix").number for _ in range(200)]
    assert len(set(numbers)) > 190
    assert 0 <= min(numbers) < 2**12
    assert 2**16 - 2**12 < max(numbers) < 2**16
    with entropy.use(random.Random(1)):
        assert RandomNumberCache.find_unclaimed_identifier(request_cache, "prefix") == numbers[0]


async def test_random_number_is_free(request_cache: RequestCache) -> None:
    class Draws(random.Random):
        numbers = iter((3, 3, 4))

        def getrandbits(self, k: int, /) -> int:
            assert k == 16
            return next(self.numbers)

    with entropy.use(Draws()):
        first = request_cache.add(RandomNumberCache(request_cache, "prefix"))
        second = RandomNumberCache(request_cache, "prefix")
    assert first is not None
    assert (first.number, second.number) == (3, 4)


async def test_no_random_number_is_free(request_cache: RequestCache) -> None:
    class Stuck(random.Random):
        draws = 0

        def getrandbits(self, _: int, /) -> int:
            Stuck.draws += 1
            return 7

    request_cache.add(NumberCache(request_cache, "prefix", 7))
    with entropy.use(Stuck()), pytest.raises(RuntimeError, match="No free number"):
        RandomNumberCache(request_cache, "prefix")
    assert Stuck.draws == 1000


# Adding, finding, taking


async def test_look_ups(request_cache: RequestCache) -> None:
    cache = Named(request_cache, 5)
    assert request_cache.add(cache) is cache
    assert request_cache._identifiers == {"named:5": cache}
    for prefix in ("named", Named):
        assert request_cache.has(prefix, 5)
        assert not request_cache.has(prefix, 6)
        assert request_cache.get(prefix, 5) is cache
        assert request_cache.get(prefix, 6) is None
    assert not request_cache.has(Other, 5)


@pytest.mark.parametrize("prefix", ["named", Named])
async def test_pop(request_cache: RequestCache, prefix: str | type[Named]) -> None:
    cache = Named(request_cache, 5)
    with request_cache.passthrough():
        request_cache.add(cache)
    assert request_cache.pop(prefix, 5) is cache
    assert not request_cache.has(prefix, 5)
    with pytest.raises(KeyError):
        request_cache.pop(prefix, 5)
    await sleep(0)
    await sleep(0)
    assert cache.timeouts == 0
    assert request_cache.get_tasks() == []


async def test_pop_leaves_futures_to_the_owner(request_cache: RequestCache) -> None:
    cache, future = Named(request_cache, 5), new_future()
    cache.register_future(future)
    request_cache.add(cache)
    request_cache.pop(Named, 5)
    await sleep(0)
    assert not future.done()


async def test_cache_can_be_added_again(request_cache: RequestCache) -> None:
    cache = Named(request_cache, 5)
    request_cache.add(cache)
    request_cache.pop(Named, 5)
    assert request_cache.add(cache) is cache
    for _ in range(3):
        await sleep(0)
    assert request_cache.get_tasks() == [request_cache.get_task(cache)]


async def test_run_time_prefixes(request_cache: RequestCache) -> None:
    cache = request_cache.add(RandomNumberCache(request_cache, "0f" * 20))
    assert cache is not None
    assert request_cache.pop("0f" * 20, cache.number) is cache
    named = request_cache.add(RandomNamed(request_cache, RandomNamed.name))
    assert named is not None
    assert request_cache.pop(RandomNamed, named.number) is named


async def test_duplicate(request_cache: RequestCache, caplog: pytest.LogCaptureFixture) -> None:
    first, second = Named(request_cache, 5), Named(request_cache, 5)
    assert request_cache.add(first) is first
    assert request_cache.add(second) is None
    assert request_cache.add(first) is None
    assert request_cache.get(Named, 5) is first
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


@pytest.mark.parametrize(("prefix", "number", "delay"), [
    (1, 1, 1.0), (b"prefix", 1, 1.0), ("prefix", "1", 1.0), ("prefix", None, 1.0), ("prefix", 1, 0.0),
    ("prefix", 1, -1), ("prefix", 1, None),
])
async def test_bad_caches(request_cache: RequestCache, prefix: Any, number: Any, delay: Any) -> None:
    class Bad(NumberCache):
        timeout_delay = delay

    cache = Bad(request_cache, "prefix", 1)
    cache._prefix, cache._number = prefix, number
    with pytest.raises(AssertionError):
        request_cache.add(cache)
    assert request_cache._identifiers == {}


async def test_add_something_else(request_cache: RequestCache) -> None:
    with pytest.raises(AssertionError, match="not a NumberCache"):
        request_cache.add(5)  # type: ignore[type-var]  # the mistake under test


async def test_task_counts() -> None:
    before = len(all_tasks())
    request_cache = RequestCache()
    assert len(all_tasks()) == before + 1
    cache = Named(request_cache, 1)
    request_cache.add(cache)
    assert len(all_tasks()) == before + 2
    timeout = request_cache.get_task(cache)
    assert isinstance(timeout, asyncio.Task)
    assert timeout.get_name() == "RequestCache:<Named named-1>"
    await request_cache.shutdown()
    assert len(all_tasks()) == before


async def test_maximum_size(request_cache: RequestCache, monkeypatch: pytest.MonkeyPatch,
                            caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(requestcache, "MAX_CACHES", 3)
    for number in range(3):
        assert request_cache.add(Named(request_cache, number)) is not None
    future = new_future()
    for number in range(3, 9):
        cache = Named(request_cache, number)
        cache.register_future(future)
        assert request_cache.add(cache) is None
    assert future.cancelled()
    assert len(caplog.records) == 1  # not one line a request
    request_cache.pop(Named, 0)
    assert request_cache.add(Named(request_cache, 3)) is not None


# Timeouts


def test_timeout(run_virtually: Callable[..., None]) -> None:
    class Quick(Named):
        timeout_delay = 3.0

    async def main(request_cache: RequestCache) -> None:
        default, quick = Named(request_cache, 1), Quick(request_cache, 2)
        request_cache.add(default)
        request_cache.add(quick)
        await sleep(2.9)
        assert request_cache.has(Named, 2)
        await sleep(0.2)
        assert not request_cache.has(Named, 2)
        assert (default.timeouts, quick.timeouts) == (0, 1)
        await sleep(6.8)
        assert default.timeouts == 0
        await sleep(0.2)
        assert (default.timeouts, quick.timeouts) == (1, 1)
        assert request_cache.get_tasks() == []

    run_virtually(cached(main))


async def test_futures_at_a_timeout(request_cache: RequestCache) -> None:
    order: list[str] = []

    class Watched(NumberCache):
        def on_timeout(self) -> None:
            assert not request_cache.has("prefix", 1)
            order.append("cache" if not plain.done() else "future")

    cache = Watched(request_cache, "prefix", 1)
    plain, valued, raising, of_class, done, cancelled = futures = [new_future() for _ in range(6)]
    done.set_result("before")
    cancelled.cancel()
    cache.register_future(plain)
    cache.register_future(valued, on_timeout=False)
    cache.register_future(raising, on_timeout=ValueError("late"))
    cache.register_future(of_class, ValueError)
    cache.register_future(done, "after")
    cache.register_future(cancelled, "after")
    assert cache.managed_futures[1] == (valued, False)
    with request_cache.passthrough():
        request_cache.add(cache)
    await sleep(0)
    assert order == ["cache"]
    assert all(future.done() for future in futures)
    assert [future.result() for future in (plain, valued, of_class, done)] == [None, False, ValueError, "before"]
    with pytest.raises(ValueError, match="late"):
        await raising
    assert cancelled.cancelled()


async def test_futures_are_resolved_after_a_failing_on_timeout(request_cache: RequestCache,
                                                               failures: list[dict[str, Any]]) -> None:
    class Failing(NumberCache):
        def on_timeout(self) -> None:
            raise ValueError("deliberate")

    cache, future = Failing(request_cache, "prefix", 1), new_future()
    cache.register_future(future, 5)
    with request_cache.passthrough():
        request_cache.add(cache)
    assert await future == 5
    await sleep(0)
    assert [str(context["exception"]) for context in failures] == ["deliberate"]
    assert not request_cache.has("prefix", 1)


async def test_timeout_leaves_a_successor_alone(request_cache: RequestCache) -> None:
    first, second = Named(request_cache, 1), Named(request_cache, 1)
    with request_cache.passthrough():
        request_cache.add(first)
    request_cache._identifiers["named:1"] = second
    await sleep(0)
    assert first.timeouts == 1
    assert request_cache.get(Named, 1) is second


async def test_follow_up_request_from_on_timeout(request_cache: RequestCache) -> None:
    class Retrying(NumberCache):
        def on_timeout(self) -> None:
            request_cache.add(NumberCache(request_cache, "prefix", 1))

    first = Retrying(request_cache, "prefix", 1)
    with request_cache.passthrough():
        request_cache.add(first)
    await sleep(0)
    assert request_cache.get("prefix", 1) not in (None, first)


# Passthrough


async def test_passthrough(request_cache: RequestCache) -> None:
    inside, outside = Named(request_cache, 1), Named(request_cache, 2)
    with request_cache.passthrough():
        request_cache.add(inside)
    request_cache.add(outside)
    await sleep(0)
    assert (inside.timeouts, outside.timeouts) == (1, 0)


async def test_passthrough_filters(request_cache: RequestCache) -> None:
    caches = [SubNamed(request_cache, 1), Named(request_cache, 2), Other(request_cache, "other", 3),
              NumberCache(request_cache, "plain", 4)]
    with request_cache.passthrough(Named, Other):
        for cache in caches:
            request_cache.add(cache)
    await sleep(0)
    assert list(request_cache._identifiers) == ["plain:4"]


async def test_passthrough_of_a_subclass(request_cache: RequestCache) -> None:
    with request_cache.passthrough(SubNamed):
        request_cache.add(SubNamed(request_cache, 1))
        request_cache.add(Named(request_cache, 2))
    await sleep(0)
    assert list(request_cache._identifiers) == ["named:2"]


def test_passthrough_timeout(run_virtually: Callable[..., None]) -> None:
    async def main(request_cache: RequestCache) -> None:
        cache = Named(request_cache, 1)
        with request_cache.passthrough(timeout=60.0):
            request_cache.add(cache)
        await sleep(59.9)
        assert cache.timeouts == 0
        await sleep(0.2)
        assert cache.timeouts == 1

    run_virtually(cached(main))


async def test_passthrough_ends_with_an_exception(request_cache: RequestCache) -> None:
    with pytest.raises(ValueError, match="deliberate"), request_cache.passthrough(Named):
        raise ValueError("deliberate")
    assert request_cache._timeout_override is None
    request_cache.add(Named(request_cache, 1))
    await sleep(0)
    assert request_cache.has(Named, 1)


async def test_passthrough_inside_passthrough(request_cache: RequestCache) -> None:
    with request_cache.passthrough(Other):
        with request_cache.passthrough(Named):
            request_cache.add(Other(request_cache, "other", 1))
        request_cache.add(Other(request_cache, "other", 2))
        request_cache.add(Named(request_cache, 3))
    await sleep(0)
    assert list(request_cache._identifiers) == ["other:1", "named:3"]


# Waiting


@pytest.mark.parametrize("prefix", ["named", Named])
async def test_wait_for_what_is_there(request_cache: RequestCache, prefix: str | type[Named]) -> None:
    cache = request_cache.add(Named(request_cache, 1))
    waiter = request_cache.wait_for(prefix, 1)
    assert waiter.done()
    assert waiter.result() is cache


@pytest.mark.parametrize("prefix", ["named", Named])
async def test_wait_for_what_comes(request_cache: RequestCache, prefix: str | type[Named]) -> None:
    waiter = request_cache.wait_for(prefix, 1)
    assert list(request_cache._waiters) == [("named", 1)]
    request_cache.add(Named(request_cache, 2))
    assert not waiter.done()
    cache = request_cache.add(Named(request_cache, 1))
    assert await waiter is cache
    assert request_cache._waiters == {}


async def test_several_wait(request_cache: RequestCache) -> None:
    waiters = [request_cache.wait_for(Named, 1) for _ in range(4)]
    waiters[1].cancel()
    await sleep(0)
    waiters[2].cancel()  # has not been forgotten when the cache is added
    cache = request_cache.add(Named(request_cache, 1))
    assert await waiters[0] is cache
    assert await waiters[3] is cache
    assert waiters[1].cancelled()
    assert waiters[2].cancelled()


@pytest.mark.parametrize("prefix", ["named", Named])
def test_wait_for_a_limited_time(run_virtually: Callable[..., None], prefix: str | type[Named]) -> None:
    async def main(request_cache: RequestCache) -> None:
        waiter = request_cache.wait_for(prefix, 1, timeout=2.0)
        await sleep(1.9)
        assert not waiter.done()
        await sleep(0.2)
        assert waiter.cancelled()
        assert request_cache._waiters == {}

    run_virtually(cached(main))


async def test_wait_for_no_time(request_cache: RequestCache) -> None:
    waiter = request_cache.wait_for(Named, 1, timeout=0.0)
    assert not waiter.done()
    await sleep(0)
    assert waiter.cancelled()


def test_wait_in_time(run_virtually: Callable[..., None]) -> None:
    async def main(request_cache: RequestCache) -> None:
        waiter = request_cache.wait_for(Named, 1, timeout=2.0)
        cache = request_cache.add(Named(request_cache, 1))
        await sleep(3)
        assert waiter.result() is cache

    run_virtually(cached(main))


# Clear and shutdown


async def test_clear(request_cache: RequestCache) -> None:
    cache, future = Named(request_cache, 1), new_future()
    cache.register_future(future)
    with request_cache.passthrough():
        request_cache.add(cache)
    timeout = request_cache.get_task(cache)
    waiter = request_cache.wait_for(Named, 2)
    cancelled = request_cache.clear()
    assert waiter in cancelled
    assert timeout in cancelled
    assert not request_cache.has(Named, 1)
    assert request_cache.get_tasks() == []
    await asyncio.wait(cancelled)
    assert cache.timeouts == 0
    assert waiter.cancelled()
    assert not future.done()
    assert request_cache.add(Named(request_cache, 1)) is not None


@pytest.mark.parametrize("method", ["shutdown", "shutdown_task_manager"])
async def test_shutdown(method: str) -> None:
    before = all_tasks()
    request_cache = RequestCache()
    done: list[int] = []
    request_cache.register_shutdown_task(done.append, 1)
    cache, future, waiter = Named(request_cache, 1), new_future(), request_cache.wait_for(Named, 2)
    cache.register_future(future)
    request_cache.add(cache)
    await getattr(request_cache, method)()
    assert all_tasks() == before
    assert future.cancelled()
    assert waiter.cancelled()
    assert not request_cache.has(Named, 1)
    assert cache.timeouts == 0
    assert done == [1]
    await getattr(request_cache, method)()


async def test_nothing_is_added_after_shutdown(request_cache: RequestCache, caplog: pytest.LogCaptureFixture) -> None:
    await request_cache.shutdown()
    before = len(all_tasks())
    cache, future = Named(request_cache, 1), new_future()
    cache.register_future(future)
    assert request_cache.add(cache) is None
    assert len(all_tasks()) == before
    assert future.cancelled()
    assert not request_cache.has(Named, 1)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert request_cache.wait_for(Named, 1).result() is None


async def test_lock_is_left_to_the_program(request_cache: RequestCache) -> None:
    with request_cache.lock:
        request_cache.add(Named(request_cache, 1))
        assert request_cache.pop(Named, 1)


# Timers in place of tasks


def test_timers_time_out_like_tasks(run_virtually: Callable[..., None]) -> None:
    class Quick(Light):
        @property
        def timeout_delay(self) -> float:
            return 0.5

    async def main(request_cache: RequestCache) -> None:
        before = len(all_tasks())
        cache, future = Quick(request_cache, 1), new_future()
        cache.register_future(future, on_timeout="late")
        assert request_cache.add(cache) is cache
        assert len(all_tasks()) == before
        assert request_cache.get_tasks() == []
        assert request_cache.get_task(cache) is None
        await sleep(0.49)
        assert request_cache.has(Light, 1)
        assert cache.timeouts == 0
        await sleep(0.02)
        assert not request_cache.has(Light, 1)
        assert cache.timeouts == 1
        assert future.result() == "late"

    run_virtually(cached(main))


def test_answered_requests_do_not_time_out(run_virtually: Callable[..., None]) -> None:
    async def main(request_cache: RequestCache) -> None:
        cache = request_cache.add(Light(request_cache, 1))
        assert cache is not None
        assert request_cache.pop(Light, 1) is cache
        with pytest.raises(KeyError):
            request_cache.pop(Light, 1)
        assert request_cache.add(cache) is cache, "it may be asked again"
        await sleep(9)
        assert cache.timeouts == 0
        await sleep(2)
        assert cache.timeouts == 1
        assert request_cache.add(cache) is cache
        request_cache.pop(Light, 1)
        await sleep(20)
        assert cache.timeouts == 1
        assert not request_cache._timers
        assert not request_cache._timeouts

    run_virtually(cached(main))


async def test_passthrough_of_timers(request_cache: RequestCache) -> None:
    inside, other = Light(request_cache, 1), Named(request_cache, 2)
    with request_cache.passthrough(Light):
        request_cache.add(inside)
        request_cache.add(other)
    assert inside.timeouts == 0
    await sleep(0)
    assert (inside.timeouts, other.timeouts) == (1, 0)
    assert not request_cache.has(Light, 1)


async def test_waiting_for_a_request_with_a_timer(request_cache: RequestCache) -> None:
    waiter = request_cache.wait_for(Light, 1)
    cache = request_cache.add(Light(request_cache, 1))
    assert await waiter is cache
    assert await request_cache.wait_for(Light, 1) is cache


@pytest.mark.parametrize("end", ["shutdown", "clear"])
def test_timers_end_with_the_request_cache(run_virtually: Callable[..., None], end: str) -> None:
    async def main() -> None:
        request_cache = RequestCache()
        cache, future = Light(request_cache, 1), new_future()
        cache.register_future(future)
        request_cache.add(cache)
        if end == "shutdown":
            await request_cache.shutdown()
            assert future.cancelled()
            assert request_cache.add(Light(request_cache, 1)) is None
        else:
            request_cache.clear()
            assert not future.done()
            again = request_cache.add(Light(request_cache, 1))
            await sleep(11)
            assert again is not None
            assert again.timeouts == 1
        await sleep(11)
        assert cache.timeouts == 0
        assert not request_cache._timers
        assert not request_cache._timeouts
        await request_cache.shutdown()

    run_virtually(main())


async def test_futures_are_resolved_after_a_failing_on_timeout_of_a_timer(request_cache: RequestCache,
                                                                          failures: list[dict[str, Any]]) -> None:
    class Failing(Light):
        def on_timeout(self) -> None:
            raise ValueError("deliberate")

    cache, future = Failing(request_cache, 1), new_future()
    cache.register_future(future, on_timeout=5)
    with request_cache.passthrough():
        request_cache.add(cache)
    assert await future == 5
    assert [str(context["exception"]) for context in failures] == ["deliberate"]


def test_the_requests_of_the_library_take_no_tasks() -> None:
    from ipv8.peerdiscovery.community import PingRequestCache
    from ipv8.peerdiscovery.tracker import TrackerPing

    assert NumberCache.timed_by_task, "programs count on a task for each cache of their own"
    assert not PingRequestCache.timed_by_task
    assert not TrackerPing.timed_by_task
