"""Step 2: keep the future of what runs in the background, and await that instead of guessing how long it takes."""

from __future__ import annotations

import asyncio

COMPLETED: list[int] = []


async def work(number: int) -> None:
    await asyncio.sleep(0.5)
    COMPLETED.append(number)


async def main() -> None:
    await work(2)
    COMPLETED.append(3)
    later = asyncio.ensure_future(work(4))
    COMPLETED.append(5)
    await later


if __name__ == "__main__":
    asyncio.run(main())
    print(COMPLETED)  # [2, 3, 5, 4]
