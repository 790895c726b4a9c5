"""How long two nodes of a new overlay take to find each other.

Prints two numbers of seconds: until the first one knows the other, and until both do; -1.0 for what did not happen.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8.service import IPv8
from stresstest.servers import bootstrapper, parser, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_PORT, LAST_PORT = 12000, 22000
TIMEOUT = 120.0
NEVER = -1.0


class SearchedCommunity(Community):
    """An overlay whose introductions are one byte longer than they need to be."""

    community_id = os.urandom(20)

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.register_task("look", self.look, interval=0.01, delay=0)
        self.found = asyncio.Event()

    def look(self) -> None:
        """Take note of the first peer."""
        if self.get_peers():
            self.found.set()

    def create_introduction_request(self, *args: Any, **kwargs: Any) -> bytes:
        """A request with one more byte."""
        return super().create_introduction_request(*args, **{**kwargs, "extra_bytes": b"\x00"})

    def create_introduction_response(self, *args: Any, **kwargs: Any) -> bytes:
        """A response with one more byte."""
        return super().create_introduction_response(*args, **{**kwargs, "extra_bytes": b"\x00"})


def configuration(trackers: Sequence[tuple[str, int]] | None) -> dict[str, Any]:
    """A node with the overlay, on any port."""
    builder = ConfigBuilder().clear_keys().clear_overlays().set_log_level("ERROR")
    builder.add_ephemeral_key("me").set_port(random.randint(FIRST_PORT, LAST_PORT))  # noqa: S311 - no secret
    builder.config["overlays"] = [{
        "class": "SearchedCommunity", "key": "me", "initialize": {}, "on_start": [],
        "walkers": [{"strategy": "RandomWalk", "peers": 10, "init": {"timeout": 3.0}}],
        "bootstrappers": [bootstrapper(trackers)]}]
    return builder.finalize()


async def measure(trackers: Sequence[tuple[str, int]] | None, timeout: float) -> tuple[float, float]:
    """The seconds until one node has found the other, and until both have."""
    classes: dict[str, type[Any]] = {"SearchedCommunity": SearchedCommunity}
    begin = perf_counter()
    async with (IPv8(configuration(trackers), extra_communities=classes) as one,
                IPv8(configuration(trackers), extra_communities=classes) as other):
        times: list[float] = []

        async def wait(node: IPv8) -> None:
            overlay: Any = node.overlays[0]
            await overlay.found.wait()
            times.append(perf_counter() - begin)

        searches = [asyncio.create_task(wait(node)) for node in (one, other)]
        await asyncio.wait(searches, timeout=timeout)
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
    first, both = [*times, NEVER, NEVER][:2]
    return first, both


async def run(arguments: list[str] | None = None) -> None:
    """Measure as the command line says."""
    options = parser("peer_discovery", __doc__)
    options.add_argument("--timeout", type=seconds, default=TIMEOUT, metavar="SECONDS",
                         help=f"when to give up (default: {TIMEOUT:g})")
    given = options.parse_args(arguments)
    first, both = await measure(given.trackers, given.timeout)
    print(f"{first:.3f},{both:.3f}")


if __name__ == "__main__":
    asyncio.run(run())
