"""An overlay that collects the chains of everybody it meets."""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING, Any, ClassVar

from ... import entropy
from .community import TrustChainCommunity, TrustChainTestnetCommunity
from .validation import same_key

if TYPE_CHECKING:
    from ...peer import Peer

__all__ = ["OLDER_NETWORK_ID", "OlderNetworkCrawler", "TestnetCrawler", "TrustChainCrawler"]

OLDER_NETWORK_ID = unhexlify("223eb544cd6c4814f4db710618b2ad5bc8b9d541")
"""The community id that TrustChain had before."""

CRAWL_INTERVAL = 2.0
"""Seconds between questions for the last block of some peer."""

CRAWLER_DB_BLOCKS = 10 ** 9
UNLIMITED = -1


class _CrawlerMixin(TrustChainCommunity):
    """Asks a random peer for its last block every two seconds, and for its whole chain if it gives one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings.crawler = True
        self.settings.max_db_blocks = CRAWLER_DB_BLOCKS
        self.max_peers = UNLIMITED
        self.register_task("crawl a peer", self.crawl_random_peer, interval=CRAWL_INTERVAL)

    async def crawl_random_peer(self) -> None:
        """Ask some peer for its last block, and then for all that is missing up to it."""
        peers = self.get_peers()
        if peers:
            await self.crawl_peer(entropy.choice(peers))

    async def crawl_peer(self, peer: Peer) -> None:
        """The same for a given peer."""
        public_key = peer.public_key.key_to_bin()
        for block in await self.send_crawl_request(peer, public_key, -1, -1):
            if same_key(block.public_key, public_key):
                await self.crawl_chain(peer, block.sequence_number)
                return


class TrustChainCrawler(_CrawlerMixin):
    """A crawler of the main network."""


class TestnetCrawler(_CrawlerMixin, TrustChainTestnetCommunity):
    """A crawler of the network for tests."""

    __test__: ClassVar[bool] = False
    community_id: ClassVar[bytes] = TrustChainTestnetCommunity.community_id  # type: ignore[misc] # as in its base
    DB_NAME: ClassVar[str] = TrustChainTestnetCommunity.DB_NAME


class OlderNetworkCrawler(_CrawlerMixin):
    """A crawler of the older network; give it the ``persistence`` of the other one to share a database."""

    community_id: ClassVar[bytes] = OLDER_NETWORK_ID  # type: ignore[misc] # as in its base
