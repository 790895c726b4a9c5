"""Finding typos and wrong types in what people wrote."""

from __future__ import annotations

from typing import Any, Optional, Union

import pytest
from hypothesis import given, strategies as st

from ipv8.checks import (
    argument_problem,
    call_problem,
    number_problem,
    setting_names,
    setting_problem,
    shown,
    similar,
    type_problem,
)

HUGE = 10 ** 400


def test_typos_are_found_but_other_names_are_not() -> None:
    known = ["max_peers", "anonymize"]
    assert similar("max_peerz", known) == similar("maxpeers", known) == "max_peers"
    assert similar("colour", known) is None
    assert similar(5, known) is None


def test_values_in_messages_are_short() -> None:
    assert shown("a") == "'a'"
    assert len(shown("a" * 1000)) < 100
    assert shown(1 << 99999) == "an integer of 100000 bits"
    assert shown([1 << 99999]) == "a list"


@given(st.integers() | st.floats() | st.sampled_from([HUGE, -HUGE, 1 << 99999]) | st.booleans())
def test_numbers_without_a_problem_can_be_computed_with(value: float) -> None:
    if number_problem(value) is None:
        float(value)
    else:
        assert abs(value) > 1e300 or value != value


@pytest.mark.parametrize(("annotation", "good", "bad"), [
    ("int", [1, 1.5, True], ["1", None, HUGE, float("nan")]),
    (float, [1, 1.5, float("inf")], ["1", b"1", -HUGE]),
    ("bool", [True, 0], ["yes", None]),
    ("str", ["a"], [1, b"a"]),
    (bytes, [b"a"], ["a"]),
    ("float | None", [None, 1], ["1", HUGE]),
    (float | None, [None, 1], ["1", HUGE]),
    (Optional[int], [None, 1], ["1"]),  # noqa: UP045 - programs write this too
    (Union[int, str], [1, "a"], [b"a", None]),  # noqa: UP007 - likewise
    ("typing.Optional[int]", [None], [b"a"]),
    ("list[int]", ["anything"], []),
    ("str | os.PathLike[str]", [5], []),
    (Any, [5, HUGE], []),
])
def test_types(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if type_problem(value, annotation)] == []
    assert [value for value in bad if not type_problem(value, annotation)] == []


class Made:
    def __init__(self, first: object, second: int, third: str = "", *, fourth: float | None = None) -> None:
        """Takes arguments of all kinds."""


class TakesAny:
    def __init__(self, first: object, **others: Any) -> None:
        """Takes any argument."""


@pytest.mark.parametrize(("given_arguments", "problem"), [
    ({"second": 1}, None),
    ({"second": 1, "third": "a", "fourth": None}, None),
    ({}, "needs the argument 'second'"),
    ({"second": 1, "thirt": ""}, "has no argument 'thirt'; did you mean 'third'?"),
    ({"second": 1, "first": 1}, "has no argument 'first'"),
    ({"second": "1"}, "argument 'second' must be a number, not str"),
    ({"second": 1, "fourth": HUGE}, "argument 'fourth' is too large"),
])
def test_arguments(given_arguments: dict[str, Any], problem: str | None) -> None:
    found = argument_problem(Made, given_arguments, passed=1)
    assert found is None if problem is None else str(found).startswith(problem)


def test_arguments_that_are_not_all_there_yet() -> None:
    assert argument_problem(Made, {}, passed=1, complete=False) is None
    assert argument_problem(Made, {"x": 1}, passed=1, complete=False) is not None


def test_what_takes_any_argument_or_does_not_tell() -> None:
    assert argument_problem(TakesAny, {"anything": 5}, passed=1) is None
    assert argument_problem(type, {"anything": 5}) is None


class Base:
    annotated: int = 3
    _private = 1


class Derived(Base):
    allow_unknown = True
    count = 5
    flag = False
    mandatory: str

    @property
    def computed(self) -> int:
        return 5


def test_settings() -> None:
    assert setting_names(Derived) == {"annotated", "count", "flag", "mandatory", "computed"}
    assert setting_problem(Derived, "annotated", "x") is not None
    assert setting_problem(Derived, "count", "x") is not None
    assert setting_problem(Derived, "mandatory", 5) is not None
    for name, value in (("count", None), ("flag", "x"), ("computed", "x"), ("unknown", "x")):
        assert setting_problem(Derived, name, value) is None


def test_annotations_that_cannot_be_evaluated() -> None:
    class Late(type):
        @property
        def __annotations__(cls) -> dict[str, Any]:  # type: ignore[override]  # as in later releases of Python
            raise NameError("not defined yet")

    assert "count" in setting_names(Late("Settings", (), {"count": 5}))


def test_calls() -> None:
    def function(one: int, two: int = 2, *, three: int = 3) -> None: ...

    assert call_problem(function, [1]) is None
    assert call_problem(function, [1, 2]) is None
    assert "missing a required argument: 'one'" in (call_problem(function, []) or "")
    assert "too many positional arguments" in (call_problem(function, [1, 2, 3]) or "")
    assert call_problem(type, []) is None, "it does not tell what it takes"
    assert call_problem(print, [1, 2, 3]) is None
