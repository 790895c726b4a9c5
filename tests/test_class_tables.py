"""Tables of classes that import what they are asked for."""

from __future__ import annotations

import json.decoder
import sys
from typing import TYPE_CHECKING

import pytest

from ipv8.class_tables import ClassTable

if TYPE_CHECKING:
    from pathlib import Path

MODULES = {"JSONDecoder": "json.decoder", "Tunnels": "ipv8.no_such_package.tunnels", "Nothing": "ipv8.no_such_module"}


def test_class_is_imported_when_asked_for() -> None:
    table = ClassTable(MODULES)
    assert dict.__len__(table) == 0
    assert table["JSONDecoder"] is json.decoder.JSONDecoder
    assert dict.__len__(table) == 1


def test_it_is_a_dictionary_of_what_there_is() -> None:
    for look in (list, dict, len, lambda t: sorted(t.keys()), lambda t: list(t.values()), lambda t: list(t.items()),
                 lambda t: {**t}):
        expected = look({"JSONDecoder": json.decoder.JSONDecoder})
        assert look(ClassTable(MODULES)) == expected


def test_what_this_release_lacks_is_absent() -> None:
    table = ClassTable(MODULES)
    assert "Tunnels" not in table
    assert table.get("Tunnels", 5) == 5
    assert table.absent == ["Tunnels", "Nothing"]
    for name in ("Tunnels", "Unheard"):
        with pytest.raises(KeyError):
            table[name]


def test_programs_can_add_and_replace() -> None:
    table = ClassTable(MODULES)
    table["Tunnels"] = table["Mine"] = int
    table.update(JSONDecoder=str)
    assert table.absent == ["Nothing"]
    assert dict(table) == {"Tunnels": int, "Mine": int, "JSONDecoder": str}


def test_missing_dependency_is_not_taken_for_a_missing_module(tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_module_of_test.py").write_text("import no_such_dependency_of_test\n")
    monkeypatch.syspath_prepend(tmp_path)
    table = ClassTable({"Needy": "needy_module_of_test"})
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency_of_test"):
        table["Needy"]
    sys.modules.pop("needy_module_of_test", None)


def test_names_that_are_no_strings() -> None:
    name: object = 5
    assert name not in ClassTable(MODULES)
