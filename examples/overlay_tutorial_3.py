"""Step 3: two nodes with their own keys and an overlay, which does nothing yet.

The configuration has the name of the overlay. The class with this name is given to the node as well.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from ipv8.community import Community
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition, default_bootstrap_defs
from ipv8.util import run_forever
from ipv8_service import IPv8


class MyCommunity(Community):
    # All nodes with the same 20 bytes are in the same overlay. Here it is another overlay each time the program starts.
    community_id = os.urandom(20)


def configure(number: int) -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays()
    builder.add_key("my peer", "curve25519", f"ec{number}.pem")
    walk = WalkerDefinition(Strategy.RandomWalk, 10, {"timeout": 3.0})
    builder.add_overlay("MyCommunity", "my peer", [walk], default_bootstrap_defs, {}, [])
    return builder.finalize()


async def main() -> None:
    classes = {"MyCommunity": MyCommunity}
    async with (IPv8(configure(1), extra_communities=classes) as first,
                IPv8(configure(2), extra_communities=classes) as second):
        for node in (first, second):
            print(node.keys["my peer"], "runs", [type(overlay).__name__ for overlay in node.overlays])
        await run_forever()


if __name__ == "__main__":
    asyncio.run(main())
