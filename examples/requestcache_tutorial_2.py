"""Step 2: a cache that is not removed in time is dropped, and ``on_timeout`` is called."""

from __future__ import annotations

import asyncio

from ipv8.requestcache import NumberCacheWithName, RequestCache


class StateCache(NumberCacheWithName):
    name = "state"

    def __init__(self, request_cache: RequestCache, number: int, state: int) -> None:
        super().__init__(request_cache, self.name, number)
        self.state = state

    @property
    def timeout_delay(self) -> float:
        return 3.0  # seconds; the default is 10

    def on_timeout(self) -> None:
        print("nobody asked for state", self.state)


async def main() -> None:
    async with RequestCache() as request_cache:
        request_cache.add(StateCache(request_cache, 0, 42))
        await asyncio.sleep(4)


if __name__ == "__main__":
    asyncio.run(main())
