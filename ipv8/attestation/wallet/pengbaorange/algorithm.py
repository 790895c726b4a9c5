"""The algorithm ``pengbaorange``: proofs that a number is in a range."""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from .... import entropy
from ....reexports import reexports
from ...identity_formats import HISTORIC
from ..algorithm import BonehAlgorithm
from ..primitives.steps import Steps, finish, microseconds
from ..primitives.structs import BonehPrivateKey, BonehPublicKey, pack_pair, unpack_pair
from ..validation import SPARE_BITS, KeyRefusedError, largest_integer
from .attestation import check_range, create_attest_pair
from .structs import PLAINTEXT_SIZE, PengBaoAttestation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PengBaoRangeAlgorithm"]

LARGE_INTEGER = 32765
"""The smallest number of a challenge."""

SMALLEST_MODULUS = 2 * LARGE_INTEGER
"""From this modulus on, every second random number is one for a challenge."""

PAIR_MULTIPLICATIONS = 10
"""About how many multiplications the proofs of an attestation take, for each bit of the modulus."""

LARGEST_PUBLIC_FORM = 1 << 14
"""Bytes, several times as many as any has."""

IN_RANGE = b"\x01"
"""The value that asks whether the number is in the range; zero asks whether it is not."""


def _safe_rndint(key_size: int, mod: int) -> int:
    """A random number from :data:`LARGE_INTEGER` to below ``mod``, of at most ``key_size`` bits.

    :raises ValueError: if there is none.
    """
    if mod <= LARGE_INTEGER:
        raise ValueError(f"a challenge needs numbers from {LARGE_INTEGER} on, and the key has none: use a larger one")
    while True:
        number = entropy.randbits(key_size // 8 * 8) % mod
        if number >= LARGE_INTEGER:
            return number


class PengBaoRangeAlgorithm(BonehAlgorithm[PengBaoAttestation]):
    """Proofs that a number is in a range.

    The parameters of a format are ``key_size``, the bits of each of two primes (32 to 512; more than about 140 are of
    no use, see :meth:`PengBaoCommitmentPrivate.encode`), and ``min`` and ``max``, the first and the last number.

    :raises RuntimeError: if a parameter is wrong.
    :raises KeyError: if one is missing.
    """

    algorithm_name: ClassVar[str] = "pengbaorange"
    weakness: ClassVar[str] = (
        f"{HISTORIC} Attestations of other implementations also give the number itself away, to everybody who sees "
        "them; those of this library do not, as long as the key is not broken.")

    def __init__(self, id_format: str, formats: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(id_format, formats)
        parameters = formats[id_format]
        self.largest_blob = 2 * PLAINTEXT_SIZE * largest_integer(self.key_size) + LARGEST_PUBLIC_FORM
        self.a: int = parameters["min"]
        self.b: int = parameters["max"]

    def get_attestation_class(self) -> type[PengBaoAttestation]:
        """The class of its attestations."""
        return PengBaoAttestation

    def attest(self, PK: BonehPublicKey, value: bytes) -> bytes:  # noqa: N803 - as above
        """An attestation of a number, serialized; ``ValueError`` if it is not in the range.

        :param value: the bytes of the number, the highest one first.
        """
        return finish(self.attest_steps(PK, value))

    def attest_steps(self, PK: BonehPublicKey, value: bytes) -> Steps[bytes]:  # noqa: N803 - as above
        """:meth:`attest` in steps."""
        if not value:
            raise ValueError("the number to be attested has no bytes")
        number = check_range(int.from_bytes(value, "big"), self.a, self.b)
        yield from self.prepare_steps(PK)
        pair = create_attest_pair(PK, number, self.a, self.b, self.key_size)
        yield microseconds(PK.p.bit_length(), PAIR_MULTIPLICATIONS * PK.p.bit_length())
        assert pair.privatedata is not None
        private = yield from pair.privatedata.encode_steps(PK)
        return pair.serialize() + private

    def check_public_key(self, PK: BonehPublicKey) -> None:  # noqa: N803 - as above
        """Raise ``ValueError`` for a key from the network that is not to be used."""
        super().check_public_key(PK)
        if PK.p < SMALLEST_MODULUS:
            raise KeyRefusedError(f"a modulus of {PK.p} is too small for challenges")

    def open_steps(self, SK: BonehPrivateKey, blob: bytes) -> Steps[PengBaoAttestation]:  # noqa: N803 - as above
        """The attestation in a blob in the form for the subject, in steps."""
        return PengBaoAttestation.unserialize_private_steps(SK, blob, self.id_format)

    def estimate(self, operation: str) -> float:
        """About how many microseconds an operation takes."""
        if operation == "generate":
            return super().estimate(operation)
        bits = 2 * self.key_size + SPARE_BITS
        encoding = {"attest": bits, "open": self.key_size}.get(operation, 0)
        return microseconds(bits, PLAINTEXT_SIZE * encoding / 2)

    def certainty(self, value: bytes, aggregate: dict[Any, Any]) -> float:
        """1 or 0: whether it was proved that the number is in the range if ``value`` is one, the reverse if it is zero.

        What is not proved counts as not in the range.
        """
        results = [result for challenge, result in aggregate.items() if challenge != "attestation"]
        in_range = bool(results) and all(results)
        return float(in_range == (value == IN_RANGE))

    def create_challenges(self, PK: BonehPublicKey, attestation: PengBaoAttestation) -> list[bytes]:  # noqa: ARG002, N803
        """One challenge."""
        return [pack_pair(*(_safe_rndint(self.key_size, PK.p - 1) for _ in range(2)))]

    def create_challenge_response(self, SK: BonehPrivateKey, attestation: PengBaoAttestation,  # noqa: N803 - as above
                                  challenge: bytes) -> bytes:
        """Four numbers; random ones if a number of the challenge is too small.

        :raises ValueError: if a number is larger than any that is asked, which would make the response long.
        """
        if attestation.privatedata is None:
            raise ValueError("only the subject can respond, with the private part of the attestation")
        s, t, _ = unpack_pair(challenge)
        if max(s, t).bit_length() > SK.p.bit_length():
            raise ValueError("the numbers of a challenge are below the modulus of the key")
        if s < LARGE_INTEGER or t < LARGE_INTEGER:
            x, y, u, v = (_safe_rndint(self.key_size, SK.p - 1) for _ in range(4))
        else:
            x, y, u, v = attestation.privatedata.generate_response(s, t)
        return pack_pair(x, y) + pack_pair(u, v)

    def create_certainty_aggregate(self, attestation: PengBaoAttestation | None) -> dict[Any, Any]:
        """The attestation, and no results yet."""
        return {"attestation": attestation}

    def process_challenge_response(self, aggregate: dict[Any, Any], challenge: bytes,
                                   response: bytes) -> dict[Any, Any]:
        """Add whether a response is right."""
        attestation = aggregate["attestation"]
        try:
            s, t, _ = unpack_pair(challenge)
            x, y, rest = unpack_pair(response)
            u, v, _ = unpack_pair(rest)
        except StructError:
            aggregate[challenge] = False
        else:
            aggregate[challenge] = attestation is not None and attestation.publicdata.check(
                self.a, self.b, s, t, x, y, u, v)
        return aggregate

    def create_honesty_challenge(self, PK: BonehPublicKey, value: int) -> NoReturn:  # noqa: N803 - as above
        """There are none: ``NotImplementedError``."""
        raise NotImplementedError("this algorithm has no honesty checks")

    def process_honesty_challenge(self, value: int, response: bytes) -> NoReturn:
        """There are none: ``NotImplementedError``."""
        raise NotImplementedError("this algorithm has no honesty checks")


if TYPE_CHECKING:  # programs import these from here
    from ...identity_formats import IdentityAlgorithm as IdentityAlgorithm
    from ..primitives.boneh import generate_keypair as generate_keypair
else:
    __getattr__, __dir__ = reexports(__name__, {
        "...identity_formats": "IdentityAlgorithm", "..primitives.boneh": "generate_keypair"})
