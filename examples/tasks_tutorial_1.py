"""Step 1: what asyncio does with coroutines that are called, awaited, and scheduled.

Calling an async function does not run it. Therefore the first call below has no effect but a warning.
"""

from __future__ import annotations

import asyncio

COMPLETED: list[int] = []


async def work(number: int) -> None:
    await asyncio.sleep(0.5)
    COMPLETED.append(number)


async def main() -> None:
    work(1)  # type: ignore[unused-coroutine]  # the mistake to show: it never runs
    await work(2)  # runs now, and we wait for it
    COMPLETED.append(3)
    later = asyncio.ensure_future(work(4))  # will run while we do something else
    COMPLETED.append(5)
    await asyncio.sleep(1.0)  # long enough, this time
    assert later.done()


if __name__ == "__main__":
    asyncio.run(main())
    print(COMPLETED)  # [2, 3, 5, 4]
