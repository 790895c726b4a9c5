"""Whether a half block is what it seems to be, as far as the blocks around it are known.

The rules and their order are those of doc/protocol/trustchain.md, section 5. Nothing here stores anything, but a
double-sign is reported to the source of blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...keyvault.crypto import default_eccrypto
from ...limits import BoundedDict
from ...messaging.serialization import PackError
from .signatures import signatures

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...keyvault.keys import PublicKey
    from .block import TrustChainBlock

__all__ = [
    "ANY_COUNTERPARTY_PK",
    "EMPTY_PK",
    "GENESIS_HASH",
    "GENESIS_SEQ",
    "HIGHEST_TIMESTAMP",
    "KEY_SIZE",
    "BlockSource",
    "Reason",
    "State",
    "ValidationResult",
    "canonical_key",
    "codes_of",
    "is_double_sign",
    "same_key",
    "validate",
]

GENESIS_HASH = b"0" * 32
GENESIS_SEQ = 1
EMPTY_PK = b"0" * 74
ANY_COUNTERPARTY_PK = EMPTY_PK

KEY_SIZE = len(EMPTY_PK)
"""Bytes of a public key in a block."""

HIGHEST_TIMESTAMP = (1 << 63) - 1
"""Milliseconds; later times cannot be stored."""


def canonical_key(public_key: bytes) -> bytes:
    """A public key as blocks carry it: shorter keys are filled up with zero bytes."""
    return public_key if len(public_key) == KEY_SIZE else public_key.ljust(KEY_SIZE, b"\0")


def same_key(one: bytes, other: bytes) -> bool:
    """Whether two public keys are the same, filled up or not."""
    return one == other or canonical_key(one) == canonical_key(other)


MAX_KEYS = 4096
"""Public keys that are kept ready; the oldest is dropped first."""

_keys: BoundedDict[bytes, PublicKey] = BoundedDict(MAX_KEYS)


class State:
    """How much is known of a block; compared by identity."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


