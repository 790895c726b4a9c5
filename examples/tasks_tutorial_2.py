"""Step 2: keep the future of a task in the background and await it, instead of guessing how long the task takes."""

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
