"""Proofs that a value is equal to a given one."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest

from ipv8.attestation.default_identity_formats import FORMATS
from ipv8.attestation.wallet.bonehexact.algorithm import BonehExactAlgorithm
from ipv8.attestation.wallet.bonehexact.attestation import (
    attest,
    attest_sha256_4,
    binary_relativity,
    binary_relativity_certainty,
    binary_relativity_match,
    binary_relativity_sha256_4,
    create_challenge,
    create_challenge_response,
    create_challenge_response_from_pair,
    create_empty_relativity_map,
    create_honesty_check,
    generate_modular_additive_inverse,
    multithread_update_lock,
    process_challenge_response,
)
from ipv8.attestation.wallet.bonehexact.structs import BitPairAttestation, BonehAttestation
from ipv8.attestation.wallet.primitives.boneh import decode
from ipv8.attestation.wallet.primitives.group import group_of
from ipv8.attestation.wallet.primitives.structs import pack_pair, unpack_pair
from ipv8.attestation.wallet.primitives.value import FP2Value

from .vectors import SAMPLES, TOY_KEY, VECTORS, secret_key, value

pytestmark = pytest.mark.usefixtures("arithmetic")

EXACT = [name for name in FORMATS if "range" not in name]


def counts(raw: dict[str, int]) -> dict[int, int]:
    return {int(response): count for response, count in raw.items()}


@pytest.mark.parametrize("case", VECTORS["relativity"])
def test_relativity(case: dict[str, Any]) -> None:
    assert binary_relativity(int(case["value"]), case["bits"]) == counts(case["map"])


def test_of_a_longer_number_the_first_bits_count() -> None:
    assert binary_relativity(199, 6) == {0: 1, 1: 1, 2: 1, 3: 0}


@pytest.mark.parametrize("case", VECTORS["relativity_match"])
def test_match(case: dict[str, Any]) -> None:
    expected, given = counts(case["expected"]), counts(case["value"])
    assert binary_relativity_match(expected, given) == case["match"]
    assert binary_relativity_certainty(expected, given) == case["certainty"]


def test_additive_inverses() -> None:
    for n in (1, 2, 5, 32):
        numbers = generate_modular_additive_inverse(29, n)
        assert len(numbers) == n
        assert sum(numbers) % 30 == 0
        assert all(0 <= number < 30 for number in numbers)


@pytest.mark.parametrize("case", VECTORS["bonehexact"])
def test_the_vectors(case: dict[str, Any]) -> None:
    key = secret_key(bytes.fromhex(case["secret_key"]))
    group = group_of(key)
    pairs = []
    for pair in case["pairs"]:
        codes = [value(key.p, pair[name]) for name in ("a", "b", "complement")]
        for code, number, blinding in zip(codes, pair["m"], pair["r"], strict=True):
            assert group.value(group.commit(int(number), int(blinding))) == code
        bits = BitPairAttestation(*codes)
        pairs.append(bits)
        assert bits.compress() == value(key.p, pair["compress"])
        challenge = group.field.multiply(bits.element(), group.commit(0, int(pair["challenge_r"])))
        assert pack_pair(int(challenge[0]), int(challenge[1])).hex() == pair["challenge"]
        response = create_challenge_response_from_pair(key, unpack_pair(bytes.fromhex(pair["challenge"])))
        assert bytes((response,)).hex() == pair["response"]
    attestation = BonehAttestation(key.public_key(), pairs, "id_metadata")
    assert attestation.serialize().hex() == case["blob"]
    assert attestation.get_hash().hex() == case["attestation_hash"]
    assert binary_relativity(int(case["value_int"]), case["bits"]) == counts(case["relativity"])
    algorithm = BonehExactAlgorithm("id_metadata", FORMATS)
    aggregate = algorithm.create_certainty_aggregate(attestation)
    for pair in case["pairs"]:
        algorithm.process_challenge_response(aggregate, b"", bytes.fromhex(pair["response"]))
    assert aggregate == counts(case["relativity"])
    assert binary_relativity_certainty(counts(case["relativity"]), aggregate) == case["certainty_all_answered"]


@pytest.mark.parametrize("id_format", EXACT)
def test_samples(id_format: str) -> None:
    sample = SAMPLES[id_format]
    algorithm = BonehExactAlgorithm(id_format, FORMATS)
    key, blob = algorithm.load_secret_key(bytes.fromhex(sample["secret_key"])), bytes.fromhex(sample["blob"])
    attestation = BonehAttestation.unserialize_private(key, blob, id_format)
    assert attestation.serialize_private(attestation.PK) == attestation.serialize() == blob
    assert attestation.get_hash().hex() == sample["attestation_hash"]
    assert algorithm.is_for(attestation, key)
    assert prove(algorithm, key, blob, bytes.fromhex(sample["value"]), b"other") == [pytest.approx(1, abs=2e-5), 0]


def prove(algorithm: Any, key: Any, blob: bytes, *values: bytes) -> list[float]:
    attestation = algorithm.get_attestation_class().unserialize(blob, algorithm.id_format)
    aggregate = algorithm.create_certainty_aggregate(attestation)
    challenges = algorithm.create_challenges(attestation.PK, attestation)
    assert len(challenges) == algorithm.count_challenges(attestation)
    for challenge in challenges:
        response = algorithm.create_challenge_response(key, attestation, challenge)
        aggregate = algorithm.process_challenge_response(aggregate, challenge, response)
    return [algorithm.certainty(candidate, aggregate) for candidate in values]


@pytest.mark.parametrize("id_format", EXACT)
def test_attest_and_prove(id_format: str) -> None:
    algorithm = BonehExactAlgorithm(id_format, FORMATS)
    key = algorithm.generate_secret_key()
    algorithm.check_public_key(key.public_key())
    blob = algorithm.attest(key.public_key(), b"a value")
    certainties = prove(algorithm, key, blob, b"a value", b"another value")
    assert certainties == [1 - 0.5 ** algorithm.count_challenges(BonehAttestation.unserialize(blob)), 0]


def test_the_bits_are_hidden_and_shuffled() -> None:
    key = secret_key()
    orders = set()
    for _ in range(10):
        attestation = attest(key, 0b11_01_00_00, 8)
        sums = [create_challenge_response(key, pair.compress()) for pair in attestation.bitpairs]
        assert sorted(sums) == [0, 0, 1, 2]
        orders.add(tuple(sums))
        for pair in attestation.bitpairs:
            assert decode(key, [0, 1, 2], pair.a) is None, "a single bit is shifted by a random number"
    assert len(orders) > 1


def test_toy_key() -> None:
    key = secret_key(TOY_KEY)
    for number, expected in enumerate((0, 1, 1, 2)):
        for pair in attest(key.public_key(), number, 2).bitpairs:
            assert decode(key, [0, 1, 2], pair.compress()) == expected
            assert create_challenge_response(key, create_challenge(key.public_key(), pair)) == expected


def test_challenges_are_different_each_time() -> None:
    key = secret_key()
    pair = attest_sha256_4(key, b"v").bitpairs[0]
    assert create_challenge(key, pair) != create_challenge(key, pair)
    assert create_challenge(key, pair) != pair.compress()
    assert create_challenge_response(key, create_honesty_check(key, 2)) == 2
    assert create_challenge_response(key, FP2Value(key.p, 5, 6)) == 3


def test_check_challenges_follow_from_an_answer() -> None:
    algorithm = BonehExactAlgorithm("id_metadata", FORMATS)
    key = secret_key()
    attestation = attest_sha256_4(key, b"v")
    seen = set()
    for index in range(16):
        challenge = algorithm.create_challenges(key, attestation)[index]
        answer = algorithm.create_challenge_response(key, attestation, challenge)
        for _ in range(12):
            made = algorithm.create_check_challenge(key, attestation, index, answer)
            assert made is not None
            assert algorithm.create_challenge_response(key, attestation, made[0]) == made[1]
            assert made[1][0] in (0, 1, 2), "3 would show the prover that this is no question for a sum"
            seen.add(made[1][0] - answer[0])
    assert seen == {-1, 0, 1}
    assert algorithm.create_check_challenge(key, attestation, 0, b"\x03") is None
    assert algorithm.create_check_challenge(key, attestation, 0, b"") is None


def test_unknown_responses_are_counted_and_make_the_certainty_zero() -> None:
    """They used to raise an error while a lock was held, which was never released."""
    counted = create_empty_relativity_map()
    for response in (0, 1, 2, 3, 4, 255, -1):
        process_challenge_response(counted, response)
    assert counted == {0: 1, 1: 1, 2: 1, 3: 4}
    assert not multithread_update_lock.locked()
    assert binary_relativity_certainty(binary_relativity(5, 16), counted) == 0


def test_responses_and_honesty_checks_of_one_byte() -> None:
    algorithm = BonehExactAlgorithm("id_metadata", FORMATS)
    assert algorithm.honesty_check
    challenge = algorithm.create_honesty_challenge(secret_key(), 1)
    response = algorithm.create_challenge_response(secret_key(), attest(secret_key(), 0, 2), challenge)
    assert algorithm.process_honesty_challenge(1, response)
    assert not algorithm.process_honesty_challenge(2, response)
    for wrong in (b"", b"\x00\x00"):
        with pytest.raises(struct.error):
            algorithm.process_challenge_response({}, b"", wrong)
        with pytest.raises(struct.error):
            algorithm.process_honesty_challenge(1, wrong)
    assert algorithm.certainty(b"v", algorithm.create_certainty_aggregate(None)) == 0


@pytest.mark.parametrize(("changes", "error"), [
    ({"algorithm": "other"}, "Identity format linked to wrong algorithm"),
    ({"key_size": 31}, "Illegal key size specified"), ({"key_size": 513}, "Illegal key size specified"),
    ({"hash": "md5"}, "Unknown hashing mode")])
def test_wrong_formats(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(RuntimeError, match=error):
        BonehExactAlgorithm("f", {"f": {**FORMATS["id_metadata"], **changes}})


def test_formats_that_lack_something() -> None:
    for missing in ("algorithm", "key_size", "hash"):
        parameters = {name: given for name, given in FORMATS["id_metadata"].items() if name != missing}
        with pytest.raises(KeyError):
            BonehExactAlgorithm("f", {"f": parameters})
    with pytest.raises(RuntimeError, match="illegal identity format"):
        BonehExactAlgorithm("unknown", FORMATS)


def test_what_is_not_offered() -> None:
    algorithm = BonehExactAlgorithm("id_metadata", FORMATS)
    with pytest.raises(NotImplementedError):
        algorithm.import_blob(b"")
    for load in (algorithm.load_public_key, algorithm.load_secret_key):
        with pytest.raises(ValueError, match="no key"):
            load(b"\x01\x01")


def test_pairs_of_truncated_data() -> None:
    key = secret_key()
    pair = attest(key, 2, 2).bitpairs[0]
    data = pair.serialize()
    again = BitPairAttestation.unserialize(data + b"behind", key.p)
    assert (again.a, again.b, again.complement) == (pair.a, pair.b, pair.complement)
    with pytest.raises(IndexError):
        BitPairAttestation.unserialize(pack_pair(1, 2), key.p)


def test_relativity_of_a_value() -> None:
    assert sum(binary_relativity_sha256_4(b"v").values()) == 16
    assert [low < high for low, high in pairwise(sorted(binary_relativity_sha256_4(b"v")))] == [True] * 3
