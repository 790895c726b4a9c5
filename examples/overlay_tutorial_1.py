"""Step 1: a node with the default configuration, which runs until Ctrl+C."""

from __future__ import annotations

import asyncio

from ipv8.configuration import get_default_configuration
from ipv8.util import run_forever
from ipv8_service import IPv8


async def main() -> None:
    async with IPv8(get_default_configuration()) as node:
        print("listening on port", node.endpoint.get_address()[1], "- stop with Ctrl+C")
        await run_forever()


if __name__ == "__main__":
    asyncio.run(main())
