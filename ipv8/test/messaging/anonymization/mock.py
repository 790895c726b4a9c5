"""A DHT of introduction points that all nodes of a test share."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ....dht.provider import DHTCommunityProvider

if TYPE_CHECKING:
    from ....dht.introduction_point import IntroductionPoint
    from ....peer import Peer

__all__ = ["MockDHTProvider", "global_dht_services"]

global_dht_services: defaultdict[bytes, list[Any]] = defaultdict(list)
"""What was announced, by info hash, and the peers that have a provider, by mid. Tests may assign another one."""


class MockDHTProvider(DHTCommunityProvider):
    """Finds what any provider of the process has announced.

    :param peer: the peer that is found under its mid.
    """

    def __init__(self, peer: Peer) -> None:
        super().__init__(None, 0)
        self.peer = peer
        global_dht_services[peer.mid].append(peer)

    async def peer_lookup(self, mid: bytes, peer: Peer | None = None) -> None:  # noqa: ARG002 - as in the base
        """Look the mid up."""
        await self.lookup(mid)

    async def lookup(self, info_hash: bytes) -> tuple[bytes, list[IntroductionPoint]]:
        """``info_hash`` with what was announced for it."""
        return info_hash, global_dht_services.get(info_hash, [])

    async def announce(self, info_hash: bytes, intro_point: IntroductionPoint) -> None:
        """Keep an introduction point."""
        global_dht_services[info_hash].append(intro_point)
