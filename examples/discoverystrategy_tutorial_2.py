"""A discovery strategy that a configuration names, and that a launcher uses."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

from ipv8.community import Community
from ipv8.configuration import get_default_configuration
from ipv8.loader import CommunityLauncher, IPv8CommunityLoader, overlay, walk_strategy
from ipv8.peerdiscovery.discovery import DiscoveryStrategy
from ipv8.util import run_forever
from ipv8_service import IPv8


class AskAnybody(DiscoveryStrategy[Community]):
    """Asks a random peer for an introduction to another peer."""

    def take_step(self) -> None:
        with self.walk_lock:
            peers = self.overlay.get_peers()
            if peers:
                self.overlay.send_introduction_request(random.choice(peers))


class MyCommunity(Community):
    community_id = os.urandom(20)

    def get_available_strategies(self) -> dict[str, type[DiscoveryStrategy[Any]]]:
        return {"AskAnybody": AskAnybody}


class LaunchedCommunity(Community):
    community_id = os.urandom(20)


@overlay(LaunchedCommunity)
@walk_strategy(AskAnybody, target_peers=-1)
class MyLauncher(CommunityLauncher[None, LaunchedCommunity]):
    pass


async def main() -> None:
    configuration = get_default_configuration()
    configuration["overlays"] = [{
        "class": "MyCommunity",
        "key": "anonymous id",
        "walkers": [{"strategy": "AskAnybody", "peers": -1, "init": {}}],
        "bootstrappers": [],
        "initialize": {},
        "on_start": [],
    }]
    async with IPv8(configuration, extra_communities={"MyCommunity": MyCommunity}) as node:
        loader = IPv8CommunityLoader()
        loader.set_launcher(MyLauncher())
        loader.load(node, None)
        for strategy, target_peers in node.strategies:
            print(type(strategy.overlay).__name__, "walks by", type(strategy).__name__, "up to", target_peers, "peers")
        await run_forever()


if __name__ == "__main__":
    asyncio.run(main())
