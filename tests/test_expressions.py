"""The expressions of launchers: Python, compiled when it is defined."""

from __future__ import annotations

import traceback
from types import SimpleNamespace

import pytest

from ipv8.expressions import Expression

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


@pytest.mark.parametrize(("source", "value"), [
    ("[name * 2 for name in session.table['name'] if name != session.nothing]", [2, 4, 6]),
    ("any(port == session.port for port in (1, 8090))", True),
    ("(lambda extra: session.port + extra)(1)", 8091),
    ("sorted(session.table, key=lambda name: session.table[name])", ["name"]),
    ("{**session.table, 'b': 2}", {"name": [1, 2, 3], "b": 2}),
    ("max(*session.table['name'])", 3),
    ("2 ** 10", 1024),
    ("(found := session.port) and found", 8090),
    ("session.__class__.__name__", "SimpleNamespace"),
    ("getattr(session, 'absent', 5)", 5),
    ("'{0.port}'.format(session)", "8090"),
])
def test_it_is_python(source: str, value: object) -> None:
    assert Expression(source)({"session": SESSION}) == value


@pytest.mark.parametrize("source", ["", "(", "x = 1", "import os", "a b", "x\ny", "await x", "1 +", "a\0b"])
def test_no_expression(source: str) -> None:
    with pytest.raises(ValueError, match="is not an expression"):
        Expression(source)


@pytest.mark.parametrize("source", [
    "-" * 100000 + "1", "not " * 100000 + "x", "x" + ".a" * 100000, "+".join(["1"] * 100000),
    "(" * 100000 + "1" + ")" * 100000, "1 if x else " * 100000 + "1", "[" * 100000 + "]" * 100000,
    "lambda: " * 100000 + "1",
])
def test_deep_nesting_is_a_value_error(source: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|is not an expression") as error:
        Expression(source)
    assert len(str(error.value)) < 400


def test_unknown_name_is_named_when_it_is_needed() -> None:
    expression = Expression("sesion.enabled")
    with pytest.raises(NameError, match=r"'sesion' in the expression 'sesion.enabled' is none of self, session, or of"):
        expression({"session": 1, "self": 2})


def test_unknown_name_in_an_inner_function() -> None:
    with pytest.raises(NameError, match="'sesion' in the expression"):
        Expression("[sesion for _ in session.table]")({"session": SESSION})


def test_mistakes_in_what_is_called_are_not_renamed() -> None:
    def call() -> None:
        undefined  # type: ignore[name-defined]  # noqa: B018, F821 - the mistake

    with pytest.raises(NameError, match=r"^name 'undefined' is not defined$"):
        Expression("call()")({"call": call})


def test_traceback_shows_the_expression() -> None:
    with pytest.raises(AttributeError) as error:
        Expression("session.absent")({"session": SESSION})
    assert "<expression 'session.absent'>" in "".join(traceback.format_exception(error.value))


def test_scope_is_not_changed() -> None:
    scope = {"session": SESSION}
    Expression("(x := session.port)")(scope)
    assert list(scope) == ["session"]


def test_repr_shows_the_source() -> None:
    assert repr(Expression("1 + 1")) == "Expression('1 + 1')"
