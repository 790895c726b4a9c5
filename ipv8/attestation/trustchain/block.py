"""Half blocks: their bytes, their hash, their signature, and how the next one of a chain is made.

See doc/protocol/trustchain.md, sections 2 to 5. The rules of validation are in ``validation.py``.
"""

from __future__ import annotations

import json
import logging
import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ... import clock
from ...keyvault.crypto import default_eccrypto
from ...messaging.deprecated.encoding import MAX_DEPTH, MalformedEncodingError, decode, decode_strictly, encode
from ...messaging.serialization import PackError, default_serializer
from ..foreign_json import is_deeper
from . import validation
from .validation import ANY_COUNTERPARTY_PK, EMPTY_PK, GENESIS_HASH, GENESIS_SEQ, ValidationResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    from ...keyvault.keys import PrivateKey
    from ...messaging.serialization import Serializer
    from .payload import HalfBlockPairPayload, HalfBlockPayload

__all__ = ["ANY_COUNTERPARTY_PK", "EMPTY_PK", "EMPTY_SIG", "GENESIS_HASH", "GENESIS_SEQ", "SKIP_ATTRIBUTES",
           "UNKNOWN_SEQ", "LenientData", "TrustChainBlock", "ValidationResult", "sign_number"]

UNKNOWN_SEQ = 0
EMPTY_SIG = b"0" * 64

SIG_SIZE = len(EMPTY_SIG)
SIG_OFFSET = 74 + 4 + 74 + 4 + 32
"""Where the signature stands in a packed block."""

SKIP_ATTRIBUTES = {"key", "serializer", "crypto", "_transaction", "_logger"}
"""Attributes that are not listed when a block is iterated over."""

SHORT_NUMBERS = 100_000_000
"""Numbers that are derived from hashes and ids of blocks are below this."""

_HEAD = struct.Struct(">74sI74sI32s64sI")
_SIZE = struct.Struct(">I")
_TIME = struct.Struct(">Q")

_PACKED = frozenset({"type", "_transaction", "public_key", "sequence_number", "link_public_key",
                     "link_sequence_number", "previous_hash", "signature", "timestamp", "pack"})
"""Attributes that the hash depends on."""

_logger = logging.getLogger("TrustChainBlock")


def decode_transaction(encoded: bytes) -> Any:
    """The transaction of a block from elsewhere: in the encoding of TrustChain, or a JSON object.

    :raises ValueError: if it is neither.
    """
    if encoded.startswith(b"{"):
        try:
            value = json.loads(encoded)
        except RecursionError as e:
            raise MalformedEncodingError("values are nested too deep") from e
        if is_deeper(value, MAX_DEPTH):  # than values of the other encoding may be
            raise MalformedEncodingError(f"values are nested deeper than {MAX_DEPTH} levels")
        return value
    return decode_strictly(encoded)


def _transaction_or_nothing(block: TrustChainBlock) -> Any:
    try:
        return decode_transaction(block._transaction)
    except ValueError:
        return {}


def sign_number(block_id: bytes) -> int:
    """The number under which the proposal with this id waits for its counter-signature."""
    return int.from_bytes(block_id, "big") % SHORT_NUMBERS


class LenientData(tuple[Any, ...]):
    """Values of a block that others made: what cannot be decoded is no error, but makes an opaque block."""

    __slots__ = ()


class _HashValue(int):
    """What ``hash(block)`` needs, and equal to the bytes of the hash for those who compare them."""

    value: bytes

    def __new__(cls, value: bytes) -> Self:
        """A number made of the first bytes of a hash."""
        number = super().__new__(cls, int.from_bytes(value[:8], "big", signed=True))
        number.value = value
        return number

    def __eq__(self, other: object) -> bool:
        return self.value == other if isinstance(other, bytes) else int(self) == other

    def __hash__(self) -> int:
        return hash(int(self))


class _Lazy:
    """An attribute that is computed when it is read for the first time, and may be assigned."""

    def __init__(self, compute: Callable[[TrustChainBlock], Any]) -> None:
        self.compute = compute
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, block: TrustChainBlock | None, owner: type | None = None) -> Any:
        if block is None:
            return self
        value = block.__dict__[self.name] = self.compute(block)
        return value


