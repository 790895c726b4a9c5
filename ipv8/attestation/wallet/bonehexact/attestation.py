"""Attesting values, and asking for the sums of their pairs of bits (doc/protocol/attestation.md, section 5).

What a verifier learns are the sums of all pairs in random order: how many are 0, 1 and 2. So a value is not told apart
from others with the same counts (doc/attestation.md).
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from .... import entropy
from ..primitives.attestation import sha256_4_as_int, sha256_as_int, sha512_as_int
from ..primitives.boneh import decode, encode
from ..primitives.group import group_of
from ..primitives.steps import Steps, finish
from ..primitives.value import FP2Value
from .structs import BitPairAttestation, BonehAttestation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..primitives.structs import BonehPrivateKey, BonehPublicKey

__all__ = ["attest", "attest_sha256", "attest_sha256_4", "attest_sha512", "binary_relativity",
           "binary_relativity_certainty", "binary_relativity_match", "binary_relativity_sha256",
           "binary_relativity_sha256_4", "binary_relativity_sha512", "create_challenge", "create_challenge_response",
           "create_challenge_response_from_pair", "create_empty_relativity_map", "create_honesty_check", "decode",
           "encode", "generate_modular_additive_inverse", "multithread_update_lock", "process_challenge_response"]

multithread_update_lock = Lock()
"""Held while a response is counted, as programs may do so in several threads."""

SUMS = (0, 1, 2)
"""What two bits can add up to."""

NO_SUM = 3
"""The response to a challenge that is none of the sums; such responses are counted in an entry of their own."""

RelativityMap = dict[int, int]
"""How often each response was given, 0 to 3."""


def generate_modular_additive_inverse(p: int, n: int) -> list[int]:
    """``n`` random numbers in random order, whose sum is a multiple of ``p + 1``."""
    numbers = [entropy.randint(1, p - 1) for _ in range(n - 1)]
    numbers.append(-sum(numbers) % (p + 1))
    entropy.shuffle(numbers)
    return numbers


def attest_steps(PK: BonehPublicKey, value: int, bitspace: int) -> Steps[BonehAttestation]:  # noqa: N803 - a public name
    """What :func:`attest` does, in one step for each pair."""
    group = group_of(PK)
    yield from group.prepare_steps()
    order = PK.p + 1
    bits = [value >> position & 1 for position in reversed(range(bitspace))]
    shifts = generate_modular_additive_inverse(PK.p, bitspace)
    pairs = []
    for i in range(0, bitspace, 2):
        codes = [group.value(group.encode(number)) for number in (
            bits[i] + shifts[i], bits[i + 1] + shifts[i + 1], order - (shifts[i] + shifts[i + 1]) % order)]
        pairs.append(BitPairAttestation(*codes))
        yield 3 * group.microseconds
    entropy.shuffle(pairs)
    return BonehAttestation(PK, pairs)


def attest(PK: BonehPublicKey, value: int, bitspace: int) -> BonehAttestation:  # noqa: N803 - a public name
    """Attest a number of ``bitspace`` bits for the owner of a key."""
    return finish(attest_steps(PK, value, bitspace))


def attest_sha256_4(PK: BonehPublicKey, value: bytes) -> BonehAttestation:  # noqa: N803 - a public name
    """Attest a value by the first 32 bits of its SHA-256."""
    return attest(PK, sha256_4_as_int(value), 32)


def attest_sha256(PK: BonehPublicKey, value: bytes) -> BonehAttestation:  # noqa: N803 - a public name
    """Attest a value by its SHA-256."""
    return attest(PK, sha256_as_int(value), 256)


def attest_sha512(PK: BonehPublicKey, value: bytes) -> BonehAttestation:  # noqa: N803 - a public name
    """Attest a value by its SHA-512."""
    return attest(PK, sha512_as_int(value), 512)


def create_empty_relativity_map() -> RelativityMap:
    """No responses yet."""
    return dict.fromkeys((*SUMS, NO_SUM), 0)


def binary_relativity(value: int, bitspace: int) -> RelativityMap:
    """The responses that an attestation of a number should give; of a longer number, the first bits count."""
    value >>= max(0, value.bit_length() - bitspace)
    counts = create_empty_relativity_map()
    for position in range(0, bitspace, 2):
        counts[(value >> position & 1) + (value >> position + 1 & 1)] += 1
    return counts


def binary_relativity_sha256_4(value: bytes) -> RelativityMap:
    """:func:`binary_relativity` of the first 32 bits of the SHA-256 of a value."""
    return binary_relativity(sha256_4_as_int(value), 32)


def binary_relativity_sha256(value: bytes) -> RelativityMap:
    """:func:`binary_relativity` of the SHA-256 of a value."""
    return binary_relativity(sha256_as_int(value), 256)


def binary_relativity_sha512(value: bytes) -> RelativityMap:
    """:func:`binary_relativity` of the SHA-512 of a value."""
    return binary_relativity(sha512_as_int(value), 512)


def binary_relativity_match(expected: Mapping[int, int], value: Mapping[int, int]) -> float:
    """How much of the expected responses was given, 0 to 1; 0 if one was given too often."""
    match = 1.0
    for response, count in expected.items():
        if count < value[response]:
            return 0.0
        if count and value[response]:
            match *= value[response] / count
    return match


def binary_relativity_certainty(expected: Mapping[int, int], value: Mapping[int, int]) -> float:
    """How certain it is that the responses are those of the expected value, if nobody lies, 0 to 1."""
    return binary_relativity_match(expected, value) * (1.0 - 0.5 ** sum(value.values()))


def create_challenge(PK: BonehPublicKey, bitpair: BitPairAttestation) -> FP2Value:  # noqa: N803 - a public name
    """A question for the sum of a pair, another one each time."""
    return create_shifted_challenge(PK, bitpair, 0)


def create_shifted_challenge(PK: BonehPublicKey, bitpair: BitPairAttestation,  # noqa: N803 - as above
                             shift: int) -> FP2Value:
    """A question for the sum of a pair and ``shift``, another one each time."""
    group = group_of(PK)
    return group.value(group.encode(shift, bitpair.element()))


def create_honesty_check(PK: BonehPublicKey, value: int) -> FP2Value:  # noqa: N803 - a public name
    """A question whose answer is ``value``."""
    return encode(PK, value)


def create_challenge_response(SK: BonehPrivateKey, challenge: FP2Value) -> int:  # noqa: N803 - a public name
    """The answer to a question: 0, 1 or 2; 3 if it is none of them."""
    response = decode(SK, SUMS, challenge)
    return NO_SUM if response is None else response


def create_challenge_response_from_pair(SK: BonehPrivateKey, pair: Sequence[Any]) -> int:  # noqa: N803 - as above
    """:func:`create_challenge_response` for a question that is given as ``(a, b)``; what is behind is ignored."""
    return create_challenge_response(SK, FP2Value(SK.p, pair[0], pair[1]))


def process_challenge_response(relativity_map: RelativityMap, response: int) -> None:
    """Count a response. Whatever is no sum counts as 3, which no attestation of a value gives."""
    with multithread_update_lock:
        counted = response if response in SUMS else NO_SUM
        relativity_map[counted] = relativity_map.get(counted, 0) + 1
