"""Points and pairings."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.attestation.wallet.primitives.boneh import bilinear_group
from ipv8.attestation.wallet.primitives.ec import H, esum, millercalc, weilpairing
from ipv8.attestation.wallet.primitives.field import field_of
from ipv8.attestation.wallet.primitives.value import FP2Value

from .vectors import VECTORS, coefficients, value

pytestmark = pytest.mark.usefixtures("arithmetic")


def point(modulus: Any, numbers: Any) -> Any:
    return numbers if numbers == "O" else tuple(value(modulus, pair) for pair in numbers)


@pytest.mark.parametrize("case", VECTORS["esum"])
def test_sums(case: dict[str, Any]) -> None:
    modulus = int(case["mod"])
    assert esum(modulus, point(modulus, case["P"]), point(modulus, case["Q"])) == point(modulus, case["out"])


def test_infinity_is_neutral() -> None:
    p: Any = (FP2Value(11, 5), FP2Value(11, 4))
    assert esum(11, "O", "O") == "O"
    assert esum(11, p, "O") == p
    assert esum(11, "O", p) == p
    assert esum(11, p, (FP2Value(11, 5), FP2Value(11, -4))) == "O"


def test_sums_are_associative_and_commutative() -> None:
    p: Any = (FP2Value(11, 5), FP2Value(11, 4))
    q: Any = (FP2Value(11, b=5), FP2Value(11, 4))
    assert esum(11, p, q) == esum(11, q, p)
    double: Any = esum(11, p, p)
    assert esum(11, double, q) == esum(11, p, esum(11, p, q))


@pytest.mark.parametrize("case", VECTORS["weilpairing"])
def test_pairings(case: dict[str, Any]) -> None:
    modulus = int(case["mod"])
    result = weilpairing(modulus, int(case["m"]), *(point(modulus, case[name]) for name in "PQS"))
    assert coefficients(result) == [*map(int, case["out"]), 0, 1, 0, 0]


def test_a_pairing_is_alternating_and_of_the_right_order() -> None:
    p, q, s = [(FP2Value(1223, 764), FP2Value(1223, 140)), (FP2Value(1223, b=18), FP2Value(1223, 84)),
               (FP2Value(1223, 0), FP2Value(1223, 1222))]
    there, back = weilpairing(1223, 408, p, q, s), weilpairing(1223, 408, q, p, s)
    assert there.intpow(408) == FP2Value(1223, 1)
    assert there * back == FP2Value(1223, 1)


def test_all_small_groups() -> None:
    for x, y, a, b in VECTORS["bilinear_group_n10_p29"]:
        result = bilinear_group(10, 29, x, y, x, y)
        assert (result.a, result.b) == (a, b), (x, y)


def test_infinity_has_no_value() -> None:
    p: Any = (FP2Value(11, 5), FP2Value(11, 4))
    with pytest.raises(ValueError, match="infinity"):
        H(11, "O", p, FP2Value(11, 1), FP2Value(11, 2))
    with pytest.raises(ValueError, match="infinity"):
        millercalc(11, 4, "O", p)
    with pytest.raises(ValueError, match="infinity"):
        weilpairing(11, 4, p, p, "O")


def test_lines() -> None:
    p: Any = (FP2Value(11, 5), FP2Value(11, 4))
    q: Any = (FP2Value(11, b=5), FP2Value(11, 4))
    vertical = H(11, p, (FP2Value(11, 5), FP2Value(11, 7)), FP2Value(11, 1), FP2Value(11, 2))
    assert vertical == FP2Value(11, 1 - 5)
    slope = (p[1] - q[1]) // (p[0] - q[0])
    x, y = FP2Value(11, 1), FP2Value(11, 2)
    expected = (y - p[1] - slope * (x - p[0])) // (x + p[0] + q[0] - slope * slope)
    assert H(11, p, q, x, y) == expected
    assert millercalc(11, 2, p, (x, y)) == H(11, p, p, x, y)
    assert field_of(11).is_field
