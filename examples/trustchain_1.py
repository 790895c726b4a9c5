"""Two nodes in one program sign a transaction with each other, and a third one crawls it."""

import asyncio

from ipv8.attestation.trustchain.block import TrustChainBlock
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network


async def start_node() -> TrustChainCommunity:
    endpoint = UDPEndpoint(port=0, ip="127.0.0.1")
    await endpoint.open()
    me = Peer(default_eccrypto.generate_key("curve25519"), endpoint.get_address())
    return TrustChainCommunity(TrustChainSettings(my_peer=me, endpoint=endpoint, network=Network(),
                                                  working_directory=":memory:"))


def as_seen_by_others(node: TrustChainCommunity) -> Peer:
    return Peer(node.my_peer.public_key, node.endpoint.get_address())


async def main() -> None:
    alice, bob, carol = [await start_node() for _ in range(3)]

    @bob.on_block(b"loan", sign=lambda block: block.transaction["amount"] <= 100)
    def received(block: TrustChainBlock) -> None:
        print("Bob has a block at height", block.sequence_number, "of", "Bob" if block.public_key == bob.my_key_bin
              else "Alice")

    answer, proposal = await alice.propose(as_seen_by_others(bob), b"loan", {"amount": 50}, timeout=5)
    print("Alice has the signature of Bob:", answer.link_sequence_number == proposal.sequence_number)

    async for block in carol.crawl(as_seen_by_others(alice)):
        partner = carol.persistence.get_linked(block)
        print("Carol knows of", block.transaction, "which", "both" if partner else "one", "signed")

    for node in (alice, bob, carol):
        await node.unload()
        node.endpoint.close()


if __name__ == "__main__":
    asyncio.run(main())
