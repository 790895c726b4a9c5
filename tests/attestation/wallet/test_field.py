"""The field with p**2 elements, and fractions over it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ipv8 import entropy
from ipv8.attestation.wallet.primitives.field import ONE, FixedBase, field_of, window_steps
from ipv8.attestation.wallet.primitives.steps import finish
from ipv8.attestation.wallet.primitives.value import FP2Value, _modinv, format_polynomial

from .vectors import VECTORS, coefficients, fraction

if TYPE_CHECKING:
    from ipv8.attestation.wallet.primitives.field import Element

pytestmark = pytest.mark.usefixtures("arithmetic")

P = int(VECTORS["secret_keys"][0]["p"])
BIG = 2**521 - 1  # 1 modulo 3

either_kind = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
numbers = st.integers(0, P - 1)
elements = st.tuples(numbers, numbers)


def naive_power(x: Element, exponent: int, p: int = P) -> Element:
    field, result = field_of(p), ONE
    for _ in range(exponent):
        result = field.multiply(result, x)
    return result


def unitary(seed: int) -> Element:
    """A random element of norm 1."""
    rng, field = random.Random(seed), field_of(P)
    x = (rng.randrange(P), rng.randrange(1, P))
    return field.multiply(field.conjugate(x), field.inverse(x))


@given(elements, elements, elements)
@either_kind
def test_it_is_a_ring(x: Element, y: Element, z: Element) -> None:
    field = field_of(P)
    assert field.multiply(x, y) == field.multiply(y, x)
    assert field.multiply(field.multiply(x, y), z) == field.multiply(x, field.multiply(y, z))
    total = field.element(y[0] + z[0], y[1] + z[1])
    parts = field.multiply(x, y), field.multiply(x, z)
    assert field.multiply(x, total) == field.element(parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])
    assert field.product((x, y, z)) == field.multiply(field.multiply(x, y), z)
    assert field.norm(field.multiply(x, y)) == field.norm(x) * field.norm(y) % P


def test_x_is_a_third_root_of_unity() -> None:
    field = field_of(P)
    assert field.power((0, 1), 3) == ONE
    assert field.power((0, 1), 2) == (P - 1, P - 1)  # -1 - x


@given(elements)
@either_kind
def test_inverse_and_conjugate(x: Element) -> None:
    field = field_of(P)
    if x == (0, 0):
        with pytest.raises(ZeroDivisionError, match="has no inverse"):
            field.inverse(x)
        return
    assert field.multiply(x, field.inverse(x)) == ONE
    assert field.multiply(x, field.conjugate(x)) == (field.norm(x), 0)
    assert field.power(x, -3) == field.inverse(naive_power(x, 3))


@given(elements, st.integers(0, 40))
@either_kind
def test_small_powers(x: Element, exponent: int) -> None:
    assert field_of(P).power(x, exponent) == naive_power(x, exponent)


@given(elements, st.integers(0, 2**200), st.integers(0, 2**200))
@either_kind
def test_powers_add_up(x: Element, one: int, two: int) -> None:
    field = field_of(P)
    assert field.multiply(field.power(x, one), field.power(x, two)) == field.power(x, one + two)
    assert field.power(field.power(x, one), two) == field.power(x, one * two)


def test_the_order_of_elements() -> None:
    field = field_of(P)
    x = (12345, 67890)
    assert field.is_field
    assert field.power(x, P * P - 1) == ONE
    assert field.power(x, P) == field.conjugate(x)
    assert field.power(unitary(1), P + 1) == ONE


def test_moduli_that_make_no_field() -> None:
    assert not field_of(BIG).is_field
    assert not field_of(35).is_field
    assert field_of(29).is_field
    with pytest.raises(ZeroDivisionError):
        field_of(35).inverse((5, 0))
    assert field_of(35).power((2, 3), 10**6 + 1) == field_of(35).multiply(field_of(35).power((2, 3), 10**6), (2, 3))


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 7, 8, 100, 2**32 - 1, 2**64 + 2**10, 3**150])
def test_window_steps_add_up_to_the_exponent(exponent: int) -> None:
    steps, largest = window_steps(exponent)
    total = 0
    for squarings, index in steps:
        total = (total << squarings) + (2 * index + 1 if index >= 0 else 0)
    assert total == exponent
    assert largest == max(index for _, index in steps)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-2**180, 2**180)), max_size=4))
@either_kind
def test_products_of_powers(powers: list[tuple[int, int]]) -> None:
    field = field_of(P)
    known = [(unitary(seed), exponent) for seed, exponent in powers]
    assert field.multi_power(known) == field.product(field.power(x, exponent) for x, exponent in known)
    others = [((seed + 2, seed + 3), abs(exponent) >> 100) for seed, exponent in powers]
    assert field.multi_power(others) == field.product(field.power(x, exponent) for x, exponent in others)


@given(st.integers(0, 50), st.integers(0, P + 1))
@either_kind
def test_fixed_bases(seed: int, exponent: int) -> None:
    field, x = field_of(P), unitary(seed)
    base = FixedBase(field, x, P.bit_length())
    assert base.power(exponent) == field.power(x, exponent)
    assert base.power(exponent, (2, 3)) == field.multiply(field.power(x, exponent), (2, 3))
    assert base.power(-exponent) == field.power(x, -exponent)
    assert base.power(exponent << 40) == field.power(x, exponent << 40)


@pytest.mark.parametrize("bits", [20, 97, 135, 300, 500])
def test_fixed_bases_of_all_sizes(bits: int) -> None:
    field = field_of(P)
    base = FixedBase(field, unitary(3), bits)
    finish(base.prepare_steps())
    exponent = random.Random(bits).getrandbits(bits)
    assert base.power(exponent) == field.power(unitary(3), exponent)
    assert list(base.prepare_steps()) == []


@given(st.integers(0, 50), st.integers(1, 2**70))
@either_kind
def test_lucas_sequences_are_traces_of_powers(seed: int, exponent: int) -> None:
    field, x = field_of(P), unitary(seed)

    def trace(power: int) -> int:
        a, b = field.power(x, power)
        return int((2 * a - b) % P)

    assert field.lucas(trace(1), bin(exponent)[3:]) == (trace(exponent), trace(exponent + 1))


# Fractions

@pytest.mark.parametrize("case", VECTORS["fp2"], ids=lambda case: case["op"])
def test_vectors(case: dict[str, object]) -> None:
    x = fraction(case["mod"], case["x"])
    operation = case["op"]
    if operation in ("add", "sub", "mul", "floordiv"):
        y = fraction(case["mod"], case["y"])
        result = {"add": x.__add__, "sub": x.__sub__, "mul": x.__mul__, "floordiv": x.__floordiv__}[str(operation)](y)
    elif operation == "intpow":
        result = x.intpow(int(str(case.get("e", case.get("y")))))
    else:
        result = getattr(x, str(operation))()
    assert coefficients(result) == [int(number) for number in case["out"]]  # type: ignore[attr-defined]
    assert str(result) == case["str"]
    if "normalized" in case:
        assert coefficients(result.normalize()) == [int(n) for n in case["normalized"]]  # type: ignore[attr-defined]


fractions = st.builds(lambda *n: FP2Value(P, *n), numbers, numbers, numbers, numbers, numbers, numbers)


@given(fractions, fractions, fractions)
@either_kind
def test_fractions_are_a_field(x: FP2Value, y: FP2Value, z: FP2Value) -> None:
    if any((number.aC - number.cC) % P == (number.bC - number.cC) % P == 0 for number in (x, y, z)):
        return
    assert x + y == y + x
    assert (x + y) * z == x * z + y * z
    assert (x + y) - y == x
    assert (x * y).normalize() == x * y
    if y.to_element() != (0, 0):
        assert (x * y) // y == x
        assert y * y.inverse() == FP2Value(P, 1)
        assert y.intpow(-2) * y * y == FP2Value(P, 1)
    assert x.intpow(0) == FP2Value(P, 1)
    assert x.intpow(3) == x * x * x
    assert FP2Value.of_element(P, x.to_element()) == x


def test_sums_whose_second_denominator_has_an_x() -> None:
    one, two = FP2Value(11, 1, 2), FP2Value(11, 3, 4, 0, 1, 5)
    difference = one + two - two
    assert difference == one
    assert (one + two).to_element() == field_of(11).element(*(
        a + b for a, b in zip(one.to_element(), two.to_element(), strict=True)))


def test_equality() -> None:
    assert FP2Value(11, 2, 4, 0, 2) == FP2Value(11, 1, 2)
    assert FP2Value(11, 0, 0, 1) == FP2Value(11, 10, 10)  # x**2 is -1 - x
    assert FP2Value(11) == FP2Value(11)
    assert FP2Value(11) != FP2Value(11, 1)
    assert FP2Value(11, 1) != "1"
    assert FP2Value(35, 5, 7) == FP2Value(35, 40, 42)  # a composite modulus
    assert hash(FP2Value(11, 5)) == hash(FP2Value(11, 6)) == 0
    with pytest.raises(AssertionError):
        FP2Value(11, 1) == FP2Value(13, 1)  # noqa: B015 - raises
    for operation in ("__add__", "__sub__", "__mul__", "__floordiv__"):
        with pytest.raises(AssertionError):
            getattr(FP2Value(11, 1), operation)(FP2Value(13, 1))


def test_unique_form() -> None:
    value = FP2Value(11, 3, 4, 0, 2, 5)
    unique = value.wp_compress()
    assert unique == value
    assert coefficients(unique)[2:] == [0, 1, 0, 0]
    assert value.wp_nominator() * value.wp_denom_inverse() == value
    assert FP2Value(11, 1, 0, 0, 0, 0).wp_denom_inverse() == FP2Value(11)
    with pytest.raises(AssertionError):
        FP2Value(11, 1, 1, 1).wp_compress()
    with pytest.raises(AssertionError):
        FP2Value(11, 1, 1, 0, 1, 1, 1).wp_compress()
    assert coefficients(FP2Value(11, 1, 2, 0, 0, 3).normalize()) == [1, 2, 0, 0, 3, 0]


def test_text() -> None:
    assert format_polynomial(0, 1, 0) == "x"
    assert format_polynomial(2, -3, 4) == "2 + 3x + 4x^2"
    assert format_polynomial(0, 0, 0) == "0"
    assert format_polynomial(1, 1, 1) == "1 + x + x^2"
    assert str(FP2Value(11, 1, 2, 0, 3)) == "(1 + 2x)/(3)"
    assert "11" in repr(FP2Value(11, 1))


def test_modular_inverse() -> None:
    assert _modinv(0, 7) == 0
    assert all(_modinv(number, 29) * number % 29 == 1 for number in range(1, 29))
    assert _modinv(-1, 29) == 28


def test_random_elements_are_seeded() -> None:
    from ipv8.attestation.wallet.primitives.boneh import get_good_wp

    with entropy.use(random.Random(1)):
        one = get_good_wp(10, 29)[1]
    with entropy.use(random.Random(1)):
        assert get_good_wp(10, 29)[1] == one
