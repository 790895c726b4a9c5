"""The evaluator of launcher expressions: what it computes and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.expressions import MAX_EXPRESSION_LENGTH, Expression, get_attribute, has_attribute

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION = SimpleNamespace(
    enabled=True, port=8090, nothing=None, table={"name": [1, 2, 3]},
    config=SimpleNamespace(get=lambda name, default=None: {"tunnels/enabled": False}.get(name, default)),
    upper=lambda text, *, suffix="": text.upper() + suffix,
)


@pytest.mark.parametrize(("source", "value"), [
    ("session.enabled", True),
    ("  session.enabled  ", True),
    ("not session.enabled", False),
    ("'text'", "text"),
    ("-3", -3),
    ("+3", 3),
    ("session.config.get('tunnels/enabled')", False),
    ("session.config.get('other', 5) == 5", True),
    ("session.upper('a', suffix='!')", "A!"),
    ("session.table['name'][-1]", 3),
    ("session.nothing is None and session.port", 8090),
    ("session.nothing is not None", False),
    ("session.nothing and session.nothing.missing", None),
    ("session.enabled or session.missing", True),
    ("session.nothing or 0 or ''", ""),
    ("1 < 2 <= 2 < 3", True),
    ("1 < 2 > 5 < session.missing", False),
    ("1 != 2", True),
    ("3 >= 4 or 4 > 3", True),
    ("2 in session.table['name'] and 4 not in session.table['name']", True),
    ("session.port if session.enabled else session.missing", 8090),
    ("session.missing if session.nothing else 'no'", "no"),
    ("[1, (2, {3}), {'a': session.port}]", [1, (2, {3}), {"a": 8090}]),
    ("'a' + 'b' * 2", "abb"),
    ("7 // 2 - 7 % 2", 2),
    ("1 / 2", 0.5),
    ("6 & 3 | 8", 10),
    ("session.table['name'][0:1]", [1]),
    ("session.table['name'][:-1]", [1, 2]),
    ("session.table['name'][session.port - 8089:]", [2, 3]),
    ("session.table['name'][::2]", [1, 3]),
    ("session.table['name'][:]", [1, 2, 3]),
    ("f'port {session.port}'", "port 8090"),
    ("f'{{}}{session.table}'", "{}{'name': [1, 2, 3]}"),
    ("f'{session.port:>{session.port - 8084}}|'", "  8090|"),
    ("f'{session.nothing!r:5}|'", "None |"),
    ("f'{1 + 1!s}'", "2"),
    ("""f'{"é"!a}'""", r"'\xe9'"),
    ("f'{session.port=}'", "session.port=8090"),
])
def test_value(source: str, value: object) -> None:
    assert Expression(source)({"session": SESSION}) == value


@pytest.mark.parametrize("source", [
    "lambda: 1", "[x for x in y]", "f(*x)", "f(**x)", "session.__class__", "session.x.__globals__", "f'{x.__class__}'",
    "f'{1:{lambda: 1}}'", "x[1:[y for y in x]]",
    "(y := 5)", "2 ** 9 ** 9", "~1", "1 << 99", "{**x}", "await x", "yield", "a @ b",
])
def test_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"not allowed|not an expression"):
        Expression(source)


@pytest.mark.parametrize("source", ["", "(", "x = 1", "import os", "a b", "x\ny"])
def test_no_expression(source: str) -> None:
    with pytest.raises(ValueError, match="is not an expression"):
        Expression(source)


def test_too_long() -> None:
    with pytest.raises(ValueError, match="characters"):
        Expression("1+" * MAX_EXPRESSION_LENGTH + "1")


def test_unknown_name_is_named_when_it_is_needed() -> None:
    expression = Expression("sesion.enabled")
    with pytest.raises(NameError, match=r"'sesion' in the expression 'sesion.enabled' is none of session, self"):
        expression({"session": 1, "self": 2})


def test_builtins_are_not_reachable() -> None:
    with pytest.raises(NameError):
        Expression("open('/etc/passwd')")({})


def test_attributes_by_name() -> None:
    assert get_attribute(SESSION, "port") == 8090
    assert get_attribute(SESSION, "missing", 5) == 5
    assert has_attribute(SESSION, "port") is True
    assert has_attribute(SESSION, "missing") is False
    with pytest.raises(AttributeError):
        get_attribute(SESSION, "missing")


@pytest.mark.parametrize("function", [get_attribute, has_attribute])
def test_attributes_by_name_are_those_that_can_be_written_out(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="'__class__' is not allowed"):
        function(SESSION, "__class__")
    with pytest.raises(TypeError):
        function(SESSION, 5)


def test_repr_shows_the_source() -> None:
    assert repr(Expression("1 + 1")) == "Expression('1 + 1')"


@settings(deadline=None, max_examples=150)
@given(st.recursive(
    st.sampled_from(["0", "1", "2", "True", "False", "x"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "==", "<", "+", "-", "in [1,", "if x else"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]}{']' if '[' in t[1] else ''})"),
        inner.map(lambda t: f"(not {t})")),
    max_leaves=8))
def test_same_value_as_the_language(source: str) -> None:
    assert Expression(source)({"x": 3}) == eval(source, {"x": 3})
