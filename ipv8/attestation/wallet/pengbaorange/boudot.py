"""Proofs about committed numbers, without showing them (doc/protocol/attestation.md, section 6).

From F. Boudot, "Efficient Proofs that a Committed Number Lies in an Interval", EUROCRYPT 2000: that two commitments
hold the same number (EL), and that a commitment holds a square (SQR). A commitment to ``x`` is ``g**x * h**r``.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from .... import entropy
from ....reexports import reexports
from ..primitives.field import Element, Field, field_of
from ..primitives.structs import ipack, iunpack, pack_all
from ..primitives.value import FP2Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from ..primitives.group import Group

__all__ = ["EL", "SQR", "secure_randint"]

SIGNED_INTEGERS = 8
"""Integers that share a byte of signs."""

HASH_BITS = 256
"""Bits of the hash that takes the place of a verifier's challenge."""

HIDING_BITS = 128
"""How many bits longer than what it hides a random number is, at least."""


def _sipack(*n: int) -> bytes:
    """Integers with signs: a byte of signs, the last integer as its lowest bit, and the amounts, the last one first."""
    if len(n) > SIGNED_INTEGERS:
        raise RuntimeError(f"at most {SIGNED_INTEGERS} integers have signs in one byte")
    signs = 0
    for number in n:
        signs = signs << 1 | (number < 0)
    return bytes((signs,)) + pack_all(map(abs, reversed(n)))


def _siunpack(buf: bytes, amount: int) -> tuple[Iterator[int], bytes]:
    """As many integers with signs, and what is behind them; ``struct.error`` or ``IndexError`` if there are fewer."""
    signs, rest = buf[0], buf[1:]
    numbers = []
    for position in range(amount):
        number, rest = iunpack(rest)
        numbers.append(-number if signs >> position & 1 else number)
    return reversed(numbers), rest


def secure_randint(nmin: int, nmax: int) -> int:
    """A random number from ``nmin`` to below ``nmax``; ``ValueError`` if there are fewer than two of them."""
    if nmax - nmin < 2:
        raise ValueError(f"there are no random numbers from {nmin} to below {nmax}")
    return entropy.randint(nmin, nmax - 1)


def _hash(one: Element, two: Element) -> int:
    """The hash of two elements as a number: of their decimal digits."""
    text = "".join(str(int(number)) for number in (*one, *two))
    return int.from_bytes(sha256(text.encode()).digest(), "big")


def is_provable(field: Field, *elements: Element) -> bool:
    """Whether a proof may be about these elements: honest ones have norm 1, wherever the modulus is a good one."""
    return not field.is_field or all(field.norm(element) == 1 for element in elements)


