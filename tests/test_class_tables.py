"""Tables of classes that import what they are asked for."""

from __future__ import annotations

from typing import Any

import pytest

from ipv8.class_tables import (
    _BOOTSTRAPPERS,
    _COMMUNITIES,
    _WALKERS,
    ABSENT_COMMUNITIES,
    ClassTable,
    tunnel_endpoint_class,
)


class Importer:
    """Counts how often the class is imported."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> type[Any]:
        self.calls += 1
        return Importer


def make_table() -> ClassTable:
    return ClassTable({"Importer": Importer()}, ["Tunnels", "Nothing"])


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


def test_absent_names_have_no_class() -> None:
    table = make_table()
    assert "Tunnels" not in table
    assert table.get("Tunnels", 5) == 5
    assert table.absent == ["Tunnels", "Nothing"]
    for name in ("Tunnels", "Unknown"):
        with pytest.raises(KeyError):
            table[name]


def test_programs_can_add_and_replace() -> None:
    table = make_table()
    table["Tunnels"] = table["Mine"] = int
    table.update(Importer=str)
    assert table.absent == ["Nothing"]
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
    for name, importer in table._importers.items():
        assert importer().__name__ == name


def test_what_this_release_lacks() -> None:
    assert _COMMUNITIES.absent == list(ABSENT_COMMUNITIES)
    with pytest.raises(RuntimeError, match="no anonymizing tunnels"):
        tunnel_endpoint_class()
