"""The tracker of the case ``tracker``: that of this tree, or a stand-in for a library without one.

The ``pyipv8`` wheel has no tracker program. :class:`StandIn` was written for this comparison by the rules of
doc/protocol/trackers.md section 3, with the public ``Community`` of the wheel. It does what the rules ask for, except
asking peers whether they are still there, which would only take time.

Run it as a program with the kind of its key: ``own``, which is ``very-low`` by those rules and curve25519 for the
tracker of this library, or ``curve25519``. It prints its port, then its processor time in seconds for each line on
standard input, until that ends.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import Any

from ipv8.community import Community, CommunitySettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.lazy_community import lazy_wrapper_wd
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint, UDPv4LANAddress
from ipv8.messaging.payload import IntroductionRequestPayload
from ipv8.messaging.payload_headers import GlobalTimeDistributionPayload
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network

PREFIX_SIZE = 22
MOST_PEERS = 100
TRIM_SECONDS = 10.0


class StandIn(Community):
    """Introduces peers of the same overlay to one another, and keeps at most a hundred peers."""

    community_id = b"a tracker's very own"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.endpoint.remove_listener(self)
        self.endpoint.add_listener(self)
        self.register_task("trim", self.trim, interval=TRIM_SECONDS)

    def on_packet(self, packet: Any, warn_unknown: bool = False) -> None:  # noqa: ARG002 - as in the base
        source_address, data = packet
        if len(data) > PREFIX_SIZE and data[PREFIX_SIZE] == IntroductionRequestPayload.msg_id:
            self.on_request(source_address, data)

    def get_peer_for_introduction(self, exclude: Any = None, new_style: bool = False) -> None:  # noqa: ARG002 - as above
        return None

    @lazy_wrapper_wd(GlobalTimeDistributionPayload, IntroductionRequestPayload)
    def on_request(self, peer: Any, dist: Any, payload: Any, data: bytes) -> None:  # noqa: ARG002 - what it is given
        prefix = data[:PREFIX_SIZE]
        service = prefix[2:]
        peer.add_address(UDPv4LANAddress(*payload.source_lan_address))
        peer.last_response = time.time()
        self.network.add_verified_peer(peer)
        self.network.discover_services(peer, [service])
        others = [other for other in self.network.get_peers_for_service(service) if other != peer]
        self.endpoint.send(peer.address, self.create_introduction_response(
            payload.destination_address, peer.address, payload.identifier,
            introduction=random.choice(others) if others else None, prefix=prefix))

    def trim(self) -> None:
        """Remove the oldest peers while there are too many."""
        peers = sorted(self.network.verified_peers, key=lambda peer: peer.creation_time)
        for peer in peers[:max(0, len(peers) - MOST_PEERS)]:
            self.network.remove_peer(peer)


def make_tracker(endpoint: Any, own_key: bool) -> Any:
    """The tracker of the running library, on ``endpoint``."""
    try:
        from ipv8.peerdiscovery.tracker import EndpointServer
    except ImportError:
        key = default_eccrypto.generate_key("very-low" if own_key else "curve25519")
        return StandIn(CommunitySettings(my_peer=Peer(key), endpoint=endpoint, network=Network(), max_peers=-1))
    return EndpointServer(endpoint)


async def main() -> None:
    """Introduce peers until standard input ends."""
    endpoint = UDPEndpoint(0, "127.0.0.1")
    await endpoint.open()
    tracker = make_tracker(endpoint, sys.argv[1] == "own")
    print(endpoint.get_address()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time(), flush=True)
    await tracker.unload()
    endpoint.close()


if __name__ == "__main__":
    asyncio.run(main())
