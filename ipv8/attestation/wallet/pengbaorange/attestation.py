"""Attesting that a number is in a range.

From K. Peng, F. Bao, "An Efficient Range Proof Scheme", IEEE PASSAT 2010. The product of the distances of the number
from both ends of the range, times a square, is split into three addends that the subject is asked about.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from .... import entropy
from ....reexports import reexports
from ..primitives.group import group_of
from .boudot import EL, SQR
from .structs import PengBaoAttestation, PengBaoCommitment, PengBaoCommitmentPrivate, PengBaoPublicData

if TYPE_CHECKING:
    from ..primitives.field import Element
    from ..primitives.structs import BonehPublicKey
    from ..primitives.value import FP2Value

__all__ = ["create_attest_pair"]

SMALLEST_ROOT = 1 << 16
"""The smallest random number whose square hides a product."""


def _drawn(bits: int, below: int) -> int:
    """A random number of at most ``bits`` bits, greater than zero and less than ``below``, which is more than one."""
    while True:
        number = entropy.randbits(bits) % below
        if number:
            return number


def _split(product: int, bits: int) -> tuple[int, int, int]:
    """Three addends that are greater than zero, of which the last one is the square of the second result."""
    root = _drawn(bits, isqrt(product) - 1)
    rest = product - root * root
    first = _drawn(bits, rest)
    return first, root, rest - first


def check_range(value: int, a: int, b: int) -> int:
    """``value``; ``ValueError`` if it is not in ``a`` … ``b``."""
    if not a <= value <= b:
        raise ValueError(f"the number is not in the range from {a} to {b} that was to be attested")
    return value


def create_attest_pair(PK: BonehPublicKey, value: int, a: int, b: int,  # noqa: N803 - a public name
                       bitspace: int) -> PengBaoAttestation:
    """Attest that ``value`` is in ``a`` … ``b``, for the owner of a key.

    :param bitspace: bits of the random numbers.
    :raises ValueError: if ``value`` is not in the range.
    """
    check_range(value, a, b)
    bits = bitspace // 8 * 8
    group = group_of(PK)
    field, g, h = group.field, PK.g, PK.h
    below, above = value - a + 1, b - value + 1  # distances from the ends, at least 1

    r, ra = entropy.randbits(bits), entropy.randbits(bits)
    raa = entropy.randbits(bitspace // 16 * 8) ** 2
    w = entropy.randint(SMALLEST_ROOT, max((1 << bits) - 1, 2 * SMALLEST_ROOT))
    c = group.commit(value, r)
    c1 = group.commit(below, r)
    c2 = field.multiply(group.g.power(b + 1), field.inverse(c))
    ca = group.multi_power(((c1, above), (group.h.base, ra)))
    caa = group.multi_power(((ca, w * w), (group.h.base, raa)))

    m1, m4, m2 = _split(w * w * below * above, bits)
    total = w * w * (above * r + ra) + raa
    r1, r2 = (_drawn(8 * (bitspace // 8) ** 2, max(total // 2 - 1, 2)) for _ in range(2))
    r3 = total - r1 - r2
    ca1, ca2 = group.commit(m1, r1), group.commit(m2, r2)
    ca3 = field.multiply(caa, field.inverse(field.multiply(ca1, ca2)))

    def values(*elements: Element) -> list[FP2Value]:
        return [group.value(element) for element in elements]

    commitment = PengBaoCommitment(*values(c, c1, c2, ca, ca1, ca2, ca3, caa))
    el = EL.create(above, -r, ra, g, h, commitment.c1, h, b, bitspace, group=group)
    sqr1 = SQR.create(w, raa, commitment.ca, h, b, bitspace, group)
    sqr2 = SQR.create(m4, r3, g, h, b, bitspace, group)
    return PengBaoAttestation(PengBaoPublicData(PK, bitspace, commitment, el, sqr1, sqr2),
                              PengBaoCommitmentPrivate(m1, m2, m4 * m4, r1, r2, r3))


if TYPE_CHECKING:  # programs import these from here
    from ..primitives.structs import BonehPublicKey as BonehPublicKey
else:
    __getattr__, __dir__ = reexports(__name__, {"..primitives.structs": "BonehPublicKey"})
