"""A discovery strategy that is added to a running node.

All overlays of a node share one socket. The strategies of all overlays are called one after another, so that their
packets do not leave at the same time.
"""

from __future__ import annotations

import asyncio
import os
import random

from ipv8.community import Community
from ipv8.configuration import ConfigBuilder
from ipv8.peerdiscovery.discovery import DiscoveryStrategy
from ipv8.util import run_forever
from ipv8_service import IPv8


class MyCommunity(Community):
    community_id = os.urandom(20)


class AskAnybody(DiscoveryStrategy[MyCommunity]):
    """Asks a random peer for an introduction to another peer."""

    def take_step(self) -> None:
        with self.walk_lock:
            peers = self.overlay.get_peers()
            if peers:
                peer = random.choice(peers)
                print("asking", peer)
                self.overlay.send_introduction_request(peer)


async def main() -> None:
    builder = ConfigBuilder().clear_keys().clear_overlays().add_ephemeral_key("my peer").set_walker_interval(1.0)
    builder.add_overlay("MyCommunity", "my peer", [], [], {}, [])
    classes = {"MyCommunity": MyCommunity}
    async with (IPv8(builder.finalize(), extra_communities=classes) as first,
                IPv8(builder.add_ephemeral_key("my peer").finalize(), extra_communities=classes) as second):
        overlay = first.get_overlay(MyCommunity)
        assert overlay is not None
        first.add_strategy(overlay, AskAnybody(overlay), -1)  # -1: for any number of peers
        overlay.walk_to(("127.0.0.1", second.endpoint.get_address()[1]))
        await run_forever()


if __name__ == "__main__":
    asyncio.run(main())
