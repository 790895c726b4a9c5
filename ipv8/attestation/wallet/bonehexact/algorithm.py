"""The algorithm ``bonehexact``: proofs that a value is equal to a given one."""

from __future__ import annotations

from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from .... import entropy
from ....reexports import reexports
from ...identity_formats import HISTORIC
from ..algorithm import BonehAlgorithm
from ..primitives.attestation import sha256_4_as_int, sha256_as_int, sha512_as_int
from ..primitives.group import group_of
from ..primitives.steps import Steps, finish, microseconds
from ..primitives.structs import BonehPrivateKey, BonehPublicKey, pack_pair, unpack_pair
from ..validation import SPARE_BITS, largest_integer
from .attestation import (
    SUMS,
    attest_sha256,
    attest_sha256_4,
    attest_sha512,
    attest_steps,
    binary_relativity_certainty,
    binary_relativity_sha256,
    binary_relativity_sha256_4,
    binary_relativity_sha512,
    create_challenge,
    create_challenge_response_from_pair,
    create_empty_relativity_map,
    create_honesty_check,
    create_shifted_challenge,
    process_challenge_response,
)
from .structs import NUMBERS, BonehAttestation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .attestation import RelativityMap

__all__ = ["BonehExactAlgorithm"]


class HashMode(NamedTuple):
    """How a value becomes a number.

    :param number: the number of a value.
    :param bits: how many bits it has.
    :param attest: attests a value.
    :param reference: the responses that an attestation of a value should give.
    """

    number: Callable[[bytes], int]
    bits: int
    attest: Callable[[BonehPublicKey, bytes], BonehAttestation]
    reference: Callable[[bytes], RelativityMap]


HASH_MODES = {
    "sha256_4": HashMode(sha256_4_as_int, 32, attest_sha256_4, binary_relativity_sha256_4),
    "sha256": HashMode(sha256_as_int, 256, attest_sha256, binary_relativity_sha256),
    "sha512": HashMode(sha512_as_int, 512, attest_sha512, binary_relativity_sha512),
}


