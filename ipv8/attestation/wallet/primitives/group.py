"""The group of a key: what is calculated once for a key, and used for all that is encoded or decoded with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .... import entropy
from .field import ONE, Element, FixedBase, field_of, window_steps
from .steps import Steps, microseconds
from .value import FP2Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .structs import BonehPrivateKey, BonehPublicKey

__all__ = ["Decoder", "Group", "decoder_of", "group_of"]

MIN_BLINDING = 4
"""The smallest exponent that hides a number."""

DRAWS = 128
"""Exponents that are drawn to hide a number. All of them hide nothing only where the order of ``h`` is tiny."""

TABULATED = 1024
"""Numbers below this one are looked up in a table when something is decoded."""


class Group:
    """Encodes numbers with a public key."""

    __slots__ = ("_g_value", "_h_value", "field", "g", "h", "p")

    def __init__(self, key: BonehPublicKey) -> None:
        self.p = key.p
        self._g_value, self._h_value = key.g, key.h
        self.field = field_of(key.p)
        bits = key.p.bit_length()
        self.g = FixedBase(self.field, key.g.to_element(), bits)
        self.h = FixedBase(self.field, key.h.to_element(), bits)

    def is_of(self, key: BonehPublicKey) -> bool:
        """Whether this is the group of a key, whose attributes programs may set."""
        return self._g_value is key.g and self._h_value is key.h and self.p == key.p and self.field is field_of(key.p)

    def encode(self, number: int, start: Element = ONE) -> Element:
        """``number``, hidden by a random number, times ``start``; ``ValueError`` if ``h`` hides nothing."""
        for _ in range(DRAWS):
            code = self.h.power(entropy.randint(MIN_BLINDING, self.p - 1))
            if code != ONE:
                break
        else:
            raise ValueError("the key is too small to hide numbers: make a larger one")
        if start != ONE:
            code = self.field.multiply(code, start)
        return self.g.power(number, code) if number else code

    def commit(self, number: int, exponent: int) -> Element:
        """``g ** number * h ** exponent``."""
        return self.g.power(number, self.h.power(exponent))

    def multi_power(self, powers: Iterable[tuple[Element, int]]) -> Element:
        """What :meth:`Field.multi_power` returns, faster for powers of ``g`` and ``h``."""
        field = self.field
        fixed, others = ONE, []
        order = int(field.p) + 1
        for element, exponent in powers:
            base = self.g if element == self.g.base else self.h if element == self.h.base else None
            if base is not None and field.is_field and field.norm(element) == 1:
                fixed = base.power(exponent % order, fixed)
            else:
                others.append((element, exponent))
        return field.multiply(field.multi_power(others), fixed) if others else fixed

    def prepare_steps(self) -> Steps[None]:
        """Make the tables that :meth:`encode` uses, in steps. Otherwise they are made when they are needed first."""
        yield from self.h.prepare_steps()
        yield from self.g.prepare_steps()

    @property
    def microseconds(self) -> float:
        """About how long :meth:`encode` takes."""
        return microseconds(self.p.bit_length(), self.g.cost + self.h.cost)

    def value(self, element: Element) -> FP2Value:
        """An element as a value for programs."""
        return FP2Value.of_element(self.p, element)


class Decoder:
    """Decodes numbers with a private key: what hides a number vanishes by raising to the power ``t1``."""

    __slots__ = ("_base", "_bits", "_field", "_key", "_powers", "_steps", "_traces")

    def __init__(self, key: BonehPrivateKey) -> None:
        self._key = key.p, key.g, key.t1
        self._field = field_of(key.p)
        self._bits = bin(key.t1)[3:]
        self._steps = window_steps(key.t1)
        self._base = self._field.raise_by(key.g.to_element(), *self._steps)
        self._powers: list[Element] = [ONE]
        self._traces: list[int] = [2 % key.p]

    def is_of(self, key: BonehPrivateKey) -> bool:
        """As :meth:`Group.is_of`."""
        return self._key[1] is key.g and (self._key[0], self._key[2]) == (key.p, key.t1) and (
            self._field is field_of(key.p))

    @property
    def microseconds(self) -> float:
        """About how long :meth:`decode` takes."""
        return microseconds(self._key[0].bit_length(), len(self._bits))

    def _tabulate(self, number: int) -> None:
        """Fill the tables up to a number."""
        while len(self._powers) <= number:
            a, b = self._field.multiply(self._powers[-1], self._base)
            self._powers.append((a, b))
            self._traces.append((2 * a - b) % self._field.p)

    def decode(self, numbers: Sequence[int], element: Element) -> int | None:
        """The first of ``numbers`` that ``element`` may stand for, ``None`` if it is none of them."""
        a, b = element
        p = self._field.p
        if (a * a - a * b + b * b) % p != 1 or not b:
            revealed = self._field.raise_by(element, *self._steps)
            return next((number for number in numbers if self._power(number) == revealed), None)
        trace = (2 * a - b) % p
        low, high = self._field.lucas(trace, self._bits)
        traces = self._traces
        for number in numbers:
            if not 0 <= number < len(traces):
                if self._power(number)[0] * 2 % p != (low + self._power(number)[1]) % p:
                    continue
            elif traces[number] != low:
                continue
            # The power is u * element - v for numbers u and v. So it is u * b in its second part.
            if (b * (2 * high - trace * low) - self._power(number)[1] * (trace * trace - 4)) % p == 0:
                return number
        return None

    def _power(self, number: int) -> Element:
        if not 0 <= number < TABULATED:
            return self._field.power(self._base, number)
        if number >= len(self._powers):
            self._tabulate(number)
        return self._powers[number]


def group_of(key: BonehPublicKey) -> Group:
    """The group of a key, which is kept with it."""
    group = key.__dict__.get("_group")
    if not isinstance(group, Group) or not group.is_of(key):
        group = key.__dict__["_group"] = Group(key)
    return group


def decoder_of(key: BonehPrivateKey) -> Decoder:
    """The decoder of a key, which is kept with it."""
    decoder = key.__dict__.get("_decoder")
    if not isinstance(decoder, Decoder) or not decoder.is_of(key):
        decoder = key.__dict__["_decoder"] = Decoder(key)
    return decoder
