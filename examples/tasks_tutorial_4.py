"""Step 4: tasks that have no name of their own and run at the same time."""

from __future__ import annotations

import asyncio

from ipv8.taskmanager import TaskManager

COMPLETED: list[int] = []


async def work(number: int) -> None:
    await asyncio.sleep(0.5)
    COMPLETED.append(number)


async def main() -> None:
    async with TaskManager() as manager:
        for number in range(20):
            manager.register_anonymous_task("work", work, number)  # the name gets a serial number
        await manager.wait_for_tasks()  # half a second for all of them together


if __name__ == "__main__":
    asyncio.run(main())
    print(COMPLETED)  # [0, 1, ..., 19]
