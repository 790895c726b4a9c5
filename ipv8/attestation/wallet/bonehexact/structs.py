"""Attestations of values, whose bits are encoded in pairs (doc/protocol/attestation.md, section 5)."""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import TYPE_CHECKING

from ....reexports import reexports
from ...identity_formats import Attestation
from ..primitives.field import field_of
from ..primitives.structs import BonehPublicKey, pack_all, unpack_all
from ..primitives.value import FP2Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from ..primitives.field import Element
    from ..primitives.structs import BonehPrivateKey

__all__ = ["BitPairAttestation", "BonehAttestation"]

NUMBERS = 6
"""Integers of a pair."""


class BitPairAttestation:
    """Two bits of a value, each shifted by a random number, and what takes the shifts out of their sum.

    :param a: a code of the first bit and its shift.
    :param b: the same for the second one.
    :param complement: a code of the number that makes both shifts zero.
    """

    def __init__(self, a: FP2Value, b: FP2Value, complement: FP2Value) -> None:
        self.a = a
        self.b = b
        self.complement = complement

    def element(self) -> Element:
        """A code of the sum of the bits."""
        return field_of(self.a.mod).product(code.to_element() for code in (self.a, self.b, self.complement))

    def compress(self) -> FP2Value:
        """A code of the sum of the bits: the product of the three codes."""
        return FP2Value.of_element(self.a.mod, self.element())

    def numbers(self) -> tuple[int, ...]:
        """What the pair is serialized as."""
        return tuple(number for code in (self.a, self.b, self.complement) for number in (code.a, code.b))

    def serialize(self) -> bytes:
        """Six integers."""
        return pack_all(self.numbers())

    @classmethod
    def unserialize(cls, s: bytes, p: int) -> Self:
        """The pair in bytes, whatever is behind it; ``IndexError`` if there are too few."""
        return cls.of_numbers(p, unpack_all(s, NUMBERS))

    @classmethod
    def of_numbers(cls, p: int, numbers: Sequence[int]) -> Self:
        """The pair of six integers; ``IndexError`` if there are fewer."""
        return cls(*(FP2Value(p, numbers[i], numbers[i + 1]) for i in (0, 2, 4)))


class BonehAttestation(Attestation):
    """An attestation of a value. Its private form is the public one.

    :param PK: the key of the subject.
    :param bitpairs: the pairs of bits, in random order.
    :param id_format: the name of its format.
    """

    def __init__(self, PK: BonehPublicKey, bitpairs: Sequence[BitPairAttestation],  # noqa: N803 - a public name
                 id_format: str | None = None) -> None:
        self.PK = PK
        self.bitpairs = bitpairs
        self.id_format = id_format

    def serialize(self) -> bytes:
        """The key, and the pairs."""
        key: BonehPublicKey = self.PK
        return key.serialize() + pack_all(number for pair in self.bitpairs for number in pair.numbers())

    def serialize_private(self, PK: BonehPublicKey) -> bytes:  # noqa: ARG002, N803 - as the base class names it
        """The same as :meth:`serialize`."""
        return self.serialize()

    @classmethod
    def unserialize(cls, s: bytes, id_format: str | None = None) -> Self:
        """The attestation in bytes.

        :raises struct.error: if there is no key.
        :raises IndexError: if the last pair is not complete.
        """
        numbers = unpack_all(s)
        if len(numbers) < BonehPublicKey.FIELDS or not numbers[0]:
            raise StructError("an attestation starts with a public key")
        key = BonehPublicKey._of_numbers(*numbers[:BonehPublicKey.FIELDS])
        pairs = numbers[BonehPublicKey.FIELDS:]
        return cls(key, [BitPairAttestation.of_numbers(key.p, pairs[i:i + NUMBERS])
                         for i in range(0, len(pairs), NUMBERS)], id_format)

    @classmethod
    def unserialize_private(cls, sk: BonehPrivateKey, s: bytes,  # noqa: ARG003 - as above
                            id_format: str | None = None) -> Self:
        """The same as :meth:`unserialize`."""
        return cls.unserialize(s, id_format)


if TYPE_CHECKING:  # programs import these from here
    from ..primitives.structs import BonehPrivateKey as BonehPrivateKey, ipack as ipack, iunpack as iunpack
else:
    __getattr__, __dir__ = reexports(__name__, {"..primitives.structs": "BonehPrivateKey ipack iunpack"})
