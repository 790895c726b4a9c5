"""The tracker of this library, as a program for tests. The wheel of ``pyipv8`` has no tracker.

The only argument is a JSON object with ``interface``. The program ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys

from interop.nodes.values import tell
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv6Endpoint
from ipv8.peerdiscovery.tracker import EndpointServer


async def main(interface: str) -> None:
    """Run the tracker until standard input ends."""
    get_providers().clear()
    endpoint = UDPv6Endpoint(0, "::1") if interface == "UDPIPv6" else UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    server = EndpointServer(endpoint)
    tell("started", address=list(endpoint.get_address()[:2]), mid=server.my_peer.mid.hex())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.unload()
    endpoint.close()
    tell("stopped")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])["interface"]))
