"""Points of curves ``y**2 = x**3 + B`` over the field with p**2 elements, and the Weil pairing.

From A. E. Aftuck, "The Weil Pairing on Elliptic Curves and Its Cryptographic Applications" (2011), appendix D; the
algorithm is that of V. S. Miller. ``B`` does not occur in the formulas.
"""

from __future__ import annotations

from typing import Any, Literal

from .field import ONE, Element, Field, field_of
from .value import FP2Value

__all__ = ["H", "esum", "millercalc", "weilpairing"]

Infinity = Literal["O"]
Point = tuple[FP2Value, FP2Value] | Infinity
AffinePoint = tuple[Element, Element]

INFINITY: Infinity = "O"
"""The point at infinity."""


def _subtract(x: Element, y: Element) -> Element:
    return x[0] - y[0], x[1] - y[1]


def _vanishes(field: Field, x: Element) -> bool:
    return bool(x[0] % field.p == 0 and x[1] % field.p == 0)


def _slope(field: Field, one: AffinePoint, two: AffinePoint) -> Element | None:
    """The slope of the line through two points, or of the tangent if they are equal; ``None`` if it is vertical."""
    across, up = _subtract(one[0], two[0]), _subtract(one[1], two[1])
    if _vanishes(field, across):
        if _vanishes(field, (one[1][0] + two[1][0], one[1][1] + two[1][1])):
            return None
        square = field.multiply(one[0], one[0])
        across, up = (2 * one[1][0], 2 * one[1][1]), (3 * square[0], 3 * square[1])
    return field.multiply(up, field.inverse(across))


def _sum(field: Field, one: AffinePoint, two: AffinePoint, slope: Element) -> AffinePoint:
    square = field.multiply(slope, slope)
    x = square[0] - one[0][0] - two[0][0], square[1] - one[0][1] - two[0][1]
    rise = field.multiply(slope, _subtract(one[0], x))
    return field.element(*x), field.element(*_subtract(rise, one[1]))


def _add(field: Field, one: AffinePoint | Infinity, two: AffinePoint | Infinity) -> AffinePoint | Infinity:
    if one == INFINITY:
        return two
    if two == INFINITY:
        return one
    slope = _slope(field, one, two)
    return INFINITY if slope is None else _sum(field, one, two, slope)


def _line(field: Field, one: AffinePoint, two: AffinePoint, slope: Element | None,
          at: AffinePoint) -> tuple[Element, Element]:
    """The function with which Miller's algorithm goes on, at a point: above and below the line of the fraction."""
    away = _subtract(at[0], one[0])
    if slope is None:
        return away, ONE
    rise, square = field.multiply(slope, away), field.multiply(slope, slope)
    above = at[1][0] - one[1][0] - rise[0], at[1][1] - one[1][1] - rise[1]
    below = away[0] + 2 * one[0][0] + two[0][0] - square[0], away[1] + 2 * one[0][1] + two[0][1] - square[1]
    return above, below


def _miller(field: Field, order: int, point: AffinePoint | Infinity, at: AffinePoint | Infinity) -> Element:
    if point == INFINITY or at == INFINITY:  # noqa: PLR1714 - type checkers follow this form
        raise ValueError("the point at infinity has no value here")
    above, below = ONE, ONE
    reached: AffinePoint | Infinity = point
    for bit in bin(order)[3:]:
        for addend in (None, point) if bit == "1" else (None,):
            if reached == INFINITY:
                raise ValueError("the point at infinity was reached too early")
            other = reached if addend is None else addend
            slope = _slope(field, reached, other)
            up, down = _line(field, reached, other, slope, at)
            if addend is None:
                above, below = field.multiply(above, above), field.multiply(below, below)
            above, below = field.multiply(above, up), field.multiply(below, down)
            reached = INFINITY if slope is None else _sum(field, reached, other, slope)
    return field.multiply(above, field.inverse(below))


def _affine(point: Any) -> AffinePoint | Infinity:
    return INFINITY if point == INFINITY else (point[0].to_element(), point[1].to_element())


def _values(mod: int, point: AffinePoint | Infinity) -> Point:
    if point == INFINITY:
        return INFINITY
    return FP2Value.of_element(mod, point[0]), FP2Value.of_element(mod, point[1])


def esum(mod: int, p: Point, q: Point) -> Point:
    """The sum of two points, each a pair of values or ``"O"``, the point at infinity."""
    if p == INFINITY:
        return q
    if q == INFINITY:
        return p
    return _values(mod, _add(field_of(mod), _affine(p), _affine(q)))


def H(mod: int, p: Point, q: Point, x: FP2Value, y: FP2Value) -> FP2Value:  # noqa: N802 - the name in the paper
    """The value at ``(x, y)`` of the function whose divisor is that of the line through two points.

    :raises ValueError: if a point is at infinity.
    """
    one, two = _affine(p), _affine(q)
    if one == INFINITY or two == INFINITY:  # noqa: PLR1714 - as above
        raise ValueError("there is no line through the point at infinity")
    field = field_of(mod)
    above, below = _line(field, one, two, _slope(field, one, two), (x.to_element(), y.to_element()))
    return FP2Value(mod, int(above[0]), int(above[1]), 0, int(below[0]), int(below[1]))


def millercalc(mod: int, M: int, p: Point, R: Point) -> FP2Value:  # noqa: N803 - names in the paper
    """Miller's function of order ``M`` for the point ``p``, at the point ``R``.

    :raises ValueError: if the point at infinity is met.
    :raises ZeroDivisionError: if a value is divided by zero.
    """
    return FP2Value.of_element(mod, _miller(field_of(mod), M, _affine(p), _affine(R)))


def weilpairing(mod: int, m: int, P: Point, Q: Point, S: Point) -> FP2Value:  # noqa: N803 - as above
    """The Weil pairing of two points of order ``m``, with the help of a third one; 0 where a value is divided by zero.

    :raises ValueError: if the point at infinity is met.
    """
    field = field_of(mod)
    one, two, three = _affine(P), _affine(Q), _affine(S)
    if three == INFINITY:
        raise ValueError("the third point must not be at infinity")
    minus = three[0], (-three[1][0] % field.p, -three[1][1] % field.p)
    try:
        above = field.multiply(_miller(field, m, one, _add(field, two, three)), _miller(field, m, two, minus))
        below = field.multiply(_miller(field, m, one, three), _miller(field, m, two, _add(field, one, minus)))
        return FP2Value.of_element(mod, field.multiply(above, field.inverse(below)))
    except ZeroDivisionError:
        return FP2Value(mod)
