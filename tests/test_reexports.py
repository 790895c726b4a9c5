"""Names that modules offer although they live elsewhere: there, lazy, and the same for type checkers."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ipv8.reexports import reexports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent


class Table(NamedTuple):
    """What a module offers: to programs, by name, and to type checkers."""

    module: str
    offered: dict[str, tuple[str, str]]
    declared: set[tuple[str, str]]


def tables() -> Iterator[Table]:
    """All modules that call ``reexports``, as their source has it."""
    for path in [ROOT / "ipv8_service.py", *sorted((ROOT / "ipv8").rglob("*.py"))]:
        source = path.read_text(encoding="utf-8")
        if "= reexports(" in source and path.name != "reexports.py":
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield Table(module, offered_by(source), declared_by(source))


def offered_by(source: str) -> dict[str, tuple[str, str]]:
    """Where each name lives, and what it is called there."""
    (call,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)
               and ast.unparse(node.func) == "reexports")
    return {entry.split("=")[0]: (home, entry.split("=")[-1]) for home, names in ast.literal_eval(call.args[1]).items()
            for entry in names.split()}


def declared_by(source: str) -> set[tuple[str, str]]:
    """The imports, as module and name there, in front of the call."""
    (block,) = (node for node in ast.parse(source).body
                if isinstance(node, ast.If) and "reexports(" in ast.unparse(node))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    return {("." * node.level + (node.module or ""), alias.name)
            for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


TABLES = list(tables())
NAMES = [(table.module, name) for table in TABLES for name in table.offered]


def floors() -> list[list[str]]:
    """The modules of each floor, the highest first, as the contract on imports has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r'^id = "floors"$.*?^layers = \[$(.*?)^\]$', text, re.DOTALL | re.MULTILINE)
    assert layers is not None
    return [re.findall(r"\((ipv8[\w.]*)\)", layer) for layer in re.findall(r'"""(?s:.*?)"""|"[^"]*"', layers[1])]


def floor_of(module: str) -> int:
    (number,) = (number for number, rooms in enumerate(floors())
                 if any(module == room or module.startswith(f"{room}.") for room in rooms))
    return number


def test_there_are_some() -> None:
    assert ("ipv8.community", "lazy_wrapper") in NAMES


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_the_name_is_the_object_from_where_it_lives(module: str, name: str) -> None:
    (table,) = (table for table in TABLES if table.module == module)
    home, there = table.offered[name]
    importing = import_module(module)
    assert name in dir(importing)
    assert getattr(importing, name) is getattr(import_module(home, importing.__package__), there)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.module))
def test_type_checkers_see_the_same(table: Table) -> None:
    assert table.declared == {*table.offered.values()}


@pytest.mark.parametrize("table", [table for table in TABLES if table.module != "ipv8_service"],
                         ids=lambda table: str(table.module))
def test_names_come_from_below_or_beside(table: Table) -> None:
    """The contracts on imports do not see these, as they are looked up by name."""
    package = import_module(table.module).__package__
    for home, _ in table.offered.values():
        assert floor_of(import_module(home, package).__name__) >= floor_of(table.module)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that offers names of the standard library."""
    made = ModuleType("ipv8.example")
    made.__package__ = "ipv8"
    monkeypatch.setitem(sys.modules, made.__name__, made)
    table = {"asyncio": "TimeoutError=TimeoutError Lock Mutex=Lock", ".limits": "BoundedDict"}
    made.__getattr__, made.__dir__ = reexports(made.__name__, table)  # type: ignore[method-assign]
    return made


def test_names_are_looked_up_once(module: ModuleType) -> None:
    import asyncio

    from ipv8.limits import BoundedDict

    assert "Mutex" not in vars(module)
    assert module.Mutex is module.Lock is asyncio.Lock
    assert module.BoundedDict is BoundedDict
    assert vars(module)["Mutex"] is asyncio.Lock


def test_all_names_are_listed(module: ModuleType) -> None:
    assert {"Lock", "Mutex", "BoundedDict", "__name__"} <= {*dir(module)}


def test_other_names_are_not_there(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"module 'ipv8\.example' has no attribute 'Unknown'"):
        module.Unknown  # noqa: B018 - the look-up is what is tested
