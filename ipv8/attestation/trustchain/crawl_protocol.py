"""Asking others for blocks, and answering those who ask."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...lazy_community import lazy_wrapper_unsigned, lazy_wrapper_wd
from ...limits import BoundedDict, ExpiringDict
from ...messaging.address import HiddenAddress
from ...messaging.interfaces.network_stats import DropCounter
from ...messaging.payload_headers import GlobalTimeDistributionPayload
from ...util import current_loop, succeed
from ...verification import is_met_at
from .base import TrustChainBase
from .caches import ChainCrawlCache, CrawlRequestCache, IntroCrawlTimeout, UnprovenCrawlerCache
from .crawling import ANSWER_FACTOR_PER_REQUEST, CrawlRequest, CrawlTarget, Step, absolute_range
from .payload import (
    AnyCrawlRequestPayload,
    CrawlRequestPayload,
    CrawlResponsePayload,
    EmptyCrawlResponsePayload,
    LongCrawlRequestPayload,
)
from .validation import same_key

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import AsyncIterator

    from ...messaging.address import Address
    from ...peer import Peer
    from .block import TrustChainBlock

__all__ = ["CrawlProtocol"]

MAX_DIALECTS = 4096
"""Peers of which the form of crawl requests is remembered; the oldest is forgotten first."""

MAX_REMEMBERED_REQUESTS = 4096
"""Crawl requests that are not answered a second time; the oldest is forgotten first."""

REMEMBERED_REQUEST_LIFETIME = 120.0
"""Seconds for which they are not."""

MAX_UNPROVEN_CRAWLERS = 256
"""Senders of crawl requests that are asked to prove their address; further ones get what needs no proof."""

MAX_UNPROVEN_REQUESTS = 8
"""Requests of each of them that wait for the proof; further ones are dropped."""

PROOF_REQUEST_SIZE = 240
"""Bytes of the introduction request that asks for a proof, at most."""

MAX_PROVEN_CRAWLERS = 1024
"""Senders of crawl requests that have proved their address; the oldest is forgotten first."""

PROOF_LIFETIME = 120.0
"""Seconds for which that counts for those that are not peers, as there is no room for them."""

CRAWL_ID_BITS = 32

HIGHEST_SHORT_NUMBER = (1 << 31) - 1
"""The highest number in a crawl request of the short form."""

RESPONSE_OVERHEAD = 22 + 1 + 8 + 12
"""Bytes of a crawl response besides the block: prefix, message id, global time, and its three numbers."""

SILENCE_SHARE = 0.25
"""The part of the time-out of a request after which it is sent again, or an answer is taken as complete."""

OPEN_INTRODUCTIONS = 1000
"""Blocks of a peer after which it is not crawled at every introduction any more."""


class CrawlProtocol(TrustChainBase):
    """The part of the overlay that crawls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Whether a peer sends, or seems to understand, crawl requests in the long form, by mid.
        self.long_dialects: BoundedDict[bytes, bool] = BoundedDict(MAX_DIALECTS)
        self._answered_requests: ExpiringDict[bytes, None] = ExpiringDict(MAX_REMEMBERED_REQUESTS,
                                                                          REMEMBERED_REQUEST_LIFETIME)
        #: Who has asked for blocks and is asked to prove an address, by key and address.
        self._unproven_crawlers: BoundedDict[tuple[bytes, Any], UnprovenCrawlerCache] = BoundedDict(
            MAX_UNPROVEN_CRAWLERS)
        self._proven_crawlers: ExpiringDict[tuple[bytes, Any], None] = ExpiringDict(MAX_PROVEN_CRAWLERS,
                                                                                     PROOF_LIFETIME)
        self.add_message_handler(CrawlRequestPayload, self.on_crawl_request)
        self.add_message_handler(EmptyCrawlResponsePayload, self.on_empty_crawl_response)

    # Single requests

    def send_crawl_request(self, peer: Peer, public_key: bytes, start_seq_num: int, end_seq_num: int,
                           for_half_block: TrustChainBlock | None = None) -> Future[list[TrustChainBlock]]:  # noqa: ARG002 - ids are random
        """Ask ``peer`` for the blocks of a chain from one height to another, and those that link to them.

        Negative heights count from the end of the chain.

        :param for_half_block: the proposal whose predecessors these are.
        :returns: a future of the valid blocks that arrive, which are stored already; possibly none.
        """
        future: Future[list[TrustChainBlock]] = current_loop().create_future()
        crawl_id = entropy.randbits(CRAWL_ID_BITS)
        while self.request_cache.has("crawl", crawl_id):
            crawl_id = entropy.randbits(CRAWL_ID_BITS)
        target = CrawlTarget(public_key, start_seq_num, end_seq_num)
        cache = self.request_cache.add(CrawlRequestCache(self, crawl_id, future, peer, target))
        if cache is None:
            return succeed([])
        self._send_crawl_request(cache, self.long_dialects.get(peer.mid, False))
        silence = SILENCE_SHARE * cache.timeout_delay
        task = f"crawl {crawl_id}"
        self.register_task(task, self._watch_crawl, cache, task, interval=silence)
        future.add_done_callback(lambda _: self.cancel_pending_task(task))
        return future

    def _send_crawl_request(self, cache: CrawlRequestCache, is_long: bool) -> None:
        assert cache.target is not None and cache.peer is not None  # noqa: PT018 - for the type checker
        cache.is_long = is_long
        key, start, end = cache.target
        is_short = not is_long and max(start, end, -start - 1, -end - 1) <= HIGHEST_SHORT_NUMBER
        form = CrawlRequestPayload if is_short else LongCrawlRequestPayload
        self._send_signed_payload(cache.peer, form(key, start, end, cache.number))

    def _send_signed_payload(self, peer: Peer, payload: CrawlRequestPayload) -> None:
        self.ez_send(peer, GlobalTimeDistributionPayload(self.claim_global_time()), payload)

    def _watch_crawl(self, cache: CrawlRequestCache, task: str) -> None:
        """Send a request again that was not answered, or end one whose answer has stopped to arrive."""
        if cache.crawl_future.done():
            self.cancel_pending_task(task)
        elif cache.received_half_blocks:
            if clock.monotonic() - cache.last_arrival >= SILENCE_SHARE * cache.timeout_delay:
                cache.finish()
        elif not cache.sent_again:
            cache.sent_again = True
            self._send_crawl_request(cache, not cache.is_long)

    def crawl_lowest_unknown(self, peer: Peer, latest_block_num: int | None = None) -> (
            Future[list[TrustChainBlock]] | list[TrustChainBlock]):
        """Ask ``peer`` for the lowest block of its own that is missing here, unless it has none that is.

        :param latest_block_num: the height of its chain, if that is known.
        """
        public_key = peer.public_key.key_to_bin()
        lowest = self.persistence.get_lowest_sequence_number_unknown(public_key)
        if latest_block_num is not None and latest_block_num < lowest:
            return []
        return self.send_crawl_request(peer, public_key, lowest, lowest)

    # Whole chains

    def crawl_chain(self, peer: Peer, latest_block_num: int = 0) -> Future[None]:
        """Ask ``peer`` for all blocks of its own that are missing here; the future is done when that has ended.

        :param latest_block_num: the height of its chain, 0 if that is not known.
        """
        if self.request_cache.has("chaincrawl", ChainCrawlCache.get_number_for(peer)):
            return succeed(None)
        future: Future[None] = current_loop().create_future()
        cache = self.request_cache.add(ChainCrawlCache(self, peer, future, latest_block_num))
        if cache is None:
            return succeed(None)
        self.register_anonymous_task("crawl chain", self._crawl_chain, cache)
        return future

    async def _crawl_chain(self, cache: ChainCrawlCache) -> None:
        try:
            await self.send_next_partial_chain_crawl_request(cache)
        finally:
            if self.request_cache.get(cache.prefix, cache.number) is cache:
                self.request_cache.pop(cache.prefix, cache.number)
            if not cache.crawl_future.done():
                cache.crawl_future.set_result(None)

    async def send_next_partial_chain_crawl_request(self, cache: ChainCrawlCache) -> None:
        """Ask for what is missing, until nothing is or asking does not help any more."""
        while not cache.crawl_future.done():
            step = self._next_step(cache)
            if step is None:
                return
            blocks = await self.perform_partial_chain_crawl(cache, *step)
            heights = [block.sequence_number for block in blocks if same_key(block.public_key, cache.peer.key_bin)]
            if not cache.crawl.answered(heights):
                return
            cache.known_chain_length = cache.crawl.announced

    def _next_step(self, cache: ChainCrawlCache) -> Step | None:
        public_key = cache.peer.public_key.key_to_bin()
        lowest, gap_end = self.persistence.get_lowest_range_unknown(public_key)
        latest = self.persistence.get_latest(public_key)
        return cache.crawl.next_step(lowest, 0 if latest is None else latest.sequence_number, gap_end)

    async def perform_partial_chain_crawl(self, cache: ChainCrawlCache, start: int, stop: int) -> list[TrustChainBlock]:
        """Ask for one part of a chain, and wait for it."""
        cache.current_request_range = (start, stop)
        cache.current_request_attempts = cache.crawl.attempts
        request = self.send_crawl_request(cache.peer, cache.peer.public_key.key_to_bin(), start, stop)
        cache.current_crawl_future = request
        return await request

    async def crawl(self, peer: Peer, start: int = 1) -> AsyncIterator[TrustChainBlock]:
        """The blocks of a peer's own chain in order, known ones and those that it is asked for.

        It ends with the last block, or where the peer does not give the next one.
        """
        public_key = peer.public_key.key_to_bin()
        asked = 0
        while True:
            block = self.persistence.get(public_key, start)
            if block is not None:
                yield block
                start, asked = start + 1, 0
            elif asked >= 2 or not await self.send_crawl_request(
                    peer, public_key, start, start + max(1, self.settings.max_crawl_batch) - 1):
                return
            else:
                asked += 1

    # Answers

    @lazy_wrapper_wd(GlobalTimeDistributionPayload, AnyCrawlRequestPayload)
    def on_crawl_request(self, peer: Peer, _: GlobalTimeDistributionPayload, payload: AnyCrawlRequestPayload,
                         data: bytes) -> None:
        """Message 2: send blocks from our database, as far as the budgets allow."""
        fingerprint = data[-64:]
        if fingerprint in self._answered_requests:
            self.drops.count(DropCounter.REPLAYED)
            return
        request = CrawlRequest(peer.address, CrawlTarget(payload.public_key, payload.start_seq_num,
                                                         payload.end_seq_num), payload.crawl_id, len(data))
        is_proven = self._is_proven(peer)
        waiting = None if is_proven else self._unproven_crawlers.get((peer.key_bin, peer.address))
        if (self.answer_budget.is_spent(peer.address[0])  # before anything is looked up
                or (waiting is not None and len(waiting.requests) >= MAX_UNPROVEN_REQUESTS)):
            self.drops.count(DropCounter.RATE_LIMITED)
            return
        self._answered_requests[fingerprint] = None
        self.long_dialects[peer.mid] = payload.is_long
        if waiting is not None:
            waiting.requests.append(request)
            return
        blocks = self._blocks_of(request.target)
        limit = ANSWER_FACTOR_PER_REQUEST * request.size
        if is_proven:
            self._answer(request, blocks)
        elif sum(self._response_sizes(blocks)) <= limit or not self._wait_for_proof(peer, request):
            self._answer(request, blocks, limit)

    def _blocks_of(self, target: CrawlTarget) -> list[TrustChainBlock]:
        """The blocks that a request of somebody else gets."""
        latest = self.persistence.get_latest(target.public_key)
        start, end = absolute_range(target.start, target.end, 0 if latest is None else latest.sequence_number)
        return self.persistence.crawl(target.public_key, start, end, limit=self.settings.max_crawl_batch)

    @staticmethod
    def _response_sizes(blocks: list[TrustChainBlock]) -> list[int]:
        return [len(block.pack()) + RESPONSE_OVERHEAD for block in blocks]

    def _answer(self, request: CrawlRequest, blocks: list[TrustChainBlock], limit: float = inf) -> None:
        """Send blocks, as far as the budgets allow.

        :param limit: bytes of all packets together.
        """
        if not blocks:
            self._send_payload(request.address, EmptyCrawlResponsePayload(request.crawl_id))
            return
        count = self.answer_budget.affordable(self._response_sizes(blocks), request.address[0], limit)
        if count < len(blocks):
            self.drops.count(DropCounter.RATE_LIMITED)
        for number, block in enumerate(blocks[:count], 1):
            self._send_payload(request.address, CrawlResponsePayload.from_crawl(block, request.crawl_id, number, count))

    # The request may come from somebody who has forged its source, or has recorded it. Nodes of all releases answer
    # introduction requests, so that such an answer is the proof that whoever asks for blocks is there.

    def _is_proven(self, peer: Peer) -> bool:
        """Whether what is sent to a peer gets to it, and to nobody who did not ask for it."""
        return (peer.proven or type(peer.address) is HiddenAddress
                or (peer.key_bin, peer.address) in self._proven_crawlers)

    def _wait_for_proof(self, peer: Peer, request: CrawlRequest) -> bool:
        """Ask a peer to prove its address, and answer then; whether the request waits now."""
        if len(self._unproven_crawlers) >= MAX_UNPROVEN_CRAWLERS:
            return False
        place = peer.key_bin, request.address
        cache = UnprovenCrawlerCache(self.request_cache, request, partial(self._answer_waiting, place))
        if self.request_cache.add(cache) is None:
            return False
        self._unproven_crawlers[place] = cache
        self.on_unconfirmed_address(peer, request.address)
        return True

    def _answer_waiting(self, place: tuple[bytes, Address], requests: list[CrawlRequest], proven: bool) -> None:
        """Answer requests whose sender has proved its address, or has not done so in time."""
        self._unproven_crawlers.pop(place, None)
        known = self.network.get_verified_by_public_key_bin(place[0])
        if known is not None and known.proven and is_met_at(known, place[1]):
            proven = True  # by another message
        spent = PROOF_REQUEST_SIZE
        for request in requests:
            blocks = self._blocks_of(request.target)
            limit = inf if proven else ANSWER_FACTOR_PER_REQUEST * request.size - spent
            self._answer(request, blocks, limit)
            spent = 0

    def _note_proof(self, peer: Peer) -> None:
        """Answer the crawl requests of a peer that has just answered an introduction request."""
        for kind in peer.INTERFACE_ORDER:  # there are also addresses in local networks, which nobody proves
            place = peer.key_bin, peer.addresses.get(kind)
            cache = self._unproven_crawlers.get(place)
            if cache is not None:
                self._proven_crawlers[place] = None
                self.request_cache.pop(cache.prefix, cache.number)
                cache.proved()

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, EmptyCrawlResponsePayload)
    def on_empty_crawl_response(self, source_address: Address, _: GlobalTimeDistributionPayload,
                                payload: EmptyCrawlResponsePayload) -> None:
        """Message 7: there is nothing more to come."""
        cache = self.request_cache.get("crawl", payload.crawl_id)
        if isinstance(cache, CrawlRequestCache) and cache.is_from(source_address):
            cache.received_empty_response()
        else:
            self.drops.count(DropCounter.UNSOLICITED)

    # Introductions

    def get_chain_length_bytes(self) -> bytes:
        """The height of our chain as it stands in introductions."""
        return min(self.get_chain_length(), HIGHEST_SHORT_NUMBER).to_bytes(4, "big", signed=True)

    def create_introduction_request(self, socket_address: Address, extra_bytes: bytes = b"", new_style: bool = False,  # noqa: ARG002 - replaced
                                    prefix: bytes | None = None) -> bytes:
        """A request that tells the height of our chain."""
        return super().create_introduction_request(socket_address, self.get_chain_length_bytes(), new_style, prefix)

    def create_introduction_response(self, lan_socket_address: Address, socket_address: Address, identifier: int,
                                     introduction: Peer | None = None, extra_bytes: bytes = b"",  # noqa: ARG002 - replaced
                                     prefix: bytes | None = None, new_style: bool = False) -> bytes:
        """A response that tells the height of our chain."""
        return super().create_introduction_response(lan_socket_address, socket_address, identifier, introduction,
                                                    self.get_chain_length_bytes(), prefix, new_style)

    def introduction_response_callback(self, peer: Peer, dist: GlobalTimeDistributionPayload, payload: Any) -> None:  # noqa: ARG002 - as in the base class
        """Answer what a peer that was just met has asked for, and ask it for blocks of its own."""
        self._note_proof(peer)
        extra = payload.extra_bytes
        length = int.from_bytes(extra, "big", signed=True) if len(extra) == 4 else None
        if length is None and peer.mid not in self.long_dialects:
            self.long_dialects[peer.mid] = True  # those who do not tell it use the long form
        number = IntroCrawlTimeout.get_number_for(peer)
        if (peer.address in self.network.blacklist or self.request_cache.has("introcrawltimeout", number)
                or self.request_cache.has("chaincrawl", number)):
            return
        if self.settings.crawler:
            self.crawl_chain(peer, length or 0)
            return
        known = self.persistence.get_number_of_known_blocks(peer.public_key.key_to_bin())
        if known < OPEN_INTRODUCTIONS or entropy.random() < 0.5:
            self.request_cache.add(IntroCrawlTimeout(self, peer))
            self.crawl_lowest_unknown(peer, length)
