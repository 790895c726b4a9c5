"""Step 7: futures that are completed when their request cache times out or is shut down."""

from __future__ import annotations

import asyncio

from ipv8.requestcache import NumberCacheWithName, RequestCache


class AnswerCache(NumberCacheWithName):
    name = "answer"

    def __init__(self, request_cache: RequestCache, number: int) -> None:
        super().__init__(request_cache, self.name, number)
        self.future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.register_future(self.future, on_timeout=False)

    @property
    def timeout_delay(self) -> float:
        return 1.0

    def finish(self) -> None:
        self.future.set_result(True)


async def main() -> None:
    request_cache = RequestCache()
    answered, late, abandoned = (AnswerCache(request_cache, number) for number in range(3))

    request_cache.add(answered)
    with request_cache.passthrough():  # caches that are added here time out at once: for tests
        request_cache.add(late)
    request_cache.add(abandoned)

    request_cache.pop(AnswerCache, 0).finish()
    print(f"answered: {await answered.future}")  # True
    print(f"too late: {await late.future}")  # False
    await request_cache.shutdown()
    print(f"cancelled by the shutdown: {abandoned.future.cancelled()}")  # True


if __name__ == "__main__":
    asyncio.run(main())
