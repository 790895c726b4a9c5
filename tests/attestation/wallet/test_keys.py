"""Integers as bytes, keys, and the codes of numbers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ipv8.attestation.wallet.primitives.attestation import sha256_4_as_int, sha256_as_int, sha512_as_int, to_ascii
from ipv8.attestation.wallet.primitives.boneh import (
    decode,
    encode,
    generate_keypair,
    generate_prime,
    generate_primes,
    get_good_wp,
    get_random_base,
    get_random_exponentiation,
    is_good_wp,
)
from ipv8.attestation.wallet.primitives.group import group_of
from ipv8.attestation.wallet.primitives.primes import is_prime
from ipv8.attestation.wallet.primitives.structs import (
    BonehPrivateKey,
    BonehPublicKey,
    ipack,
    iunpack,
    pack_pair,
    unpack_all,
    unpack_pair,
)
from ipv8.attestation.wallet.primitives.value import FP2Value

from .vectors import TOY_KEY, VECTORS, secret_key, value

pytestmark = pytest.mark.usefixtures("arithmetic")

either_kind = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


# Integers

@pytest.mark.parametrize("case", VECTORS["ipack"])
def test_packed_integers(case: dict[str, str]) -> None:
    number, packed = int(case["int"]), bytes.fromhex(case["packed"])
    assert ipack(number) == packed
    assert iunpack(packed + b"rest") == (number, b"rest")


@pytest.mark.parametrize("case", VECTORS["iunpack_lenient"])
def test_truncated_integers(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["data"])
    assert iunpack(data) == (int(case["int"]), bytes.fromhex(case["rest"]))
    assert unpack_all(data, 1) == [int(case["int"])]


@pytest.mark.parametrize("case", VECTORS["pack_pair"])
def test_pairs(case: dict[str, str]) -> None:
    a, b, packed = int(case["a"]), int(case["b"]), bytes.fromhex(case["packed"])
    assert pack_pair(a, b) == packed
    assert unpack_pair(packed + b"x") == (a, b, b"x")


def test_what_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="from zero on"):
        ipack(-1)
    with pytest.raises(struct.error):
        iunpack(b"")
    with pytest.raises(struct.error):
        unpack_pair(ipack(5))


@given(st.lists(st.integers(0, 2**3000), max_size=5), st.binary(max_size=20))
@either_kind
def test_integers_round_trip(numbers: list[int], rest: bytes) -> None:
    packed = b"".join(map(ipack, numbers))
    assert unpack_all(packed) == numbers
    left = packed + rest
    for number in numbers:
        found, left = iunpack(left)
        assert found == number
    assert left == rest


@given(st.binary(max_size=100))
@either_kind
def test_any_bytes_are_integers(data: bytes) -> None:
    numbers, left = [], data
    while left:
        number, left = iunpack(left)
        numbers.append(number)
    assert unpack_all(data) == numbers


@pytest.mark.parametrize("case", VECTORS["hash_as_int"])
def test_hashes(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["value"])
    assert sha256_4_as_int(data) == int(case["sha256_4"])
    assert sha256_as_int(data) == int(case["sha256"])
    assert sha512_as_int(data) == int(case["sha512"])
    assert sha256_as_int(data.decode("latin-1")) == int(case["sha256"])
    assert to_ascii("ÿ") == b"\xff"


# Keys

@pytest.mark.parametrize("case", VECTORS["secret_keys"])
def test_keys_of_the_vectors(case: dict[str, str]) -> None:
    key = secret_key(bytes.fromhex(case["serialized"]))
    assert (key.p, key.n, key.t1) == (int(case["p"]), int(case["n"]), int(case["t1"]))
    assert key.serialize().hex() == case["serialized"]
    assert key.public_key().serialize().hex() == case["public"]
    assert type(key.public_key()) is BonehPublicKey
    assert str(key.t1) not in repr(key)
    assert (key.p + 1) % key.n == 0
    assert key.g.intpow(key.n) == key.h.intpow(key.t1) == FP2Value(key.p, 1)


def test_no_key() -> None:
    for kind in (BonehPublicKey, BonehPrivateKey):
        assert kind.unserialize(b"wowiuuorfuuj") is None
        assert kind.unserialize(b"") is None
        assert kind.unserialize(ipack(0) * 7) is None
    assert BonehPrivateKey.unserialize(secret_key().public_key().serialize()) is None
    public = BonehPublicKey.unserialize(secret_key().serialize() + b"behind")
    assert public is not None
    assert public.serialize() == secret_key().public_key().serialize()


def test_keys_with_any_modulus() -> None:
    key = BonehPublicKey(35, FP2Value(35, 40, 71), FP2Value(35, 2, 3))
    again = BonehPublicKey.unserialize(key.serialize())
    assert again is not None
    assert (again.p, again.g, again.h) == (35, FP2Value(35, 5, 1), FP2Value(35, 2, 3))


@pytest.mark.parametrize("case", VECTORS["generate_prime"])
def test_generate_prime(case: list[str]) -> None:
    assert generate_prime(int(case[0])) == int(case[1])


def test_generated_primes_are_the_smallest() -> None:
    for n in range(1, 60):
        p = generate_prime(n)
        assert is_prime(p)
        assert p % 3 == 2
        assert (p + 1) % n == 0
        assert not any(is_prime(i * n - 1) and (i * n - 1) % 3 == 2 for i in range(1, (p + 1) // n))


@pytest.mark.parametrize("key_size", [16, 32, 64, 96])
def test_generated_keys(key_size: int) -> None:
    public, private = generate_keypair(key_size)
    t1, t2 = private.t1, private.n // private.t1
    unit = FP2Value(private.p, 1)
    assert t1 * t2 == private.n
    assert t1 < t2
    for prime in (t1, t2):
        assert prime.bit_length() == key_size
        assert is_prime(prime)
        assert is_prime(prime // 2)
    assert is_prime(private.p)
    assert private.g.intpow(private.n) == unit
    assert unit not in (private.g.intpow(t1), private.g.intpow(t2), private.h)
    assert private.h.intpow(t1) == unit
    assert all(type(number) is int for number in private._numbers()), "keys are the same without gmpy2"
    assert decode(private, [0, 1, 2], encode(public, 2)) == 2
    one, two = generate_primes(key_size)
    assert one < two


def test_good_values() -> None:
    p, good = get_good_wp(10)
    assert p == 29
    assert is_good_wp(10, good)
    assert not is_good_wp(10, FP2Value(29, 1))
    assert not is_good_wp(10, FP2Value(29))
    assert not is_good_wp(10, FP2Value(29, 2))
    assert all(2 <= number < 10 for _ in range(50) for number in get_random_base(10))
    assert get_random_exponentiation(good, 29) != FP2Value(29, 1)


# Codes

@pytest.mark.parametrize("case", VECTORS["encode"]["cases"])
def test_codes_of_the_vectors(case: dict[str, str]) -> None:
    key = secret_key(bytes.fromhex(VECTORS["encode"]["secret_key"]))
    group = group_of(key)
    code = value(key.p, case["out"])
    assert group.value(group.commit(int(case["m"]), int(case["r"]))) == code
    expected = case["decode_0_1_2"]
    assert decode(key, [0, 1, 2], code) == (None if expected is None else int(expected))


@pytest.mark.parametrize("key_size", [16, 32, 64, 300])
def test_codes_are_decoded_and_added_up(key_size: int) -> None:
    public, private = generate_keypair(key_size) if key_size < 300 else (None, None)
    if public is None or private is None:
        private = secret_key(bytes.fromhex(VECTORS["secret_keys"][-1]["serialized"]))
        public = private.public_key()
    for number in (0, 1, 2, 3, 100, 255, 1023, 1024, 5000):
        assert decode(private, [7, number, 1], encode(public, number)) == number
    assert encode(public, 0) != encode(public, 0)
    assert decode(private, [0], encode(public, 1)) is None
    assert decode(private, range(5), encode(public, 1) * encode(public, 3)) == 4
    assert decode(private, [0, 1, 2], encode(public, -1)) is None, "the conjugate of a code of 1 is not 1"
    assert decode(private, [0, -1], encode(public, -1)) == -1


def test_what_is_no_code() -> None:
    key = secret_key()
    assert decode(key, [0, 1, 2], FP2Value(key.p)) is None
    assert decode(key, [0, 1, 2], FP2Value(key.p, 5, 7)) is None
    assert decode(key, [0, 1, 2], FP2Value(key.p, 1, 0, 0, 0, 0)) is None
    assert decode(key, [2, 0], FP2Value(key.p, 1)) == 0


def test_a_key_whose_numbers_are_changed() -> None:
    first, second = secret_key(), generate_keypair(32)[1]
    code = encode(first, 1)
    assert decode(first, [0, 1], code) == 1
    first.p, first.g, first.h, first.t1 = second.p, second.g, second.h, second.t1
    assert decode(first, [0, 1, 2], encode(second, 2)) == 2
    assert decode(second, [0, 1, 2], encode(first, 2)) == 2


def test_keys_that_hide_nothing_do_not_draw_for_ever() -> None:
    minus_one = FP2Value(5, 4)
    for h in (minus_one, FP2Value(5, 1)):
        with pytest.raises(ValueError, match="too small"):
            encode(BonehPublicKey(5, FP2Value(5, 0, 1), h), 1)
    with pytest.raises(ValueError, match="larger order"):
        get_random_exponentiation(minus_one, 5)


def test_toy_keys() -> None:
    key = secret_key(TOY_KEY)
    assert (key.p, key.n, key.t1) == (29, 15, 3)
    for _ in range(50):
        assert decode(key, [0, 1, 2, 3], encode(key, 3)) == 3
