"""Encoding of small numbers, so that codes can be added up without decoding them.

From D. Boneh, E.-J. Goh, K. Nissim, "Evaluating 2-DNF Formulas on Ciphertexts", TCC 2005, in the multiplicative group
of the field with p**2 elements. The product of two codes is a code of the sum.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from .... import entropy
from .ec import weilpairing
from .field import ONE, Element, Field, field_of
from .group import DRAWS, decoder_of, group_of
from .primes import is_prime, random_prime, random_safe_prime
from .structs import BonehPrivateKey, BonehPublicKey
from .value import FP2Value

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FP2Value", "bilinear_group", "decode", "encode", "generate_keypair", "generate_prime", "generate_primes",
           "get_good_wp", "get_random_base", "get_random_exponentiation", "is_good_wp"]

SAFE_PRIME_BITS = 512
"""From this size on, ordinary primes are used, as safe ones take too long to find."""


def generate_primes(key_size: int = 128) -> tuple[int, int]:
    """Two different primes of ``key_size`` bits, the smaller one first; safe primes below 512 bits."""
    draw = random_safe_prime if key_size < SAFE_PRIME_BITS else random_prime
    while True:
        one, two = draw(key_size), draw(key_size)
        if one != two:
            return min(one, two), max(one, two)


def generate_prime(n: int) -> int:
    """The smallest prime that is 2 modulo 3 and one less than a multiple of ``n``."""
    step = 3 // gcd(n, 3)
    if n * step % 2 and n * step != 3:
        step *= 2
    candidate = step * n - 1
    while not (candidate % 3 == 2 and is_prime(candidate)):
        candidate += step * n
    return candidate


def bilinear_group(n: int, p: int, g1x: int, g1y: int, g2x: int, g2y: int) -> FP2Value:
    """The Weil pairing of order ``n`` of ``(g1x, g1y)`` and ``(g2x * x, g2y)``; 0 where there is none."""
    try:
        return weilpairing(p, n, (FP2Value(p, g1x), FP2Value(p, g1y)), (FP2Value(p, b=g2x), FP2Value(p, g2y)),
                           (FP2Value(p), FP2Value(p)))
    except (ArithmeticError, ValueError):
        return FP2Value(p)


def is_good_wp(n: int, wp: FP2Value) -> bool:
    """Whether the order of a value divides ``n``, and the value is neither 0 nor 1."""
    element = wp.to_element()
    return element not in (ONE, (0, 0)) and field_of(wp.mod).power(element, n + 1) == element


def get_random_base(n: int) -> tuple[int, int]:
    """Two random numbers in 2 … n - 1."""
    return entropy.randint(2, n - 1), entropy.randint(2, n - 1)


def _random_of_order(field: Field, n: int) -> Element:
    """A random element other than 1, whose order divides ``n``, which divides ``p + 1``.

    The quotient of a random element and its conjugate has norm 1, and all elements of norm 1 are as probable. A pairing
    gives the same elements, and takes a hundred times as long.
    """
    p = int(field.p)
    while True:
        a, b = entropy.randint(0, p - 1), entropy.randint(1, p - 1)
        try:
            unitary = field.multiply(field.conjugate((a, b)), field.inverse((a, b)))
        except ZeroDivisionError:
            continue
        element = field.power(unitary, (p + 1) // n)
        if element != ONE:
            return element


def get_good_wp(n: int, p: int | None = None) -> tuple[int, FP2Value]:
    """A modulus, ``generate_prime(n)`` unless it is given, and a random value for which :func:`is_good_wp` holds."""
    if p is None:
        p = generate_prime(n)
    return p, FP2Value.of_element(p, _random_of_order(field_of(p), n))


def get_random_exponentiation(p: FP2Value, n: int) -> FP2Value:
    """``p`` to the power of a random number in 4 … n - 1, but not 1; ``ValueError`` if nearly all of these are 1."""
    for _ in range(DRAWS):
        power = p.intpow(entropy.randint(4, n - 1))
        if power != FP2Value(p.mod, 1):
            return power
    raise ValueError(f"the powers of {p} are 1: take a value of a larger order")


def generate_keypair(key_size: int = 32) -> tuple[BonehPublicKey, BonehPrivateKey]:
    """A new key.

    :param key_size: bits of each of the two primes whose product is the order of the group. Whoever factors that
        product has the private key, which is easy below some hundred bits (doc/attestation.md).
    """
    t1, t2 = generate_primes(key_size)
    n = t1 * t2
    p = generate_prime(n)
    field = field_of(p)
    while True:
        g, u = _random_of_order(field, n), _random_of_order(field, n)
        h = field.power(u, t2)
        if h != ONE and field.power(g, t1) != ONE and field.power(g, t2) != ONE:
            break
    private_key = BonehPrivateKey(p, FP2Value.of_element(p, g), FP2Value.of_element(p, h), n, t1)
    return private_key.public_key(), private_key


def encode(pubkey: BonehPublicKey, m: int) -> FP2Value:
    """A code of the number ``m``, another one each time."""
    group = group_of(pubkey)
    return group.value(group.encode(m))


def decode(privkey: BonehPrivateKey, msgspace: Sequence[int], c: FP2Value) -> int | None:
    """The first number of ``msgspace`` that a code stands for, ``None`` if it is none of them."""
    try:
        return decoder_of(privkey).decode(msgspace, c.to_element())
    except ZeroDivisionError:  # it is no code
        return None
