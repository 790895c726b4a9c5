"""The table of imports: no circles across packages, and a package that works wherever it is put."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]

OTHER_HOME = """
import importlib, pkgutil, sys

class Refuse:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {"ipv8", "ipv8_service"}:
            raise ImportError(f"{name} is imported by its absolute name")

sys.meta_path.insert(0, Refuse)
sys.path.insert(0, sys.argv[1])
import pyipv8.ipv8
for module in pkgutil.walk_packages(pyipv8.ipv8.__path__, "pyipv8.ipv8."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from pyipv8.ipv8.community import Community
from pyipv8.ipv8_service import _COMMUNITIES, IPv8
assert issubclass(_COMMUNITIES["DHTDiscoveryCommunity"], Community)
assert IPv8.__module__ == "pyipv8.ipv8.service"
print("complete")
"""


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan's algorithm)."""
    found: list[list[str]] = []
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_modules: list[str] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        open_modules.append(module)
        for other in imports[module]:
            if other not in order:
                visit(other)
            if other in open_modules:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == order[module]:
            place = open_modules.index(module)
            component = open_modules[place:]
            del open_modules[place:]
            if len(component) > 1:
                found.append(sorted(component))

    for module in imports:
        if module not in order:
            visit(module)
    return found


def test_no_circle_of_imports_leaves_a_package() -> None:
    graph = grimp.build_graph("ipv8", cache_dir=None)  # imports for type checkers only are among them
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    packages = {parent for module in graph.modules for parent in [module.rpartition(".")[0]]}

    def package_of(module: str) -> str:
        return module if module in packages else module.rpartition(".")[0]

    across = [circle for circle in circles(imports) if len(set(map(package_of, circle))) > 1]
    assert across == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set()}) == [["a", "b", "c"]]


def test_the_package_works_inside_another_one(tmp_path: Path) -> None:
    (tmp_path / "pyipv8").symlink_to(ROOT, target_is_directory=True)
    command = [sys.executable, "-c", OTHER_HOME, str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True,
                         timeout=50, check=False)
    assert run.stdout.strip() == "complete", run.stderr
