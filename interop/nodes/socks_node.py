"""A network of tunnels on loopback, and SOCKS5 proxies in front of it, for the tests of client libraries.

The only argument is a JSON object: ``hops``, ``proxies`` (a list of ``[host, port, passwords or null]``) and ``names``
(an IP address for each name that the exit knows). One line of JSON tells the ports when all are ready. The program ends
when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from socket import AF_INET, AF_INET6
from typing import Any

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization.community import TunnelCommunity, TunnelSettings
from ipv8.messaging.anonymization.socks5.server import Socks5Server
from ipv8.messaging.anonymization.tunnel import PEER_FLAG_EXIT_BT, PEER_FLAG_EXIT_STREAMS, PEER_FLAG_RELAY
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

LOOPBACK = "127.0.0.1"
CONNECT_DELAY = 0.02
"""Seconds that the exit takes to connect. Tests of clients expect that connections take longer than 0.001 s."""


async def connect_slowly(host: str, port: int) -> Any:
    """Connect as to a server that is far away."""
    await asyncio.sleep(CONNECT_DELAY)
    return await asyncio.open_connection(host, port)


class Nodes:
    """As many nodes as a circuit needs, and one that has the proxies."""

    def __init__(self, hops: int, names: dict[str, str]) -> None:
        self.hops = hops
        self.names = names
        self.overlays: list[TunnelCommunity] = []

    async def lookup(self, name: str) -> list[Any]:
        """The resolver of the exit."""
        host = self.names.get(name)
        if host is None:
            raise OSError("unknown")
        return [(AF_INET6 if ":" in host else AF_INET, 1, 6, "", (host, 0))]

    async def start(self) -> TunnelCommunity:
        """Start all nodes; the one that has the proxies."""
        for number in range(self.hops + 1):
            endpoint = UDPEndpoint(0, LOOPBACK)
            await endpoint.open()
            is_exit = number == self.hops
            flags = {PEER_FLAG_RELAY, *((PEER_FLAG_EXIT_STREAMS, PEER_FLAG_EXIT_BT) if is_exit else ())}
            overlay = TunnelCommunity(TunnelSettings(
                my_peer=Peer(default_eccrypto.generate_key("curve25519")), endpoint=endpoint, network=Network(),
                peer_flags=flags))
            overlay.my_estimated_wan = overlay.my_estimated_lan = endpoint.get_address()
            overlay.resolver._lookup = self.lookup
            overlay.streams.connect_tcp = connect_slowly
            self.overlays.append(overlay)
        addresses = [overlay.endpoint.get_address() for overlay in self.overlays]
        client = self.overlays[0]
        while any(len(overlay.candidates) < self.hops for overlay in self.overlays):
            for overlay in self.overlays:
                for address in addresses:
                    if address != overlay.endpoint.get_address():
                        overlay.walk_to(address)
            await asyncio.sleep(0.05)
        return client

    async def stop(self) -> None:
        """Stop all nodes."""
        for overlay in self.overlays:
            await overlay.unload()
            overlay.endpoint.close()


async def main(options: dict[str, Any]) -> None:
    """Run until standard input ends."""
    get_providers().clear()
    nodes = Nodes(options["hops"], options.get("names", {}))
    client = await nodes.start()
    servers = []
    ports = []
    for host, port, passwords in options["proxies"]:
        server = Socks5Server(client, options["hops"], passwords)
        ports.append(await server.start(port, host))
        servers.append(server)
    print(json.dumps({"event": "started", "ports": ports}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        await server.close()
    await nodes.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
