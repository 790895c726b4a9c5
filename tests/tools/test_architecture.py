"""Every module stands on a floor of the house: the contracts in pyproject.toml bind only what they name."""

from __future__ import annotations

import ast
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


def named_on_the_page() -> set[str]:
    """The modules and packages that doc/architecture.md names by their paths, in the tables of the floors."""
    text = (ROOT / "doc" / "architecture.md").read_text(encoding="utf-8")
    tables = text.partition("## Floors")[2].partition("\n## ")[0]
    return set(re.findall(r"`(ipv8/[\w/]*(?:\.py|/))`", tables))


def has_code(path: Path) -> bool:
    """Whether a module is more than a docstring."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant)
               for statement in statements)


def test_page_names_every_module() -> None:
    named = named_on_the_page()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ipv8").rglob("*.py") if has_code(path)}
    missing = sorted(module for module in modules - named
                     if not any(module.startswith(package) for package in named if package.endswith("/")))
    assert missing == [], "doc/architecture.md names neither these modules nor a package on one floor that has them"


def test_page_names_only_what_exists() -> None:
    gone = sorted(name for name in named_on_the_page() if not (ROOT / name).exists())
    assert gone == [], "doc/architecture.md names modules that do not exist"


def test_packages_on_the_page_are_on_one_floor() -> None:
    known = rooms()
    packages = {name.rstrip("/").replace("/", ".") for name in named_on_the_page() if name.endswith("/")}
    assert {package for package in packages
            if not any(package == room or package.startswith(f"{room}.") for room in known)} == set()
