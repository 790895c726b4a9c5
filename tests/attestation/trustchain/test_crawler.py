"""Collecting chains."""

from __future__ import annotations

from typing import Any

from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.crawler import (
    OLDER_NETWORK_ID,
    OlderNetworkCrawler,
    TestnetCrawler,
    TrustChainCrawler,
)
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8
from tests.attestation.trustchain.vectors import VECTORS


def test_networks() -> None:
    assert TrustChainCrawler.community_id == TrustChainCommunity.community_id
    assert TestnetCrawler.community_id.hex() == VECTORS["constants"]["testnet_community_id"]
    assert (TestnetCrawler.DB_NAME, TrustChainCrawler.DB_NAME) == ("trustchain_testnet", "trustchain")
    assert OlderNetworkCrawler.community_id == OLDER_NETWORK_ID


class TestCrawler(TestBase[Any]):
    async def test_whole_chains_are_collected(self) -> None:
        author = MockIPv8("curve25519", TrustChainCommunity, working_directory=":memory:")
        crawler = MockIPv8("curve25519", TrustChainCrawler, working_directory=":memory:")
        self.nodes = [author, crawler]
        self._introduce(crawler, author)
        for _ in range(23):
            author.overlay.create_source_block(b"test", {})
        assert (crawler.overlay.settings.crawler, crawler.overlay.settings.max_db_blocks) == (True, 10 ** 9)
        await crawler.overlay.crawl_random_peer()
        assert crawler.overlay.persistence.get_number_of_known_blocks() == 23
        await crawler.overlay.crawl_random_peer()

    async def test_nobody_there(self) -> None:
        crawler = MockIPv8("curve25519", TrustChainCrawler, working_directory=":memory:")
        self.nodes = [crawler]
        await crawler.overlay.crawl_random_peer()
        assert crawler.overlay.persistence.get_number_of_known_blocks() == 0
