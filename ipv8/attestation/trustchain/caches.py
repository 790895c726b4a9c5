"""Requests of TrustChain that wait for an answer."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Any

from ... import clock
from ...database import DatabaseException
from ...requestcache import NumberCache, RandomNumberCache
from ...util import maximum_integer
from .block import sign_number
from .crawling import MAX_ANSWER_BLOCKS, ChainCrawl, CrawlTarget

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from ...messaging.address import Address
    from ...peer import Peer
    from ...requestcache import RequestCache
    from .block import TrustChainBlock
    from .crawling import CrawlRequest

__all__ = ["ChainCrawlCache", "CrawlRequestCache", "HalfBlockSignCache", "IntroCrawlTimeout", "UnprovenCrawlerCache"]

PROOF_SECONDS = 2.0
"""Seconds that somebody has to prove an address, before the answer becomes one that needs no proof."""

logger = logging.getLogger("TrustChainCommunity")


class IntroCrawlTimeout(NumberCache):
    """Prevents that a peer is crawled again within a minute after it was introduced.

    :param identifier: the prefix of the cache.
    """

    def __init__(self, community: Any, peer: Peer, identifier: str = "introcrawltimeout") -> None:
        super().__init__(community.request_cache, identifier, self.get_number_for(peer))

    @classmethod
    def get_number_for(cls, peer: Peer) -> int:
        """The mid of the peer as a number."""
        return int.from_bytes(peer.mid, "big")

    @property
    def timeout_delay(self) -> float:
        """A minute."""
        return 60.0


class ChainCrawlCache(IntroCrawlTimeout):
    """The crawl of the whole chain of a peer.

    :param crawl_future: done when the crawl has ended, in whatever way.
    :param known_chain_length: the height that the peer announced.
    """

    def __init__(self, community: Any, peer: Peer, crawl_future: Future[None], known_chain_length: int = -1) -> None:
        super().__init__(community, peer, "chaincrawl")
        self.community = community
        self.current_crawl_future: Future[list[TrustChainBlock]] | None = None
        self.crawl_future = crawl_future
        self.peer = peer
        self.known_chain_length = known_chain_length
        self.current_request_range = (0, 0)
        self.current_request_attempts = 0
        self.crawl = ChainCrawl(max(0, known_chain_length))
        self.register_future(crawl_future, None)

    @property
    def timeout_delay(self) -> float:
        """Two minutes."""
        return 120.0


class HalfBlockSignCache(NumberCache):
    """A proposal that waits for its counter-signature.

    :param sign_future: gets both blocks, or a ``RuntimeError``.
    :param socket_address: where the proposal is sent.
    :param timeouts: how many times it was sent again.
    :param started: when it was sent first, on the monotonic clock.
    """

    def __init__(self, community: Any, half_block: TrustChainBlock, sign_future: Future[Any],
                 socket_address: Address, timeouts: int = 0, started: float | None = None) -> None:
        super().__init__(community.request_cache, "sign", sign_number(half_block.block_id))
        self.community = community
        self.half_block = half_block
        self.sign_future = sign_future
        self.socket_address = socket_address
        self.timeouts = timeouts
        self.started = clock.monotonic() if started is None else started

    @property
    def timeout_delay(self) -> float:
        """The delay of the settings, or what is left until the proposal fails."""
        settings = self.community.settings
        delay = float(settings.sign_attempt_delay)
        if settings.sign_timeout_seconds is None:
            return delay
        left: float = self.started + settings.sign_timeout_seconds - clock.monotonic()
        return max(0.001, min(delay, left))

    @property
    def is_over(self) -> bool:
        """Whether the proposal is not to be sent again."""
        settings = self.community.settings
        limit = settings.sign_timeout_seconds
        return self.timeouts >= settings.sign_timeout or (
            limit is not None and clock.monotonic() >= self.started + limit)

    def on_timeout(self) -> None:
        """Send the proposal again, or let it fail."""
        if self.sign_future.done():
            return
        if self.is_over:
            self.sign_future.set_exception(RuntimeError("The proposal was not counter-signed in time"))
        else:
            self.community.send_block(self.half_block, address=self.socket_address)
            self.community.register_anonymous_task("sign again", self._succeed)

    def _succeed(self) -> None:
        if self.sign_future.done():
            return
        try:
            successor = HalfBlockSignCache(self.community, self.half_block, self.sign_future, self.socket_address,
                                           self.timeouts + 1, self.started)
        except RuntimeError as e:  # another proposal has the same number
            self.sign_future.set_exception(e)
        else:
            self.community.request_cache.add(successor)


class CrawlRequestCache(NumberCache):
    """A request for blocks.

    :param crawl_future: gets the blocks that arrived, possibly none.
    :param peer: who was asked; without, answers of everybody count.
    :param target: what was asked for; without, all blocks count.
    """

    CRAWL_TIMEOUT = 20.0

    def __init__(self, community: Any, crawl_id: int, crawl_future: Future[list[TrustChainBlock]],
                 peer: Peer | None = None, target: CrawlTarget | None = None) -> None:
        super().__init__(community.request_cache, "crawl", crawl_id)
        self.community = community
        self.crawl_future = crawl_future
        self.peer = peer
        self.target = target
        self.address = None if peer is None else peer.address
        self.received_half_blocks: list[TrustChainBlock] = []
        self.total_half_blocks_expected = maximum_integer
        self.hashes: set[bytes] = set()
        self.last_arrival = clock.monotonic()
        self.packets = 0
        self.sent_again = False
        self.is_long = False
        self.register_future(crawl_future, self.received_half_blocks)

    @property
    def timeout_delay(self) -> float:
        """Seconds after which an answer that is not complete is taken as it is."""
        return self.CRAWL_TIMEOUT

    def is_from(self, address: Address) -> bool:
        """Whether an answer may come from there."""
        return self.peer is None or address == self.address or address in self.peer.addresses.values()

    def expects_more(self) -> bool:
        """Whether another packet of the answer is to be looked at."""
        self.packets += 1
        return self.packets <= MAX_ANSWER_BLOCKS

    def accepts(self, block: TrustChainBlock) -> bool:
        """Whether a block was asked for and is new."""
        return (self.target is None or self.target.covers(block)) and block.hash not in self.hashes

    def received_block(self, block: TrustChainBlock, total_count: int) -> None:
        """Take a block of the answer, and finish when there are ``total_count``."""
        self.last_arrival = clock.monotonic()
        self.hashes.add(block.hash)
        self.received_half_blocks.append(block)
        self.expects(total_count)

    def expects(self, total_count: int) -> None:
        """Finish if there are as many blocks as the answer announces."""
        self.total_half_blocks_expected = min(total_count, MAX_ANSWER_BLOCKS)
        if self.total_half_blocks_expected == 0:
            self.received_half_blocks = []
        if len(self.received_half_blocks) >= self.total_half_blocks_expected:
            self.finish()

    def received_empty_response(self) -> None:
        """Finish with what is there."""
        self.finish()

    def finish(self) -> None:
        """End the request."""
        if self.community.request_cache.get(self.prefix, self.number) is self:
            self.community.request_cache.pop(self.prefix, self.number)
        self.on_timeout()

    def on_timeout(self) -> None:
        """Hand over what arrived so far, when it is committed."""
        if self.crawl_future.done():
            return
        try:
            if self.received_half_blocks:
                self.community.flush_blocks()
        except (sqlite3.Error, DatabaseException):
            logger.exception("The blocks that were asked for could not be written to the database")
            self.received_half_blocks = []
        self.crawl_future.set_result(self.received_half_blocks)


class UnprovenCrawlerCache(RandomNumberCache):
    """Crawl requests whose sender was asked to prove that it is at the address where they came from.

    :param request: the first one.
    :param answer: called with all of them, and whether there was a proof.
    """

    timed_by_task = False

    def __init__(self, request_cache: RequestCache, request: CrawlRequest,
                 answer: Callable[[list[CrawlRequest], bool], object]) -> None:
        super().__init__(request_cache, "unproven crawler")
        self.requests = [request]
        self._answer = answer

    @property
    def timeout_delay(self) -> float:
        """A few seconds."""
        return PROOF_SECONDS

    def proved(self) -> None:
        """Answer in full."""
        self._answer(self.requests, True)

    def on_timeout(self) -> None:
        """Answer as far as this may be done without a proof."""
        self._answer(self.requests, False)
