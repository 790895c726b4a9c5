"""Half blocks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipv8.attestation.trustchain import block as module
from ipv8.attestation.trustchain.block import (
    ANY_COUNTERPARTY_PK,
    EMPTY_PK,
    EMPTY_SIG,
    GENESIS_HASH,
    GENESIS_SEQ,
    SKIP_ATTRIBUTES,
    LenientData,
    TrustChainBlock,
    ValidationResult,
    sign_number,
)
from ipv8.attestation.trustchain.payload import HalfBlockPayload
from ipv8.attestation.trustchain.signatures import SignatureCache, signatures, verify_ahead
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.deprecated.encoding import encode
from ipv8.messaging.serialization import PackError, default_serializer
from tests.attestation.trustchain.vectors import BLOCKS, KEYS, VECTORS, block, make, private_key, value_of


class Chain:
    """The least that a new block needs of a database."""

    def __init__(self, latest: TrustChainBlock | None = None) -> None:
        self.latest = latest

    def get_latest(self, public_key: bytes) -> TrustChainBlock | None:
        return self.latest


def test_constants() -> None:
    constants = VECTORS["constants"]
    for name in ("GENESIS_HASH", "EMPTY_SIG", "EMPTY_PK"):
        assert getattr(module, name).hex() == constants[name]
    assert ANY_COUNTERPARTY_PK is EMPTY_PK
    assert (GENESIS_SEQ, module.UNKNOWN_SEQ) == (1, 0)
    assert {"key", "serializer", "crypto", "_transaction", "_logger"} == SKIP_ATTRIBUTES


@pytest.mark.parametrize("spec", [*VECTORS["blocks"].values(), VECTORS["kotlin_signed_block"]],
                         ids=[*VECTORS["blocks"], "kotlin"])
def test_vectors(spec: dict[str, Any]) -> None:
    made = make(spec)
    assert made.pack().hex() == spec["pack_signed"]
    assert made.pack(signature=False).hex() == spec["pack_unsigned"]
    assert made.hash.hex() == spec["hash"]
    assert made.transaction == value_of(spec["transaction"])
    assert made.block_id.decode() == spec["block_id"]
    assert made.linked_block_id.decode() == spec["linked_block_id"]
    assert made.hash_number == spec["hash_number"]
    assert made.is_genesis == spec["is_genesis"]
    assert sign_number(made.block_id) == spec["sign_cache_number"]


def test_signature_of_another_implementation_is_reproduced() -> None:
    spec = VECTORS["kotlin_signed_block"]
    made = make(spec)
    made.sign(default_eccrypto.key_from_private_bin(bytes.fromhex(spec["private"])))
    assert made.signature.hex() == spec["signature"]
    assert made.hash.hex() == spec["hash"]


def test_without_data() -> None:
    made = TrustChainBlock()
    assert (made.type, made.transaction, made.public_key, made.link_public_key) == (b"unknown", {}, EMPTY_PK, EMPTY_PK)
    assert (made.sequence_number, made.link_sequence_number) == (1, 0)
    assert (made.previous_hash, made.signature, made.insert_time) == (GENESIS_HASH, EMPTY_SIG, None)
    assert isinstance(made.timestamp, int)
    assert made.is_genesis
    assert made.is_source


def test_create() -> None:
    first = TrustChainBlock.create(b"t", {b"id": 1}, Chain(), KEYS["alice"], link_pk=KEYS["bob"])
    assert (first.sequence_number, first.previous_hash, first.signature) == (1, GENESIS_HASH, EMPTY_SIG)
    assert (first.link_public_key, first.link_sequence_number) == (KEYS["bob"], 0)
    first.sign(private_key("alice"))
    second = TrustChainBlock.create(b"t", {b"id": 2}, Chain(first), KEYS["alice"])
    assert (second.sequence_number, second.previous_hash) == (2, first.hash)
    assert second.link_public_key == EMPTY_PK
    answer = TrustChainBlock.create(b"x", None, Chain(), KEYS["bob"], link=first)
    assert (answer.type, answer.transaction) == (b"t", {b"id": 1})
    assert (answer.link_public_key, answer.link_sequence_number) == (KEYS["alice"], 1)
    link = TrustChainBlock.create(b"x", None, Chain(), KEYS["bob"], link=second, additional_info={b"mine": 3})
    assert (link.type, link.transaction) == (b"x", {b"mine": 3})


def test_data_are_made_bytes_and_type_may_be_text() -> None:
    data = [*BLOCKS["a1"].pack_db_insert()[:9], None]
    data[0] = "test"
    data[2] = bytearray(data[2])
    data[7] = memoryview(data[7])
    made = TrustChainBlock(data)
    assert made == BLOCKS["a1"]
    assert (made.type, type(made.public_key), type(made.signature)) == (b"test", bytes, bytes)


def test_malformed_transaction_of_a_constructor_and_of_a_message() -> None:
    data = [*BLOCKS["a1"].pack_db_insert()[:9], None]
    for transaction, error in ((b"a1x1", KeyError), (b"", ValueError), (b"a", IndexError)):
        data[1] = transaction
        with pytest.raises(error):
            TrustChainBlock(data)
        opaque = TrustChainBlock(LenientData(data))
        assert opaque.transaction == {}
        assert opaque.is_opaque
        assert dict(opaque)["transaction"] == {}
    assert not BLOCKS["a1"].is_opaque


def test_json_transaction() -> None:
    data = [*BLOCKS["a1"].pack_db_insert()[:9], None]
    data[1] = b'{"up":1}'
    for made in (TrustChainBlock(data), TrustChainBlock(LenientData(data))):
        assert made.transaction == {"up": 1}
        assert dict(made)["transaction"] == {"up": 1}
        assert not made.is_opaque
    data[1] = b'{"a":' * 100_000
    assert TrustChainBlock(LenientData(data)).transaction == {}


@pytest.mark.parametrize("step", [lambda inner: {"a": inner}, lambda inner: {"a": [inner, {}]}])
def test_depth_of_transactions(step: Any) -> None:
    """It is the same in both encodings: deeper values could not be answered, printed or shown."""
    transaction: Any = {}
    for depth in range(1, 100):
        opaque = []
        for encoded in (encode(transaction), json.dumps(transaction).encode()):
            data = [*BLOCKS["a1"].pack_db_insert()[:9], None]
            data[1] = encoded
            made = TrustChainBlock(LenientData(data))
            opaque.append(made.is_opaque)
            assert made.transaction == ({} if made.is_opaque else transaction)
        assert opaque[0] == opaque[1]
        assert depth > 1 or not opaque[0]
        transaction = step(transaction)
    assert opaque == [True, True]


def test_hash_is_that_of_the_block_as_it_was() -> None:
    for made in (block("a1"), TrustChainBlock(LenientData((*block("a1").pack_db_insert()[:9], None)))):
        expected = BLOCKS["a1"].hash
        made.sequence_number = 5
        assert made.hash == expected
        assert made.calculate_hash() != expected
        made.hash = b"other"
        assert made.hash == b"other"


def test_attributes_and_methods_of_an_instance_can_be_replaced() -> None:
    made = TrustChainBlock(LenientData((*block("a1").pack_db_insert()[:9], None)))
    made.pack = lambda signature=True: b"something"  # type: ignore[method-assign]
    assert made.hash == BLOCKS["a1"].hash
    made.transaction = {"new": 1}
    assert made.transaction == {"new": 1}


@pytest.mark.parametrize(("name", "value"), [("sequence_number", -1), ("sequence_number", 1 << 32), ("type", "text"),
                                             ("timestamp", -1), ("public_key", "text"), ("link_sequence_number", -1)])
def test_values_that_do_not_fit(name: str, value: Any) -> None:
    made = block("a1")
    setattr(made, name, value)
    with pytest.raises(PackError):
        made.pack()


def test_equality_and_hash() -> None:
    """W20: ``hash`` raised, so that blocks could not be put into sets."""
    one, same, other = block("a1"), block("a1"), block("a2")
    assert one == same
    assert one != other
    assert one != 5
    assert one.__hash__() == one.hash
    assert one.hash == one.__hash__()
    assert one.__hash__() != other.hash
    assert {one, same, other} == {one, other}
    assert {one: 1}[same] == 1


def test_iteration() -> None:
    class Special(TrustChainBlock):
        def __init__(self, data: Any) -> None:
            TrustChainBlock.__init__(self, data)
            self.key = "hidden"
            self.extra = b"\x01"

    data = [*BLOCKS["a1"].pack_db_insert()[:9], b"2020-01-01 00:00:00"]
    for given_data in (data, LenientData(data)):
        shown = dict(Special(given_data))
        assert shown.keys() == {"type", "transaction", "public_key", "sequence_number", "link_public_key",
                                "link_sequence_number", "previous_hash", "signature", "timestamp", "insert_time",
                                "hash", "extra"}
        assert shown["type"] == "test"
        assert shown["insert_time"] == "2020-01-01 00:00:00"
        assert shown["transaction"] == {"id": 42}
        assert shown["public_key"] == KEYS["alice"].hex()
        assert shown["extra"] == "01"
        assert len(list(Special(given_data))) == 12


def test_time_of_insertion_in_one_form() -> None:
    """W24: it was a float, text as bytes, or nothing."""
    made = block("a1")
    assert made.inserted_at is None
    made.insert_time = b"1970-01-01 00:01:00"
    assert made.inserted_at == 60.0
    made.insert_time = 61.5
    assert made.inserted_at == 61.5


def test_text() -> None:
    assert "test" in str(BLOCKS["a1"])
    assert BLOCKS["a1"].hash.hex()[-8:] in str(BLOCKS["a1"])


@given(st.binary(max_size=200))
def test_any_transaction_survives(transaction: bytes) -> None:
    data = LenientData((b"test", transaction, *BLOCKS["a1"].pack_db_insert()[2:9], None))
    made = TrustChainBlock(data)
    payload = HalfBlockPayload.from_half_block(made)
    packed = default_serializer.pack_serializable(payload)
    again = TrustChainBlock.from_payload(default_serializer.unpack_serializable_list([HalfBlockPayload], packed)[0])
    assert again == made
    assert again.transaction == made.transaction
    assert packed == made.pack()
    dict(made)
    str(made)


def test_own_keys_can_have_other_sizes() -> None:
    short = default_eccrypto.generate_key("very-low").pub().key_to_bin()
    made = TrustChainBlock.create(b"t", {}, Chain(), KEYS["alice"], link_pk=short)
    made.sign(private_key("alice"))
    result = ValidationResult()
    made.update_block_invariant(None, result)
    assert result.state == ValidationResult.valid


def test_verifying_many_at_once() -> None:
    chain = Chain()
    blocks = []
    for number in range(20):
        made = TrustChainBlock.create(b"t", {b"n": number}, chain, KEYS["alice"])
        made.sign(private_key("alice"))
        chain.latest = made
        blocks.append(made)
    blocks[3].signature = b"x" * 64
    verify_ahead(blocks)
    known = [made.signed_bytes()[0] in signatures for made in blocks]
    assert not known[3]
    result = ValidationResult()
    blocks[3].update_block_invariant(None, result)
    assert result.codes == ["BAD_SIGNATURE"]


def test_signature_cache_is_bounded() -> None:
    cache = SignatureCache(3)
    for number in range(5):
        cache.remember(bytes((number,)))
    assert len(cache) == 3
    assert b"\4" in cache
    assert b"\0" not in cache


def test_encoded_transaction() -> None:
    assert BLOCKS["a1"].encoded_transaction == encode({b"id": 42})
