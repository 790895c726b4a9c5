"""A node of the DHT for tests. It reads commands and writes events, as one JSON object per line.

The only argument is a JSON object with ``key`` (a security level) and ``interface`` (``"UDPIPv4"`` or ``"UDPIPv6"``).
The first event, ``started``, has the address of the node. The program ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from interop.nodes.values import tell
from ipv8.community import CommunitySettings
from ipv8.dht import DHTError
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.lan_addresses.interfaces import get_providers
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4Address, UDPv6Address, UDPv6Endpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network


def to_address(value: list[Any]) -> Any:
    """The address, as an object of the class for its kind of IP."""
    return (UDPv6Address if ":" in value[0] else UDPv4Address)(value[0], value[1])


def describe(nodes: Any) -> list[str]:
    """The sorted mids of nodes."""
    return sorted(node.mid.hex() for node in nodes)


class Node:
    """A node of the DHT on a socket."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    async def run(self) -> None:
        """Run commands until standard input ends."""
        get_providers().clear()
        ipv6 = self.options["interface"] == "UDPIPv6"
        endpoint = UDPv6Endpoint(0, "::1") if ipv6 else UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        address = to_address(list(endpoint.get_address()[:2]))
        me = Peer(default_eccrypto.generate_key(self.options["key"]), address)
        self.overlay: Any = DHTDiscoveryCommunity(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network()))
        self.overlay.my_estimated_wan = self.overlay.my_estimated_lan = address
        tell("started", address=list(address), mid=me.mid.hex(), key=me.public_key.key_to_bin().hex())
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            try:
                tell(command["do"], result=await self.obey(**command))
            except DHTError as e:
                tell(command["do"], error=str(e))
        await self.overlay.unload()
        endpoint.close()
        tell("stopped")

    async def obey(self, do: str, **details: Any) -> Any:
        """Run one command, and write its result as an event of the same name."""
        overlay = self.overlay
        if do == "walk":
            overlay.walk_to(to_address(details["address"]))
            return None
        if do == "known":
            return sorted(node.mid.hex() for table in overlay.routing_tables.values()
                          for bucket in table.trie.values() for node in bucket.nodes.values() if node.last_response)
        if do == "put":
            return describe(await overlay.store_value(bytes.fromhex(details["key"]), details["data"].encode(),
                                                      sign=details["sign"]))
        if do == "get":
            # Values that the node stores itself show nothing about the other nodes.
            kept = dict(overlay.storages)
            overlay.storages.clear()
            values = await overlay.find_values(bytes.fromhex(details["key"]))
            overlay.storages.update(kept)
            return sorted([data.decode(), signer and signer.hex()] for data, signer in values)
        if do == "nodes":
            return describe(await overlay.find_nodes(bytes.fromhex(details["key"])))
        if do == "store_peer":
            return describe(await overlay.store_peer())
        if do == "connect":
            overlay.store.pop(bytes.fromhex(details["mid"]), None)
            return [[node.mid.hex(), *node.address[:2]] for node in
                    await overlay.connect_peer(bytes.fromhex(details["mid"]))]
        raise ValueError(do)


if __name__ == "__main__":
    asyncio.run(Node(json.loads(sys.argv[1])).run())
