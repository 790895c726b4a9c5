"""Every module stands on a floor of the house: the contracts in pyproject.toml bind only what they name."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def rooms() -> set[str]:
    """The modules and packages that the contract on floors names."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    floors = re.search(r'^id = "floors"$.*?^layers = \[$(.*?)^\]$', text, re.DOTALL | re.MULTILINE)
    assert floors is not None
    return set(re.findall(r"\((ipv8[\w.]*)\)", floors[1]))


def modules() -> list[str]:
    """All modules of the package with something in them."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "ipv8").rglob("*.py"))
        if path.stat().st_size and path != ROOT / "ipv8" / "__init__.py"
    ]


def test_every_module_has_a_floor() -> None:
    known = rooms()
    homeless = [module for module in modules()
                if not any(module == room or module.startswith(f"{room}.") for room in known)]
    # A package that only holds rooms is no room itself.
    assert [module for module in homeless if not any(room.startswith(f"{module}.") for room in known)] == []


def test_no_module_stands_on_two_floors() -> None:
    known = rooms()
    assert [room for room in known if any(other.startswith(f"{room}.") for other in known)] == []
