"""The overlay in which peers sign transactions with each other (doc/protocol/trustchain.md, and doc/trustchain.md)."""

from __future__ import annotations

import asyncio
import sqlite3
from binascii import unhexlify
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ...database import DatabaseException
from ...lazy_community import lazy_wrapper_unsigned
from ...messaging.interfaces.network_stats import DropCounter
from ...messaging.payload_headers import GlobalTimeDistributionPayload
from ...peer import Peer
from ...util import maybe_coroutine
from .base import UNIVERSAL_BLOCK_LISTENER, synchronized
from .block import (
    ANY_COUNTERPARTY_PK,
    EMPTY_PK,
    GENESIS_SEQ,
    UNKNOWN_SEQ,
    TrustChainBlock,
    ValidationResult,
    sign_number,
)
from .broadcast import MAX_TTL
from .caches import CrawlRequestCache, HalfBlockSignCache
from .crawl_protocol import CrawlProtocol
from .database import TrustChainDB
from .payload import (
    CrawlRequestPayload,
    CrawlResponsePayload,
    DHTBlockPayload,
    EmptyCrawlResponsePayload,
    HalfBlockBroadcastPayload,
    HalfBlockPairBroadcastPayload,
    HalfBlockPairPayload,
    HalfBlockPayload,
)
from .signatures import verify_ahead
from .signing import SigningProtocol
from .validation import codes_of, is_double_sign, same_key

if TYPE_CHECKING:
    from ...messaging.address import Address

__all__ = [
    "ANY_COUNTERPARTY_PK",
    "EMPTY_PK",
    "GENESIS_SEQ",
    "UNIVERSAL_BLOCK_LISTENER",
    "UNKNOWN_SEQ",
    "CrawlRequestPayload",
    "CrawlResponsePayload",
    "DHTBlockPayload",
    "EmptyCrawlResponsePayload",
    "HalfBlockBroadcastPayload",
    "HalfBlockPairBroadcastPayload",
    "HalfBlockPairPayload",
    "HalfBlockPayload",
    "TrustChainBlock",
    "TrustChainCommunity",
    "TrustChainDB",
    "TrustChainTestnetCommunity",
    "ValidationResult",
    "synchronized",
]

MAX_CRAWL_ROUNDS = 3
"""How often the predecessors of a proposal are asked for."""

MAX_SIGNING = 1024
"""Proposals that are being decided on at a time; further ones are dropped."""

INCOMPLETE = frozenset({ValidationResult.partial_previous, ValidationResult.partial, ValidationResult.no_info})


