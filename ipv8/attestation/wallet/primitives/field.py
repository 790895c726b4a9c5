"""The field with p**2 elements, as pairs of integers: ``(a, b)`` is ``a + b*x`` modulo ``x**2 + x + 1``.

It is a field if ``p`` is a prime and 2 modulo 3: then the polynomial has no root modulo ``p``. Other moduli are
accepted, and give a ring. Elements are made unique by reducing both numbers modulo ``p``.

``x`` is a third root of unity, so the conjugate of ``a + b*x`` is ``(a - b) - b*x``, and its norm, the product of both,
is the integer ``a**2 - a*b + b**2``. Elements of norm 1 have the conjugate as their inverse. There are ``p + 1`` of
them, and all of them are powers of one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .integers import big, uses_gmpy2
from .primes import is_prime
from .steps import Steps, finish, microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Element", "Field", "FixedBase", "field_of", "window_steps"]

Element = tuple[Any, Any]
"""The numbers ``a`` and ``b`` of ``a + b*x``."""

FIELDS_CACHE_SIZE = 64
"""Fields of which it is remembered whether they are one; the least recently used one is forgotten first."""

STEPS_CACHE_SIZE = 256
"""Exponents of which the steps are remembered; the least recently used one is forgotten first."""

ONE: Element = (1, 0)


def _window(bits: int) -> int:
    """How many bits of an exponent are used at a time."""
    return 2 if bits <= 12 else 3 if bits <= 48 else 4 if bits <= 200 else 5


@lru_cache(maxsize=STEPS_CACHE_SIZE)
def window_steps(exponent: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """How to raise to a positive power by sliding windows (D. E. Knuth, TAOCP 2, section 4.6.3).

    :returns: pairs of a number of squarings and the odd power to multiply with afterwards, 1 as 0, 3 as 1 and so on,
        or -1 for none; and the largest index of an odd power.
    """
    width = _window(exponent.bit_length())
    steps: list[tuple[int, int]] = []
    squarings, position = 0, exponent.bit_length()
    while position:
        if not exponent >> position - 1 & 1:
            squarings += 1
            position -= 1
            continue
        size = min(width, position)
        digit = exponent >> position - size & (1 << size) - 1
        zeros = (digit & -digit).bit_length() - 1
        steps.append((squarings + size - zeros, digit >> zeros + 1))
        squarings, position = zeros, position - size
    if squarings:
        steps.append((squarings, -1))
    return tuple(steps), max(index for _, index in steps)


class Field:
    """Calculations with elements.

    :param modulus: ``p``.
    """

    __slots__ = ("_is_field", "p")

    def __init__(self, modulus: int) -> None:
        self.p = big(modulus)
        self._is_field: bool | None = None

    @property
    def is_field(self) -> bool:
        """Whether ``p`` is a prime and 2 modulo 3."""
        if self._is_field is None:
            self._is_field = self.p % 3 == 2 and is_prime(int(self.p))
        return self._is_field

    def element(self, a: int, b: int) -> Element:
        """``a + b*x``."""
        return a % self.p, b % self.p

    def multiply(self, x: Element, y: Element) -> Element:
        """The product of two elements."""
        (a, b), (c, d), p = x, y, self.p
        bd = b * d
        return (a * c - bd) % p, (a * d + b * c - bd) % p

    def product(self, elements: Iterable[Element]) -> Element:
        """The product of elements, 1 if there is none."""
        a, b = ONE
        p = self.p
        for c, d in elements:
            bd = b * d
            a, b = (a * c - bd) % p, (a * d + b * (c - d)) % p
        return a % p, b % p

    def conjugate(self, x: Element) -> Element:
        """The conjugate."""
        a, b = x
        return (a - b) % self.p, -b % self.p

    def norm(self, x: Element) -> int:
        """The norm, an integer below ``p``."""
        a, b = x
        norm: int = (a * a - a * b + b * b) % self.p
        return norm

    def inverse(self, x: Element) -> Element:
        """The inverse; ``ZeroDivisionError`` if there is none."""
        a, b = x
        norm = self.norm(x)
        if norm == 1:
            return self.conjugate(x)
        try:
            factor = pow(norm, -1, self.p)
        except (ValueError, ZeroDivisionError):
            raise ZeroDivisionError(f"{int(a)} + {int(b)}x has no inverse modulo {int(self.p)}") from None
        return (a - b) * factor % self.p, -b * factor % self.p

    def _reduced(self, x: Element, exponent: int) -> tuple[Element, int]:
        """An element and a small exponent of at least 0 that give the same power."""
        if self.is_field and self.norm(x) == 1:
            return x, exponent % int(self.p + 1)
        return (x, exponent) if exponent >= 0 else (self.inverse(x), -exponent)

    def power(self, x: Element, exponent: int) -> Element:
        """An element to the power of an integer; ``ZeroDivisionError`` if it has no inverse and that is needed."""
        if exponent < 0 or exponent > 2 * self.p:
            x, exponent = self._reduced(x, exponent)
        return self.raise_by(x, *window_steps(exponent)) if exponent else (1 % self.p, 0)

    def raise_by(self, x: Element, steps: Sequence[tuple[int, int]], largest: int) -> Element:
        """An element to the power that the steps are for (:func:`window_steps`)."""
        p = self.p
        a, b = x
        odd = [(a, b, a - b)]
        if largest > 0:
            square = (a - b) * (a + b) % p, b * (a + a - b) % p
            while len(odd) <= largest:
                c, d = square
                bd = b * d
                a, b = (a * c - bd) % p, (a * d + b * c - bd) % p
                odd.append((a, b, a - b))
        a, b, _ = odd[steps[0][1]]
        for squarings, index in steps[1:]:
            for _ in range(squarings):
                a, b = (a - b) * (a + b) % p, b * (a + a - b) % p
            if index >= 0:
                c, d, e = odd[index]
                a, b = (a * c - b * d) % p, (a * d + b * e) % p
        return a, b

    def lucas(self, trace: int, bits: str) -> tuple[int, int]:
        """Traces of powers of an element of norm 1, with which they are found faster than the powers themselves.

        The trace of an element is the sum of it and its conjugate, ``2*a - b``. Those of the powers of an element form
        a Lucas sequence (P. L. Montgomery, "Evaluating recurrences of form X(m+n) = f(X(m), X(n), X(m-n)) via Lucas
        chains", 1983).

        :param trace: that of the element.
        :param bits: the exponent, in binary, without its first bit.
        :returns: the trace of the power, and of the next higher power.
        """
        p = self.p
        low, high = trace, (trace * trace - 2) % p
        for bit in bits:
            if bit == "1":
                low, high = (low * high - trace) % p, (high * high - 2) % p
            else:
                low, high = (low * low - 2) % p, (low * high - trace) % p
        return low, high

    def multi_power(self, powers: Iterable[tuple[Element, int]]) -> Element:
        """The product of elements, each to the power of an integer.

        The squarings are shared (E. G. Straus, American Mathematical Monthly 71, 1964, problem 5125).
        """
        p = self.p
        rows = []
        length = 0
        for element, wanted in powers:
            base, exponent = self._reduced(element, wanted)
            length = max(length, exponent.bit_length())
            rows.append((_odd_and_even_powers(self, base), exponent))
        a, b = ONE
        for position in range((length + 3) // 4 * 4 - 4, -4, -4):
            for _ in range(4):
                a, b = (a - b) * (a + b) % p, b * (a + a - b) % p
            for table, exponent in rows:
                digit = exponent >> position & 15
                if digit:
                    c, d = table[digit]
                    bd = b * d
                    a, b = (a * c - bd) % p, (a * d + b * c - bd) % p
        return a % p, b % p


def _odd_and_even_powers(field: Field, x: Element) -> list[Element]:
    """The powers 0 to 15 of an element."""
    table = [ONE]
    for _ in range(15):
        table.append(field.multiply(table[-1], x))
    return table


@lru_cache(maxsize=FIELDS_CACHE_SIZE)
def _field_of(modulus: int, gmpy2: bool) -> Field:  # noqa: ARG001 - fields with and without gmpy2 are different objects
    return Field(modulus)


def field_of(modulus: int) -> Field:
    """The field with this modulus, which is shared."""
    return _field_of(int(modulus), uses_gmpy2())


class FixedBase:
    """Powers of one element, from a table: no squarings are needed (E. F. Brickell et al., EUROCRYPT '92).

    :param field: its field.
    :param base: the element.
    :param bits: the length of the exponents that the table is for. Longer ones take the usual way.
    """

    __slots__ = ("_bits", "_field", "_mask", "_table", "_width", "base")

    def __init__(self, field: Field, base: Element, bits: int) -> None:
        self._field, self.base, self._bits = field, base, bits
        self._width = 5 if bits <= 96 or bits > 400 else 6
        self._mask = (1 << self._width) - 1
        self._table: list[list[tuple[Any, Any, Any]]] | None = None

    @property
    def cost(self) -> int:
        """About how many multiplications :meth:`power` takes."""
        return self._bits // self._width + 1

    def prepare_steps(self) -> Steps[None]:
        """Make the table, unless there is one, in one step for each row. It is made at once when it is needed first."""
        if self._table is not None:
            return
        p = self._field.p
        table = []
        c, d = self.base
        work = microseconds(self._bits, 1 << self._width)
        for _ in range(0, self._bits, self._width):
            e = c - d
            row = [(1, 0, 1), (c, d, e)]
            a, b = c, d
            for _ in range(self._mask - 1):
                a, b = (a * c - b * d) % p, (a * d + b * e) % p
                row.append((a, b, a - b))
            table.append(row)
            c, d = (a * c - b * d) % p, (a * d + b * e) % p
            yield work
        self._table = table

    def power(self, exponent: int, start: Element = ONE) -> Element:
        """The base to the power of an integer, times ``start``."""
        if exponent < 0 or exponent >> self._bits:
            return self._field.multiply(self._field.power(self.base, exponent), start)
        if self._table is None:
            finish(self.prepare_steps())
        assert self._table is not None
        p, width, mask = self._field.p, self._width, self._mask
        a, b = start
        for row in self._table:
            if not exponent:
                break
            digit = exponent & mask
            exponent >>= width
            if digit:
                c, d, e = row[digit]
                a, b = (a * c - b * d) % p, (a * d + b * e) % p
        return a, b
