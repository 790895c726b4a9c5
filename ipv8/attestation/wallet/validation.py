"""What is wrong with keys: those of formats, and those that come from the network.

Keys that programs make or load for themselves are not checked; they may be of any size and composition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from .primitives.field import field_of

if TYPE_CHECKING:
    from .primitives.structs import BonehPublicKey

__all__ = ["KeyRefusedError", "check_key_size", "check_public_key", "load_key"]

KeyT = TypeVar("KeyT", bound="BonehPublicKey")

SMALLEST_KEY_SIZE, LARGEST_KEY_SIZE = 32, 512
"""Bits of each of the two primes."""

MAX_MODULUS_BITS = 4096
"""Bits of the modulus of a key from the network, whatever its format is."""

SMALLEST_MODULUS = 8
"""Smaller ones leave no choice of random numbers that hide something."""

MAX_SPARE_BITS = 40
"""Bits by which a modulus may be longer than the product of the two primes. Honest ones have less than 20."""


SPARE_BITS = 8
"""The usual number of such bits."""


def largest_integer(key_size: int) -> int:
    """Bytes that an integer modulo the modulus of a key takes at most."""
    return (2 * key_size + MAX_SPARE_BITS) // 8 + 4


class KeyRefusedError(ValueError):
    """A key from the network is not used."""


def check_key_size(key_size: int) -> int:
    """The ``key_size`` of a format; ``RuntimeError`` if there is no such size."""
    if not SMALLEST_KEY_SIZE <= key_size <= LARGEST_KEY_SIZE:
        raise RuntimeError("Illegal key size specified")
    return key_size


def load_key(kind: type[KeyT], serialized: bytes) -> KeyT:
    """The key in bytes; ``ValueError`` if there is none."""
    key = kind.unserialize(serialized)
    if key is None:
        raise ValueError("the bytes are no key of this algorithm")
    return key


def estimate_generation(key_size: int) -> float:
    """About how many microseconds it takes to make a key."""
    return 500 + key_size ** 3 / 200


def check_public_key(key: BonehPublicKey, key_size: int) -> None:
    """Refuse a key with which an attestation would take long, or make no sense.

    Shorter keys than those of the format are accepted, as its own keys are as easily broken. Algorithms may refuse the
    shortest ones.

    :param key_size: that of the format for which it is to be used.
    :raises KeyRefusedError: if it is refused.
    """
    if key.p < SMALLEST_MODULUS:
        raise KeyRefusedError(f"a modulus of {key.p} is too small")
    bits = key.p.bit_length()
    if bits > min(MAX_MODULUS_BITS, 2 * key_size + MAX_SPARE_BITS):
        raise KeyRefusedError(f"a modulus of {bits} bits is too long for this format")
    field = field_of(key.p)
    g, h = key.g.to_element(), key.h.to_element()
    if g == (1, 0) or h == (1, 0) or field.norm(g) != 1 or field.norm(h) != 1:
        raise KeyRefusedError("g and h must be of norm 1, and not 1")
    if not field.is_field:
        raise KeyRefusedError("the modulus must be a prime that is 2 modulo 3")
