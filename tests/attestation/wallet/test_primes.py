"""Prime numbers."""

from __future__ import annotations

import random

import pytest

from ipv8 import entropy
from ipv8.attestation.wallet.primitives.primes import (
    _is_strong_lucas_probable_prime,
    _is_strong_probable_prime,
    is_prime,
    random_prime,
    random_safe_prime,
)

pytestmark = pytest.mark.usefixtures("arithmetic")


def test_small_numbers() -> None:
    sieve = bytearray(b"\1" * 10000)
    sieve[:2] = b"\0\0"
    for number in range(2, 100):
        if sieve[number]:
            sieve[number * number::number] = bytes(len(range(number * number, 10000, number)))
    assert [is_prime(number) for number in range(10000)] == [bool(flag) for flag in sieve]


@pytest.mark.parametrize("prime", [
    4_000_037, 2**31 - 1, 2**61 - 1, 2**64 - 59, 2**89 - 1, 2**127 - 1, 2**255 - 19, 2**521 - 1])
def test_large_primes(prime: int) -> None:
    assert is_prime(prime)


@pytest.mark.parametrize("composite", [
    2047 * 2003, 3215031751, 3474749660383, 341550071728321, 3825123056546413051,  # strong pseudoprimes to small bases
    5459 * 5777, 58519 * 75077,  # products of numbers that are special to Lucas tests
    825265 * 321197185, (2**31 - 1) ** 2, (2**61 - 1) ** 2, (2**61 - 1) * (2**89 - 1), 2**127 + 1, -7, 0, 1])
def test_composite_numbers(composite: int) -> None:
    assert not is_prime(composite)


def test_each_half_of_the_test_is_needed_and_passes_all_primes() -> None:
    assert _is_strong_probable_prime(2047, 2)  # 23 * 89
    assert not _is_strong_lucas_probable_prime(2047)
    assert _is_strong_lucas_probable_prime(5459)  # 53 * 103
    assert not _is_strong_probable_prime(5459, 2)
    for prime in (2**31 - 1, 2**61 - 1, 2**89 - 1):
        assert _is_strong_probable_prime(prime, 2)
        assert _is_strong_lucas_probable_prime(prime)


@pytest.mark.parametrize("bits", [3, 4, 5, 8, 16, 23, 24, 32, 64, 96, 128])
def test_safe_primes(bits: int) -> None:
    with entropy.use(random.Random(bits)):
        for _ in range(3):
            prime = random_safe_prime(bits)
            assert prime.bit_length() == bits
            assert is_prime(prime)
            assert is_prime(prime // 2)
            assert bits < 8 or prime >> bits - 2 == 3


@pytest.mark.parametrize("bits", [2, 3, 10, 64, 512])
def test_random_primes(bits: int) -> None:
    with entropy.use(random.Random(bits)):
        prime = random_prime(bits)
    assert prime.bit_length() == bits
    assert is_prime(prime)


def test_too_few_bits() -> None:
    with pytest.raises(ValueError, match="three bits"):
        random_safe_prime(2)
    with pytest.raises(ValueError, match="two bits"):
        random_prime(1)


def test_all_safe_primes_of_a_size_are_found() -> None:
    found = {random_safe_prime(8) for _ in range(300)}
    assert found == {227}  # the only one whose two highest bits are set
    assert {random_safe_prime(5) for _ in range(100)} == {23}
