"""Proofs that a number is in a range, and the proofs that they are made of."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from ipv8 import entropy
from ipv8.attestation.default_identity_formats import FORMATS
from ipv8.attestation.wallet.pengbaorange.algorithm import LARGE_INTEGER, PengBaoRangeAlgorithm, _safe_rndint
from ipv8.attestation.wallet.pengbaorange.attestation import create_attest_pair
from ipv8.attestation.wallet.pengbaorange.boudot import EL, SQR, _sipack, _siunpack, secure_randint
from ipv8.attestation.wallet.pengbaorange.structs import (
    PengBaoAttestation,
    PengBaoCommitmentPrivate,
    PengBaoPublicData,
)
from ipv8.attestation.wallet.primitives.boneh import generate_keypair
from ipv8.attestation.wallet.primitives.group import group_of
from ipv8.attestation.wallet.primitives.structs import BonehPrivateKey, BonehPublicKey, pack_pair, unpack_pair
from ipv8.attestation.wallet.primitives.value import FP2Value

from .vectors import SAMPLES, SECRET_KEY, TOY_KEY, VECTORS, secret_key, value

pytestmark = pytest.mark.usefixtures("arithmetic")

RANGE = "id_metadata_range_18plus"
COMMITMENTS = ("c", "c1", "c2", "ca", "ca1", "ca2", "ca3", "caa")


# Integers with signs

@pytest.mark.parametrize("case", VECTORS["sipack"])
def test_integers_with_signs(case: dict[str, Any]) -> None:
    numbers, packed = [int(number) for number in case["values"]], bytes.fromhex(case["packed"])
    assert _sipack(*numbers) == packed
    found, rest = _siunpack(packed + b"rest", len(numbers))
    assert (list(found), rest) == (numbers, b"rest")


def test_at_most_eight_integers_with_signs() -> None:
    assert list(_siunpack(_sipack(*range(-4, 4)), 8)[0]) == list(range(-4, 4))
    with pytest.raises(RuntimeError, match="8"):
        _sipack(*range(9))
    with pytest.raises(struct.error):
        _siunpack(b"\x00\x01\x01\x05", 2)


def test_random_integers() -> None:
    assert {secure_randint(3, 6) for _ in range(200)} == {3, 4, 5}
    with pytest.raises(ValueError, match="no random numbers"):
        secure_randint(3, 4)


# EL and SQR

@pytest.mark.parametrize("case", VECTORS["el"]["cases"])
def test_el_of_the_vectors(case: dict[str, Any]) -> None:
    key = secret_key(bytes.fromhex(VECTORS["el"]["secret_key"]))
    g1, h1, g2, h2, y1, y2 = (value(key.p, case[name]) for name in ("g1", "h1", "g2", "h2", "y1", "y2"))
    number, r1, r2 = (int(case[name]) for name in ("x", "r1", "r2"))
    for group in (None, group_of(key)):
        w, n1, n2 = (int(case[name]) for name in ("w", "n1", "n2"))
        proof = EL.from_random(number, r1, r2, (g1, h1, g2, h2), (w, n1, n2), group)
        assert proof == EL(*(int(case[name]) for name in ("c", "D", "D1", "D2")))
        assert proof.serialize().hex() == case["serialized"]
        assert EL.unserialize(proof.serialize() + b"x") == (proof, b"x")
        assert proof.check(g1, h1, g2, h2, y1, y2, group)
        assert not proof.check(g1, h1, g2, h2, y2, y1, group)
    assert str(proof) == f"EL<{case['c']},{case['D']},{case['D1']},{case['D2']}>"
    assert hash(proof) == 6976
    for wrong in (EL(proof.c + 1, proof.D, proof.D1, proof.D2), EL(proof.c, proof.D + 1, proof.D1, proof.D2),
                  EL(proof.c, proof.D, proof.D1 + 1, proof.D2), EL(proof.c, proof.D, proof.D1, -proof.D2)):
        assert not wrong.check(g1, h1, g2, h2, y1, y2)
        assert wrong != proof


@pytest.mark.parametrize("key_size", [32, 64])
def test_el_and_sqr_prove_what_they_say(key_size: int) -> None:
    key = generate_keypair(key_size)[1]
    group = group_of(key)
    g, h = key.g, key.h
    for number, r1, r2 in ((5, 7, 11), (0, 1, 2), (-3, -70, 11), (2**40, 2**80, -2**70)):
        one, two = group.value(group.commit(number, r1)), group.value(group.commit(number, r2))
        other = group.value(group.commit(number + 1, r2))
        proof = EL.create(number, r1, r2, g, h, g, h, 200, 32)
        assert proof.check(g, h, g, h, one, two)
        assert not proof.check(g, h, g, h, one, other)
        square = group.value(group.commit(number * number, r1))
        proof_of_square = SQR.create(number, r1, g, h, 200, 32)
        assert proof_of_square.check(g, h, square)
        assert not proof_of_square.check(g, h, group.value(group.commit(number * number + 1, r1)))
        again = SQR.unserialize(proof_of_square.serialize() + b"x")
        assert again == (proof_of_square, b"x")
        assert hash(proof_of_square) == 838182
        assert str(proof_of_square).startswith("SQR<")
        assert proof_of_square != proof


def test_random_numbers_of_proofs_are_long_enough_to_hide_what_they_should() -> None:
    """They used to be so short that a quotient of two numbers of the proof was the secret number."""
    key = secret_key()
    for number in range(0, 200, 13):
        proof = EL.create(number, 5, 6, key.g, key.h, key.g, key.h, 200, 32)
        assert proof.D // proof.c != number
        assert proof.D.bit_length() > 256 + 100
        assert proof.D1.bit_length() > 256 + 100 + key.p.bit_length()
    assert len({proof.D // proof.c for proof in (
        EL.create(7, 5, 6, key.g, key.h, key.g, key.h, 200, 32) for _ in range(20))}) == 20


def test_elements_that_honest_nodes_do_not_send_are_refused() -> None:
    key = secret_key()
    proof = EL.create(1, 2, 3, key.g, key.h, key.g, key.h, 5, 32)
    y = group_of(key).value(group_of(key).commit(1, 2))
    for bad in (FP2Value(key.p), FP2Value(key.p, 2), FP2Value(key.p, 1, 0, 0, 0, 0)):
        assert not proof.check(key.g, key.h, key.g, key.h, bad, y)
        assert not proof.check(bad, key.h, key.g, key.h, y, y)
    huge = EL(1, 1 << 500_000, 1, 1)
    assert not huge.check(key.g, key.h, key.g, key.h, y, y)  # exponents are reduced, so this takes no time


# Attestations

@pytest.mark.parametrize("case", VECTORS["pengbaorange"])
def test_attestations_of_the_vectors(case: dict[str, Any]) -> None:
    key = secret_key(bytes.fromhex(case["secret_key"]))
    public = PengBaoPublicData.unserialize(bytes.fromhex(case["public_blob"]))
    assert public[1] == b""
    data = public[0]
    for name in COMMITMENTS:
        assert getattr(data.commitment, name) == value(key.p, case["commitment"][name])
    assert data.el.serialize().hex() == case["el_serialized"]
    assert data.sqr1.serialize().hex() == case["sqr1_serialized"]
    assert data.sqr2.serialize().hex() == case["sqr2_serialized"]
    assert data.serialize().hex() == case["public_blob"]
    attestation = PengBaoAttestation.unserialize_private(key, bytes.fromhex(case["private_blob"]), RANGE)
    private = attestation.privatedata
    assert private is not None
    assert private.serialize().hex() == case["private_serialized"]
    assert {name: getattr(private, name) for name in case["private"]} == {
        name: int(number) for name, number in case["private"].items()}
    assert attestation.get_hash().hex() == case["attestation_hash"]
    assert attestation.serialize_private(attestation.PK).hex() == case["private_blob"]
    for challenge in case["challenges"]:
        s, t = int(challenge["s"]), int(challenge["t"])
        response = private.generate_response(s, t)
        assert response == tuple(int(challenge[name]) for name in "xyuv")
        assert data.check(case["min"], case["max"], s, t, *response)
        x, y, u, v = response
        for wrong in ((x + 1, y, u, v), (x, y + 1, u, v), (x, y, u + 1, v), (x, y, u, v + 1), (-x, y, u, v),
                      (0, y, u, v)):
            assert not data.check(case["min"], case["max"], s, t, *wrong)
        assert not data.check(case["min"] + 1, case["max"], s, t, *response)
        assert not data.check(case["min"], case["max"] - 1, s, t, *response)


@pytest.mark.parametrize("case", VECTORS["pengbaorange"])
def test_proofs_of_the_vectors_from_their_random_numbers(case: dict[str, Any]) -> None:
    key = secret_key(bytes.fromhex(case["secret_key"]))
    given = {name: int(number) for name, number in case["random"].items()}
    drawn = {name: int(number) for name, number in case["proof_random"].items()}
    names = {name: value(key.p, case["commitment"][name]) for name in COMMITMENTS}
    above = case["max"] - case["value"] + 1
    el = EL.from_random(above, -given["r"], given["ra"], (key.g, key.h, names["c1"], key.h),
                        (drawn["el.w"], drawn["el.n1"], drawn["el.n2"]))
    assert el.serialize().hex() == case["el_serialized"]
    field = group_of(key).field
    ca = field.multi_power(((names["c1"].to_element(), above), (key.h.to_element(), given["ra"])))
    assert FP2Value.of_element(key.p, ca) == names["ca"]
    w, raa = given["w"], given["raa_root"] ** 2
    caa = field.multi_power(((ca, w * w), (key.h.to_element(), raa)))
    assert FP2Value.of_element(key.p, caa) == names["caa"]
    root = field.multi_power(((ca, w), (key.h.to_element(), drawn["sqr1.r2"])))
    inner = EL.from_random(w, drawn["sqr1.r2"], raa - drawn["sqr1.r2"] * w,
                           (names["ca"], key.h, FP2Value.of_element(key.p, root), key.h),
                           (drawn["sqr1.w"], drawn["sqr1.n1"], drawn["sqr1.n2"]))
    assert SQR(FP2Value.of_element(key.p, root), inner).serialize().hex() == case["sqr1_serialized"]


def algorithm_of(**changes: Any) -> PengBaoRangeAlgorithm:
    return PengBaoRangeAlgorithm(RANGE, {RANGE: {**FORMATS[RANGE], **changes}})


def prove(algorithm: PengBaoRangeAlgorithm, key: BonehPrivateKey, blob: bytes) -> tuple[float, float]:
    """How certain it is that the number is in the range, and that it is not."""
    private = PengBaoAttestation.unserialize_private(key, blob, RANGE)
    public = PengBaoAttestation.unserialize(blob, RANGE)
    assert algorithm.is_for(public, key)
    aggregate = algorithm.create_certainty_aggregate(public)
    challenge, = algorithm.create_challenges(public.PK, public)
    response = algorithm.create_challenge_response(key, private, challenge)
    algorithm.process_challenge_response(aggregate, challenge, response)
    return algorithm.certainty(b"\x01", aggregate), algorithm.certainty(b"\x00", aggregate)


@pytest.mark.parametrize("number", [18, 19, 50, 199, 200])
def test_all_numbers_in_the_range(number: int) -> None:
    algorithm = algorithm_of()
    key = algorithm.generate_secret_key()
    assert prove(algorithm, key, algorithm.attest(key.public_key(), bytes((number,)))) == (1.0, 0.0)


@pytest.mark.parametrize("number", [0, 16, 17, 201, 202, 255, 70000])
def test_numbers_outside_of_the_range_are_refused_at_once(number: int) -> None:
    """For the numbers next to the ends, an attempt used to last for ever."""
    algorithm = algorithm_of()
    with pytest.raises(ValueError, match="is not in the range"):
        algorithm.attest(secret_key().public_key(), number.to_bytes(3, "big"))


def test_a_number_without_bytes() -> None:
    with pytest.raises(ValueError, match="no bytes"):
        algorithm_of().attest(secret_key().public_key(), b"")


@pytest.mark.parametrize(("first", "last"), [(0, 10), (0, 0), (5, 5), (1, 2), (0, 2**20)])
def test_other_ranges_and_unlucky_random_numbers(first: int, last: int) -> None:
    """Addends of the smallest products used to become negative now and then."""
    algorithm = algorithm_of(min=first, max=last)
    key = secret_key()
    for seed in range(40):
        with entropy.use(random.Random(seed)):
            for number in {first, last, (first + last) // 2}:
                pair = create_attest_pair(key, number, first, last, 32)
                private = pair.privatedata
                assert private is not None
                assert min(private.m1, private.m2, private.m3, private.r1, private.r2, private.r3) > 0
                s, t = LARGE_INTEGER + 7, LARGE_INTEGER + 9
                assert pair.publicdata.check(first, last, s, t, *private.generate_response(s, t))
    assert prove(algorithm, key, algorithm.attest(key.public_key(), bytes((last >> 16, last >> 8 & 255, last & 255)))
                 ) == (1.0, 0.0)


def test_samples() -> None:
    sample = SAMPLES[RANGE]
    key = secret_key(bytes.fromhex(sample["secret_key"]))
    assert prove(algorithm_of(), key, bytes.fromhex(sample["blob"])) == (1.0, 0.0)
    assert prove(algorithm_of(min=19), key, bytes.fromhex(sample["blob"])) == (0.0, 1.0)


@pytest.mark.parametrize("key_size", [32, 64, 104, 128])
def test_larger_keys(key_size: int) -> None:
    algorithm = algorithm_of(key_size=key_size)
    key = algorithm.generate_secret_key()
    assert prove(algorithm, key, algorithm.attest(key.public_key(), b"\x20")) == (1.0, 0.0)


def test_keys_that_are_too_large_for_the_private_part_are_named() -> None:
    algorithm = algorithm_of(key_size=160)
    with pytest.raises(ValueError, match="smaller key_size"):
        algorithm.attest(algorithm.generate_secret_key().public_key(), b"\x20")


def test_small_challenges_are_refused_with_random_numbers() -> None:
    algorithm, key = algorithm_of(), secret_key()
    blob = algorithm.attest(key.public_key(), b"\x20")
    private, public = PengBaoAttestation.unserialize_private(key, blob), PengBaoAttestation.unserialize(blob)
    for challenge in (pack_pair(0, 0), pack_pair(1, LARGE_INTEGER), pack_pair(LARGE_INTEGER, LARGE_INTEGER - 1)):
        responses = {algorithm.create_challenge_response(key, private, challenge) for _ in range(3)}
        assert len(responses) == 3
        aggregate = algorithm.create_certainty_aggregate(public)
        algorithm.process_challenge_response(aggregate, challenge, responses.pop())
        assert algorithm.certainty(b"\x01", aggregate) == 0
    with pytest.raises(ValueError, match="private part"):
        algorithm.create_challenge_response(key, public, pack_pair(40000, 40000))


@pytest.mark.parametrize("response", [b"", b"\x01", pack_pair(1, 2), pack_pair(1, 2) + b"\x01\x01", b"\xff" * 50])
def test_responses_that_are_none(response: bytes) -> None:
    algorithm = algorithm_of()
    attestation = PengBaoAttestation.unserialize(bytes.fromhex(SAMPLES[RANGE]["blob"]))
    aggregate = algorithm.create_certainty_aggregate(attestation)
    algorithm.process_challenge_response(aggregate, pack_pair(40000, 40000), response)
    assert algorithm.certainty(b"\x01", aggregate) == 0


def test_certainty_without_results() -> None:
    algorithm = algorithm_of()
    assert not algorithm.honesty_check
    for aggregate in (algorithm.create_certainty_aggregate(None), {}):
        assert algorithm.certainty(b"\x01", aggregate) == 0
        assert algorithm.certainty(b"\x00", aggregate) == 1
    aggregate = algorithm.create_certainty_aggregate(None)
    algorithm.process_challenge_response(aggregate, pack_pair(40000, 40000), pack_pair(1, 2) + pack_pair(3, 4))
    assert algorithm.certainty(b"\x01", aggregate) == 0


def test_challenges_that_would_have_a_long_response() -> None:
    algorithm, key = algorithm_of(), secret_key()
    private = PengBaoAttestation.unserialize_private(key, algorithm.attest(key.public_key(), b"\x20"))
    for challenge in (pack_pair(1 << 5000, 40000), pack_pair(40000, 1 << key.p.bit_length())):
        with pytest.raises(ValueError, match="below the modulus"):
            algorithm.create_challenge_response(key, private, challenge)
    assert algorithm.create_challenge_response(key, private, pack_pair(key.p - 1, key.p - 1))


def test_keys_without_numbers_for_challenges() -> None:
    algorithm = algorithm_of()
    for p in (29, 32771, 65519):
        key = BonehPublicKey(p, FP2Value(p, p - 1), FP2Value(p, p - 1))
        with pytest.raises(ValueError, match="too small"):
            algorithm.check_public_key(key)
    for mod in (28, LARGE_INTEGER):
        with pytest.raises(ValueError, match="larger one"):
            _safe_rndint(32, mod)
    assert _safe_rndint(32, LARGE_INTEGER + 1) == LARGE_INTEGER


def test_challenges_have_large_random_numbers() -> None:
    algorithm = algorithm_of()
    s, t, rest = unpack_pair(algorithm.create_challenges(secret_key(), None)[0])  # type: ignore[arg-type] # not used
    assert min(s, t) >= LARGE_INTEGER
    assert rest == b""
    assert _safe_rndint(32, 2**40) < 2**32


def test_private_numbers_for_another_key_or_truncated() -> None:
    algorithm, key = algorithm_of(), secret_key()
    blob = algorithm.attest(key.public_key(), b"\x20")
    with pytest.raises(ValueError, match="another key"):
        PengBaoAttestation.unserialize_private(generate_keypair(32)[1], blob)
    with pytest.raises(ValueError, match="truncated"):
        PengBaoAttestation.unserialize_private(key, blob[:-30])
    with pytest.raises(ValueError, match="missing"):
        PengBaoAttestation.unserialize_private(key, PengBaoAttestation.unserialize(blob).serialize())
    with pytest.raises(AssertionError, match="private part"):
        PengBaoAttestation.unserialize(blob).serialize_private(key.public_key())


def test_private_numbers_are_encoded_anew_for_another_key() -> None:
    key, other = secret_key(), generate_keypair(32)[1]
    attestation = PengBaoAttestation.unserialize_private(
        key, algorithm_of().attest(key.public_key(), b"\x20"))
    blob = attestation.serialize_private(other.public_key())
    rest = PengBaoPublicData.unserialize(blob)[1]
    private = attestation.privatedata
    assert private is not None
    assert PengBaoCommitmentPrivate.decode(other, rest).serialize() == private.serialize()


@pytest.mark.parametrize(("changes", "error"), [
    ({"algorithm": "other"}, "wrong algorithm"), ({"key_size": 31}, "Illegal key size"),
    ({"key_size": 513}, "Illegal key size")])
def test_wrong_formats(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(RuntimeError, match=error):
        algorithm_of(**changes)
    for missing in ("min", "max", "key_size", "algorithm"):
        with pytest.raises(KeyError):
            PengBaoRangeAlgorithm(RANGE, {RANGE: {name: given for name, given in FORMATS[RANGE].items()
                                                  if name != missing}})


def test_what_is_not_offered() -> None:
    algorithm = algorithm_of()
    with pytest.raises(NotImplementedError):
        algorithm.import_blob(b"")
    with pytest.raises(NotImplementedError):
        algorithm.create_honesty_challenge(secret_key(), 1)
    with pytest.raises(NotImplementedError):
        algorithm.process_honesty_challenge(1, b"")
    assert algorithm.create_check_challenge(None, None, 0, b"") is None


def test_commitments_of_another_modulus_are_refused() -> None:
    blob = bytes.fromhex(SAMPLES[RANGE]["public_blob"])
    data = PengBaoPublicData.unserialize(blob)[0]
    data.commitment.ca1 = FP2Value(29, 5, 6)
    assert not data.check(18, 200, 40000, 40000, 1, 2, 3, 4)
    toy = secret_key(TOY_KEY)
    data = PengBaoPublicData.unserialize(blob)[0]
    data.sqr1.F = FP2Value(toy.p, 1, 2)
    assert not data.check(18, 200, 40000, 40000, 1, 2, 3, 4)
    assert secret_key(SECRET_KEY).p != toy.p
