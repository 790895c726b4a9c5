"""Step 3: a task manager keeps futures by name. Every Community is a task manager."""

from __future__ import annotations

import asyncio

from ipv8.taskmanager import TaskManager

COMPLETED: list[int] = []


async def work(number: int) -> None:
    await asyncio.sleep(0.5)
    COMPLETED.append(number)


async def main() -> None:
    manager = TaskManager()
    manager.register_task("the first", work, 1)  # the function and its arguments: it is called for us
    manager.register_task("the second", work, 2)
    manager.cancel_pending_task("the first")
    await manager.wait_for_tasks()  # without this line the list below is empty
    await manager.shutdown_task_manager()  # cancels what still runs; "async with TaskManager()" does it for you


if __name__ == "__main__":
    asyncio.run(main())
    print(COMPLETED)  # [2]
