"""A node of the laboratory, in a namespace. It reads and writes one JSON object per line.

The only argument is a JSON object with ``overlays`` (numbers of pairs), ``interfaces`` (names for the dispatcher) and
``introducers`` (addresses). The node starts to walk when it reads the first line of its standard input, reports its
peers, and ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from interop.nodes.values import tell
from ipv8 import clock
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.address import UDPv4Address, UDPv6Address
from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.discovery import RandomWalk
from ipv8.peerdiscovery.network import Network

from .meeting import Meeting, MeetingSettings, meeting_class

PORT = 8090
TICK = 0.5
"""The seconds between two steps of a walker, as in the service."""

LOOK_INTERVAL = 0.02
PEERS = 20


async def run(overlays: list[int], interfaces: list[str], introducers: list[list[Any]]) -> None:
    """Open a socket, wait for the first line, then walk until standard input ends."""
    key = default_eccrypto.generate_key("curve25519")
    endpoint = DispatcherEndpoint(interfaces, **{name: {"port": PORT} for name in interfaces})
    addresses = [(UDPv6Address if ":" in ip else UDPv4Address)(ip, port) for ip, port in introducers]
    await endpoint.open()
    meetings: list[Meeting] = [meeting_class(number)(MeetingSettings(
        my_peer=Peer(key), endpoint=endpoint, network=Network(), introducers=addresses)) for number in overlays]
    tell("open", mid=meetings[0].my_peer.mid.hex())
    loop = asyncio.get_running_loop()
    if await loop.run_in_executor(None, sys.stdin.readline):
        tell("begun", when=clock.monotonic())
        tasks = [asyncio.create_task(walk(meetings)), asyncio.create_task(look(meetings))]
        await loop.run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for meeting in meetings:
        await meeting.unload()
    await endpoint.close()


async def walk(meetings: list[Meeting]) -> None:
    """Take steps as the service does."""
    walkers = [RandomWalk(meeting) for meeting in meetings]
    while True:
        for walker in walkers:
            if walker.get_peer_count() < PEERS:
                walker.take_step()
        await asyncio.sleep(TICK)


async def look(meetings: list[Meeting]) -> None:
    """Report new records of peers."""
    told: dict[str, dict[str, Any]] = {}
    while True:
        for meeting in meetings:
            meeting.look()
            for mid, sight in meeting.sights.items():
                if told.get(mid) != (state := asdict(sight)):
                    told[mid] = state
                    tell("sight", mid=mid, **state)
        await asyncio.sleep(LOOK_INTERVAL)


if __name__ == "__main__":
    asyncio.run(run(**json.loads(sys.argv[1])))
