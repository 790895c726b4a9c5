"""Attestations that a number is in a range (doc/protocol/attestation.md, section 6)."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from ....reexports import reexports
from ...identity_formats import Attestation
from ..primitives.field import field_of
from ..primitives.group import decoder_of, group_of
from ..primitives.steps import Steps, finish
from ..primitives.structs import BonehPublicKey, ipack, iunpack, pack_all, unpack_all
from ..primitives.value import FP2Value
from .boudot import EL, SQR, is_provable

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..primitives.structs import BonehPrivateKey

__all__ = ["PengBaoAttestation", "PengBaoCommitment", "PengBaoCommitmentPrivate", "PengBaoPublicData"]

PLAINTEXT_SIZE = 255
"""Bytes of the private numbers at most: their number is one byte."""


def _serialize_fp2value(value: FP2Value) -> bytes:
    """The two integers of a value."""
    unique = value.wp_compress()
    return ipack(unique.a) + ipack(unique.b)


def _unserialize_fp2value(mod: int, value: bytes) -> tuple[FP2Value, bytes]:
    """A value of two integers, and what is behind them."""
    a, rest = iunpack(value)
    b, rest = iunpack(rest)
    return FP2Value(mod, a, b), rest


@dataclass(repr=False, eq=False)
class PengBaoCommitment:
    """The commitments: to the number, to its distances from the ends of the range, and to products of these."""

    c: FP2Value
    c1: FP2Value
    c2: FP2Value
    ca: FP2Value
    ca1: FP2Value
    ca2: FP2Value
    ca3: FP2Value
    caa: FP2Value

    def values(self) -> list[FP2Value]:
        """The commitments, in the order in which they are sent."""
        return [getattr(self, field.name) for field in fields(self)]

    def serialize(self) -> bytes:
        """The modulus, and the commitments."""
        return ipack(self.c.mod) + b"".join(map(_serialize_fp2value, self.values()))

    @classmethod
    def unserialize(cls, s: bytes) -> tuple[Self, bytes]:
        """The commitments at the start, and what is behind them; ``ValueError`` if there is no modulus."""
        modulus, rest = iunpack(s)
        if not modulus:
            raise ValueError("a modulus must not be zero")
        values = []
        for _ in fields(cls):
            value, rest = _unserialize_fp2value(modulus, rest)
            values.append(value)
        return cls(*values), rest


@dataclass(repr=False, eq=False)  # the numbers are secret
class PengBaoCommitmentPrivate:
    """What the commitments hold, with which the subject answers challenges."""

    MSGSPACE: ClassVar[list[int]] = list(range(256))

    m1: int
    m2: int
    m3: int
    r1: int
    r2: int
    r3: int

    def generate_response(self, s: int, t: int) -> tuple[int, int, int, int]:
        """The answer to a challenge of two numbers."""
        return (s * self.m1 + self.m2 + self.m3, self.m1 + t * self.m2 + self.m3,
                s * self.r1 + self.r2 + self.r3, self.r1 + t * self.r2 + self.r3)

    def serialize(self) -> bytes:
        """The six numbers."""
        return pack_all(astuple(self))

    @classmethod
    def unserialize(cls, s: bytes) -> tuple[Self, bytes]:
        """The numbers at the start, and what is behind them."""
        numbers = []
        for _ in fields(cls):
            number, s = iunpack(s)
            numbers.append(number)
        return cls(*numbers), s

    def encode_steps(self, PK: BonehPublicKey) -> Steps[bytes]:  # noqa: N803 - a public name
        """What :meth:`encode` does, in one step for each byte."""
        plain = self.serialize()
        if len(plain) > PLAINTEXT_SIZE:
            raise ValueError(f"the private numbers have {len(plain)} bytes, and {PLAINTEXT_SIZE} at most can be "
                             "encoded: use a format with a smaller key_size")
        group = group_of(PK)
        numbers: list[int] = []
        for byte in plain:
            numbers += map(int, group.encode(byte))
            yield group.microseconds
        return bytes((len(plain),)) + pack_all(numbers)

    def encode(self, PK: BonehPublicKey) -> bytes:  # noqa: N803 - as above
        """The numbers for the owner of a key: each byte encoded on its own.

        :raises ValueError: if they are too long, as they are for keys of more than about 140 bits.
        """
        return finish(self.encode_steps(PK))

    @classmethod
    def decode_steps(cls, SK: BonehPrivateKey, s: bytes) -> Steps[Self]:  # noqa: N803 - as above
        """What :meth:`decode` does, in one step for each byte."""
        if not s:
            raise ValueError("the private numbers are missing")
        decoder = decoder_of(SK)
        field = field_of(SK.p)
        numbers = unpack_all(s[1:], 2 * s[0])
        if len(numbers) < 2 * s[0]:
            raise ValueError("the private numbers are truncated")
        plain = bytearray()
        for i in range(0, len(numbers), 2):
            byte = decoder.decode(cls.MSGSPACE, field.element(numbers[i], numbers[i + 1]))
            if byte is None:
                raise ValueError("the private numbers are encoded with another key")
            plain.append(byte)
            yield decoder.microseconds
        return cls.unserialize(bytes(plain))[0]

    @classmethod
    def decode(cls, SK: BonehPrivateKey, s: bytes) -> Self:  # noqa: N803 - as above
        """The numbers that :meth:`encode` encoded; ``ValueError`` if this key does not decode them."""
        return finish(cls.decode_steps(SK, s))


@dataclass(repr=False, eq=False)
class PengBaoPublicData:
    """What everybody sees of an attestation: commitments, and proofs about them."""

    PK: BonehPublicKey
    bitspace: int
    commitment: PengBaoCommitment
    el: EL
    sqr1: SQR
    sqr2: SQR

    def check(self, a: int, b: int, s: int, t: int, x: int, y: int, u: int, v: int) -> bool:
        """Whether the proofs and a response show that the number is in ``a`` … ``b``.

        :param s: the first number of the challenge.
        :param t: the second one.
        :param x: the response is ``x``, ``y``, ``u`` and ``v``.
        """
        commitment, key = self.commitment, self.PK
        g, h, c, c1, c2 = key.g, key.h, commitment.c, commitment.c1, commitment.c2
        if not (x > 0 and y > 0) or any(value.mod != key.p for value in commitment.values()) or (
                key.p != self.sqr1.F.mod or key.p != self.sqr2.F.mod):
            return False
        group = group_of(key)
        field = group.field
        one, two, three = (value.to_element() for value in (commitment.ca1, commitment.ca2, commitment.ca3))
        try:
            return (is_provable(field, one, two, three, c.to_element())
                    and field.multiply(c1.to_element(), group.g.power(a - 1)) == c.to_element()
                    and field.multiply(c2.to_element(), c.to_element()) == group.g.power(b + 1)
                    and field.product((one, two, three)) == commitment.caa.to_element()
                    and self._fits(field.multi_power(((one, s), (two, 1), (three, 1))), x, u)
                    and self._fits(field.multi_power(((one, 1), (two, t), (three, 1))), y, v)
                    and self.el.check(g, h, c1, h, c2, commitment.ca, group)
                    and self.sqr1.check(commitment.ca, h, commitment.caa, group)
                    and self.sqr2.check(g, h, commitment.ca3, group))
        except ZeroDivisionError:
            return False

    def _fits(self, committed: tuple[int, int], number: int, hidden_by: int) -> bool:
        """Whether a commitment holds a number."""
        return group_of(self.PK).commit(number, hidden_by) == committed

    def serialize(self) -> bytes:
        """The key, the bits, the commitments, and the proofs."""
        return (self.PK.serialize() + ipack(self.bitspace) + self.commitment.serialize() + self.el.serialize()
                + self.sqr1.serialize() + self.sqr2.serialize())

    @classmethod
    def unserialize(cls, s: bytes) -> tuple[Self, bytes]:
        """The public part at the start, and what is behind it; ``ValueError`` or ``struct.error`` if there is none."""
        numbers = []
        for _ in range(BonehPublicKey.FIELDS):
            number, s = iunpack(s)
            numbers.append(number)
        if not numbers[0]:
            raise ValueError("a modulus must not be zero")
        bitspace, s = iunpack(s)
        commitment, s = PengBaoCommitment.unserialize(s)
        el, s = EL.unserialize(s)
        sqr1, s = SQR.unserialize(s)
        sqr2, s = SQR.unserialize(s)
        return cls(BonehPublicKey._of_numbers(*numbers), bitspace, commitment, el, sqr1, sqr2), s


class PengBaoAttestation(Attestation):
    """An attestation that a number is in a range.

    :param publicdata: what everybody sees.
    :param privatedata: what only the subject has; ``None`` for others.
    :param id_format: the name of its format.
    """

    def __init__(self, publicdata: PengBaoPublicData, privatedata: PengBaoCommitmentPrivate | None,
                 id_format: str | None = None) -> None:
        self.publicdata = publicdata
        self.privatedata = privatedata
        self.id_format = id_format
        self._encoded: bytes | None = None  # the private numbers, as they were encoded for the key

    @property
    def PK(self) -> BonehPublicKey:  # noqa: N802 - a public name
        """The key of the subject."""
        return self.publicdata.PK

    def serialize(self) -> bytes:
        """The public part."""
        return self.publicdata.serialize()

    def serialize_private(self, PK: BonehPublicKey) -> bytes:  # noqa: N803 - as the base class names it
        """The public part, and the private one for the owner of a key; ``AssertionError`` if it is not known."""
        assert self.privatedata is not None, "only the subject and the authority have the private part"
        private = self._encoded
        if private is None or PK.serialize() != self.PK.serialize():
            private = self.privatedata.encode(PK)
        return self.publicdata.serialize() + private

    @classmethod
    def unserialize(cls, s: bytes, id_format: str | None = None) -> Self:
        """The attestation in bytes, without what is behind the public part."""
        return cls(PengBaoPublicData.unserialize(s)[0], None, id_format)

    @classmethod
    def unserialize_private_steps(cls, SK: BonehPrivateKey, s: bytes,  # noqa: N803 - as above
                                  id_format: str | None = None) -> Steps[Self]:
        """:meth:`unserialize_private` in steps."""
        publicdata, rest = PengBaoPublicData.unserialize(s)
        privatedata = yield from PengBaoCommitmentPrivate.decode_steps(SK, rest)
        attestation = cls(publicdata, privatedata, id_format)
        attestation._encoded = rest
        return attestation

    @classmethod
    def unserialize_private(cls, SK: BonehPrivateKey, s: bytes,  # noqa: N803 - as above
                            id_format: str | None = None) -> Self:
        """The attestation in bytes; ``ValueError`` if the private part is not for this key."""
        return finish(cls.unserialize_private_steps(SK, s, id_format))


if TYPE_CHECKING:  # programs import these from here
    from ..primitives.boneh import decode as decode, encode as encode
    from ..primitives.structs import BonehPrivateKey as BonehPrivateKey
else:
    __getattr__, __dir__ = reexports(__name__, {
        "..primitives.boneh": "decode encode", "..primitives.structs": "BonehPrivateKey"})
