"""What a verifier asks, and how well that finds liars."""

from __future__ import annotations

import random
from typing import Any

from ipv8 import entropy
from ipv8.attestation.schema.manager import SchemaManager
from ipv8.attestation.wallet.bonehexact.attestation import binary_relativity_sha256_4
from ipv8.attestation.wallet.questions import Question, Questioning, challenge_hash

from .vectors import SAMPLES

SAMPLE = SAMPLES["id_metadata"]
VALUE = bytes.fromhex(SAMPLE["value"])


def algorithm() -> Any:
    schemas = SchemaManager()
    schemas.register_default_schemas()
    return schemas.get_algorithm_instance("id_metadata")


class Verification:
    """A verification without a network. ``answer`` makes what the prover says of the true answer and the question."""

    def __init__(self, window: int = 10) -> None:
        self.algorithm = algorithm()
        self.key = self.algorithm.load_secret_key(bytes.fromhex(SAMPLE["secret_key"]))
        self.attestation = self.algorithm.get_attestation_class().unserialize(bytes.fromhex(SAMPLE["blob"]))
        self.window = window
        self.asked: list[tuple[Question, int]] = []
        self.aggregate = self.algorithm.create_certainty_aggregate(self.attestation)

    def run(self, answer: Any) -> bool:
        """Ask all questions; whether no lie was noticed."""
        challenges = self.algorithm.create_challenges(self.attestation.PK, self.attestation)
        questioning = Questioning(self.algorithm, self.attestation, challenges)
        waiting: list[Question] = []
        while not questioning.is_over:
            while len(waiting) < self.window and (question := questioning.draw()) is not None:
                waiting.append(question)
            question = waiting.pop(0)
            true = self.algorithm.create_challenge_response(self.key, self.attestation, question.challenge)[0]
            self.asked.append((question, true))
            if not questioning.take(question, answer(true, question), self.aggregate):
                return False
        return True

    def certainty(self, value: bytes = VALUE) -> float:
        certainty: float = self.algorithm.certainty(value, self.aggregate)
        return certainty


def honest(true: int, _: Question) -> bytes:
    return bytes((true,))


def test_an_honest_prover() -> None:
    for window in (1, 3, 10, 100):
        verification = Verification(window)
        assert verification.run(honest)
        assert verification.certainty() == 1 - 0.5 ** 16
        assert verification.certainty(b"another") == 0
        genuine = [question for question, _ in verification.asked if question.place >= 0]
        assert sorted(question.place for question in genuine) == list(range(16))
        assert len(verification.asked) == 32, "half of the questions have known answers"


def test_all_questions_have_answers_that_genuine_ones_have_and_are_all_different() -> None:
    verification = Verification()
    for _ in range(20):
        assert verification.run(honest)
    assert {true for _, true in verification.asked} == {0, 1, 2}
    challenges = [challenge_hash(question.challenge) for question, _ in verification.asked]
    assert len(set(challenges)) == len(challenges)
    kinds = [(question.place >= 0, question.honesty >= 0, question.expected is not None)
             for question, _ in verification.asked]
    assert {kind for kind in kinds if sum(kind) == 1} == set(kinds)
    assert len(set(kinds)) == 3, "genuine questions, numbers that the verifier encoded, and earlier answers"


def test_known_answers_from_the_first_question_on() -> None:
    """The first ten questions used to be genuine ones, so that lies about them were free."""
    first = [verification.asked[0][0].place >= 0 for verification in [Verification() for _ in range(60)]
             if verification.run(honest)]
    assert 10 < sum(first) < 50


def test_one_lie_is_noticed_about_every_second_time() -> None:
    noticed = 0
    for seed in range(200):
        with entropy.use(random.Random(seed)):
            target = random.Random(seed).randrange(32)
            verification = Verification()
            count = iter(range(100))
            noticed += not verification.run(
                lambda true, _, target=target, count=count: bytes(((true + (next(count) == target)) % 3,)))
    assert 70 < noticed < 130


def forged_value() -> bytes:
    """A value whose pairs of bits have quite other sums."""
    own = binary_relativity_sha256_4(VALUE)
    return max((b"forged %d" % i for i in range(300)),
               key=lambda value: sum(abs(own[k] - count) for k, count in binary_relativity_sha256_4(value).items()))


def test_a_forger_is_caught() -> None:
    """It knows which answers it lacks, and gives them instead of the true ones as soon as it can."""
    forged = forged_value()
    wanted, own = binary_relativity_sha256_4(forged), binary_relativity_sha256_4(VALUE)
    assert sum(max(0, wanted[k] - own[k]) for k in range(3)) >= 4
    accepted = 0
    for seed in range(150):
        with entropy.use(random.Random(seed)):
            surplus = {k: own[k] - wanted[k] for k in range(3)}

            def lie(true: int, _: Question, surplus: dict[int, int] = surplus) -> bytes:
                if surplus[true] > 0:
                    lacking = [k for k in range(3) if surplus[k] < 0]
                    if lacking:
                        surplus[true] -= 1
                        surplus[lacking[0]] += 1
                        return bytes((lacking[0],))
                return bytes((true,))

            verification = Verification()
            if verification.run(lie) and verification.certainty(forged) > 0.5:
                accepted += 1
    assert accepted <= 15, "one in 2**k at k lies"


def test_relabelled_answers_are_noticed_at_once() -> None:
    for seed in range(20):
        with entropy.use(random.Random(seed)):
            assert not Verification().run(lambda true, _: bytes((abs(2 - true),)))


def test_responses_that_are_none() -> None:
    for response in (b"", b"\x00\x00", bytes(1000)):
        assert not Verification().run(lambda *_, response=response: response)
    verification = Verification()
    assert not (verification.run(lambda *_: b"\xff") and verification.certainty())


def test_algorithms_without_known_answers() -> None:
    schemas = SchemaManager()
    schemas.register_default_schemas()
    ranges: Any = schemas.get_algorithm_instance("id_metadata_range_18plus")
    questioning = Questioning(ranges, None, [b"challenge"])
    question = questioning.draw()
    assert question == Question(b"challenge", 0)
    assert questioning.draw() is None
    assert not questioning.is_over
    questioning.postpone(question)
    assert questioning.draw() == question
    aggregate: dict[Any, Any] = {"attestation": None}
    assert questioning.take(question, b"", aggregate)
    assert questioning.is_over


def test_no_questions() -> None:
    questioning = Questioning(algorithm(), None, [])
    assert questioning.draw() is None
    assert questioning.is_over