class EL:
    """A proof that two commitments hold the same number, as a hash and three numbers."""

    def __init__(self, c: int, D: int, D1: int, D2: int) -> None:  # noqa: N803 - names in the paper
        self.c = c
        self.D = D
        self.D1 = D1
        self.D2 = D2

    @classmethod
    def create(cls, x: int, r1: int, r2: int, g1: FP2Value, h1: FP2Value, g2: FP2Value, h2: FP2Value,
               b: int, bitspace: int, t: int = 80, l: int = 40,  # noqa: ARG003, E741 - as in the paper
               group: Group | None = None) -> Self:
        """Prove that ``g1**x * h1**r1`` and ``g2**x * h2**r2`` hold the same number ``x``.

        The random numbers are so much longer than what they hide that the proof tells nothing about it.

        :param b: the largest amount of ``x``.
        :param bitspace: bits that ``r1`` and ``r2`` may have more than the modulus.
        :param t: not used.
        :param l: how much longer the random numbers are, at least; never less than :data:`HIDING_BITS`.
        :param group: the group of a key, to be faster where the bases are those of the key.
        """
        p = g1.mod
        length = HASH_BITS + max(l, HIDING_BITS)
        w = entropy.randint(1, max(abs(b), abs(x), 1) << length)
        spread = max(p << bitspace, abs(r1), abs(r2)) << length
        n1, n2 = entropy.randint(1, spread), entropy.randint(1, spread)
        return cls.from_random(x, r1, r2, (g1, h1, g2, h2), (w, n1, n2), group)

    @classmethod
    def from_random(cls, x: int, r1: int, r2: int, bases: tuple[FP2Value, FP2Value, FP2Value, FP2Value],
                    random: tuple[int, int, int], group: Group | None = None) -> Self:
        """:meth:`create` with given random numbers."""
        field = group or field_of(bases[0].mod)
        g1, h1, g2, h2 = (base.to_element() for base in bases)
        w, n1, n2 = random
        c = _hash(field.multi_power(((g1, w), (h1, n1))), field.multi_power(((g2, w), (h2, n2))))
        return cls(c, w + c * x, n1 + c * r1, n2 + c * r2)

    def check(self, g1: FP2Value, h1: FP2Value, g2: FP2Value, h2: FP2Value, y1: FP2Value, y2: FP2Value,
              group: Group | None = None) -> bool:
        """Whether this proves that ``y1``, of the bases ``g1`` and ``h1``, holds the same number as ``y2``."""
        field = group or field_of(g1.mod)
        try:
            elements = [value.to_element() for value in (g1, h1, g2, h2, y1, y2)]
            if not is_provable(field_of(g1.mod), *elements):
                return False
            one = field.multi_power(zip((elements[0], elements[1], elements[4]), (self.D, self.D1, -self.c),
                                        strict=True))
            two = field.multi_power(zip((elements[2], elements[3], elements[5]), (self.D, self.D2, -self.c),
                                        strict=True))
        except ZeroDivisionError:
            return False
        return self.c == _hash(one, two)

    def _numbers(self) -> tuple[int, int, int, int]:
        return self.c, self.D, self.D1, self.D2

    def serialize(self) -> bytes:
        """Four integers with signs."""
        return _sipack(*self._numbers())

    @classmethod
    def unserialize(cls, s: bytes) -> tuple[Self, bytes]:
        """The proof at the start, and what is behind it."""
        numbers, rest = _siunpack(s, 4)
        return cls(*numbers), rest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EL) and self._numbers() == other._numbers()

    def __hash__(self) -> int:
        return 6976

    def __str__(self) -> str:
        return f"EL<{','.join(map(str, self._numbers()))}>"


class SQR:
    """A proof that a commitment holds a square: a commitment to the root, and a proof that it is the root."""

    def __init__(self, F: FP2Value, el: EL) -> None:  # noqa: N803 - a name in the paper
        self.F = F
        self.el = el

    @classmethod
    def create(cls, x: int, r1: int, g: FP2Value, h: FP2Value, b: int, bitspace: int,
               group: Group | None = None) -> Self:
        """Prove that ``g**(x*x) * h**r1`` holds a square; for ``b`` and ``bitspace`` see :meth:`EL.create`."""
        spread = g.mod << bitspace
        return cls.from_random(x, r1, (g, h), entropy.randint(-spread, spread), b, bitspace, group)

    @classmethod
    def from_random(cls, x: int, r1: int, bases: tuple[FP2Value, FP2Value], r2: int, b: int, bitspace: int,
                    group: Group | None = None) -> Self:
        """:meth:`create` with a given random number."""
        g, h = bases
        field = group or field_of(g.mod)
        root = FP2Value.of_element(g.mod, field.multi_power(((g.to_element(), x), (h.to_element(), r2))))
        return cls(root, EL.create(x, r2, r1 - r2 * x, g, h, root, h, b, bitspace, group=group))

    def check(self, g: FP2Value, h: FP2Value, y: FP2Value, group: Group | None = None) -> bool:
        """Whether this proves that ``y`` holds a square."""
        return self.el.check(g, h, self.F, h, self.F, y, group)

    def serialize(self) -> bytes:
        """The modulus, the commitment, and the proof."""
        root = self.F.wp_compress()
        return ipack(root.mod) + ipack(root.a) + ipack(root.b) + self.el.serialize()

    @classmethod
    def unserialize(cls, s: bytes) -> tuple[Self, bytes]:
        """The proof at the start, and what is behind it; ``ValueError`` if there is no modulus."""
        modulus, rest = iunpack(s)
        a, rest = iunpack(rest)
        b, rest = iunpack(rest)
        if not modulus:
            raise ValueError("a modulus must not be zero")
        el, rest = EL.unserialize(rest)
        return cls(FP2Value(modulus, a, b), el), rest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SQR) and self.F == other.F and self.el == other.el

    def __hash__(self) -> int:
        return 838182

    def __str__(self) -> str:
        return f"SQR<{self.F},{self.el}>"


if TYPE_CHECKING:  # programs import these from here
    from ..primitives.attestation import sha256_as_int as sha256_as_int
else:
    __getattr__, __dir__ = reexports(__name__, {"..primitives.attestation": "sha256_as_int"})
