"""Bounds of numbers that are proven without the numbers."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.credentials.errors import CredentialError
from ipv8.attestation.credentials.ranges import Bound, Range, RangeCommitment, RangeSecret

AGE = Range(0, 150)


@given(low=st.integers(-50, 50), steps=st.integers(1, 40), step=st.integers(1, 7), data=st.data())
@settings(deadline=None, max_examples=60)
def test_exactly_the_true_bounds_can_be_proven(low: int, steps: int, step: int, data: st.DataObject) -> None:
    range_ = Range(low, low + steps * step, step)
    number = data.draw(st.integers(range_.low, range_.high))
    commitment, secret = RangeCommitment.create(range_, number)
    commitment.check_secret(secret)
    for threshold in range(range_.low, range_.high + 1, step):
        for bound, is_true in ((Bound("n", True, threshold), number >= threshold),
                               (Bound("n", False, threshold), number <= threshold)):
            if is_true:
                assert commitment.verify(bound, commitment.prove(secret, bound))
            else:
                with pytest.raises(CredentialError, match="not true"):
                    commitment.prove(secret, bound)


def test_a_proof_proves_weaker_bounds_only() -> None:
    """Whoever has a proof of a bound can compute those of weaker bounds, and none of stronger ones."""
    commitment, secret = RangeCommitment.create(AGE, 34)
    proof = commitment.prove(secret, Bound("age", True, 21))
    for threshold in range(151):
        assert commitment.verify(Bound("age", True, threshold), proof) is (threshold == 21)
    weaker = proof
    for _ in range(3):
        weaker = sha256(b"ipv8-range-v1:" + weaker).digest()
    assert commitment.verify(Bound("age", True, 18), weaker)


def test_a_proof_of_one_direction_is_none_of_the_other() -> None:
    commitment, secret = RangeCommitment.create(AGE, 75)
    for bound in (Bound("age", True, 75), Bound("age", False, 75)):
        assert not commitment.verify(bound._replace(is_minimum=not bound.is_minimum), commitment.prove(secret, bound))
        assert not commitment.verify(bound, b"short")


def test_proofs_do_not_depend_on_the_number_but_by_its_bound() -> None:
    """The proof for the number itself is the secret, which is as random as every other element of the chain."""
    commitment, secret = RangeCommitment.create(AGE, 34)
    assert commitment.prove(secret, Bound("age", True, 34)) == secret.at_least
    assert commitment.prove(secret, Bound("age", False, 34)) == secret.at_most
    other, _ = RangeCommitment.create(AGE, 34)
    assert other.at_least != commitment.at_least


@pytest.mark.parametrize("range_", [
    Range(0, 0), Range(5, 4), Range(0, 10, 3), Range(0, 10, 0), Range(0, 10, -1), Range(0, 1025),
    Range(0, 2**53, 2**43), Range(True, 10), Range(0.0, 10)])  # type: ignore[arg-type]
def test_ranges_that_are_not_possible(range_: Range) -> None:
    with pytest.raises(ValueError, match="range"):
        RangeCommitment.create(range_, 1)
    with pytest.raises(CredentialError):
        RangeCommitment.from_value({"min": range_.low, "max": range_.high, "step": range_.step, "ge": "A" * 43,
                                    "le": "A" * 43})


@pytest.mark.parametrize("number", [-1, 151, 1.5, True, "1"])
def test_numbers_outside_of_the_range(number: Any) -> None:
    with pytest.raises(ValueError, match="integer in"):
        RangeCommitment.create(AGE, number)


def test_thresholds_between_the_steps() -> None:
    commitment, secret = RangeCommitment.create(Range(0, 100, 10), 34)
    for bound in (Bound("n", True, 31), Bound("n", True, 110), Bound("n", False, -10)):
        with pytest.raises(CredentialError, match="cannot be proven"):
            commitment.prove(secret, bound)
        with pytest.raises(CredentialError, match="cannot be proven"):
            commitment.verify(bound, bytes(32))
    assert commitment.verify(Bound("n", True, 30), commitment.prove(secret, Bound("n", True, 30)))
    assert commitment.verify(Bound("n", False, 40), commitment.prove(secret, Bound("n", False, 40)))


def test_false_secrets_are_noticed() -> None:
    commitment, secret = RangeCommitment.create(AGE, 34)
    other, other_secret = RangeCommitment.create(AGE, 35)
    for false in (RangeSecret(bytes(32), secret.at_most), RangeSecret(secret.at_least, bytes(32))):
        with pytest.raises(CredentialError):
            commitment.check_secret(false)
    mixed = RangeCommitment(AGE, commitment.at_least, other.at_most)
    mixed.check_secret(RangeSecret(secret.at_least, other_secret.at_most))  # as of a number between two steps
    _, far = RangeCommitment.create(AGE, 90)
    with pytest.raises(CredentialError):
        RangeCommitment(AGE, commitment.at_least, _end(far, 90)).check_secret(RangeSecret(secret.at_least, far.at_most))


def _end(secret: RangeSecret, number: int) -> bytes:
    element = secret.at_most
    for _ in range(AGE.high - number + 1):
        element = sha256(b"ipv8-range-v1:" + element).digest()
    return element


@pytest.mark.parametrize("value", [
    None, [], {}, {"min": 0, "max": 10, "step": 1, "ge": "A", "le": "A" * 43},
    {"min": 0, "max": 10, "step": 1, "ge": "A" * 43, "le": 1},
    {"min": 0, "max": 10, "step": 1, "ge": "A" * 43, "le": "A" * 43, "more": 1},
    {"min": "0", "max": 10, "step": 1, "ge": "A" * 43, "le": "A" * 43}])
def test_what_is_no_commitment(value: Any) -> None:
    with pytest.raises(CredentialError):
        RangeCommitment.from_value(value)
