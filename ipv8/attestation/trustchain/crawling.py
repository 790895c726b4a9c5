"""Asking for blocks of others, and answering: the decisions, without a network."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from ...limits import TokenBuckets
from ...messaging.inet import HOST_BITS, network_of
from .validation import same_key

if TYPE_CHECKING:
    from ...messaging.address import Address
    from .block import TrustChainBlock
    from .settings import TrustChainSettings

__all__ = ["AnswerBudget", "ChainCrawl", "CrawlRequest", "CrawlTarget", "Step", "absolute_range"]

MAX_ANSWER_BLOCKS = 200
"""Blocks of one answer that are believed in, whatever number it announces."""

MAX_ATTEMPTS = 3
"""How often the same heights are asked for in a row."""

MAX_CHAIN_REQUESTS = 4096
"""Requests of one crawl of a chain."""

ANSWER_FACTOR_PER_REQUEST = 3
"""How many times the bytes of a request may be sent to an unproven address because of it."""

ANSWER_BURST_SECONDS = 4.0
"""The burst of the budgets for answers, in seconds of their rate."""

SMALLEST_BLOCK = 268
"""Bytes of a block without a type and a transaction."""

LAST = -1
"""The height that asks for the end of a chain."""


def absolute_range(start: int, end: int, latest: int) -> tuple[int, int]:
    """The heights that a request means, when ``latest`` is the highest known one, 0 if there is none."""
    def height(number: int) -> int:
        if number >= 0:
            return max(1, number)
        return max(1, latest + number + 1) if latest else 1

    return height(start), min(height(end), latest)


class CrawlTarget(NamedTuple):
    """What a crawl request asks for: the blocks of a key from one height to another."""

    public_key: bytes
    start: int
    end: int

    def covers(self, block: TrustChainBlock) -> bool:
        """Whether a block was asked for: it lies in the range, or links into it."""
        if same_key(block.public_key, self.public_key) and self._holds(block.sequence_number):
            return True
        return (same_key(block.link_public_key, self.public_key) and block.link_sequence_number > 0
                and self._holds(block.link_sequence_number))

    def _holds(self, height: int) -> bool:
        return (self.start < 0 or height >= self.start) and (self.end < 0 or height <= self.end)


class CrawlRequest(NamedTuple):
    """A crawl request that is to be answered: where to, and how large it was."""

    address: Address
    target: CrawlTarget
    crawl_id: int
    size: int


class Step(NamedTuple):
    """The heights to be asked for next."""

    start: int
    end: int


class ChainCrawl:
    """Which heights of a chain are to be asked for next, and whether that is worth it.

    :param announced: the height of the chain as its owner says, 0 if that is not known.
    """

    def __init__(self, announced: int = 0) -> None:
        self.announced = announced
        self.last_step: Step | None = None
        self.attempts = 0
        self.requests = 0

    def next_step(self, lowest_unknown: int, latest: int, unknown_end: int) -> Step | None:
        """The next heights, ``None`` if the crawl is finished or is given up.

        :param lowest_unknown: the lowest height without a block here.
        :param latest: the highest height with a block here, 0 if there is none.
        :param unknown_end: the last height of the gap that begins at ``lowest_unknown``.
        """
        if self.announced <= 0:
            step = Step(LAST, LAST)
        elif lowest_unknown <= latest:
            step = Step(lowest_unknown, unknown_end)
        elif lowest_unknown <= self.announced:
            step = Step(lowest_unknown, self.announced)
        else:
            return None
        self.attempts = self.attempts + 1 if step == self.last_step else 1
        self.last_step = step
        self.requests += 1
        return None if self.attempts > MAX_ATTEMPTS or self.requests > MAX_CHAIN_REQUESTS else step

    def answered(self, heights: list[int]) -> bool:
        """Take note of the heights of the owner's blocks in an answer; ``False`` if the chain turns out to be empty."""
        if self.announced <= 0:
            if not heights:
                return False
            self.announced = max(heights)
        return True


class AnswerBudget:
    """How many bytes of blocks may be sent to whom."""

    def __init__(self, settings: TrustChainSettings) -> None:
        self.each = TokenBuckets(settings.crawl_bytes_per_second,
                                 settings.crawl_bytes_per_second * ANSWER_BURST_SECONDS)
        self.all = TokenBuckets(settings.total_crawl_bytes_per_second,
                                settings.total_crawl_bytes_per_second * ANSWER_BURST_SECONDS, capacity=1)

    def is_spent(self, host: str) -> bool:
        """Whether not even the smallest block may be sent there now."""
        return not (self.each.holds(network_of(host, *HOST_BITS), SMALLEST_BLOCK)
                    and self.all.holds(None, SMALLEST_BLOCK))

    def affordable(self, sizes: list[int], host: str, limit: float = inf) -> int:
        """How many packets of these sizes may be sent now, from the first on; they count as sent.

        :param limit: bytes of all of them together.
        """
        source = network_of(host, *HOST_BITS)
        total = 0
        for count, size in enumerate(sizes):
            total += size
            if total > limit or not (self.each.holds(source, size) and self.all.take(None, size)):
                return count
            self.each.take(source, size)
        return len(sizes)
