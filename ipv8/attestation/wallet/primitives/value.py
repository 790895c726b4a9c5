"""Fractions over the field with p**2 elements (doc/protocol/attestation.md, section 2).

``FP2Value`` is what programs use. Calculations that have to be fast use :mod:`.field`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .field import ONE, Element, field_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FP2Value", "format_polynomial"]


def _modinv(e: int, m: int) -> int:
    """The inverse of ``e`` modulo ``m`` by the algorithm of Euclid; 0 for 0.

    For an ``e`` without an inverse it is a number that is as good as any other.
    """
    e %= m
    old, new, before, after = m, e, 0, 1
    while new:
        quotient = old // new
        old, new = new, old - quotient * new
        before, after = after, before - quotient * after
    return before % m if e else 0


def format_polynomial(a: int, b: int, c: int) -> str:
    """``a + bx + cx^2`` as text, without terms that are zero. Signs are not shown."""
    terms = [f"{'' if abs(factor) == 1 and name else abs(factor)}{name}"
             for factor, name in ((a, ""), (b, "x"), (c, "x^2")) if factor]
    return " + ".join(terms) or "0"


def _product(x: tuple[int, int, int], y: tuple[int, int, int]) -> tuple[int, int]:
    """The product of two polynomials of degree 2, modulo ``x**2 + x + 1``."""
    a, b, c = x
    d, e, f = y
    k = a * f + b * e + c * d
    return a * d + b * f + c * e - k, a * e + b * d + c * f - k


class FP2Value:
    """``(a + bx + cx^2) / (aC + bCx + cCx^2)``, where all coefficients are modulo ``mod`` and ``x^2 + x + 1`` is 0.

    Results of calculations have no terms with ``x^2``, and are not normalized. Values are equal if they stand for the
    same element of the field, in whatever way they are written.
    """

    __slots__ = ("a", "aC", "b", "bC", "c", "cC", "mod")

    def __init__(self, mod: int, a: int = 0, b: int = 0, c: int = 0,
                 aC: int = 1, bC: int = 0, cC: int = 0) -> None:  # noqa: N803 - attributes that programs use
        self.mod = mod
        self.a = a % mod
        self.b = b % mod
        self.c = c % mod
        self.aC = aC % mod
        self.bC = bC % mod
        self.cC = cC % mod

    @classmethod
    def of_element(cls, mod: int, element: Element) -> Self:
        """The value of an element of a :class:`~ipv8.attestation.wallet.primitives.field.Field`."""
        return cls(mod, int(element[0]), int(element[1]))

    @property
    def nominator(self) -> tuple[int, int, int]:
        """The coefficients above the line."""
        return self.a, self.b, self.c

    @property
    def denominator(self) -> tuple[int, int, int]:
        """The coefficients below the line."""
        return self.aC, self.bC, self.cC

    def _is_integral(self) -> bool:
        """Whether there is nothing below the line."""
        return self.aC == 1 and not self.bC and not self.cC

    def to_element(self) -> Element:
        """The value as an element of a field; ``ZeroDivisionError`` if there is none, as the denominator is zero."""
        field = field_of(self.mod)
        above = field.element(self.a - self.c, self.b - self.c)
        if self._is_integral():
            return above
        return field.multiply(above, field.inverse(field.element(self.aC - self.cC, self.bC - self.cC)))

    def _assert_same_field(self, other: FP2Value) -> None:
        assert self.mod == other.mod, "the values are of different fields"

    def _fraction(self, above: tuple[int, int], below: tuple[int, int]) -> FP2Value:
        return FP2Value(self.mod, above[0], above[1], 0, below[0], below[1])

    def __add__(self, other: FP2Value) -> FP2Value:
        return self._sum(other, 1)

    def __sub__(self, other: FP2Value) -> FP2Value:
        return self._sum(other, -1)

    def _sum(self, other: FP2Value, sign: int) -> FP2Value:
        self._assert_same_field(other)
        one = _product(self.nominator, other.denominator)
        two = _product(other.nominator, self.denominator)
        return self._fraction((one[0] + sign * two[0], one[1] + sign * two[1]),
                              _product(self.denominator, other.denominator))

    def __mul__(self, other: FP2Value) -> FP2Value:
        self._assert_same_field(other)
        below = ONE if self._is_integral() and other._is_integral() else _product(self.denominator, other.denominator)
        return self._fraction(_product(self.nominator, other.nominator), below)

    def __floordiv__(self, other: FP2Value) -> FP2Value:
        self._assert_same_field(other)
        return self._fraction(_product(self.nominator, other.denominator),
                              _product(self.denominator, other.nominator))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FP2Value):
            return False
        self._assert_same_field(other)
        one = _product(self.nominator, other.denominator)
        two = _product(other.nominator, self.denominator)
        return (one[0] - two[0]) % self.mod == 0 and (one[1] - two[1]) % self.mod == 0

    def __hash__(self) -> int:
        return 0  # a unique form would take an inversion, and there is none for some values

    def intpow(self, power: int) -> FP2Value:
        """The value to the power of an integer. For a negative one the result is normalized."""
        if power < 0:
            return self.intpow(-power).inverse().normalize()
        field = field_of(self.mod)
        above = field.power(field.element(self.a - self.c, self.b - self.c), power)
        below = ONE if self._is_integral() else field.power(
            field.element(self.aC - self.cC, self.bC - self.cC), power)
        return self._fraction((int(above[0]), int(above[1])), (int(below[0]), int(below[1])))

    def normalize(self) -> FP2Value:
        """The same value with ``aC`` equal to 1, unless ``aC`` is zero."""
        factor = _modinv(self.aC, self.mod) if self.aC else 1
        return FP2Value(self.mod, *(factor * number for number in (*self.nominator, *self.denominator)))

    def inverse(self) -> FP2Value:
        """One divided by this value."""
        return FP2Value(self.mod, *self.denominator, *self.nominator)

    def wp_nominator(self) -> FP2Value:
        """The part above the line, without the term with ``x^2``."""
        return FP2Value(self.mod, self.a, self.b)

    def wp_denom_inverse(self) -> FP2Value:
        """One divided by the part below the line, with nothing below the line; 0 if there is no such value."""
        norm = self.aC * self.aC - self.aC * self.bC + self.bC * self.bC
        factor = _modinv(norm, self.mod)
        return FP2Value(self.mod, (self.aC - self.bC) * factor, -self.bC * factor)

    def wp_compress(self) -> FP2Value:
        """The unique form of this value: nothing below the line, and no term with ``x^2``.

        :raises AssertionError: if there is a term with ``x^2``.
        """
        assert not self.c, "there is a term with x^2 above the line"
        assert not self.cC, "there is a term with x^2 below the line"
        if self._is_integral():
            return FP2Value(self.mod, self.a, self.b)
        return self.wp_nominator() * self.wp_denom_inverse()

    def __str__(self) -> str:
        above, below = format_polynomial(*self.nominator), format_polynomial(*self.denominator)
        return above if below == "1" else f"({above})/({below})"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.mod}: {self})"