class Reason(str):
    """Why a block is invalid: a text, and in ``code`` the name of the rule, which is empty for rules of programs."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, text: str, code: str = "") -> Self:
        """A reason with the name of its rule."""
        reason = super().__new__(cls, text)
        reason.code = code
        return reason


class ValidationResult:
    """A state, and what is wrong with a block if the state is ``invalid``."""

    valid = State("valid")
    """Both neighbours in the chain are known, as far as there are any."""
    partial = State("partial")
    """There are gaps on both sides."""
    partial_next = State("partial_next")
    """The predecessor is known, the successor is not."""
    partial_previous = State("partial_previous")
    """The successor is known, the predecessor is not."""
    no_info = State("no_info")
    """No other block of the chain is known."""
    invalid = State("invalid")

    def __init__(self) -> None:
        self.state = self.valid
        self.errors: list[str] = []

    @property
    def codes(self) -> list[str]:
        """The names of the rules that the block breaks, in the order of detection."""
        return codes_of(self.errors)

    def err(self, reason: str, code: str = "") -> None:
        """Make the state ``invalid`` for this reason."""
        self.state = self.invalid
        self.errors.append(Reason(reason, code))


def codes_of(errors: list[str]) -> list[str]:
    """The names of the rules that errors of a validation belong to."""
    return [error.code for error in errors if isinstance(error, Reason) and error.code]


class BlockSource(Protocol):
    """What validation asks a database for."""

    def get(self, public_key: bytes, sequence_number: int) -> TrustChainBlock | None:
        """The block of an author at a height."""

    def get_linked(self, block: TrustChainBlock) -> TrustChainBlock | None:
        """The partner of a block."""

    def get_block_before(self, block: TrustChainBlock) -> TrustChainBlock | None:
        """The nearest known block below in the chain of the author."""

    def get_block_after(self, block: TrustChainBlock) -> TrustChainBlock | None:
        """The nearest known block above in the chain of the author."""

    def add_double_spend(self, block1: TrustChainBlock, block2: TrustChainBlock) -> None:
        """Keep two blocks of one author at one height."""


class Surroundings(NamedTuple):
    """The blocks that validation compares a block with."""

    known: TrustChainBlock | None
    link: TrustChainBlock | None
    before: TrustChainBlock | None
    after: TrustChainBlock | None


def surroundings(block: TrustChainBlock, database: BlockSource) -> Surroundings:
    """What is known around ``block``."""
    chain = getattr(database, "get_neighbourhood", None)
    if chain is None:
        known = database.get(block.public_key, block.sequence_number)
        before, after = database.get_block_before(block), database.get_block_after(block)
    else:
        before, known, after = chain(block)
    return Surroundings(known, partner(block, database), before, after)


def partner(block: TrustChainBlock, database: BlockSource) -> TrustChainBlock | None:
    """The block that an answer is compared with is the one it names; other blocks that name the answer do not count."""
    if block.link_sequence_number > 0 and block.link_public_key != ANY_COUNTERPARTY_PK:
        return database.get(block.link_public_key, block.link_sequence_number)
    return database.get_linked(block)


def validate(block: TrustChainBlock, database: BlockSource) -> ValidationResult:
    """Apply all rules, in order: level, invariants, the same block, the partner, the chain.

    The methods of the block are called for it, which programs may have overridden.
    """
    result = ValidationResult()
    around = surroundings(block, database)
    block.update_validation_level(around.before, around.after, result)
    block.update_block_invariant(database, result)
    block.update_block_consistency(around.known, result, database)
    block.update_linked_consistency(database, around.link, result)
    block.update_chain_consistency(around.before, around.after, result)
    return result


def level(block: TrustChainBlock, before: TrustChainBlock | None, after: TrustChainBlock | None) -> State:
    """How much can be known of ``block`` with these neighbours in its chain, which may be further off."""
    gap_before = before is None or before.sequence_number != block.sequence_number - 1
    gap_after = after is None or after.sequence_number != block.sequence_number + 1
    if block.is_genesis and before is None:
        return ValidationResult.partial_next if gap_after else ValidationResult.valid
    if before is None and after is None:
        return ValidationResult.no_info
    if gap_before:
        return ValidationResult.partial if gap_after else ValidationResult.partial_previous
    return ValidationResult.partial_next if gap_after else ValidationResult.valid


def check_invariant(block: TrustChainBlock, result: ValidationResult) -> None:
    """What is wrong with the block alone."""
    if block.sequence_number < GENESIS_SEQ:
        result.err(f"the sequence number {block.sequence_number} is below the first one", "SEQ_BEFORE_GENESIS")
    if block.link_sequence_number < GENESIS_SEQ and block.link_sequence_number != 0:
        result.err(f"the linked sequence number {block.link_sequence_number} is below the first one",
                   "LINK_SEQ_BEFORE_GENESIS")
    if block.timestamp < 0:
        result.err("the timestamp is negative", "NEGATIVE_TIMESTAMP")
    elif block.timestamp > HIGHEST_TIMESTAMP:
        result.err("the timestamp is too large", "TIMESTAMP_TOO_LARGE")
    key = _load(block, block.public_key)
    if key is None:
        result.err("the public key is none", "BAD_PUBLIC_KEY")
    elif not _signature_is_valid(block, key):
        result.err("the signature does not belong to the block", "BAD_SIGNATURE")
    if block.link_public_key != EMPTY_PK and _load(block, block.link_public_key) is None:
        result.err("the linked public key is none", "BAD_LINK_PUBLIC_KEY")
    if block.public_key == block.link_public_key:
        result.err("the author is its own counterparty", "SELF_LINK")
    if block.sequence_number == GENESIS_SEQ and block.previous_hash != GENESIS_HASH:
        result.err("the first block of a chain has no predecessor", "GENESIS_HASH_REQUIRED")
    if block.sequence_number != GENESIS_SEQ and block.previous_hash == GENESIS_HASH:
        result.err("only the first block of a chain has no predecessor", "GENESIS_HASH_FORBIDDEN")


def _load(block: TrustChainBlock, key_bin: bytes) -> PublicKey | None:
    crypto = block.crypto
    key: PublicKey | None = _keys.get(key_bin) if crypto is default_eccrypto else None
    if key is not None:
        return key
    try:
        key = crypto.key_from_network(key_bin)
    except (TypeError, ValueError):
        return None
    if crypto is default_eccrypto:
        _keys[key_bin] = key
    return key


def _signature_is_valid(block: TrustChainBlock, key: PublicKey) -> bool:
    try:
        if block.crypto is not default_eccrypto:
            return bool(block.crypto.is_valid_signature(key, block.pack(signature=False), block.signature))
        digest, data = block.signed_bytes()
    except PackError:
        return False
    if digest in signatures:
        return True
    valid: bool = default_eccrypto.is_valid_signature(key, data, block.signature)
    if valid:
        signatures.remember(digest)
    return valid


def check_alone(block: TrustChainBlock, before: TrustChainBlock | None) -> ValidationResult:
    """What is wrong with a block of our own, whatever others have written: itself, and its place in its chain."""
    result = ValidationResult()
    check_invariant(block, result)
    check_chain(block, before, None, result)
    return result


def check_same_block(block: TrustChainBlock, known: TrustChainBlock, result: ValidationResult,
                     database: BlockSource) -> None:
    """What contradicts the block that is known at the same height of the same chain; a double-sign is reported."""
    no_evidence = {"BAD_SIGNATURE", "BAD_PUBLIC_KEY", "TIMESTAMP_TOO_LARGE"}.intersection(result.codes)
    for name, code in (("link_public_key", "KNOWN_LINK_KEY_DIFFERS"),
                       ("link_sequence_number", "KNOWN_LINK_SEQ_DIFFERS"),
                       ("previous_hash", "KNOWN_PREVIOUS_HASH_DIFFERS"), ("signature", "KNOWN_SIGNATURE_DIFFERS")):
        if getattr(known, name) != getattr(block, name):
            result.err(f"the {name} differs from that of the known block at this height", code)
    if known.hash != block.hash and not no_evidence:
        result.err("the author signed two different blocks at this height", "DOUBLE_SIGN")
        database.add_double_spend(known, block)


def is_double_sign(one: TrustChainBlock, other: TrustChainBlock) -> bool:
    """Whether two blocks alone prove that their author signed both for one height, whatever else is known."""
    if (not same_key(one.public_key, other.public_key) or one.sequence_number != other.sequence_number
            or one.sequence_number < GENESIS_SEQ or one.hash == other.hash):
        return False
    key = _load(one, one.public_key)
    return key is not None and all(block.timestamp <= HIGHEST_TIMESTAMP and _signature_is_valid(block, key)
                                   for block in (one, other))


def check_link(block: TrustChainBlock, link: TrustChainBlock, result: ValidationResult, database: BlockSource) -> None:
    """What contradicts the partner of the block; the first contradiction only."""
    is_source = block.link_public_key == ANY_COUNTERPARTY_PK
    link_is_source = link.link_public_key == ANY_COUNTERPARTY_PK
    if not is_source and not same_key(link.public_key, block.link_public_key):
        result.err("the author of the partner block is not the counterparty", "LINK_KEY_DIFFERS")
    elif (link.link_sequence_number != block.sequence_number
          and link.sequence_number != block.link_sequence_number):
        result.err("neither block points at the other", "NO_LINK")
    elif not link_is_source and not same_key(block.public_key, link.link_public_key):
        result.err("the author is not whom the partner block is for", "NOT_ADDRESSEE")
    elif block.link_sequence_number != 0 and not link_is_source:
        other = database.get_linked(link)
        if other is not None and other.hash != block.hash:
            result.err("the partner block has another counter-signature", "DOUBLE_COUNTERSIGN")
    if block.SAME_TRANSACTION and not is_source and not link_is_source and block.transaction != link.transaction:
        result.err("the transaction differs from that of the partner block", "TRANSACTION_DIFFERS")


def check_chain(block: TrustChainBlock, before: TrustChainBlock | None, after: TrustChainBlock | None,
                result: ValidationResult) -> None:
    """What contradicts the neighbours in the chain."""
    if before is not None:
        if before.public_key != block.public_key:
            result.err("the block below is of another author", "PREVIOUS_KEY_DIFFERS")
        if before.sequence_number >= block.sequence_number:
            result.err("the block below is not below", "PREVIOUS_SEQ_NOT_LOWER")
        if before.sequence_number == block.sequence_number - 1 and before.hash != block.previous_hash:
            result.err("the hash of the block below is another one", "PREVIOUS_HASH_DIFFERS")
    if after is not None:
        if after.public_key != block.public_key:
            result.err("the block above is of another author", "NEXT_KEY_DIFFERS")
        if after.sequence_number <= block.sequence_number:
            result.err("the block above is not above", "NEXT_SEQ_NOT_HIGHER")
        if after.sequence_number == block.sequence_number + 1 and after.previous_hash != block.hash:
            result.err("the block above names another hash", "NEXT_HASH_DIFFERS")
