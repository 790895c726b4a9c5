"""Step 5: tasks that run later, or repeatedly."""

from __future__ import annotations

import asyncio

from ipv8.taskmanager import TaskManager

COMPLETED: list[int] = []


class Counter(TaskManager):
    def start(self) -> None:
        self.register_task("tick", self.tick, interval=0.1)  # the first time after 0.1 s; at once with delay=0
        self.register_task("interrupt", COMPLETED.append, 2, delay=0.5)  # plain functions work, too

    def tick(self) -> None:
        COMPLETED.append(1)
        if len(COMPLETED) >= 20:
            self.cancel_pending_task("tick")


async def main() -> None:
    async with Counter() as counter:
        counter.start()
        await counter.wait_for_tasks()


if __name__ == "__main__":
    asyncio.run(main())
    print(COMPLETED)  # nineteen times 1, and a 2 after half a second
