"""Two nodes in one program: one stores a value in the DHT, the other one finds it."""

import asyncio

from ipv8.community import CommunitySettings
from ipv8.dht.discovery import DHTDiscoveryCommunity
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

KEY = b"the color of the sky"


async def start_node() -> DHTDiscoveryCommunity:
    endpoint = UDPEndpoint(port=0, ip="127.0.0.1")
    await endpoint.open()
    me = Peer(default_eccrypto.generate_key("curve25519"), endpoint.get_address())
    node = DHTDiscoveryCommunity(CommunitySettings(my_peer=me, endpoint=endpoint, network=Network()))
    node.my_estimated_wan = endpoint.get_address()
    return node


async def main() -> None:
    writer, reader = await start_node(), await start_node()
    reader.walk_to(writer.endpoint.get_address())
    while not (writer.routing_tables and reader.routing_tables):  # noqa: ASYNC110 - it takes one round trip
        await asyncio.sleep(0.01)

    await writer.store_value(KEY, b"blue", sign=True)
    for data, signer in await reader.find_values(KEY):
        print(data.decode(), "says", "the writer" if signer == writer.my_peer.key_bin else "somebody else")

    for node in (writer, reader):
        await node.unload()
        node.endpoint.close()


if __name__ == "__main__":
    asyncio.run(main())
