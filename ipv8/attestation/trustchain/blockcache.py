"""The newest blocks of our own chain and their partners, so that others who ask for them cause no look-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...fill import Fill
from .validation import same_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .block import TrustChainBlock
    from .store import BlockStore

__all__ = ["BlockCache"]

MAX_CACHED = 1024
"""Blocks of our own that are kept; the lowest ones are dropped first."""


class BlockCache:
    """Blocks of one chain and their partners, both by the height in that chain.

    :param database: where blocks that are not kept here are found.
    :param public_key: the author of the chain.
    """

    def __init__(self, database: BlockStore, public_key: bytes) -> None:
        self.database = database
        self.public_key = public_key
        self.blocks: dict[int, TrustChainBlock] = {}
        self.linked_blocks: dict[int, TrustChainBlock] = {}

    def add(self, block: TrustChainBlock) -> None:
        """Keep a block of the chain, or look again for the partner of one when a new block may be it."""
        if same_key(block.public_key, self.public_key):
            self.blocks[block.sequence_number] = block
            self._find_partner(block)
        if same_key(block.link_public_key, self.public_key):
            for height, own in list(self.blocks.items()):
                if height == block.link_sequence_number or own.link_sequence_number == block.sequence_number:
                    self._find_partner(own)
        while len(self.blocks) > MAX_CACHED:
            lowest = min(self.blocks)
            del self.blocks[lowest]
            self.linked_blocks.pop(lowest, None)

    def _find_partner(self, own: TrustChainBlock) -> None:
        partner = self.database.get_linked(own)
        if partner is None:
            self.linked_blocks.pop(own.sequence_number, None)
        else:
            self.linked_blocks[own.sequence_number] = partner

    def clear(self) -> None:
        """Forget all blocks, because some of them may have been removed."""
        self.blocks.clear()
        self.linked_blocks.clear()

    def get_missing_in_range(self, start: int, end: int) -> list[int]:
        """The heights from ``start`` to ``end`` that exist and are not kept here."""
        latest = self.database.get_latest(self.public_key)
        if latest is None:
            return []
        return [height for height in range(max(1, start), min(end, latest.sequence_number) + 1)
                if height not in self.blocks]

    def get_range(self, start: int, end: int, limit: int = MAX_CACHED) -> list[TrustChainBlock]:
        """At most ``limit`` blocks of the chain from ``start`` to ``end``, each followed by its partner."""
        latest = self.database.get_latest(self.public_key)
        if latest is None:
            return []
        start, end = max(1, start), min(end, latest.sequence_number)
        found: list[TrustChainBlock] = []
        for block in self._own_blocks(start, end, limit):
            found.append(block)
            partner = self.linked_blocks.get(block.sequence_number)
            if partner is None and self.blocks.get(block.sequence_number) is not block:
                partner = self.database.get_linked(block)
            if partner is not None:
                found.append(partner)
        return found

    def _own_blocks(self, start: int, end: int, limit: int) -> list[TrustChainBlock]:
        """The lowest blocks of the chain in a range, from here or from the database."""
        heights = range(start, min(end, start + limit - 1) + 1)
        if all(height in self.blocks for height in heights):
            return [self.blocks[height] for height in heights]
        blocks = self.database.get_range(self.public_key, start, end, limit)
        for block in blocks:
            self.add(block)
        return blocks

    def capped(self) -> Iterator[Fill]:
        """How full the tables are, for people who watch a node."""
        yield Fill("blocks", len(self.blocks), MAX_CACHED, "cache", rule="the lowest ones go first")
