"""What bootstrap servers introduce: how many addresses, how many different ones, and how many of them answer.

Every server is asked again and again, and each peer that it introduces for the first time is contacted. The file
``bootstrap_introductions.txt`` has four lines for each server, ``Address Peers Type``: the number of introduced
addresses (type 0), of different ones (1), of those that answered (2), and of different addresses in local networks (3).

Environment variables: ``INTRODUCTION_CID``, the id of the overlay in hexadecimal (default: that of the discovery
overlay), ``INTRODUCTION_COUNT``, the number of requests (100), and ``INTRODUCTION_DELAY``, the seconds between two of
them (10).
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ipv8.configuration import DISPERSY_BOOTSTRAPPER
from ipv8.peerdiscovery.community import DiscoveryCommunity
from stresstest.servers import AskingCommunity, Server, asking, find_servers, parser, seconds

if TYPE_CHECKING:
    from ipv8.messaging.address import UDPv4Address

TIMEOUT = 5.0
"""Seconds that an answer may take."""
PUNCTURE_SECONDS = 0.1
"""What the introduced peer gets to open its NAT before it is contacted."""
NOWHERE = "0.0.0.0"  # noqa: S104 - the wire's way to say "none", nothing is bound to it


@dataclass
class Introductions:
    """What one server told."""

    total: int = 0
    wan: set[UDPv4Address] = field(default_factory=set)
    lan: set[UDPv4Address] = field(default_factory=set)
    reachable: set[UDPv4Address] = field(default_factory=set)

    @property
    def counts(self) -> list[int]:
        """The numbers by their type."""
        return [self.total, len(self.wan), len(self.reachable), len(self.lan)]


async def ask(overlay: AskingCommunity, server: Server, told: Introductions, timeout: float) -> None:
    """Ask the server once, and contact whom it introduces, if that is somebody new."""
    answer = await overlay.ask_server(server.address, timeout)
    if answer is None:
        return
    if answer.lan_address[0] != NOWHERE:
        told.lan.add(answer.lan_address)
    peer = answer.wan_address
    if peer[0] != NOWHERE:
        told.total += 1
        if peer not in told.wan:
            told.wan.add(peer)
            await asyncio.sleep(PUNCTURE_SECONDS)
            if await overlay.ask_server(peer, timeout) is not None:
                told.reachable.add(peer)


async def measure(servers: list[Server], community_id: bytes, count: int, delay: float,
                  timeout: float) -> dict[Server, Introductions]:
    """What each server told in ``count`` rounds that begin ``delay`` seconds after one another, or later."""
    told = {server: Introductions() for server in servers}
    async with asking(community_id) as overlay:
        for number in range(count):
            pause = asyncio.create_task(asyncio.sleep(delay if number < count - 1 else 0))
            for server, introductions in told.items():
                await ask(overlay, server, introductions, timeout)
            await pause
            print(f"round {number + 1} of {count}: {[introductions.counts for introductions in told.values()]}")
    return told


async def run(arguments: list[str] | None = None) -> None:
    """Measure as the command line and the environment say."""
    options = parser("bootstrap_introductions", __doc__)
    options.add_argument("--timeout", type=seconds, default=TIMEOUT, metavar="SECONDS",
                         help=f"how long to wait for an answer (default: {TIMEOUT:g})")
    given = options.parse_args(arguments)
    servers = await find_servers(given.trackers or DISPERSY_BOOTSTRAPPER["init"]["dns_addresses"])
    community_id = bytes.fromhex(os.environ.get("INTRODUCTION_CID") or DiscoveryCommunity.community_id.hex())
    write(await measure(servers, community_id, int(os.environ.get("INTRODUCTION_COUNT", "100")),
                        float(os.environ.get("INTRODUCTION_DELAY", "10")), given.timeout))


def write(told: dict[Server, Introductions]) -> None:
    """Write the file to the current directory."""
    lines = ["Address Peers Type"]
    for server, introductions in told.items():
        lines += [f"{server.name}:{server.address.port} {count} {kind}"
                  for kind, count in enumerate(introductions.counts)]
    Path("bootstrap_introductions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(run())
