"""Prime numbers: a test, and how random ones are found.

The test is that of R. Baillie and S. S. Wagstaff, "Lucas Pseudoprimes", Mathematics of Computation 35 (1980), known as
Baillie-PSW: a strong probable prime test to base 2, and a strong Lucas test. Below 2**64 it makes no mistake, and no
composite number is known that passes it.

A safe prime is a prime ``p`` for which ``(p - 1) / 2`` is prime as well. Candidates are sieved by small primes: of the
candidate and of its half at the same time. Then a single Fermat test of the candidate proves it, given that its half is
prime (H. C. Pocklington, 1914).
"""

from __future__ import annotations

from math import gcd, isqrt

from .... import entropy
from .integers import big

__all__ = ["is_prime", "random_prime", "random_safe_prime"]

SIEVE_BOUND = 2000
"""Candidates are divided by all primes below this number."""


def _primes_below(bound: int) -> list[int]:
    composite = bytearray(bound)
    primes = []
    for number in range(2, bound):
        if not composite[number]:
            primes.append(number)
            composite[number * number::number] = b"\1" * len(range(number * number, bound, number))
    return primes


SMALL_PRIMES = _primes_below(SIEVE_BOUND)
_PRODUCT = 1
for _prime in SMALL_PRIMES:
    _PRODUCT *= _prime


def _is_strong_probable_prime(number: int, base: int) -> bool:
    """The test of G. L. Miller and M. O. Rabin for an odd number."""
    shift = ((number - 1) & (1 - number)).bit_length() - 1
    power = pow(base, (number - 1) >> shift, number)
    if power in (1, number - 1):
        return True
    for _ in range(shift - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def _jacobi(a: int, n: int) -> int:
    """The Jacobi symbol (a/n) of an odd positive ``n``."""
    a %= n
    sign = 1
    while a:
        twos = (a & -a).bit_length() - 1
        a >>= twos
        if twos & 1 and n & 7 in (3, 5):
            sign = -sign
        if a & n & 3 == 3:
            sign = -sign
        a, n = n % a, a
    return sign if n == 1 else 0


def _is_strong_lucas_probable_prime(number: int) -> bool:
    """The strong Lucas test for an odd number, with the parameters that J. L. Selfridge proposed."""
    discriminant = 5
    while (symbol := _jacobi(discriminant, number)) != -1:
        if symbol == 0 and abs(discriminant) % number:
            return False
        if discriminant == 21 and isqrt(number) ** 2 == number:
            return False  # no discriminant is found for a square
        discriminant = -discriminant - 2 if discriminant > 0 else 2 - discriminant
    n = big(number)
    q = (1 - discriminant) // 4
    shift = ((number + 1) & -(number + 1)).bit_length() - 1
    # u, v: members of the Lucas sequences of 1 and q, doubled along the bits of the index; power: q to that index.
    u, v, power = big(1), big(1), big(q) % n
    for bit in bin((number + 1) >> shift)[3:]:
        u, v, power = u * v % n, (v * v - 2 * power) % n, power * power % n
        if bit == "1":
            u, v = u + v, discriminant * u + v
            u, v = (u + n if u & 1 else u) // 2 % n, (v + n if v & 1 else v) // 2 % n
            power = power * q % n
    if u == 0 or v == 0:
        return True
    for _ in range(shift - 1):
        v, power = (v * v - 2 * power) % n, power * power % n
        if v == 0:
            return True
    return False


def is_prime(number: int) -> bool:
    """Whether ``number`` is prime."""
    if number < SIEVE_BOUND ** 2:
        return number > 1 and all(number % prime for prime in SMALL_PRIMES if prime * prime <= number)
    if gcd(number, _PRODUCT) != 1:
        return False
    return _is_strong_probable_prime(big(number), 2) and _is_strong_lucas_probable_prime(number)


def random_prime(bits: int) -> int:
    """A random prime of exactly ``bits`` bits, of which the two highest are set if there are more than two."""
    if bits < 2:
        raise ValueError("the smallest prime has two bits")
    while True:
        candidate = entropy.randbits(bits) | 1 << bits - 1 | (1 << bits - 2 if bits > 2 else 0)
        if is_prime(candidate | 1 if bits > 2 else candidate):
            return candidate | 1 if bits > 2 else candidate


def random_safe_prime(bits: int) -> int:
    """A random safe prime of exactly ``bits`` bits, of which the two highest are set from 8 bits on."""
    if bits < 3:
        raise ValueError("the smallest safe prime has three bits")
    if bits < 24:
        while True:
            half = entropy.randbits(bits - 1) | 1 << bits - 2 | (1 << bits - 3 if bits >= 8 else 0)
            if is_prime(half) and is_prime(2 * half + 1):
                return 2 * half + 1
    span = 16 * bits  # the mean distance of safe primes is about 0.37 * bits**2, so that several spans are sieved
    while True:
        start = entropy.randbits(bits - 1) | 3 << bits - 3 | 1
        for offset in _halves_without_small_factors(start, span):
            half = start + 2 * offset
            if half >> bits - 1:
                break
            candidate = 2 * half + 1
            if pow(2, half - 1, half) == 1 and pow(2, candidate - 1, candidate) == 1 and is_prime(half):
                return candidate


def _halves_without_small_factors(start: int, span: int) -> list[int]:
    """Offsets ``i < span``, for which neither ``h = start + 2 * i`` nor ``2 * h + 1`` has a small factor."""
    crossed = bytearray(span)
    for prime in SMALL_PRIMES[1:]:
        inverse = (prime + 1) // 2
        remainder = start % prime
        for first in (-remainder * inverse % prime, (-(2 * remainder + 1) * inverse * inverse) % prime):
            crossed[first::prime] = b"\1" * len(range(first, span, prime))
    return [offset for offset in range(span) if not crossed[offset]]
