"""The libraries that the tests start nodes with: the one of this tree and installed releases of ``pyipv8``.

``pyipv8`` is installed into a virtual environment below ``.venvs`` when it is needed for the first time. The variable
``PYIPV8_VENV`` names another virtual environment to use, with the same packages. With ``IPV8_SKIP_INTEROP=1`` the tests
are skipped where ``pyipv8`` cannot be installed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.library import ROOT as ROOT, Library

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["REQUIREMENTS", "SOCKS_SUITE", "EnvironmentUnavailableError", "ours", "socks_clients", "theirs",
           "theirs_with_trustchain"]

REQUIREMENTS = ("pyipv8>=3.2", "marshmallow<4")
"""The library, and the releases of its own requirements with which its HTTP interface can be imported."""

VENV = ROOT / ".venvs" / "pyipv8"
INSTALL_SECONDS = 240

TRUSTCHAIN_REQUIREMENTS = ("pyipv8==2.4.0", "cryptography<42")
"""The last release with TrustChain, and what it still works with; both need Python 3.8."""

TRUSTCHAIN_VENV = ROOT / ".venvs" / "pyipv8-2.4"

SOCKS_SUITE = "python-socks==3.2.1"
"""The client library whose own tests run against the proxy. They are in its source distribution."""

SOCKS_REQUIREMENTS = (SOCKS_SUITE, "aiohttp-socks>=0.10", "httpx[socks]>=0.27", "PySocks>=1.7", "requests>=2.31",
                      "anyio>=4.4", "trio>=0.26", "pytest>=8.2", "pytest-asyncio>=0.24", "pytest-trio>=0.8",
                      "tiny-proxy>=0.2", "trustme>=1.1", "yarl>=1.9", "starlette>=0.37", "uvicorn>=0.30")
"""Stock clients of SOCKS proxies, and what the tests of one of them need."""

SOCKS_VENV = ROOT / ".venvs" / "socks"


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
    return _named("PYIPV8_VENV") or _installed(sys.executable, VENV, REQUIREMENTS, "PYIPV8_VENV")


def _named(variable: str) -> Library | None:
    """The library of the virtual environment that an environment variable names, if it is set."""
    existing = os.environ.get(variable)
    if not existing:
        return None
    try:
        return Library.of_venv(Path(existing))
    except FileNotFoundError as e:
        message = f"{variable} does not name a virtual environment: {e}"
        raise EnvironmentUnavailableError(message) from e


@cache
def theirs_with_trustchain() -> Library:
    """The last ``pyipv8`` that has TrustChain, in a virtual environment of Python 3.8.

    ``PYIPV8_24_VENV`` names an existing one; otherwise it is made where a Python 3.8 is found, on the path or below the
    directory of pyenv.

    :raises EnvironmentUnavailableError: if that fails.
    """
    named = _named("PYIPV8_24_VENV")
    if named is not None:
        return named
    python = _python_3_8()
    if python is None:
        message = (f"{TRUSTCHAIN_REQUIREMENTS[0]} needs Python 3.8, which was not found. Install it, or give the "
                   "directory of a virtual environment that has both in PYIPV8_24_VENV")
        raise EnvironmentUnavailableError(message)
    return _installed(python, TRUSTCHAIN_VENV, TRUSTCHAIN_REQUIREMENTS, "PYIPV8_24_VENV")


@cache
def socks_clients() -> Path:
    """A virtual environment with clients of SOCKS proxies; the tests of one of them are in its directory ``suite``.

    ``SOCKS_VENV`` names an existing one.

    :raises EnvironmentUnavailableError: if it cannot be made.
    """
    existing = os.environ.get("SOCKS_VENV")
    if existing:
        return Path(existing)
    _installed(sys.executable, SOCKS_VENV, SOCKS_REQUIREMENTS, "SOCKS_VENV", _add_suite)
    return SOCKS_VENV


def _add_suite(venv: Path) -> None:
    """Unpack the source distribution of the client library, which has its tests."""
    _run(str(venv / "bin" / "python"), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-binary=:all:", "--dest", str(venv / "download"), SOCKS_SUITE)
    (archive,) = (venv / "download").glob("*.tar.gz")
    shutil.unpack_archive(archive, venv / "download", filter="data")
    archive.unlink()
    (unpacked,) = (venv / "download").iterdir()
    unpacked.rename(venv / "suite")


def _python_3_8() -> str | None:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [*sorted(map(str, root.glob("versions/3.8*/bin/python"))), shutil.which("python3.8")]
    for candidate in filter(None, candidates):
        try:
            _run(candidate, "-c", "import sys, venv; assert sys.version_info[:2] == (3, 8)")
        except (OSError, subprocess.SubprocessError):
            continue
        return candidate
    return None


def _installed(python: str, venv: Path, requirements: tuple[str, ...], variable: str,
               finish: Callable[[Path], None] = lambda _: None) -> Library:
    """The library of a virtual environment, which is made first where that has not been done."""
    venv.parent.mkdir(exist_ok=True)
    with (venv.parent / f"{venv.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run in several processes at once; only one of them installs
        installed = venv / "installed.txt"
        wanted = " ".join(requirements)
        if not installed.exists() or installed.read_text() != wanted:
            _install(python, venv, requirements, variable, finish)
            installed.write_text(wanted)
    return Library.of_venv(venv)


def _install(python: str, venv: Path, requirements: tuple[str, ...], variable: str,
             finish: Callable[[Path], None]) -> None:
    try:
        _run(python, "-m", "venv", "--clear", str(venv))
        _run(str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             *requirements)
        finish(venv)
    except (OSError, subprocess.SubprocessError) as e:
        reason = (getattr(e, "stderr", None) or str(e)).strip()
        message = (f"{requirements[0]} could not be installed into {venv}, which needs a package index. Give the "
                   f"directory of a virtual environment that has it in {variable}, or set IPV8_SKIP_INTEROP=1 to go "
                   f"without these tests.\n{reason}")
        raise EnvironmentUnavailableError(message) from e


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
