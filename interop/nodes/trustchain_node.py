"""A node of TrustChain that a test commands: one JSON object a line, commands in, events out.

It runs with this library and with the last release of ``pyipv8`` that has TrustChain, on Python 3.8. The only argument
is a JSON object, of which nothing is used. The first event, ``started``, tells where the node is. It ends when its
standard input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from ipv8.attestation.trustchain.community import TrustChainBlock, TrustChainCommunity
from ipv8.attestation.trustchain.listener import BlockListener
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

make_address: Any
try:
    from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address

    make_address = UDPv4Address
except ImportError:  # addresses were plain tuples

    def make_address(host: str, port: int) -> Any:
        """An address."""
        return host, port

TYPE = b"test"
PATIENCE = 50.0


def tell(event: str, **details: Any) -> None:
    """Report an event."""
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


def describe(block: Any) -> list[Any]:
    """What tells blocks apart."""
    return [block.public_key.hex(), block.sequence_number, block.hash.hex()]


class Signer(BlockListener):
    """Signs everything."""

    def should_sign(self, block: Any) -> bool:
        """Yes."""
        return True

    def received_block(self, block: Any) -> None:
        """Nothing."""


class Node:
    """A TrustChain overlay on a socket."""

    async def run(self) -> None:
        """Serve until the commands end."""
        endpoint = UDPEndpoint(0, "127.0.0.1")
        await endpoint.open()
        self.me: Any = Peer(default_eccrypto.generate_key("curve25519"))
        host, port = endpoint.get_address()[:2]
        self.overlay: Any = TrustChainCommunity(self.me, endpoint, Network(), working_directory=":memory:")
        self.overlay.add_listener(Signer(), [TYPE])
        tell("started", address=[host, port], mid=self.me.mid.hex(), key=self.me.public_key.key_to_bin().hex())
        loop = asyncio.get_event_loop()
        while True:
            line = await loop.run_in_executor(None, sys.stdin.readline)
            if not line:
                break
            command = json.loads(line)
            try:
                tell(command["do"], result=await self.obey(**command))
            except (RuntimeError, asyncio.TimeoutError) as e:
                tell(command["do"], error=repr(e))
        await self.overlay.unload()
        endpoint.close()
        tell("stopped")

    def peer(self, details: dict[str, Any]) -> Any:
        """The peer that a command names."""
        return Peer(default_eccrypto.key_from_public_bin(bytes.fromhex(details["key"])),
                    make_address(*details["address"]))

    async def obey(self, do: str, **details: Any) -> Any:
        """Carry out one command; its result is told as an event of the same name."""
        overlay = self.overlay
        database = overlay.persistence
        mine = self.me.public_key.key_to_bin()
        if do == "know":
            peer = self.peer(details)
            overlay.network.add_verified_peer(peer)
            overlay.network.discover_services(peer, [overlay.get_prefix()[2:]])
        elif do == "walk":
            overlay.walk_to(make_address(*details["address"]))
        elif do == "blocks":
            return sorted(describe(block) for block in database.get_all_blocks())
        elif do == "propose":
            peer = self.peer(details)
            pair = await asyncio.wait_for(overlay.sign_block(
                peer, public_key=peer.public_key.key_to_bin(), block_type=TYPE,
                transaction=details.get("transaction", {"id": 42})), PATIENCE)
            return [describe(block) for block in pair]
        elif do == "source":
            block, _ = await overlay.create_source_block(TYPE, {"for": "all"})
            return describe(block)
        elif do == "link":
            source = database.get(bytes.fromhex(details["key"]), details["height"])
            return [describe(block) for block in await overlay.create_link(source, TYPE, {"mine": 1})]
        elif do == "crawl":
            blocks = await asyncio.wait_for(overlay.send_crawl_request(
                self.peer(details), bytes.fromhex(details.get("chain", details["key"])), details["start"],
                details["end"]), PATIENCE + 10)
            return sorted(describe(block) for block in blocks)
        elif do == "crawl_chain":
            await asyncio.wait_for(overlay.crawl_chain(self.peer(details), details.get("height", 0)), PATIENCE)
        elif do == "use_long_form":
            overlay.long_dialects[self.peer(details).mid] = True
        elif do == "fork":
            forks = []
            for number in range(2):
                block = TrustChainBlock.create(TYPE, {"fork": number}, database, mine,
                                               link_pk=bytes.fromhex(details["key"]))
                block.sign(self.me.key)
                overlay.send_block(block, address=make_address(*details["address"]))
                forks.append(describe(block))
            return forks
        elif do == "is_fraud":
            return bool(database.did_double_spend(bytes.fromhex(details["key"])))
        else:
            raise ValueError(do)
        return None


if __name__ == "__main__":
    asyncio.get_event_loop_policy().new_event_loop().run_until_complete(Node().run())
