"""What a verifier asks, in which order, and what it makes of the answers (doc/protocol/attestation.md, section 9).

A prover that has the private key knows the answer to each question, but not what the question is for. So half of the
questions have answers that the verifier knows: a number that it encoded itself, or the answer to an earlier question,
possibly one more or less. A prover that gives wrong answers to ``k`` questions about the attestation is caught with a
probability of about 1 - 2**-k.
"""

from __future__ import annotations

from hashlib import sha1
from struct import error as StructError  # noqa: N812 - it is an exception class
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import entropy
from .work import COSTLY_MICROSECONDS

if TYPE_CHECKING:
    from ..identity_formats import IdentityAlgorithm

__all__ = ["Question", "Questioning", "challenge_hash"]

WRONG_RESPONSE = (ArithmeticError, LookupError, ValueError, StructError)
"""What algorithms raise for responses that are none."""

REPEATED_SHARE = 0.5
"""How many of the questions with known answers are about earlier answers, as soon as there are some."""


def challenge_hash(challenge: bytes) -> bytes:
    """The hash by which a response names its challenge."""
    return sha1(challenge).digest()  # noqa: S324 - the hash that the protocol has


class Question(NamedTuple):
    """A question.

    :param challenge: what is sent.
    :param place: the number of the challenge of the attestation; -1 if the answer is known.
    :param honesty: the known number that is asked for; -1 if it is something else.
    :param expected: the known answer.
    """

    challenge: bytes
    place: int = -1
    honesty: int = -1
    expected: bytes | None = None


class Questioning:
    """The questions about one attestation.

    :param algorithm: that of the format.
    :param attestation: the public form.
    :param challenges: the challenges of the attestation.
    """

    def __init__(self, algorithm: IdentityAlgorithm[Any], attestation: Any, challenges: list[bytes]) -> None:
        self._algorithm = algorithm
        self._attestation = attestation
        self._challenges = challenges
        #: Whether it takes long to make a question.
        self.costly = algorithm.estimate("question") >= COSTLY_MICROSECONDS
        self._unasked = list(range(len(challenges)))
        self._checks = len(challenges) if algorithm.honesty_check else 0
        self._answers: dict[int, bytes] = {}
        self._unanswered = 0
        self._postponed: list[Question] = []

    def draw(self) -> Question | None:
        """The next question; ``None`` if there is none any more."""
        if self._postponed:
            return self._postponed.pop()
        left = len(self._unasked) + self._checks
        if not left:
            return None
        self._unanswered += 1
        if entropy.randint(1, left) <= self._checks:
            self._checks -= 1
            return self._check()
        index = self._unasked.pop(0)
        return Question(self._challenges[index], index)

    def postpone(self, question: Question) -> None:
        """Draw a question again later."""
        self._postponed.append(question)

    def _check(self) -> Question:
        key = self._attestation.PK
        if self._answers and entropy.random() < REPEATED_SHARE:
            index = entropy.choice(tuple(self._answers))
            made = self._algorithm.create_check_challenge(key, self._attestation, index, self._answers[index])
            if made is not None:
                return Question(made[0], expected=made[1])
        number = entropy.randbits(1) + entropy.randbits(1)  # as often as sums of two random bits are what they are
        return Question(self._algorithm.create_honesty_challenge(key, number), honesty=number)

    def take(self, question: Question, response: bytes, aggregate: dict[Any, Any]) -> bool:
        """Take the answer to a question; whether it may be true.

        :param aggregate: what is about the attestation is added to this.
        """
        self._unanswered -= 1
        try:
            if question.place >= 0:
                self._answers[question.place] = response
                self._algorithm.process_challenge_response(aggregate, question.challenge, response)
                return True
            if question.expected is not None:
                return response == question.expected
            return self._algorithm.process_honesty_challenge(question.honesty, response)
        except WRONG_RESPONSE:
            return False

    @property
    def is_over(self) -> bool:
        """Whether all questions are answered."""
        return not (self._unasked or self._checks or self._unanswered)
