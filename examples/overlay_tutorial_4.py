"""Step 4: the overlay prints the peers that it finds.

The configuration says that ``started`` is called when the node is on the network. The printed address of a peer may
change at any time. Its key does not change, and neither does ``mid``, the hash of the key.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from ipv8.community import Community
from ipv8.configuration import ConfigBuilder, Strategy, WalkerDefinition, default_bootstrap_defs
from ipv8.peerdiscovery.network import PeerObserver
from ipv8.util import run_forever
from ipv8_service import IPv8

if TYPE_CHECKING:
    from ipv8.peer import Peer


class MyCommunity(Community, PeerObserver):
    community_id = os.urandom(20)

    def started(self) -> None:
        self.network.add_peer_observer(self)

    def on_peer_added(self, peer: Peer) -> None:
        print("I am", self.my_peer, "and I found", peer)

    def on_peer_removed(self, peer: Peer) -> None:
        print("I am", self.my_peer, "and I lost", peer)


def configure(number: int) -> dict[str, Any]:
    builder = ConfigBuilder().clear_keys().clear_overlays()
    builder.add_key("my peer", "curve25519", f"ec{number}.pem")
    walk = WalkerDefinition(Strategy.RandomWalk, 10, {"timeout": 3.0})
    builder.add_overlay("MyCommunity", "my peer", [walk], default_bootstrap_defs, {}, [("started",)])
    return builder.finalize()


async def main() -> None:
    classes = {"MyCommunity": MyCommunity}
    async with (IPv8(configure(1), extra_communities=classes) as first,
                IPv8(configure(2), extra_communities=classes) as second):
        # The walk finds the other node through the public bootstrap servers. This works without them.
        second.overlays[0].walk_to(("127.0.0.1", first.endpoint.get_address()[1]))
        await run_forever()


if __name__ == "__main__":
    asyncio.run(main())
