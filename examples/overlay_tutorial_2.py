"""Step 2: two nodes in one process. Both ask for port 8090; the second one gets the next free port."""

from __future__ import annotations

import asyncio

from ipv8.configuration import get_default_configuration
from ipv8.util import run_forever
from ipv8_service import IPv8


async def main() -> None:
    async with IPv8(get_default_configuration()) as first, IPv8(get_default_configuration()) as second:
        for node in (first, second):
            print("listening on port", node.endpoint.get_address()[1])
        await run_forever()


if __name__ == "__main__":
    asyncio.run(main())