class BonehExactAlgorithm(BonehAlgorithm[BonehAttestation]):
    """Proofs that a value is equal to a given one.

    The parameters of a format are ``key_size``, the bits of each of two primes (32 to 512), and ``hash``, one of
    ``sha256_4``, ``sha256`` and ``sha512``.

    :raises RuntimeError: if a parameter is wrong.
    :raises KeyError: if one is missing.
    """

    algorithm_name: ClassVar[str] = "bonehexact"
    weakness: ClassVar[str] = (
        f"{HISTORIC} The verifier learns how many pairs of bits of the hash of the value are 00, 11 and mixed, and "
        "values with the same counts are not told apart.")

    def __init__(self, id_format: str, formats: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(id_format, formats)
        self.honesty_check = True
        parameters = formats[id_format]
        mode = HASH_MODES.get(parameters["hash"])
        if mode is None:
            raise RuntimeError("Unknown hashing mode")
        self._mode = mode
        self.largest_blob = (NUMBERS * mode.bits // 2 + BonehPublicKey.FIELDS) * largest_integer(self.key_size)
        self.attest_function = mode.attest
        self.aggregate_reference = mode.reference

    def get_attestation_class(self) -> type[BonehAttestation]:
        """The class of its attestations."""
        return BonehAttestation

    def attest(self, PK: BonehPublicKey, value: bytes) -> bytes:  # noqa: N803 - as the base class names it
        """An attestation of a value, serialized."""
        return self.attest_function(PK, value).serialize_private(PK)

    def attest_steps(self, PK: BonehPublicKey, value: bytes) -> Steps[bytes]:  # noqa: N803 - as above
        """:meth:`attest` in steps."""
        attestation = yield from attest_steps(PK, self._mode.number(value), self._mode.bits)
        return attestation.serialize_private(PK)

    def estimate(self, operation: str) -> float:
        """About how many microseconds an operation takes."""
        if operation == "generate":
            return super().estimate(operation)
        bits = 2 * self.key_size + SPARE_BITS
        code = bits / 2  # of g and of h
        table, pairs = 32 * code, self._mode.bits // 2
        multiplications = {"attest": table + pairs * 3 * code, "challenges": table + pairs * code / 2,
                           "question": code, "response": self.key_size}
        return microseconds(bits, multiplications.get(operation, 0))

    def certainty(self, value: bytes, aggregate: dict[Any, Any]) -> float:
        """How certain it is, from 0 to 1, that the responses are those for a value, if nobody lies."""
        return binary_relativity_certainty(self.aggregate_reference(value), aggregate)

    def create_challenges(self, PK: BonehPublicKey, attestation: BonehAttestation) -> list[bytes]:  # noqa: N803 - as above
        """One challenge for each pair of bits."""
        return finish(self.challenge_steps(PK, attestation))

    def challenge_steps(self, PK: BonehPublicKey, attestation: BonehAttestation) -> Steps[list[bytes]]:  # noqa: N803
        """:meth:`create_challenges` in steps."""
        group = group_of(PK)
        yield from group.prepare_steps()
        challenges = []
        for pair in attestation.bitpairs:
            challenge = create_challenge(PK, pair)
            challenges.append(pack_pair(challenge.a, challenge.b))
            yield group.microseconds
        return challenges

    def check_attestation(self, attestation: BonehAttestation) -> None:
        """Raise ``ValueError`` for an attestation from the network that is not to be verified."""
        super().check_attestation(attestation)
        if len(attestation.bitpairs) != self._mode.bits // 2:
            raise ValueError(f"an attestation of this format has {self._mode.bits // 2} pairs of bits, "
                             f"not {len(attestation.bitpairs)}")

    def count_challenges(self, attestation: BonehAttestation) -> int:
        """The number of challenges for an attestation."""
        return len(attestation.bitpairs)

    def create_check_challenge(self, PK: BonehPublicKey, attestation: BonehAttestation, index: int,  # noqa: N803 - as above
                               answer: bytes) -> tuple[bytes, bytes] | None:
        """A challenge whose response follows from that to the challenge number ``index``: the sum, or one more or less.

        A shift that would lead out of 0 to 2 is not used: a prover sees that it is no question for a sum.
        """
        if len(answer) != 1 or answer[0] not in SUMS:
            return None
        expected = entropy.choice([number for number in SUMS if abs(number - answer[0]) <= 1])
        challenge = create_shifted_challenge(PK, attestation.bitpairs[index], expected - answer[0])
        return pack_pair(challenge.a, challenge.b), bytes((expected,))

    def create_challenge_response(self, SK: BonehPrivateKey, attestation: BonehAttestation,  # noqa: ARG002, N803 - as above
                                  challenge: bytes) -> bytes:
        """One byte: 0, 1 or 2, or 3 if the challenge is something else; ``struct.error`` if there is no challenge."""
        return bytes((create_challenge_response_from_pair(SK, unpack_pair(challenge)),))

    def create_certainty_aggregate(self, attestation: BonehAttestation | None) -> RelativityMap:  # noqa: ARG002 - as above
        """No responses yet."""
        return create_empty_relativity_map()

    def create_honesty_challenge(self, PK: BonehPublicKey, value: int) -> bytes:  # noqa: N803 - as above
        """A challenge whose response is known: ``value``, 0, 1 or 2."""
        challenge = create_honesty_check(PK, value)
        return pack_pair(challenge.a, challenge.b)

    def process_honesty_challenge(self, value: int, response: bytes) -> bool:
        """Whether a response is the known one."""
        return self._number(response) == value

    def process_challenge_response(self, aggregate: dict[Any, Any], challenge: bytes,  # noqa: ARG002 - as above
                                   response: bytes) -> dict[Any, Any]:
        """Count a response; ``struct.error`` if it is not one byte."""
        process_challenge_response(aggregate, self._number(response))
        return aggregate

    @staticmethod
    def _number(response: bytes) -> int:
        if len(response) != 1:
            raise StructError("a response has one byte")
        return response[0]


if TYPE_CHECKING:  # programs import these from here
    from ...identity_formats import IdentityAlgorithm as IdentityAlgorithm
    from ..primitives.boneh import generate_keypair as generate_keypair
else:
    __getattr__, __dir__ = reexports(__name__, {
        "...identity_formats": "IdentityAlgorithm", "..primitives.boneh": "generate_keypair"})
