"""Which blocks of others are looked at: limits of size, time and number, and budgets of those who send them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import clock
from ...limits import TokenBuckets
from ...messaging.inet import HOST_BITS, network_of

if TYPE_CHECKING:
    from .block import TrustChainBlock
    from .settings import TrustChainSettings
    from .store import BlockStore

__all__ = ["Admission"]

BLOCKS_PER_SECOND, BLOCKS_AT_ONCE = 100.0, 1000.0
"""Blocks that nobody asked for, from one IP address."""

INVALID_PER_SECOND, INVALID_AT_ONCE = 5.0, 100.0
"""Blocks that turn out to be invalid, from one IP address, before it is not listened to for a while."""

CRAWLS_PER_SECOND, CRAWLS_AT_ONCE = 1.0, 5.0
"""Crawls of missing predecessors for proposals, of one author and for one IP address."""

CURVE25519_KEY = b"LibNaCLPK:"
"""How the keys of all authors of valid blocks begin."""


class Admission:
    """The limits of one overlay."""

    def __init__(self, settings: TrustChainSettings) -> None:
        self.settings = settings
        self.blocks = TokenBuckets(BLOCKS_PER_SECOND, BLOCKS_AT_ONCE)
        self.invalid = TokenBuckets(INVALID_PER_SECOND, INVALID_AT_ONCE)
        self.crawls = TokenBuckets(CRAWLS_PER_SECOND, CRAWLS_AT_ONCE)

    def listens_to(self, host: str) -> bool:
        """Whether another block that nobody asked for may come from there now."""
        source = network_of(host, *HOST_BITS)
        return self.invalid.holds(source) and self.blocks.take(source)

    def was_invalid(self, host: str) -> None:
        """Note an invalid block from there."""
        self.invalid.take(network_of(host, *HOST_BITS))

    def may_crawl_for(self, author: bytes, host: str) -> bool:
        """Whether the predecessors of a proposal may be asked for now."""
        return self.crawls.take(author) and self.crawls.take(network_of(host, *HOST_BITS))

    def objection(self, block: TrustChainBlock) -> str | None:
        """Why a block is not even validated, ``None`` if nothing is against it."""
        settings = self.settings
        if not block.public_key.startswith(CURVE25519_KEY):
            return "its author has no key that can sign blocks"
        if len(block.pack()) > settings.max_block_size:
            return "it is too large"
        if block.timestamp > (clock.time() + settings.max_time_lead) * 1000:
            return "its timestamp lies in the future"
        return None

    def is_one_link_too_many(self, block: TrustChainBlock, database: BlockStore) -> bool:
        """Whether the author of a new block has linked to the same source block often enough."""
        if not block.link_sequence_number:
            return False
        target = database.get(block.link_public_key, block.link_sequence_number)
        return (target is not None and target.is_source and not database.contains(block)
                and database.count_links(target, block.public_key) >= self.settings.max_links_per_source)
