"""Step 1: store state under a number, and find it again."""

from __future__ import annotations

import asyncio

from ipv8.requestcache import NumberCacheWithName, RequestCache


class StateCache(NumberCacheWithName):
    name = "state"

    def __init__(self, request_cache: RequestCache, number: int, state: int) -> None:
        super().__init__(request_cache, self.name, number)
        self.state = state


def remember(request_cache: RequestCache) -> None:
    request_cache.add(StateCache(request_cache, 0, 42))


async def main() -> None:
    async with RequestCache() as request_cache:
        request_cache.register_anonymous_task("remember", remember, request_cache, delay=1.23)
        cache = await request_cache.wait_for(StateCache, 0)
        print("the state is", cache.state)  # 42


if __name__ == "__main__":
    asyncio.run(main())
