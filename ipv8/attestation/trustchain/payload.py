"""The messages of TrustChain (doc/protocol/trustchain.md, section 7): half blocks, pairs of them, and crawls."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar

from ...messaging.serializable import FlatPayload

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...messaging.serializable import FormatListType
    from .block import TrustChainBlock

__all__ = [
    "AnyCrawlRequestPayload",
    "CrawlRequestPayload",
    "CrawlResponsePayload",
    "DHTBlockPayload",
    "EmptyCrawlResponsePayload",
    "HalfBlockBroadcastPayload",
    "HalfBlockPairBroadcastPayload",
    "HalfBlockPairPayload",
    "HalfBlockPayload",
    "LongCrawlRequestPayload",
]

BLOCK: list[FormatListType] = ["74s", "I", "74s", "I", "32s", "64s", "varlenI", "varlenI", "Q"]
"""The formats of a half block."""

LONG_FORM_SIZE = 20
FORMS = {form.size: form for form in (Struct(">llI"), Struct(">qqI"))}
"""The heights and the id of a crawl request, by their size."""


def _fields(block: TrustChainBlock) -> tuple[Any, ...]:
    """The values of a half block in the order of their formats."""
    return (block.public_key, block.sequence_number, block.link_public_key, block.link_sequence_number,
            block.previous_hash, block.signature, block.type, block.encoded_transaction, block.timestamp)


class _BlockPayload(FlatPayload):
    """What messages with one half block have in common; ``type`` is the parameter ``block_type``."""

    format_list: ClassVar[list[FormatListType]] = BLOCK

    def __init__(self, public_key: bytes, sequence_number: int, link_public_key: bytes, link_sequence_number: int,
                 previous_hash: bytes, signature: bytes, block_type: bytes, transaction: bytes, timestamp: int) -> None:
        self.public_key = public_key
        self.sequence_number = sequence_number
        self.link_public_key = link_public_key
        self.link_sequence_number = link_sequence_number
        self.previous_hash = previous_hash
        self.signature = signature
        self.type = block_type
        self.transaction = transaction
        self.timestamp = timestamp

    def _wire_values(self) -> tuple[Any, ...]:
        return (self.public_key, self.sequence_number, self.link_public_key, self.link_sequence_number,
                self.previous_hash, self.signature, self.type, self.transaction, self.timestamp)


class HalfBlockPayload(_BlockPayload):
    """One half block; ``type`` is the parameter ``block_type``, and ``transaction`` is encoded."""

    msg_id = 1

    @classmethod
    def from_half_block(cls, block: TrustChainBlock) -> Self:
        """The message that carries ``block``."""
        return cls(*_fields(block))


class HalfBlockBroadcastPayload(HalfBlockPayload):
    """One half block for everybody, which is passed on as long as ``ttl`` is more than 1."""

    msg_id = 5
    format_list: ClassVar[list[FormatListType]] = [*BLOCK, "I"]

    def __init__(self, public_key: bytes, sequence_number: int, link_public_key: bytes, link_sequence_number: int,
                 previous_hash: bytes, signature: bytes, block_type: bytes, transaction: bytes, timestamp: int,
                 ttl: int) -> None:
        super().__init__(public_key, sequence_number, link_public_key, link_sequence_number, previous_hash, signature,
                         block_type, transaction, timestamp)
        self.ttl = ttl

    @classmethod
    def from_half_block(cls, block: TrustChainBlock, ttl: int) -> Self:  # type: ignore[override] # as specified
        """The message that carries ``block``."""
        values: tuple[Any, ...] = (*_fields(block), ttl)
        return cls(*values)

    def _wire_values(self) -> tuple[Any, ...]:
        return (*super()._wire_values(), self.ttl)


class CrawlRequestPayload(FlatPayload):
    """Asks for the blocks of ``public_key`` from one height to another, both included.

    Negative heights count from the end of the chain: -1 is the last block.
    """

    msg_id = 2
    format_list: ClassVar[list[FormatListType]] = ["74s", "l", "l", "I"]

    def __init__(self, public_key: bytes, start_seq_num: int, end_seq_num: int, crawl_id: int) -> None:
        self.public_key = public_key
        self.start_seq_num = start_seq_num
        self.end_seq_num = end_seq_num
        self.crawl_id = crawl_id

    def _wire_values(self) -> tuple[Any, ...]:
        return self.public_key, self.start_seq_num, self.end_seq_num, self.crawl_id


class LongCrawlRequestPayload(CrawlRequestPayload):
    """The same with heights of 64 bits, as other implementations send it."""

    format_list: ClassVar[list[FormatListType]] = ["74s", "q", "q", "I"]


class AnyCrawlRequestPayload(CrawlRequestPayload):
    """A request in either form, to be received; ``is_long`` says which one it is.

    :raises ValueError: if it has the size of neither.
    """

    format_list: ClassVar[list[FormatListType]] = ["74s", "raw"]
    is_long: bool

    @classmethod
    def from_unpack_list(cls, *args: Any) -> Self:
        """Read the heights and the id in the form that their size tells."""
        public_key, rest = args
        form = FORMS.get(len(rest))
        if form is None:
            raise ValueError(f"a crawl request with {len(rest)} bytes behind its key")
        request = cls(public_key, *form.unpack(rest))
        request.is_long = form.size == LONG_FORM_SIZE
        return request


class CrawlResponsePayload(_BlockPayload):
    """One of the blocks that were asked for: the ``cur_count``-th of ``total_count``, counted from 1."""

    msg_id = 3
    format_list: ClassVar[list[FormatListType]] = [*BLOCK, "I", "I", "I"]

    def __init__(self, public_key: bytes, sequence_number: int, link_public_key: bytes, link_sequence_number: int,
                 previous_hash: bytes, signature: bytes, block_type: bytes, transaction: bytes, timestamp: int,
                 crawl_id: int, cur_count: int, total_count: int) -> None:
        super().__init__(public_key, sequence_number, link_public_key, link_sequence_number, previous_hash, signature,
                         block_type, transaction, timestamp)
        self.crawl_id = crawl_id
        self.cur_count = cur_count
        self.total_count = total_count

    @classmethod
    def from_crawl(cls, block: TrustChainBlock, crawl_id: int, cur_count: int, total_count: int) -> Self:
        """The message that carries ``block``."""
        values: tuple[Any, ...] = (*_fields(block), crawl_id, cur_count, total_count)
        return cls(*values)

    def _wire_values(self) -> tuple[Any, ...]:
        return (*super()._wire_values(), self.crawl_id, self.cur_count, self.total_count)


class HalfBlockPairPayload(FlatPayload):
    """Two half blocks; attributes end in 1 and 2."""

    msg_id = 4
    format_list: ClassVar[list[FormatListType]] = [*BLOCK, *BLOCK]

    def __init__(self, public_key1: bytes, sequence_number1: int, link_public_key1: bytes, link_sequence_number1: int,
                 previous_hash1: bytes, signature1: bytes, block_type1: bytes, transaction1: bytes, timestamp1: int,
                 public_key2: bytes, sequence_number2: int, link_public_key2: bytes, link_sequence_number2: int,
                 previous_hash2: bytes, signature2: bytes, block_type2: bytes, transaction2: bytes,
                 timestamp2: int) -> None:
        self.public_key1 = public_key1
        self.sequence_number1 = sequence_number1
        self.link_public_key1 = link_public_key1
        self.link_sequence_number1 = link_sequence_number1
        self.previous_hash1 = previous_hash1
        self.signature1 = signature1
        self.type1 = block_type1
        self.transaction1 = transaction1
        self.timestamp1 = timestamp1
        self.public_key2 = public_key2
        self.sequence_number2 = sequence_number2
        self.link_public_key2 = link_public_key2
        self.link_sequence_number2 = link_sequence_number2
        self.previous_hash2 = previous_hash2
        self.signature2 = signature2
        self.type2 = block_type2
        self.transaction2 = transaction2
        self.timestamp2 = timestamp2

    @classmethod
    def from_half_blocks(cls, block1: TrustChainBlock, block2: TrustChainBlock) -> Self:
        """The message that carries two blocks."""
        return cls(*_fields(block1), *_fields(block2))

    def _wire_values(self) -> tuple[Any, ...]:
        return (self.public_key1, self.sequence_number1, self.link_public_key1, self.link_sequence_number1,
                self.previous_hash1, self.signature1, self.type1, self.transaction1, self.timestamp1,
                self.public_key2, self.sequence_number2, self.link_public_key2, self.link_sequence_number2,
                self.previous_hash2, self.signature2, self.type2, self.transaction2, self.timestamp2)


class HalfBlockPairBroadcastPayload(HalfBlockPairPayload):
    """Two half blocks for everybody, passed on as long as ``ttl`` is more than 1."""

    msg_id = 6
    format_list: ClassVar[list[FormatListType]] = [*BLOCK, *BLOCK, "I"]

    def __init__(self, public_key1: bytes, sequence_number1: int, link_public_key1: bytes, link_sequence_number1: int,
                 previous_hash1: bytes, signature1: bytes, block_type1: bytes, transaction1: bytes, timestamp1: int,
                 public_key2: bytes, sequence_number2: int, link_public_key2: bytes, link_sequence_number2: int,
                 previous_hash2: bytes, signature2: bytes, block_type2: bytes, transaction2: bytes, timestamp2: int,
                 ttl: int) -> None:
        super().__init__(public_key1, sequence_number1, link_public_key1, link_sequence_number1, previous_hash1,
                         signature1, block_type1, transaction1, timestamp1,
                         public_key2, sequence_number2, link_public_key2, link_sequence_number2, previous_hash2,
                         signature2, block_type2, transaction2, timestamp2)
        self.ttl = ttl

    @classmethod
    def from_half_blocks(cls, block1: TrustChainBlock, block2: TrustChainBlock,  # type: ignore[override] # as specified
                         ttl: int) -> Self:
        """The message that carries two blocks."""
        values: tuple[Any, ...] = (*_fields(block1), *_fields(block2), ttl)
        return cls(*values)

    def _wire_values(self) -> tuple[Any, ...]:
        return (*super()._wire_values(), self.ttl)


class EmptyCrawlResponsePayload(FlatPayload):
    """There is no block of those that were asked for."""

    msg_id = 7
    format_list: ClassVar[list[FormatListType]] = ["I"]

    def __init__(self, crawl_id: int) -> None:
        self.crawl_id = crawl_id

    def _wire_values(self) -> tuple[Any, ...]:
        return (self.crawl_id,)


class DHTBlockPayload(FlatPayload):
    """A part of a block that is kept in the DHT: the ``block_position``-th of ``block_count``."""

    PREAMBLE_OVERHEAD: ClassVar[int] = 70
    """Bytes in front of the part."""

    format_list: ClassVar[list[FormatListType]] = ["64s", "H", "H", "H", "raw"]

    def __init__(self, signature: bytes, version: int, block_position: int, block_count: int, payload: bytes) -> None:
        self.signature = signature
        self.version = version
        self.block_position = block_position
        self.block_count = block_count
        self.payload = payload

    def _wire_values(self) -> tuple[Any, ...]:
        return self.signature, self.version, self.block_position, self.block_count, self.payload
