"""The two libraries of the tests: that of this tree, and an installed ``pyipv8``.

``pyipv8`` is installed into a virtual environment below ``.venvs`` when it is needed for the first time. The variable
``PYIPV8_VENV`` names another virtual environment to use. With ``IPV8_SKIP_INTEROP=1`` the tests are skipped where
``pyipv8`` cannot be installed.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from benchmarks.library import ROOT, Library

__all__ = ["REQUIREMENT", "EnvironmentUnavailableError", "ours", "theirs"]

REQUIREMENT = "pyipv8>=3.2"
VENV = ROOT / ".venvs" / "pyipv8"
INSTALL_SECONDS = 240


class EnvironmentUnavailableError(Exception):
    """There is no ``pyipv8`` and it cannot be installed; the message says what to do."""


def ours() -> Library:
    """The library of this tree."""
    return Library.ours()


@cache
def theirs() -> Library:
    """An installed ``pyipv8``. It is installed first if necessary.

    :raises EnvironmentUnavailableError: if it cannot be installed.
    """
    existing = os.environ.get("PYIPV8_VENV")
    if existing:
        try:
            return Library.of_venv(Path(existing))
        except FileNotFoundError as e:
            message = f"PYIPV8_VENV does not name a virtual environment: {e}"
            raise EnvironmentUnavailableError(message) from e
    VENV.parent.mkdir(exist_ok=True)
    with (VENV.parent / "pyipv8.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run in several processes at once; only one of them installs
        installed = VENV / "installed.txt"
        if not installed.exists() or installed.read_text() != REQUIREMENT:
            _install()
            installed.write_text(REQUIREMENT)
    return Library.of_venv(VENV)


def _install() -> None:
    python = str(VENV / "bin" / "python")
    try:
        _run(sys.executable, "-m", "venv", "--clear", str(VENV))
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT)
    except (OSError, subprocess.SubprocessError) as e:
        reason = (getattr(e, "stderr", None) or str(e)).strip()
        message = (f"{REQUIREMENT} could not be installed into {VENV}, which needs a package index. Give the directory "
                   "of a virtual environment that has it in PYIPV8_VENV, or set IPV8_SKIP_INTEROP=1 to go without "
                   f"these tests.\n{reason}")
        raise EnvironmentUnavailableError(message) from e


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
