"""What PyInstaller has to know; it asks by the entry point ``pyinstaller40`` of this distribution."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["data_files", "get_hook_dirs", "hidden_imports"]

HERE = Path(__file__).resolve().parent

LEFT_OUT = ("ipv8.REST", "ipv8.__main__", "ipv8.__pyinstaller", "ipv8.cli", "ipv8.test")
"""Programs, and what only tests need. PyInstaller adds them if the application imports them."""


def get_hook_dirs() -> list[str]:
    """The directories with hooks."""
    return [os.fspath(HERE)]


def data_files() -> list[tuple[str, str]]:
    """The files that are no modules, each directory with its place in the application."""
    static = HERE.parent / "REST" / "static"
    return [(os.fspath(static), os.fspath(Path(HERE.parent.name) / "REST" / "static"))]


def hidden_imports() -> list[str]:
    """All modules of the library: some are imported by a name that stands in a table or in a configuration."""
    root = HERE.parent
    names = {".".join((root.name, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
             for path in root.rglob("*.py")}
    return sorted(name for name in names
                  if not any(name == other or name.startswith(f"{other}.") for other in LEFT_OUT))
