"""Integers of any size as bytes, and the keys (doc/protocol/attestation.md, sections 1 and 4)."""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import TYPE_CHECKING, ClassVar

from .value import FP2Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

__all__ = ["BonehPrivateKey", "BonehPublicKey", "ipack", "iunpack", "pack_pair", "unpack_pair"]


def _num_to_str(num: int) -> bytes:
    """The fewest bytes of a number, at least one."""
    if num < 0:
        raise ValueError(f"only numbers from zero on can be packed, not {num}")
    return num.to_bytes(max(1, (num.bit_length() + 7) // 8), "big")


def _str_to_num(s: bytes) -> int:
    """The number that bytes stand for."""
    return int.from_bytes(s, "big")


def ipack(num: int) -> bytes:
    """A number: how many bytes its length has, its length, and its bytes; ``ValueError`` if it is negative."""
    number = _num_to_str(num)
    length = _num_to_str(len(number))
    return bytes((len(length),)) + length + number


def iunpack(s: bytes) -> tuple[int, bytes]:
    """The number at the start, and what is behind it. Bytes that are missing count as absent.

    :raises struct.error: if there is nothing at all.
    """
    if not s:
        raise StructError("a number needs at least one byte")
    start = 1 + s[0]
    end = start + _str_to_num(s[1:start])
    return _str_to_num(s[start:end]), s[end:]


def unpack_all(s: bytes, limit: int | None = None) -> list[int]:
    """All numbers, or the first ``limit``: as :func:`iunpack` in a row."""
    numbers: list[int] = []
    position, size = 0, len(s)
    while position < size and (limit is None or len(numbers) < limit):
        start = position + 1 + s[position]
        end = start + int.from_bytes(s[position + 1:start], "big")
        numbers.append(int.from_bytes(s[start:end], "big"))
        position = end
    return numbers


def pack_all(numbers: Iterable[int]) -> bytes:
    """All numbers in a row."""
    return b"".join(map(ipack, numbers))


def pack_pair(a: int, b: int) -> bytes:
    """Two numbers."""
    return ipack(a) + ipack(b)


def unpack_pair(s: bytes) -> tuple[int, int, bytes]:
    """Two numbers, and what is behind them; errors as in :func:`iunpack`."""
    a, rest = iunpack(s)
    b, rest = iunpack(rest)
    return a, b, rest


class BonehPublicKey:
    """What others need to encode numbers, so that the owner of the private key can decode them.

    :param p: the modulus of the field.
    :param g: an element whose order is the product of two primes.
    :param h: an element whose order is the first of them.
    """

    FIELDS: ClassVar[int] = 5

    def __init__(self, p: int, g: FP2Value, h: FP2Value) -> None:
        self.p = p
        self.g = g
        self.h = h

    def _numbers(self) -> tuple[int, ...]:
        return self.p, self.g.a, self.g.b, self.h.a, self.h.b

    def serialize(self) -> bytes:
        """The key as bytes."""
        return pack_all(self._numbers())

    @classmethod
    def unserialize(cls, s: bytes) -> Self | None:
        """The key in bytes, whatever is behind it; ``None`` if there is no key."""
        numbers = unpack_all(s, cls.FIELDS)
        if len(numbers) < cls.FIELDS or not numbers[0]:
            return None
        return cls._of_numbers(*numbers)

    @classmethod
    def _of_numbers(cls, p: int, *numbers: int) -> Self:
        return cls(p, FP2Value(p, numbers[0], numbers[1]), FP2Value(p, numbers[2], numbers[3]))


class BonehPrivateKey(BonehPublicKey):
    """A key that can decode.

    :param n: the order of ``g``.
    :param t1: the order of ``h``, which divides ``n``.
    """

    FIELDS: ClassVar[int] = 7

    def __init__(self, p: int, g: FP2Value, h: FP2Value, n: int, t1: int) -> None:
        super().__init__(p, g, h)
        self.n = n
        self.t1 = t1

    def _numbers(self) -> tuple[int, ...]:
        return *super()._numbers(), self.n, self.t1

    @classmethod
    def _of_numbers(cls, p: int, *numbers: int) -> Self:
        return cls(p, FP2Value(p, numbers[0], numbers[1]), FP2Value(p, numbers[2], numbers[3]), numbers[4], numbers[5])

    def public_key(self) -> BonehPublicKey:
        """The key for others."""
        return BonehPublicKey(self.p, self.g, self.h)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} modulo {self.p}>"
