"""The rules for half blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipv8.attestation.trustchain import validation
from ipv8.attestation.trustchain.block import ANY_COUNTERPARTY_PK, TrustChainBlock, ValidationResult
from ipv8.attestation.trustchain.database import TrustChainDB
from ipv8.attestation.trustchain.validation import canonical_key, same_key
from ipv8.keyvault.crypto import default_eccrypto
from tests.attestation.trustchain.vectors import BLOCKS, KEYS, VECTORS, block, private_key

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def database() -> Iterator[TrustChainDB]:
    database = TrustChainDB(":memory:", "test")
    yield database
    database.close()


class Minimal:
    """A source of blocks with the documented methods only."""

    def __init__(self) -> None:
        self.blocks: list[TrustChainBlock] = []
        self.frauds: list[Any] = []

    def get(self, public_key: bytes, sequence_number: int) -> Any:
        wanted = public_key, sequence_number
        return next((b for b in self.blocks if (b.public_key, b.sequence_number) == wanted), None)

    def get_linked(self, block: TrustChainBlock) -> Any:
        return next((b for b in self.blocks if b.public_key == block.link_public_key and (
            b.sequence_number == block.link_sequence_number or b.link_sequence_number == block.sequence_number)), None)

    def get_block_before(self, block: TrustChainBlock) -> Any:
        below = [b for b in self.blocks if b.public_key == block.public_key
                 and b.sequence_number < block.sequence_number]
        return max(below, key=lambda b: b.sequence_number, default=None)

    def get_block_after(self, block: TrustChainBlock) -> Any:
        above = [b for b in self.blocks if b.public_key == block.public_key
                 and b.sequence_number > block.sequence_number]
        return min(above, key=lambda b: b.sequence_number, default=None)

    def add_double_spend(self, block1: TrustChainBlock, block2: TrustChainBlock) -> None:
        self.frauds.append((block1, block2))


@pytest.mark.parametrize("scenario", VECTORS["validation"], ids=lambda scenario: scenario["name"])
def test_vectors(database: TrustChainDB, scenario: dict[str, Any]) -> None:
    for name in scenario["known"]:
        database.add_block(BLOCKS[name])
    subject = block(scenario["subject"])
    result = validation.validate(subject, database)
    state, errors = subject.validate(database)
    assert state is result.state
    assert errors == result.errors
    assert state.__name__ == scenario["state"]
    assert result.codes == scenario["errors"]
    assert all(errors)
    assert database.did_double_spend(subject.public_key) == scenario["double_spend_recorded"]


@pytest.mark.parametrize("scenario", [s for s in VECTORS["validation"] if s["name"] != "source_linked_twice"],
                         ids=lambda scenario: scenario["name"])
def test_vectors_with_the_least_of_a_database(scenario: dict[str, Any]) -> None:
    source = Minimal()
    source.blocks = [BLOCKS[name] for name in scenario["known"]]
    result = validation.validate(block(scenario["subject"]), source)
    assert (result.state.__name__, result.codes) == (scenario["state"], scenario["errors"])
    assert bool(source.frauds) == scenario["double_spend_recorded"]


def test_states() -> None:
    states = [getattr(ValidationResult, name) for name in ("valid", "partial", "partial_next", "partial_previous",
                                                           "no_info", "invalid")]
    assert len(set(states)) == 6
    result = ValidationResult()
    assert (result.state, result.errors) == (ValidationResult.valid, [])
    result.err("a reason")
    assert (result.state, result.errors, result.codes) == (ValidationResult.invalid, ["a reason"], [])
    assert "valid" in repr(ValidationResult.valid)


@pytest.mark.parametrize(("changes", "code"), [
    ({"sequence_number": -1}, "SEQ_BEFORE_GENESIS"), ({"link_sequence_number": -1}, "LINK_SEQ_BEFORE_GENESIS"),
    ({"timestamp": -1}, "NEGATIVE_TIMESTAMP"), ({"timestamp": 1 << 63}, "TIMESTAMP_TOO_LARGE"),
    ({"public_key": b"definitely no key"}, "BAD_PUBLIC_KEY"), ({"signature": b"x" * 64}, "BAD_SIGNATURE"),
    ({"signature": b""}, "BAD_SIGNATURE"), ({"link_public_key": b"definitely no key"}, "BAD_LINK_PUBLIC_KEY"),
    ({"link_public_key": KEYS["alice"]}, "SELF_LINK"), ({"previous_hash": b"1" * 32}, "GENESIS_HASH_REQUIRED"),
    ({"sequence_number": 2}, "GENESIS_HASH_FORBIDDEN")])
def test_invariants(changes: dict[str, Any], code: str) -> None:
    subject = block("a1")
    for name, value in changes.items():
        setattr(subject, name, value)
    result = ValidationResult()
    subject.update_block_invariant(None, result)
    assert code in result.codes
    assert result.state == ValidationResult.invalid


def test_block_that_cannot_be_packed() -> None:
    subject = block("a1")
    result = ValidationResult()
    subject.type = "text"  # type: ignore[assignment]
    subject.update_block_invariant(None, result)
    assert result.codes == ["BAD_SIGNATURE"]


def test_another_crypto_is_asked() -> None:
    class Refusing:
        key_from_network = staticmethod(default_eccrypto.key_from_network)

        @staticmethod
        def is_valid_signature(*_: Any) -> bool:
            return False

    subject = block("a1")
    subject.update_block_invariant(None, ValidationResult())
    subject.crypto = Refusing()
    result = ValidationResult()
    subject.update_block_invariant(None, result)
    assert result.codes == ["BAD_SIGNATURE"]


def test_hook_for_transactions() -> None:
    class Picky(TrustChainBlock):
        answer: Any = (ValidationResult.invalid, ["no"])

        def validate_transaction(self, database: Any) -> Any:
            return self.answer

    subject = Picky((*BLOCKS["a1"].pack_db_insert()[:9], None))
    result = ValidationResult()
    subject.update_block_invariant(None, result)
    assert (result.state, result.errors) == (ValidationResult.invalid, ["no"])
    subject.answer = (ValidationResult.partial, [])
    result = ValidationResult()
    subject.update_block_invariant(None, result)
    assert result.state == ValidationResult.partial


@pytest.mark.parametrize(("name", "value", "code"), [
    ("link_public_key", KEYS["carol"], "KNOWN_LINK_KEY_DIFFERS"),
    ("link_sequence_number", 5, "KNOWN_LINK_SEQ_DIFFERS"), ("previous_hash", b"x" * 32, "KNOWN_PREVIOUS_HASH_DIFFERS"),
    ("signature", b"x" * 64, "KNOWN_SIGNATURE_DIFFERS")])
def test_same_height(name: str, value: Any, code: str) -> None:
    subject = block("a1")
    setattr(subject, name, value)
    result = ValidationResult()
    subject.update_block_consistency(BLOCKS["a1"], result, None)
    assert result.codes == [code]
    subject.update_block_consistency(None, result, None)
    assert result.codes == [code]


def test_forgeries_are_no_proof_of_fraud() -> None:
    for code in ("BAD_SIGNATURE", "BAD_PUBLIC_KEY", "TIMESTAMP_TOO_LARGE"):
        result = ValidationResult()
        result.err("before", code)
        source = Minimal()
        block("a1_fork").update_block_consistency(BLOCKS["a1"], result, source)
        assert not source.frauds


def test_chain() -> None:
    result = ValidationResult()
    block("a2").update_chain_consistency(BLOCKS["b1"], BLOCKS["b1"], result)
    assert result.codes == ["PREVIOUS_KEY_DIFFERS", "PREVIOUS_HASH_DIFFERS", "NEXT_KEY_DIFFERS", "NEXT_SEQ_NOT_HIGHER"]
    result = ValidationResult()
    block("a2").update_chain_consistency(BLOCKS["a3"], BLOCKS["a1"], result)
    assert result.codes == ["PREVIOUS_SEQ_NOT_LOWER", "NEXT_SEQ_NOT_HIGHER"]


@pytest.mark.parametrize(("subject", "link", "code"), [
    ("a1", "c1", "LINK_KEY_DIFFERS"), ("a1", "b2", "NO_LINK"), ("c1_counter_a1", "a1", "NOT_ADDRESSEE")])
def test_partner(subject: str, link: str, code: str) -> None:
    result = ValidationResult()
    block(subject).update_linked_consistency(Minimal(), BLOCKS[link], result)
    assert result.codes == [code]


def test_link_to_a_source_block_leaves_the_source_block_valid(database: TrustChainDB) -> None:
    """W27: the rule for the key of the partner was applied to source blocks, which have no counterparty."""
    for name in ("a1", "a2", "a3", "b1", "b2"):
        database.add_block(BLOCKS[name])
    assert BLOCKS["a3"].link_public_key == ANY_COUNTERPARTY_PK
    assert database.get_linked(BLOCKS["a3"]) == BLOCKS["b2"]
    assert validation.validate(BLOCKS["a3"], database).codes == []


def signed(author: str, number: int, link_pk: bytes, link_seq: int, previous: bytes, timestamp: int) -> TrustChainBlock:
    made = TrustChainBlock((b"test", b"a0d", KEYS[author], number, link_pk, link_seq, previous, b"0" * 64, timestamp,
                            None))
    made.sign(private_key(author))
    return made


def test_answer_to_a_proposal_for_somebody_else_is_invalid_whoever_points_back_at_it(database: TrustChainDB) -> None:
    """W1: the partner was looked up in reverse, so that an accomplice could counter-sign a proposal for the victim."""
    genesis = b"0" * 32
    a1 = signed("alice", 1, KEYS["bob"], 0, genesis, 1000)
    x = signed("bob", 1, KEYS["alice"], 1, genesis, 1001)
    a2 = signed("alice", 2, KEYS["carol"], 1, a1.hash, 999)
    m1 = signed("carol", 1, KEYS["alice"], 1, genesis, 0)
    for made in (a1, x, a2):
        assert validation.validate(made, database).codes == []
        database.add_block(made)
    assert validation.validate(m1, database).codes == ["NOT_ADDRESSEE"]
    database.add_block(m1)
    assert database.get_linked(a1) == x
    assert validation.validate(x, database).codes == []


def test_both_halves_must_agree_where_their_class_says_so(database: TrustChainDB) -> None:
    """W12: that was left to every application."""
    class Agreed(TrustChainBlock):
        SAME_TRANSACTION = True

    database.block_types[b"test"] = Agreed
    database.add_block(BLOCKS["a1"])
    answer = Agreed.create(b"test", None, database, KEYS["bob"], link=BLOCKS["a1"])
    answer.sign(private_key("bob"))
    assert validation.validate(answer, database).codes == []
    other = Agreed.create(b"test", None, database, KEYS["bob"], link=BLOCKS["a1"], additional_info={b"id": 43})
    other.sign(private_key("bob"))
    assert validation.validate(other, database).codes == ["TRANSACTION_DIFFERS"]


def test_spellings_of_short_keys(database: TrustChainDB) -> None:
    """W11: a short key and the same one filled up were different keys."""
    short = default_eccrypto.generate_key("very-low").pub().key_to_bin()
    assert len(short) < 74
    assert same_key(short, canonical_key(short))
    assert not same_key(short, KEYS["alice"])
    made = TrustChainBlock.create(b"test", {}, database, KEYS["alice"], link_pk=short)
    made.sign(private_key("alice"))
    database.add_block(made)
    for key in (short, canonical_key(short)):
        assert database.get_connected_users(key)[0]["public_key"] == KEYS["alice"].hex().encode()
    assert database.get(KEYS["alice"], 1) == made


def test_timestamp_that_cannot_be_stored(database: TrustChainDB) -> None:
    late = signed("alice", 1, KEYS["bob"], 0, b"0" * 32, 1 << 63)
    assert validation.validate(late, database).codes == ["TIMESTAMP_TOO_LARGE"]
    database.add_block(BLOCKS["a1"])
    result = validation.validate(late, database)
    assert "TIMESTAMP_TOO_LARGE" in result.codes
    assert not database.did_double_spend(KEYS["alice"])
