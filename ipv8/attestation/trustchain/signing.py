"""Making blocks: proposals, counter-signatures, source blocks and links."""

from __future__ import annotations

from asyncio import Future, wait_for
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ...keyvault.keys import PrivateKey
from ...util import current_loop, fail, succeed
from . import validation
from .base import TrustChainBase
from .block import ANY_COUNTERPARTY_PK, EMPTY_PK, UNKNOWN_SEQ, TrustChainBlock, ValidationResult
from .caches import HalfBlockSignCache
from .transactions import to_transaction
from .validation import same_key

if TYPE_CHECKING:
    from ...peer import Peer

    Signed = Future[tuple[TrustChainBlock, TrustChainBlock | None]]

__all__ = ["SigningProtocol"]

LARGEST_BLOCK = 65_507 - 43
"""Bytes of a block that fits into a UDP packet, also as a part of the answer to a crawl request."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


class SigningProtocol(TrustChainBase):
    """The part of the overlay that signs.

    The methods make, store and send a block before they return. The future that they return has both halves when the
    transaction is complete.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._check_own_chain()

    def _check_own_chain(self) -> None:
        """Look at the tip of our own chain, and tell if blocks that were signed here are lost."""
        self.persistence_integrity_check()
        get_head = getattr(self.persistence, "get_head", None)
        head = None if get_head is None else get_head(self.my_key_bin)
        height = self.get_chain_length()
        if head is not None and head[0] > height:
            self.logger.warning("Blocks of our own chain are lost: the last one in the database has the height %d, and "
                                "blocks up to %d were signed. New blocks continue behind the latter; peers may have "
                                "the lost ones", height, head[0])

    def sign_block(self, peer: Peer | None, public_key: bytes = EMPTY_PK, block_type: bytes = b"unknown",
                   transaction: dict[Any, Any] | None = None, linked: TrustChainBlock | None = None,
                   additional_info: dict[Any, Any] | None = None) -> Signed:
        """Make the next block of our chain and send it.

        :param peer: whom to send it to; none for a source block, and ourselves for a link and a block for nobody.
        :param public_key: the counterparty.
        :param transaction: what is proposed.
        :param linked: the block that is answered, instead.
        :param additional_info: the transaction of a link, if it is not that of ``linked``.
        :returns: (the block of the counterparty, ours) for a proposal that was answered, (``linked``, ours) for a
            counter-signature, (ours, ``linked``) for a link, (ours, ``None``) for a block that needs no answer.
        :raises AssertionError: if the arguments do not belong together.
        """
        me = self.my_key_bin
        _require(peer is not None or (linked is None and public_key == ANY_COUNTERPARTY_PK),
                 "give a peer, or neither a peer nor a linked block for ANY_COUNTERPARTY_PK")
        _require((transaction is None) != (linked is None), "give either a transaction or a linked block")
        _require(additional_info is None or (linked is not None and transaction is None and peer == self.my_peer
                                             and public_key == linked.public_key),
                 "additional_info is for a link to the block of public_key, made with our own peer")
        _require(linked is None or ((linked.link_public_key == ANY_COUNTERPARTY_PK
                                     or same_key(linked.link_public_key, me))
                                    and linked.link_sequence_number == UNKNOWN_SEQ),
                 "the linked block must be a proposal for us or for anybody")
        _require(transaction is None or isinstance(transaction, dict), "a transaction is a dictionary")
        _require(additional_info is None or isinstance(additional_info, dict), "additional_info is a dictionary")
        key = self.my_peer.key
        if not isinstance(key, PrivateKey):
            raise AssertionError("our own peer has no private key")  # noqa: TRY004 - as the checks above

        with getattr(self.persistence, "signing", nullcontext)():
            block, objection = self._make_block(key, public_key, block_type, transaction, linked, additional_info)
            is_new = objection is None and not self.persistence.contains(block)
            if is_new:
                getattr(self.persistence, "add_signed_block", self.persistence.add_block)(block)
        if objection is not None:
            return fail(RuntimeError(f"The block that was to be signed {objection}"))
        if is_new:
            self._on_own_block(block)
        return self._send_signed(block, peer, public_key, linked)

    def _make_block(self, key: PrivateKey, public_key: bytes, block_type: bytes, transaction: dict[Any, Any] | None,
                    linked: TrustChainBlock | None,
                    additional_info: dict[Any, Any] | None) -> tuple[TrustChainBlock, str | None]:
        """The next block of our chain, signed, and why it must not be stored and sent, if anything is wrong."""
        self.persistence_integrity_check()
        if linked is not None and linked.link_public_key != ANY_COUNTERPARTY_PK:
            block_type = linked.type
        block = self.get_block_class(block_type).create(block_type, transaction, self.persistence, self.my_key_bin,
                                                        link=linked, additional_info=additional_info,
                                                        link_pk=public_key)
        block.sign(key)
        known = self.persistence.get(self.my_key_bin, block.sequence_number)
        if known is not None and known.hash != block.hash:  # before that is taken for a fraud, of which others are told
            return block, "has the height of another block of our chain: look at the method create() of its class"
        state, errors = block.validate(self.persistence)
        if state not in {ValidationResult.valid, ValidationResult.partial_next} and not (
                state != ValidationResult.invalid and self._continues_lost_chain(block)):
            reason = "; ".join(errors) or f"its state is {state}"
            return block, f"is not valid: {reason}"
        size = len(block.pack())
        if size > LARGEST_BLOCK:
            return block, (f"has {size} bytes, and at most {LARGEST_BLOCK} fit into a packet: make the transaction "
                           "smaller")
        return block, None

    def _warn_if_others_refuse(self, block: TrustChainBlock) -> None:
        """Tell of a block that nodes with the same settings do not take, or do not answer."""
        size, limit = len(block.pack()), self.settings.max_block_size
        if size > limit:
            self.logger.warning("The new block at height %d has %d bytes. Others take blocks of up to %d bytes only, "
                                "unless their setting max_block_size is higher", block.sequence_number, size, limit)
        if block.is_opaque:
            self.logger.warning("Others cannot decode the transaction of the new block at height %d, and do not answer "
                                "it: values are nested too deep, or an integer is too long", block.sequence_number)

    def _send_signed(self, block: TrustChainBlock, peer: Peer | None, public_key: bytes,
                     linked: TrustChainBlock | None) -> Signed:
        broadcast = block.type not in self.settings.block_types_bc_disabled
        if peer is None or peer == self.my_peer:
            if broadcast:
                self.send_block(block)
            return succeed((block, None if peer is None or public_key == ANY_COUNTERPARTY_PK else linked))
        self.send_block(block, address=peer.address)
        if linked is not None:
            if broadcast:
                self.send_block_pair(linked, block)
            return succeed((linked, block))
        if broadcast:
            self.send_block(block)
        return self._await_counter_signature(block, peer)

    def _await_counter_signature(self, block: TrustChainBlock, peer: Peer) -> Signed:
        future: Signed = current_loop().create_future()
        self.open_proposals.add(future)
        future.add_done_callback(self.open_proposals.discard)
        try:
            cache = HalfBlockSignCache(self, block, future, peer.address)
        except RuntimeError as e:
            future.set_exception(e)
            return future
        if self.request_cache.add(cache) is None and not future.done():
            future.set_exception(RuntimeError("The proposal does not wait for an answer: too many do, or the overlay "
                                              "is being unloaded"))
        future.add_done_callback(lambda done: self._forget_proposal(cache) if done.cancelled() else None)
        return future

    def _forget_proposal(self, cache: HalfBlockSignCache) -> None:
        waiting = self.request_cache.get("sign", cache.number)
        if isinstance(waiting, HalfBlockSignCache) and waiting.sign_future is cache.sign_future:
            self.request_cache.pop("sign", cache.number)

    def _on_own_block(self, block: TrustChainBlock) -> None:
        """Tell the listeners of a new block of our own, which is stored for good before anybody sees it."""
        self._warn_if_others_refuse(block)
        self._publish_block(block)
        self._new_blocks[block.block_id] = None
        self.notify_listeners(block)

    def _continues_lost_chain(self, block: TrustChainBlock) -> bool:
        """Whether the predecessor is missing only because it was lost after it was signed."""
        get_head = getattr(self.persistence, "get_head", None)
        head = None if get_head is None else get_head(block.public_key)
        return head is not None and head == (block.sequence_number - 1, block.previous_hash)

    def self_sign_block(self, block_type: bytes = b"unknown", transaction: dict[Any, Any] | None = None) -> Signed:
        """Make a block without a counterparty and broadcast it."""
        return self.sign_block(self.my_peer, block_type=block_type, transaction=transaction)

    def create_source_block(self, block_type: bytes = b"unknown", transaction: dict[Any, Any] | None = None) -> Signed:
        """Make a block that anybody may link to, and broadcast it."""
        return self.sign_block(None, public_key=ANY_COUNTERPARTY_PK, block_type=block_type, transaction=transaction)

    def create_link(self, source: TrustChainBlock, block_type: bytes, additional_info: dict[Any, Any] | None = None,
                    public_key: bytes | None = None) -> Signed:
        """Make a block that links to ``source``, with a type and, if wanted, a transaction of its own."""
        return self.sign_block(self.my_peer, linked=source, block_type=block_type, additional_info=additional_info,
                               public_key=source.public_key if public_key is None else public_key)

    async def propose(self, peer: Peer, block_type: bytes, transaction: Any,
                      timeout: float | None = None) -> tuple[TrustChainBlock, TrustChainBlock]:
        """Propose a transaction to a peer and wait for the counter-signature.

        :param transaction: a dictionary, or an instance of a dataclass.
        :param timeout: seconds; ``None`` for the limits of the settings.
        :returns: the block of the peer and ours.
        :raises RuntimeError: if the peer is known to sign two blocks for one height, the block is not valid, or the
            limits of the settings are over.
        :raises asyncio.TimeoutError: if ``timeout`` is over. The proposal stays in our chain.
        """
        public_key = peer.public_key.key_to_bin()
        if self.settings.refuse_cheaters and self.persistence.did_double_spend(public_key):
            raise RuntimeError("The peer has signed two blocks for one height; set refuse_cheaters to False to deal "
                               "with it anyway")
        future = self.sign_block(peer, public_key=public_key, block_type=block_type,
                                 transaction=to_transaction(transaction))
        answer, own = await wait_for(future, timeout)
        assert own is not None  # of a proposal to a peer
        return answer, own

    # The integrity of our own chain

    def persistence_integrity_check(self) -> None:
        """Look whether the tip of our own chain is sound, and repair the chain if it is not.

        What others have written does not matter for that.
        """
        latest = self.persistence.get_latest(self.my_key_bin)
        if latest is not None and not self._is_sound(latest):
            self.logger.error("The block at height %d of our own chain is damaged", latest.sequence_number)
            self.sanitize_database()

    def sanitize_database(self) -> None:
        """Remove blocks of our own that are damaged, from the tip downwards.

        Heights that were signed once are not signed again because of that.
        """
        discard = getattr(self.persistence, "discard_block", self.persistence.remove_block)
        while (latest := self.persistence.get_latest(self.my_key_bin)) is not None and not self._is_sound(latest):
            discard(latest)
            if self.persistence.contains(latest):
                raise RuntimeError(f"The damaged block at height {latest.sequence_number} of our own chain cannot be "
                                   "removed from the database")

    def _is_sound(self, block: TrustChainBlock) -> bool:
        before = self.persistence.get_block_before(block)
        return validation.check_alone(block, before).state != ValidationResult.invalid