class TrustChainBlock:
    """One half of a transaction: what its author signed of it, and the place of that in the author's chain.

    :param data: ten values in the order of :class:`TrustChainBlock.Data`, as a row of the database has them; a new
        unsigned block without.
    :raises ValueError, KeyError, IndexError, TypeError, AssertionError: if the transaction cannot be decoded, unless
        the data are :class:`LenientData`.
    :raises PackError: if a value does not fit into a block.
    """

    class Data(NamedTuple):
        """The values of a block in the order of the columns of the database."""

        type: bytes | str
        transaction: bytes
        public_key: bytes
        sequence_number: int
        link_public_key: bytes
        link_sequence_number: int
        previous_hash: bytes
        signature: bytes
        timestamp: int
        insert_time: float | bytes | str | None

    SAME_TRANSACTION: ClassVar[bool] = False
    """Whether both halves of a transaction must carry the same one; for subclasses."""

    type: bytes
    _transaction: bytes
    public_key: bytes
    sequence_number: int
    link_public_key: bytes
    link_sequence_number: int
    previous_hash: bytes
    signature: bytes
    timestamp: int
    insert_time: float | bytes | str | None
    serializer: Serializer
    crypto: Any
    _logger: logging.Logger

    #: The decoded transaction; empty if it cannot be decoded.
    transaction: Any = _Lazy(_transaction_or_nothing)
    #: SHA-256 of the packed block, as it was when the block was made or signed.
    hash: Any = _Lazy(lambda block: block.calculate_hash())

    def __init__(self, data: Sequence[Any] | None = None, serializer: Serializer = default_serializer) -> None:
        if data is None:
            data = (b"unknown", encode({}), EMPTY_PK, GENESIS_SEQ, EMPTY_PK, UNKNOWN_SEQ, GENESIS_HASH, EMPTY_SIG,
                    int(clock.time() * 1000), None)
        (block_type, transaction, public_key, sequence_number, link_public_key, link_sequence_number, previous_hash,
         signature, timestamp, insert_time) = data
        self.__dict__.update({
            "type": block_type.encode() if isinstance(block_type, str) else bytes(block_type),
            "_transaction": bytes(transaction), "public_key": bytes(public_key), "sequence_number": sequence_number,
            "link_public_key": bytes(link_public_key), "link_sequence_number": link_sequence_number,
            "previous_hash": bytes(previous_hash), "signature": bytes(signature), "timestamp": timestamp,
            "insert_time": insert_time, "serializer": serializer, "crypto": default_eccrypto, "_logger": _logger})
        if type(data) is not LenientData:
            encoded = self._transaction
            self.transaction = json.loads(encoded) if encoded.startswith(b"{") else decode(encoded)[1]
            self.hash = self.calculate_hash()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PACKED and "hash" not in self.__dict__ and "signature" in self.__dict__:
            self.__dict__["hash"] = self.calculate_hash()
        object.__setattr__(self, name, value)

    @classmethod
    def from_payload(cls, payload: HalfBlockPayload | Any, serializer: Serializer = default_serializer) -> Self:
        """The block in a message with the fields of a half block."""
        return cls(LenientData((payload.type, payload.transaction, payload.public_key, payload.sequence_number,
                                payload.link_public_key, payload.link_sequence_number, payload.previous_hash,
                                payload.signature, payload.timestamp, clock.time())), serializer)

    @classmethod
    def from_pair_payload(cls, payload: HalfBlockPairPayload,
                          serializer: Serializer = default_serializer) -> tuple[Self, Self]:
        """Both blocks in a message of two."""
        now = clock.time()
        return (cls(LenientData((payload.type1, payload.transaction1, payload.public_key1, payload.sequence_number1,
                                 payload.link_public_key1, payload.link_sequence_number1, payload.previous_hash1,
                                 payload.signature1, payload.timestamp1, now)), serializer),
                cls(LenientData((payload.type2, payload.transaction2, payload.public_key2, payload.sequence_number2,
                                 payload.link_public_key2, payload.link_sequence_number2, payload.previous_hash2,
                                 payload.signature2, payload.timestamp2, now)), serializer))

    @classmethod
    def create(cls, block_type: bytes, transaction: dict[Any, Any] | None, database: Any, public_key: bytes,
               link: TrustChainBlock | None = None, additional_info: dict[Any, Any] | None = None,
               link_pk: bytes | None = None) -> Self:
        """The next block of ``public_key``, unsigned.

        :param database: its ``get_latest`` gives the predecessor, and its ``get_head``, if it has one, the highest
            block that was ever signed, which is not signed again even if it is lost.
        :param link: the block that is answered; its type is taken over unless it is a source block.
        :param additional_info: the transaction, instead of that of ``link``.
        :param link_pk: the counterparty of a block without ``link``.
        """
        block = cls()
        if link is not None:
            is_source = link.link_public_key == ANY_COUNTERPARTY_PK
            block.type = block_type if is_source else link.type
            block._transaction = encode(link.transaction if additional_info is None else additional_info)
            block.link_public_key = link.public_key
            block.link_sequence_number = link.sequence_number
        else:
            block.type = block_type
            block._transaction = encode(transaction)
            block.link_public_key = link_pk or EMPTY_PK
            block.link_sequence_number = UNKNOWN_SEQ
        block.transaction = decode(block._transaction)[1]
        latest = database.get_latest(public_key)
        if latest is not None:
            block.sequence_number, block.previous_hash = latest.sequence_number + 1, latest.hash
        get_head = getattr(database, "get_head", None)
        head = None if get_head is None else get_head(public_key)
        if head is not None and head[0] >= block.sequence_number:
            block.sequence_number, block.previous_hash = head[0] + 1, head[1]
        block.public_key = public_key
        block.signature = EMPTY_SIG
        block.hash = block.calculate_hash()
        return block

    # Bytes

    @property
    def encoded_transaction(self) -> bytes:
        """The transaction as it is in the block."""
        return self._transaction

    def pack(self, signature: bool = True) -> bytes:
        """The bytes of the block, with ``EMPTY_SIG`` for its signature if ``signature`` is false.

        :raises PackError: if a value does not fit.
        """
        block_type, transaction = self.type, self._transaction
        try:
            return b"".join((
                _HEAD.pack(self.public_key, self.sequence_number, self.link_public_key, self.link_sequence_number,
                           self.previous_hash, self.signature if signature else EMPTY_SIG, len(block_type)),
                block_type, _SIZE.pack(len(transaction)), transaction, _TIME.pack(self.timestamp)))
        except (struct.error, TypeError) as e:
            raise PackError(f"a value does not fit into a block: {e}") from e

    def signed_bytes(self) -> tuple[bytes, bytes]:
        """SHA-256 of the whole block as it is now, and the bytes that its signature is of.

        :raises PackError: if a value does not fit.
        """
        if type(self).pack is not TrustChainBlock.pack or "pack" in self.__dict__ or len(self.signature) != SIG_SIZE:
            data = self.pack(signature=False)
            return sha256(data + self.signature).digest(), data
        packed = self.pack()
        digest = sha256(packed).digest()
        self.__dict__.setdefault("hash", digest)
        return digest, packed[:SIG_OFFSET] + EMPTY_SIG + packed[SIG_OFFSET + SIG_SIZE:]

    def pack_db_insert(self) -> tuple[Any, ...]:
        """The values of a row of the database, but for the time of insertion."""
        return (self.type, self._transaction, self.public_key, self.sequence_number, self.link_public_key,
                self.link_sequence_number, self.previous_hash, self.signature, self.timestamp, self.hash)

    def calculate_hash(self) -> bytes:
        """SHA-256 of the packed block as it is now."""
        return sha256(self.pack()).digest()

    def sign(self, key: PrivateKey) -> None:
        """Set the signature, and with it the hash."""
        self.signature = self.crypto.create_signature(key, self.pack(signature=False))
        self.hash = self.calculate_hash()

    # What follows from the fields

    @property
    def is_genesis(self) -> bool:
        """Whether this is the first block of a chain."""
        return self.sequence_number == GENESIS_SEQ and self.previous_hash == GENESIS_HASH

    @property
    def is_source(self) -> bool:
        """Whether the block is for nobody in particular, so that anybody may link to it."""
        return self.link_public_key == ANY_COUNTERPARTY_PK

    @property
    def is_opaque(self) -> bool:
        """Whether the transaction cannot be decoded. Such blocks are kept and passed on, and never answered."""
        try:
            decode_transaction(self._transaction)
        except ValueError:
            return True
        return False

    @property
    def block_id(self) -> bytes:
        """The public key in hexadecimal digits, a dot and the sequence number."""
        return b"%s.%d" % (self.public_key.hex().encode(), self.sequence_number)

    @property
    def linked_block_id(self) -> bytes:
        """The id of the block that this one points at."""
        return b"%s.%d" % (self.link_public_key.hex().encode(), self.link_sequence_number)

    @property
    def hash_number(self) -> int:
        """A number below 100 000 000 made of the hash."""
        return int.from_bytes(self.hash, "big") % SHORT_NUMBERS

    @property
    def inserted_at(self) -> float | None:
        """``insert_time`` in seconds since the Unix epoch, whether it came from a message or from the database."""
        when = self.insert_time
        if when is None or isinstance(when, (int, float)):
            return when
        from datetime import datetime, timezone

        text = when.decode() if isinstance(when, bytes) else when
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()

    # Validation

    def validate_transaction(self, database: Any) -> tuple[Any, list[str]]:  # noqa: ARG002 - for overrides
        """Whether the transaction makes sense, for subclasses: a state, and errors if the state is ``invalid``."""
        return ValidationResult.valid, []

    def validate(self, database: Any) -> tuple[Any, list[str]]:
        """How much is known of the block, and what is wrong with it."""
        result = validation.validate(self, database)
        return result.state, result.errors

    def update_validation_level(self, prev_blk: TrustChainBlock | None, next_blk: TrustChainBlock | None,
                                result: ValidationResult) -> None:
        """Set the state that the neighbours in the chain allow."""
        result.state = validation.level(self, prev_blk, next_blk)

    def update_block_invariant(self, database: Any, result: ValidationResult) -> None:
        """Check the block alone, its transaction first."""
        try:
            state, errors = self.validate_transaction(database)
        except Exception as e:
            self._logger.exception("The transaction of the block could not be validated: %s", type(self).__name__)
            state, errors = ValidationResult.invalid, [f"its class could not validate the transaction: {e!r}"]
        if state != ValidationResult.valid:
            result.state = state
            result.errors += errors
        validation.check_invariant(self, result)

    def update_block_consistency(self, blk: TrustChainBlock | None, result: ValidationResult, database: Any) -> None:
        """Compare the block with the one that is known at its height; a double-sign is reported to the database."""
        if blk is not None:
            validation.check_same_block(self, blk, result, database)

    def update_linked_consistency(self, database: Any, link: TrustChainBlock | None,
                                  result: ValidationResult) -> None:
        """Compare the block with its partner."""
        if link is not None:
            validation.check_link(self, link, result, database)

    def update_chain_consistency(self, prev_blk: TrustChainBlock | None, next_blk: TrustChainBlock | None,
                                 result: ValidationResult) -> None:
        """Compare the block with its neighbours in the chain."""
        validation.check_chain(self, prev_blk, next_blk, result)

    # Python

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrustChainBlock) and self.pack() == other.pack()

    def __hash__(self) -> int:
        return _HashValue(self.hash)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Names and readable values of all attributes: bytes in hexadecimal digits, the transaction as text."""
        for name in dict.fromkeys((*vars(self), "transaction", "hash")):
            if name in SKIP_ATTRIBUTES:
                continue
            value = getattr(self, name)
            if name == "transaction":
                yield name, self._readable_transaction()
            elif isinstance(value, bytes):
                yield name, value.decode(errors="backslashreplace") if name in {"type", "insert_time"} else value.hex()
            else:
                yield name, value

    def _readable_transaction(self) -> Any:
        if self._transaction.startswith(b"a"):
            try:
                return decode(self._transaction, cast_utf8=True)[1]
            except (AssertionError, LookupError, RecursionError, TypeError, ValueError):
                return {}
        return self.transaction

    def __str__(self) -> str:
        return (f"Block {self.hash.hex()[-8:]} of ...{self.public_key.hex()[-8:]}:{self.sequence_number} for "
                f"...{self.link_public_key.hex()[-8:]}:{self.link_sequence_number}, {self.transaction!r} of type "
                f"{self.type!r}")