class TrustChainCommunity(SigningProtocol, CrawlProtocol):
    """Signs transactions with peers, passes blocks on, and collects the chains of others.

    Both ``TrustChainCommunity(settings)`` and the older ``TrustChainCommunity(my_peer, endpoint, network, ...)`` work.
    """

    community_id: ClassVar[bytes] = unhexlify("5ad767b05ae592a02488272ca2a86b847d4562e1")  # type: ignore[misc] # as in subclasses of programs

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deciding = 0
        self._crawled: list[tuple[Address, TrustChainBlock, int, int]] = []
        self.add_message_handler(HalfBlockPayload, self.on_half_block)
        self.add_message_handler(CrawlResponsePayload, self.on_crawl_response)
        self.add_message_handler(HalfBlockPairPayload, self.on_half_block_pair)
        self.add_message_handler(HalfBlockBroadcastPayload, self.on_half_block_broadcast)
        self.add_message_handler(HalfBlockPairBroadcastPayload, self.on_half_block_pair_broadcast)
        if self.settings.trust_graph:
            self.follow_with_trust_graph()

    # Blocks that arrive

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, HalfBlockPayload)
    def on_half_block(self, source_address: Address, _: GlobalTimeDistributionPayload,
                      payload: HalfBlockPayload) -> Any:
        """Message 1: a block, maybe a proposal to us or the answer to one of ours."""
        block = self._received(payload, source_address)
        return None if block is None else self._process(block, source_address)

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, HalfBlockPairPayload)
    def on_half_block_pair(self, source_address: Address, _: GlobalTimeDistributionPayload,
                           payload: HalfBlockPairPayload) -> None:
        """Message 4: both halves of a transaction."""
        self._receive_pair(payload, source_address)

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, HalfBlockBroadcastPayload)
    def on_half_block_broadcast(self, source_address: Address, _: GlobalTimeDistributionPayload,
                                payload: HalfBlockBroadcastPayload) -> None:
        """Message 5: a block for everybody."""
        block = self._received(payload, source_address)
        if block is not None and self._persist_from(block, source_address) and self._is_to_be_relayed(block,
                                                                                                      payload.ttl):
            ttl = min(payload.ttl, MAX_TTL) - 1
            self._relay(HalfBlockBroadcastPayload.from_half_block(block, ttl), block.block_id, source_address)

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, HalfBlockPairBroadcastPayload)
    def on_half_block_pair_broadcast(self, source_address: Address, _: GlobalTimeDistributionPayload,
                                     payload: HalfBlockPairBroadcastPayload) -> None:
        """Message 6: both halves of a transaction, for everybody."""
        pair = self._receive_pair(payload, source_address)
        if pair is not None and any(self._is_to_be_relayed(block, payload.ttl, pair[0].block_id) for block in pair):
            ttl = min(payload.ttl, MAX_TTL) - 1
            self._relay(HalfBlockPairBroadcastPayload.from_half_blocks(*pair, ttl), pair[0].block_id, source_address)

    @lazy_wrapper_unsigned(GlobalTimeDistributionPayload, CrawlResponsePayload)
    def on_crawl_response(self, source_address: Address, _: GlobalTimeDistributionPayload,
                          payload: CrawlResponsePayload) -> None:
        """Message 3: a block of the answer to a crawl request."""
        crawl = self._crawl_of(payload.crawl_id, source_address)
        block = self._received(payload, source_address, solicited=crawl is not None and crawl.expects_more())
        if block is None:
            return
        if not self._crawled:
            asyncio.get_running_loop().call_soon(self._process_crawled)
        self._crawled.append((source_address, block, payload.crawl_id, payload.total_count))

    def _crawl_of(self, crawl_id: int, source: Address) -> CrawlRequestCache | None:
        cache = self.request_cache.get("crawl", crawl_id)
        return cache if isinstance(cache, CrawlRequestCache) and cache.is_from(source) else None

    def _process_crawled(self) -> None:
        """Handle the blocks that arrived together, whose signatures can be verified together."""
        arrived, self._crawled = self._crawled, []
        if self.shutting_down:
            return
        verify_ahead([block for _, block, _, _ in arrived])
        for source, block, crawl_id, total_count in arrived:
            if not self._persist_from(block, source):
                continue
            crawl = self._crawl_of(crawl_id, source)
            if crawl is not None and crawl.accepts(block):
                crawl.received_block(block, total_count)
            if self._concerns_us(block):
                self.register_anonymous_task("half block", partial(self._process, block, source))

    def _received(self, payload: Any, source: Address, solicited: bool = False) -> TrustChainBlock | None:
        """The block of a message, ``None`` if it is not to be looked at."""
        if not solicited and not self.admission.listens_to(source[0]):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        try:
            block = self.get_block_class(payload.type).from_payload(payload, self.serializer)
        except Exception as e:  # noqa: BLE001 - classes of programs may raise anything for what they cannot read
            self._refuse_block(source, f"its class does not take it: {e}")
            return None
        return block if self._is_admissible(block, source) else None

    def _receive_pair(self, payload: HalfBlockPairPayload,
                      source: Address) -> tuple[TrustChainBlock, TrustChainBlock] | None:
        """Store both blocks of a message; ``None`` if one of them is not valid."""
        if not self.admission.listens_to(source[0]):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        try:
            pair = self._make_pair(payload)
        except Exception as e:  # noqa: BLE001 - as above
            self._refuse_block(source, f"their class does not take them: {e}")
            return None
        if not all(self._is_admissible(block, source) for block in pair):
            return None
        is_proof = is_double_sign(*pair)
        valid = [self._persist_from(block, source, is_proof) for block in pair]
        if is_proof:  # also if neither block fits to what is known of the chain
            self.persistence.add_double_spend(*pair)
        return pair if all(valid) else None

    def _make_pair(self, payload: HalfBlockPairPayload) -> tuple[TrustChainBlock, TrustChainBlock]:
        """Both blocks of a message, each made by the class for its own type."""
        class1, class2 = self.get_block_class(payload.type1), self.get_block_class(payload.type2)
        block1, block2 = class1.from_pair_payload(payload, self.serializer)
        return block1, block2 if class1 is class2 else class2.from_pair_payload(payload, self.serializer)[1]

    def _is_admissible(self, block: TrustChainBlock, source: Address) -> bool:
        objection = self.admission.objection(block)
        if objection is not None:
            self._refuse_block(source, objection)
        return objection is None

    def _refuse_block(self, source: Address, reason: str) -> None:
        self.drops.count(DropCounter.UNDECODABLE)
        self.admission.was_invalid(source[0])
        self.logger.debug("A block from %s is refused: %s", source, reason)

    def _persist_from(self, block: TrustChainBlock, source: Address, is_proof: bool = False) -> bool:
        """Validate and store a block that came from somewhere; whether it is valid.

        :param is_proof: whether it belongs to a proof of fraud, so that the sender is not to blame.
        """
        if self._is_one_link_too_many(block, source):
            return False
        try:
            state, errors = self.validate_persist_block(block)
        except Exception:  # of a class of a program, or of the database: further blocks must not be lost with this one
            self.logger.exception("The block %s from %s could not be processed", block.block_id.decode(), source)
            self.drops.count(INVALID_BLOCK)
            self.admission.was_invalid(source[0])
            return False
        if state != ValidationResult.invalid:
            return True
        if not is_proof:
            self._count_invalid(block, source, errors)
        return False

    def _is_one_link_too_many(self, block: TrustChainBlock, source: Address) -> bool:
        too_many = self.admission.is_one_link_too_many(block, self.persistence)
        if too_many:
            self._refuse_block(source, "its author has linked to that source block too often")
        return too_many

    def _count_invalid(self, block: TrustChainBlock, source: Address, errors: list[str]) -> None:
        codes = codes_of(errors)
        if "DOUBLE_SIGN" in codes:
            return  # who sends a proof of fraud did nothing wrong
        self.drops.count(DropCounter.BAD_SIGNATURE if "BAD_SIGNATURE" in codes else INVALID_BLOCK)
        self.admission.was_invalid(source[0])
        if codes != ["SELF_LINK"]:  # other implementations make such blocks as a matter of course
            self.logger.debug("%s from %s is not valid: %s", block, source, errors)

    def _is_to_be_relayed(self, block: TrustChainBlock, ttl: int, broadcast_id: bytes | None = None) -> bool:
        return (ttl > 1 and block.block_id in self._new_blocks
                and (broadcast_id or block.block_id) not in self.relayed_broadcasts)

    def validate_persist_block(self, block: TrustChainBlock) -> tuple[Any, list[str]]:
        """Validate a block, store it if it is valid and new, and tell the listeners then; its state and errors."""
        state, errors = block.validate(self.persistence)
        storable = state != ValidationResult.invalid or (self.settings.accept_self_linked
                                                         and codes_of(errors) == ["SELF_LINK"] and len(errors) == 1)
        if storable and not self.persistence.contains(block):
            try:
                self.persistence.add_block(block)
            except sqlite3.IntegrityError:  # another program that uses the database has stored it meanwhile
                return state, errors
            self._publish_block(block)
            if state != ValidationResult.invalid:
                self._new_blocks[block.block_id] = None
                self.notify_listeners(block)
            self._clean_up_early()
        return state, errors

    # Proposals and their answers

    async def _process(self, block: TrustChainBlock, source: Address) -> None:
        """Process a block from the network; what is wrong with it is counted."""
        if self.shutting_down or self._is_one_link_too_many(block, source):
            return
        try:
            await self.process_half_block(block, Peer(block.public_key, source))
        except InvalidBlockError as e:
            self._count_invalid(block, source, e.errors)
        except (DatabaseException, sqlite3.Error):
            self.logger.exception("The block %s from %s could not be stored", block.block_id.decode(), source)
        except (RuntimeError, ValueError) as e:
            self.logger.debug("%s from %s is not processed: %s", block, source, e)

    def _concerns_us(self, block: TrustChainBlock) -> bool:
        """Whether a block may be a proposal to us, or the answer to one of ours."""
        return same_key(block.link_public_key, self.my_key_bin) or self._waiting_proposal(block) is not None

    def _waiting_proposal(self, block: TrustChainBlock) -> HalfBlockSignCache | None:
        """The proposal of ours that a block answers and that waits for it."""
        cache = self.request_cache.get("sign", sign_number(block.linked_block_id))
        if isinstance(cache, HalfBlockSignCache) and cache.half_block.block_id == block.linked_block_id:
            return cache
        return None

    async def process_half_block(self, blk: TrustChainBlock,
                                 peer: Peer) -> tuple[TrustChainBlock, TrustChainBlock | None] | None:
        """Store a block, complete the proposal that it answers, or counter-sign it if it is a proposal to us.

        :returns: the proposal and our counter-signature, or ``None``.
        :raises RuntimeError: if the block is not valid.
        """
        state, errors = self.validate_persist_block(blk)
        if state == ValidationResult.invalid:
            raise InvalidBlockError(blk, errors)
        waiting = self._waiting_proposal(blk)
        if waiting is not None:
            self.flush_blocks()  # if that fails, the request stays, and the answer to the next attempt completes it
            self.request_cache.pop("sign", waiting.number)
            if not waiting.sign_future.done():
                waiting.sign_future.set_result((blk, self.persistence.get_linked(blk)))
        if not self._is_open_proposal(blk) or self._deciding >= MAX_SIGNING:
            return None
        self._deciding += 1
        try:
            return await self._decide(blk, peer, state)
        finally:
            self._deciding -= 1

    def _is_open_proposal(self, block: TrustChainBlock) -> bool:
        """Whether a block is a proposal to us that we have not answered."""
        return (block.link_sequence_number == UNKNOWN_SEQ and same_key(block.link_public_key, self.my_key_bin)
                and self.persistence.get_linked(block) is None)

    async def _decide(self, blk: TrustChainBlock, peer: Peer,
                      state: Any) -> tuple[TrustChainBlock, TrustChainBlock | None] | None:
        """Counter-sign a proposal, if the listeners want it and its predecessors are known or can be had."""
        if blk.is_opaque or (self.settings.refuse_cheaters and self.persistence.did_double_spend(blk.public_key)):
            return None
        try:
            wanted = await maybe_coroutine(self.should_sign, blk)
        except Exception:
            self.logger.exception("A listener could not say whether to counter-sign %s", blk)
            return None
        if not wanted or not await self._predecessors_are_known(blk, peer, state):
            return None
        if self.shutting_down or not self._is_open_proposal(blk):  # it may have been answered meanwhile
            return None
        return await self.sign_block(peer, linked=blk)

    async def _predecessors_are_known(self, blk: TrustChainBlock, peer: Peer, state: Any) -> bool:
        """Ask for missing predecessors of a proposal, as long as that brings new ones; whether they are known then."""
        distance = self.settings.validation_range
        if distance <= 0 or state not in INCOMPLETE:
            return True
        crawling = f"predecessors of {blk.hash.hex()}"
        if self.is_pending_task_active(crawling):
            return False
        start, end = max(1, blk.sequence_number - distance), max(1, blk.sequence_number - 1)
        for _ in range(MAX_CRAWL_ROUNDS):
            if not self.admission.may_crawl_for(blk.public_key, peer.address[0]):
                self.drops.count(DropCounter.RATE_LIMITED)
                return False
            known = len(self.persistence.get_range(blk.public_key, start, end, distance))
            await self.register_task(crawling, self.send_crawl_request(peer, blk.public_key, start, end, blk))
            if self.shutting_down:
                return False
            state, _ = blk.validate(self.persistence)
            if state not in INCOMPLETE:
                return bool(state != ValidationResult.invalid)
            if len(self.persistence.get_range(blk.public_key, start, end, distance)) <= known:
                return False
        return False


INVALID_BLOCK = "invalid_block"
"""The reason under which invalid blocks are counted in ``drops``."""


class InvalidBlockError(RuntimeError):
    """A block from somebody else is not valid; ``errors`` says why."""

    def __init__(self, block: TrustChainBlock, errors: list[str]) -> None:
        super().__init__(f"{block} is not valid: {'; '.join(errors)}")
        self.errors = errors


class TrustChainTestnetCommunity(TrustChainCommunity):
    """The same overlay for tests, with chains of its own."""

    community_id: ClassVar[bytes] = unhexlify("5e97ff4ef08998ee2fd2ce6b7a569cc4f7d27c37")  # type: ignore[misc] # as above
    DB_NAME: ClassVar[str] = "trustchain_testnet"
