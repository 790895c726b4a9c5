"""Tables of classes that import what they are asked for."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from ipv8.class_tables import (
    _BOOTSTRAPPERS,
    _COMMUNITIES,
    _WALKERS,
    ClassTable,
    tunnel_endpoint_class,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Importer:
    """Counts how often the class is imported."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> type[Any]:
        self.calls += 1
        return Importer


def make_table() -> ClassTable:
    return ClassTable({"Importer": Importer()})


def test_class_is_imported_when_it_is_asked_for() -> None:
    importer = Importer()
    table = ClassTable({"Importer": importer})
    assert "Importer" in table
    assert importer.calls == 0
    assert table["Importer"] is table.get("Importer") is Importer
    assert importer.calls == 1


def test_it_is_a_dictionary_of_all_classes() -> None:
    for look in (list, dict, len, lambda t: sorted(t.keys()), lambda t: list(t.values()), lambda t: list(t.items()),
                 lambda t: {**t}):
        assert look(make_table()) == look({"Importer": Importer})


WHOLE: dict[str, Callable[[Any], Any]] = {
    "copy": lambda t: t.copy(), "copied": copy.copy, "deep copy": copy.deepcopy,
    "pickled": lambda t: pickle.loads(pickle.dumps(t)),
    "repr": repr, "equal": lambda t: t == {"Importer": Importer, "Other": int},
    "unequal": lambda t: t != {"Importer": Importer, "Other": int}, "reflected": lambda t: {"Importer": Importer} == t,
    "or": lambda t: t | {"a": int}, "reflected or": lambda t: {"a": int} | t, "reversed": lambda t: list(reversed(t)),
    "bool": bool, "sorted": sorted, "merged": lambda t: dict(t, a=int),
    "pop": lambda t: (t.pop("Importer"), "Importer" in t, dict(t)), "no pop": lambda t: t.pop("Nobody", 5),
    "popitem": lambda t: (t.popitem(), t.popitem(), dict(t)),
    "setdefault": lambda t: (t.setdefault("Importer", int), dict(t)),
    "new default": lambda t: (t.setdefault("New", int), dict(t)),
    "clear": lambda t: (t.clear(), dict(t), "Importer" in t),
    "delete": lambda t: (t.__delitem__("Importer"), "Importer" in t, dict(t)),
    "replace and delete": lambda t: (t.update(Importer=str), t.pop("Importer"), "Importer" in t),
}


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_like_any_dictionary(name: str) -> None:
    plain: dict[str, type[Any]] = {"Importer": Importer, "Other": int}
    table = ClassTable({"Importer": Importer(), "Other": lambda: int})
    assert WHOLE[name](table) == WHOLE[name](plain)
    assert dict(table) == plain


def test_unknown_names_cannot_be_deleted() -> None:
    with pytest.raises(KeyError):
        del make_table()["Tunnels"]


def test_tests_can_patch_it() -> None:
    table = make_table()
    with patch.dict(table, {"Mine": int}, clear=True):
        assert dict(table) == {"Mine": int}
    assert dict(table) == {"Importer": Importer}


def test_unknown_names_have_no_class() -> None:
    table = make_table()
    assert "Unknown" not in table
    assert table.get("Unknown", 5) == 5
    with pytest.raises(KeyError):
        table["Unknown"]


def test_programs_can_add_and_replace() -> None:
    table = make_table()
    table["Tunnels"] = table["Mine"] = int
    table.update(Importer=str)
    assert dict(table) == {"Tunnels": int, "Mine": int, "Importer": str}


def test_failure_of_an_import_is_not_hidden() -> None:
    def fail() -> type[Any]:
        raise ModuleNotFoundError("No module named 'something'")

    table = ClassTable({"Needy": fail})
    with pytest.raises(ModuleNotFoundError, match="something"):
        table.get("Needy")


def test_names_that_are_no_strings() -> None:
    name: object = 5
    assert name not in make_table()


@pytest.mark.parametrize("table", [_COMMUNITIES, _WALKERS, _BOOTSTRAPPERS])
def test_classes_have_the_names_of_the_table(table: ClassTable) -> None:
    assert len(table) >= 2
    for name, found in table.items():
        assert found.__name__ == name


def test_endpoints_of_tunnels() -> None:
    assert tunnel_endpoint_class().__name__ == "TunnelEndpoint"
