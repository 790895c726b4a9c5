"""Proofs that a number is at least, or at most, something, without telling the number.

See doc/protocol/credentials.md section 4. The construction is the hash chain of Rivest and Shamir's PayWord (1996), as
credentials use it in K. Chalkias, S. Cohen, K. Lewi, F. Moezinia, Y. Romailler, "HashWires: Hyperefficient
Credential-Based Range Proofs", PETS 2021, section 2. doc/design/credentials.md says why this one.

For a number v of the range from min to max, the authority draws a secret s and commits to f^(v - min + 1)(s), where f
is a hash function. Whoever knows f^(v - t)(s) proves v >= t: applying f another t - min + 1 times gives the commitment.
For a t above v, that would need a preimage of s.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple

from ... import entropy
from .claims import b64decode, b64encode
from .errors import CredentialError

__all__ = ["MAX_BOUNDS", "MAX_RANGES", "MAX_STEPS", "RANGE_SUFFIX", "Bound", "Range", "RangeCommitment", "RangeSecret"]

MAX_STEPS = 1024
"""Steps of a range. Issuing, proving and verifying take time in proportion to them."""

MAX_RANGES = 8
"""Commitments in a credential."""

MAX_BOUNDS = 16
"""Bounds in a presentation."""

SECRET_SIZE = 32
CHAIN = b"ipv8-range-v1:"
"""In front of what is hashed from one element of a chain to the next one."""

RANGE_SUFFIX = " (range)"
"""The name of a claim is followed by this to get the name of the claim with the commitments."""

LIMIT = 1 << 53
"""Numbers are smaller than this, so that every implementation of JSON reads them exactly (RFC 8259 section 6)."""


class Bound(NamedTuple):
    """A statement: the claim ``name`` is at least (``is_minimum``) or at most ``threshold``."""

    name: str
    is_minimum: bool
    threshold: int

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.is_minimum else '<='} {self.threshold}"


class Range(NamedTuple):
    """The numbers about which bounds can be proven: from ``low`` to ``high`` by ``step``."""

    low: int
    high: int
    step: int = 1

    def check(self) -> None:
        """``ValueError`` if this is not a range of 1 to :data:`MAX_STEPS` steps."""
        numbers = (self.low, self.high, self.step)
        if any(type(number) is not int or abs(number) >= LIMIT for number in numbers) or self.step < 1:
            raise ValueError(f"a range has integers smaller than 2**53 and a positive step, not {self}")
        if (self.high - self.low) % self.step or not 1 <= (self.high - self.low) // self.step <= MAX_STEPS:
            raise ValueError(f"a range goes from low to high in 1 to {MAX_STEPS} whole steps, not {self}: use a larger "
                             "step")

    @property
    def steps(self) -> int:
        """How many steps there are from the lowest to the highest number."""
        return (self.high - self.low) // self.step

    def steps_to(self, bound: Bound) -> int:
        """Steps from the end of the range to a threshold; ``CredentialError`` if the threshold is not on a step."""
        distance = bound.threshold - self.low if bound.is_minimum else self.high - bound.threshold
        if distance % self.step or not 0 <= distance // self.step <= self.steps:
            raise CredentialError(f"{bound} cannot be proven with {self}")
        return distance // self.step


class RangeSecret(NamedTuple):
    """What only the holder knows, 64 bytes: the starts of the two chains."""

    at_least: bytes
    at_most: bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def _advance(element: bytes, steps: int) -> bytes:
    for _ in range(steps):
        element = sha256(CHAIN + element).digest()
    return element


class RangeCommitment(NamedTuple):
    """The value of the claim that commits to a number: the range, and the ends of the two chains."""

    range: Range
    at_least: bytes
    at_most: bytes

    @classmethod
    def create(cls, range_: Range, number: int) -> tuple[RangeCommitment, RangeSecret]:
        """Commit to ``number``. If it is between two steps, what can be proven of it is rounded to be true.

        :raises ValueError: if it is not in the range.
        """
        range_.check()
        if type(number) is not int or not range_.low <= number <= range_.high:
            raise ValueError(f"{number!r} is not an integer in {range_}")
        secret = RangeSecret(entropy.randbytes(SECRET_SIZE), entropy.randbytes(SECRET_SIZE))
        return cls(range_, _advance(secret.at_least, (number - range_.low) // range_.step + 1),
                   _advance(secret.at_most, (range_.high - number) // range_.step + 1)), secret

    def to_value(self) -> dict[str, Any]:
        """As the value of a claim."""
        return {"min": self.range.low, "max": self.range.high, "step": self.range.step,
                "ge": b64encode(self.at_least), "le": b64encode(self.at_most)}

    @classmethod
    def from_value(cls, value: Any) -> RangeCommitment:
        """The inverse of :meth:`to_value`; ``CredentialError`` for anything else."""
        if not isinstance(value, dict) or value.keys() != {"min", "max", "step", "ge", "le"}:
            raise CredentialError("not a commitment to a number")
        if not isinstance(value["ge"], str) or not isinstance(value["le"], str):
            raise CredentialError("not a commitment to a number")
        range_ = Range(value["min"], value["max"], value["step"])
        try:
            range_.check()
        except ValueError as e:
            raise CredentialError(str(e)) from None
        ends = b64decode(value["ge"]), b64decode(value["le"])
        if any(len(end) != SECRET_SIZE for end in ends):
            raise CredentialError("not a commitment to a number")
        return cls(range_, *ends)

    def prove(self, secret: RangeSecret, bound: Bound) -> bytes:
        """The proof of a bound, 32 bytes.

        :raises CredentialError: if the bound is not true, or not on a step of the range.
        """
        steps = self.range.steps_to(bound)
        start, end = ((secret.at_least, self.at_least) if bound.is_minimum else (secret.at_most, self.at_most))
        length = self._length(start, end)
        if length <= steps:
            raise CredentialError(f"{bound} is not true, so it cannot be proven")
        return _advance(start, length - steps - 1)

    def check_secret(self, secret: RangeSecret) -> None:
        """``CredentialError`` if the secret does not belong to this commitment."""
        low = self._length(secret.at_least, self.at_least)
        if low + self._length(secret.at_most, self.at_most) not in {self.range.steps + 1, self.range.steps + 2}:
            raise CredentialError("the two chains of a commitment are for different numbers")

    def _length(self, start: bytes, end: bytes) -> int:
        element = start
        for length in range(1, self.range.steps + 2):
            element = _advance(element, 1)
            if element == end:
                return length
        raise CredentialError("the secret does not belong to this commitment")

    def verify(self, bound: Bound, proof: bytes) -> bool:
        """Whether ``proof`` proves the bound; ``CredentialError`` if it is not on a step of the range."""
        if len(proof) != SECRET_SIZE:
            return False
        end = _advance(proof, self.range.steps_to(bound) + 1)
        return end == (self.at_least if bound.is_minimum else self.at_most)
